// MQTT packets as bytes, for tests: what no generator would write because it is wrong, and what no parser shows.
// Leaves well-formed packets to mqtt-packet, and sending them to mqtt-wire.ts.

/** A protocol version as CONNECT names it: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0. */
export type Version = 3 | 4 | 5;

/** A part of a packet: one byte, several as hex (`"c0 00"`), or bytes. */
export type Part = number | string | Uint8Array;

/** The first byte of each packet type, with the flags it must have. */
export const TYPE = {
  connect: 0x10,
  connack: 0x20,
  publish: 0x30,
  puback: 0x40,
  pubrec: 0x50,
  pubrel: 0x62,
  pubcomp: 0x70,
  subscribe: 0x82,
  suback: 0x90,
  unsubscribe: 0xa2,
  unsuback: 0xb0,
  pingreq: 0xc0,
  pingresp: 0xd0,
  disconnect: 0xe0,
  auth: 0xf0,
} as const;

/** Property identifiers of MQTT 5. */
export const PROPERTY = {
  payloadFormat: 0x01,
  messageExpiry: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionId: 0x0b,
  sessionExpiry: 0x11,
  assignedClientId: 0x12,
  serverKeepAlive: 0x13,
  authMethod: 0x15,
  authData: 0x16,
  requestProblem: 0x17,
  willDelay: 0x18,
  requestResponse: 0x19,
  reasonString: 0x1f,
  receiveMaximum: 0x21,
  topicAliasMaximum: 0x22,
  topicAlias: 0x23,
  maximumQos: 0x24,
  retainAvailable: 0x25,
  userProperty: 0x26,
  maximumPacketSize: 0x27,
} as const;

/** Joins parts. */
export function bytes(...parts: Part[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === "number") return Buffer.of(part);
      return typeof part === "string" ? Buffer.from(part.replaceAll(" ", ""), "hex") : Buffer.from(part);
    }),
  );
}

/** A two-byte number. */
export function u16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 0xff);
}

/** A four-byte number. */
export function u32(value: number): Buffer {
  return Buffer.of((value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

/** A variable byte integer, in more bytes than it needs when `width` says so. */
export function varint(value: number, width = 0): Buffer {
  const out: number[] = [];
  do {
    const digit = value % 128;
    value = Math.floor(value / 128);
    out.push(value > 0 || out.length + 1 < width ? digit | 0x80 : digit);
  } while (value > 0 || out.length < width);
  return Buffer.from(out);
}

/** A string or binary with its length before it; bytes are taken as they are, valid UTF-8 or not. */
export function text(value: string | Uint8Array): Buffer {
  const content = Buffer.from(value as string);
  return bytes(u16(content.length), content);
}

/** A property list with its length before it. */
export function properties(...parts: Part[]): Buffer {
  const content = bytes(...parts);
  return bytes(varint(content.length), content);
}

/** A user property. */
export function userProperty(name: string | Uint8Array, value: string | Uint8Array): Buffer {
  return bytes(PROPERTY.userProperty, text(name), text(value));
}

/** A packet: the first byte, the remaining length, and the rest. */
export function packet(first: number, ...body: Part[]): Buffer {
  const content = bytes(...body);
  return bytes(first, varint(content.length), content);
}

/** What a hand-made CONNECT consists of; everything has a valid default. */
export interface ConnectParts {
  version?: number;
  name?: string | Uint8Array;
  /** The connect flags; clean start by default. */
  flags?: number;
  keepAliveSeconds?: number;
  /** The property list of MQTT 5 with its length. */
  properties?: Uint8Array;
  /** Client id, will, user and password, as they follow; a client id by default. */
  payload?: Uint8Array;
}

/** A CONNECT of one's own making. */
export function connectBytes(parts: ConnectParts = {}): Buffer {
  const version = parts.version ?? 5;
  return packet(
    TYPE.connect,
    text(parts.name ?? (version === 3 ? "MQIsdp" : "MQTT")),
    version,
    parts.flags ?? 0x02,
    u16(parts.keepAliveSeconds ?? 0),
    version >= 5 ? (parts.properties ?? properties()) : bytes(),
    parts.payload ?? text(`raw-${version}`),
  );
}

/** A PUBLISH of one's own making; MQTT 5 when there are properties. */
export function publishBytes(
  topic: string | Uint8Array,
  payload: string,
  more: { flags?: number; id?: number; properties?: Uint8Array } = {},
): Buffer {
  return packet(
    TYPE.publish | (more.flags ?? 0),
    text(topic),
    more.id === undefined ? bytes() : u16(more.id),
    more.properties ?? bytes(),
    Buffer.from(payload),
  );
}

/**
 * The bytes of the first packet, or undefined when it is not complete.
 *
 * @throws Error when its length is written in more bytes than it needs, or in more than four
 */
export function firstPacket(stream: Buffer): Buffer | undefined {
  let length = 0;
  for (let at = 1; at < stream.length; at++) {
    const digit = stream[at]!;
    length += (digit & 0x7f) * 128 ** (at - 1);
    if (digit & 0x80) {
      if (at === 4) throw new Error(`a remaining length of five bytes: ${stream.toString("hex")}`);
      continue;
    }
    if (digit === 0 && at > 1) throw new Error(`a remaining length in ${at} bytes that needs fewer`);
    const end = at + 1 + length;
    return stream.length < end ? undefined : stream.subarray(0, end);
  }
  return undefined;
}

/** The variable header of a PUBLISH of MQTT 5, as far as a parser hides the order of things. */
export interface RawPublish {
  /** Property identifiers, in order of their standing. */
  ids: number[];
  userProperties: [string, string][];
}

/** Reads the properties of a PUBLISH of MQTT 5 in the order in which they stand. */
export function rawPublish(whole: Buffer): RawPublish {
  const qos = (whole[0]! >> 1) & 3;
  let at = 1;
  const skipVarint = () => {
    let value = 0;
    for (let shift = 0; ; shift++) {
      const digit = whole[at++]!;
      value += (digit & 0x7f) * 128 ** shift;
      if (!(digit & 0x80)) return value;
    }
  };
  const string = () => {
    const length = whole.readUInt16BE(at);
    at += 2 + length;
    return whole.toString("utf8", at - length, at);
  };
  skipVarint();
  string();
  if (qos > 0) at += 2;
  const found: RawPublish = { ids: [], userProperties: [] };
  const end = skipVarint() + at;
  while (at < end) {
    const id = whole[at++]!;
    found.ids.push(id);
    if (id === PROPERTY.userProperty) found.userProperties.push([string(), string()]);
    else if (id === PROPERTY.payloadFormat) at += 1;
    else if (id === PROPERTY.topicAlias) at += 2;
    else if (id === PROPERTY.messageExpiry) at += 4;
    else if (id === PROPERTY.subscriptionId) skipVarint();
    else string();
  }
  return found;
}
