// Random packets of every kind and version, and bytes to build broken ones from.
import fc from "fast-check";
import type { Role } from "../../../../worker/protocol/mqtt/codec/kinds.ts";
import type {
  Malformed,
  Packet,
  Properties,
  Qos,
  RetainHandling,
  Version,
} from "../../../../worker/protocol/mqtt/codec/packets.ts";
import { PacketReader } from "../../../../worker/protocol/mqtt/codec/reader.ts";

export const VERSIONS: Version[] = [3, 4, 5];
const MAX_PACKET_BYTES = 1_000_000;

/** Any Unicode text but U+0000, sometimes with a byte order mark or of some length. */
export const text = fc.oneof(
  { weight: 6, arbitrary: fc.string({ unit: "binary", maxLength: 20 }).map((s) => s.replaceAll("\0", "x")) },
  { weight: 1, arbitrary: fc.constantFrom("\ufeffbom", "\uffff", "é", "🐦", "Ã", "n".repeat(300)) },
);
export const topic = text.map((s) => s.replace(/[+#]/g, "/") || "t");
const bytes = fc.uint8Array({ maxLength: 200 });
const u16 = fc.nat(0xffff);
const positive16 = fc.integer({ min: 1, max: 0xffff });
const u32 = fc.nat(0xffffffff);
const qos = fc.constantFrom<Qos>(0, 1, 2);
const handling = fc.constantFrom<RetainHandling>(0, 1, 2);
const flag = fc.boolean();
const bit = fc.constantFrom<0 | 1>(0, 1);
const pairs = fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 4 });
const identifier = fc.integer({ min: 1, max: 268_435_455 });

const message = {
  payloadFormatIndicator: bit,
  messageExpiryInterval: u32,
  contentType: text,
  responseTopic: topic,
  correlationData: bytes,
  userProperties: pairs,
};
const reason = { reasonString: text, userProperties: pairs };
const authentication = { authenticationMethod: text, authenticationData: bytes };
const limits = {
  sessionExpiryInterval: u32,
  receiveMaximum: positive16,
  maximumPacketSize: fc.integer({ min: 1, max: 0xffffffff }),
  topicAliasMaximum: u16,
};

/** Properties of a packet of 5.0; absent when there are none. */
function properties(
  model: { [K in keyof Properties]?: fc.Arbitrary<NonNullable<Properties[K]>> },
  required: (keyof Properties)[] = [],
) {
  const some = fc.record(model as Record<string, fc.Arbitrary<unknown>>, {
    requiredKeys: required,
  }) as fc.Arbitrary<Properties>;
  return some.map((value) => (Object.keys(value).length === 0 ? {} : { properties: value }));
}

function when<T extends object>(yes: boolean, part: fc.Arbitrary<T>): fc.Arbitrary<Partial<T>> {
  return yes ? part : fc.constant({});
}

/** Joins the fields of a packet with its optional parts. */
function joined(...parts: fc.Arbitrary<object>[]): fc.Arbitrary<Packet> {
  return fc.tuple(...parts).map((all) => Object.assign({}, ...all) as Packet);
}

export function connect(version: Version): fc.Arbitrary<Packet> {
  const five = version === 5;
  const willProperties = when(five, properties({ ...message, willDelayInterval: u32 }));
  const will = fc
    .tuple(fc.record({ topic, payload: bytes, qos, retain: flag }), willProperties)
    .map(([fields, more]) => ({ will: { ...fields, ...more } }));
  const name = fc.record({ username: text, password: bytes }, { requiredKeys: five ? [] : ["username"] });
  const more = {
    ...limits,
    requestProblemInformation: flag,
    requestResponseInformation: flag,
    userProperties: pairs,
  };
  return joined(
    fc
      .record({ clientId: text, cleanStart: flag, keepAlive: u16 })
      .map((r) => ({ type: "connect", version, ...r })),
    fc.oneof(fc.constant({}), will),
    fc.oneof(fc.constant({}), name),
    when(
      five,
      fc.oneof(properties(more), properties({ ...more, ...authentication }, ["authenticationMethod"])),
    ),
  );
}

export function publish(version: Version, role: Role): fc.Arbitrary<Packet> {
  const model = {
    ...message,
    topicAlias: positive16,
    ...(role === "client"
      ? { subscriptionIdentifiers: fc.array(identifier, { minLength: 1, maxLength: 3 }) }
      : {}),
  };
  return joined(
    fc
      .record({ topic, payload: bytes, qos, retain: flag, dup: flag, packetId: positive16 })
      .map((p) => ({ type: "publish", ...p, ...(p.qos === 0 ? { dup: false, packetId: 0 } : {}) })),
    when(version === 5, properties(model)),
  );
}

function answer(version: Version): fc.Arbitrary<Packet> {
  const five = version === 5;
  const codes = (all: number[]) => (five ? fc.constantFrom(...all) : fc.constant(0));
  const received = fc.record({
    type: fc.constantFrom("puback", "pubrec"),
    packetId: positive16,
    reasonCode: codes([0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
  });
  const released = fc.record({
    type: fc.constantFrom("pubrel", "pubcomp"),
    packetId: positive16,
    reasonCode: codes([0, 0x92]),
  });
  return joined(fc.oneof(received, released), when(five, properties(reason)));
}

function request(version: Version): fc.Arbitrary<Packet> {
  const five = version === 5;
  const filter = five
    ? fc.record({ filter: text, qos, noLocal: flag, retainAsPublished: flag, retainHandling: handling })
    : fc
        .record({ filter: text, qos })
        .map((f) => ({ ...f, noLocal: false, retainAsPublished: false, retainHandling: 0 }));
  const subscribe = joined(
    fc.record({
      type: fc.constant("subscribe"),
      packetId: positive16,
      filters: fc.array(filter, { minLength: 1, maxLength: 5 }),
    }),
    when(five, properties({ subscriptionIdentifiers: identifier.map((id) => [id]), userProperties: pairs })),
  );
  const unsubscribe = joined(
    fc.record({
      type: fc.constant("unsubscribe"),
      packetId: positive16,
      filters: fc.array(text, { minLength: 1, maxLength: 5 }),
    }),
    when(five, properties({ userProperties: pairs })),
  );
  return fc.oneof(subscribe, unsubscribe);
}

const CONNACK = {
  ...limits,
  ...authentication,
  ...reason,
  assignedClientIdentifier: text,
  serverKeepAlive: u16,
  responseInformation: text,
  serverReference: text,
  maximumQos: bit,
  retainAvailable: flag,
  wildcardSubscriptionAvailable: flag,
  subscriptionIdentifiersAvailable: flag,
  sharedSubscriptionAvailable: flag,
};

function connack(version: Version): fc.Arbitrary<Packet> {
  const codes = version === 5 ? [0x80, 0x84, 0x85, 0x87, 0x95, 0x9f] : [1, 2, 3, 4, 5];
  const present = version === 3 ? fc.constant(false) : flag;
  const accepted = present.map((sessionPresent) => ({ type: "connack", sessionPresent, reasonCode: 0 }));
  const refused = fc
    .constantFrom(...codes)
    .map((reasonCode) => ({ type: "connack", sessionPresent: false, reasonCode }));
  return joined(fc.oneof(accepted, refused), when(version === 5, properties(CONNACK)));
}

function acknowledged(version: Version): fc.Arbitrary<Packet> {
  const five = version === 5;
  const granted = fc.constantFrom(...(five ? [0, 1, 2, 0x80, 0x87, 0x8f, 0x97, 0xa2] : [0, 1, 2, 0x80]));
  const removed = fc.array(fc.constantFrom(0, 0x11, 0x80, 0x87), { minLength: 1, maxLength: 5 });
  const suback = fc.record({
    type: fc.constant("suback"),
    packetId: positive16,
    reasonCodes: fc.array(granted, { minLength: 1, maxLength: 5 }),
  });
  const unsuback = fc.record({
    type: fc.constant("unsuback"),
    packetId: positive16,
    reasonCodes: five ? removed : fc.constant([]),
  });
  return joined(fc.oneof(suback, unsuback), when(five, properties(reason)));
}

function ending(version: Version, role: Role): fc.Arbitrary<Packet> {
  if (version !== 5) {
    return role === "server"
      ? fc.constantFrom<Packet>({ type: "pingreq" }, { type: "disconnect", reasonCode: 0 })
      : fc.constantFrom<Packet>({ type: "pingresp" });
  }
  const codes = role === "server" ? [0, 4, 0x80, 0x82, 0x93] : [0, 0x81, 0x82, 0x8b, 0x8e, 0x95, 0x9d];
  const model =
    role === "server" ? { ...reason, sessionExpiryInterval: u32 } : { ...reason, serverReference: text };
  const disconnect = joined(
    fc.constantFrom(...codes).map((reasonCode) => ({ type: "disconnect", reasonCode })),
    properties(model),
  );
  const auth = joined(
    fc
      .constantFrom(...(role === "server" ? [0x18, 0x19] : [0, 0x18]))
      .map((reasonCode) => ({ type: "auth", reasonCode })),
    properties({ ...authentication, ...reason }, ["authenticationMethod"]),
  );
  const ping = fc.constant<Packet>({ type: role === "server" ? "pingreq" : "pingresp" });
  return fc.oneof(disconnect, auth, ping);
}

/** Any packet but CONNECT that may reach `role`. */
export function packet(version: Version, role: Role): fc.Arbitrary<Packet> {
  const own = role === "server" ? [request(version)] : [connack(version), acknowledged(version)];
  return fc.oneof(publish(version, role), answer(version), ending(version, role), ...own);
}

/** Reads all packets of some frames, with the refusal last if there is one. */
export function readAll(reader: PacketReader, ...frames: Uint8Array[]): (Packet | Malformed)[] {
  const found: (Packet | Malformed)[] = [];
  for (const frame of frames) {
    reader.push(frame);
    for (let next = reader.next(); next !== undefined; next = reader.next()) found.push(next);
  }
  return found;
}

export function reader(role: Role, version?: Version): PacketReader {
  const options = { maxPacketBytes: MAX_PACKET_BYTES, role };
  return new PacketReader(version === undefined ? options : { ...options, version });
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
