// The few MQTT 3.1.1 packets that the generator sends, as bytes. One topic and one payload size per job, so that a PUBLISH has one
// length and its fields stand at fixed places:
//
//   PUBLISH QoS 0  30 len | topic length (2) topic | payload        payload: publisher (1) sequence (4) time (8) filler
//   PUBLISH QoS>0  32/34 len | topic length (2) topic | id (2) | payload
const PROTOCOL_LEVEL = 4;
const CLEAN_SESSION = 0x02;
const KEEP_ALIVE_SECONDS = 3600;

/** Packet types, the upper half of a packet's first byte. */
export const CONNACK = 2;
export const PUBLISH = 3;
export const PUBACK = 4;
export const PUBREC = 5;
export const PUBCOMP = 7;
export const SUBACK = 9;

const SEQUENCE_AT = 1;
const TIME_AT = 5;
const FILLED_FROM = 13;

/** CONNECT with a clean session and no credentials. */
export function connectPacket(clientId: string): Buffer {
  const head = Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, PROTOCOL_LEVEL, CLEAN_SESSION, 0, 0]);
  head.writeUInt16BE(KEEP_ALIVE_SECONDS, 8);
  return packet(0x10, Buffer.concat([head, text(clientId)]));
}

/** SUBSCRIBE to one filter. */
export function subscribePacket(id: number, filter: string, qos: number): Buffer {
  return packet(0x82, Buffer.concat([u16(id), text(filter), Buffer.from([qos])]));
}

/** PUBACK (`0x40`), PUBREC (`0x50`) or PUBREL (`0x62`), given the first byte. */
export function ackPacket(first: number, id: number): Buffer {
  return packet(first, u16(id));
}

/** A PUBLISH of fixed length whose changing fields are written in place. */
export class PublishTemplate {
  readonly bytes: Buffer;
  readonly #idAt: number;
  readonly #payloadAt: number;

  constructor(qos: number, topic: string, payloadBytes: number) {
    const payload = Buffer.alloc(payloadBytes, "abcdefghijklmnopqrstuvwxyz").fill(0, 0, FILLED_FROM);
    const id = qos === 0 ? Buffer.alloc(0) : u16(0);
    this.bytes = packet(0x30 | (qos << 1), Buffer.concat([text(topic), id, payload]));
    this.#payloadAt = this.bytes.length - payloadBytes;
    this.#idAt = this.#payloadAt - id.length;
  }

  /** Copies the packet to `target` at `at` with these fields and returns where it ends; `id` is for QoS 1 and 2. */
  write(
    target: Buffer,
    at: number,
    fields: { publisher: number; sequence: number; timeMs: number; id?: number | undefined },
  ): number {
    this.bytes.copy(target, at);
    if (fields.id !== undefined) target.writeUInt16BE(fields.id, at + this.#idAt);
    const payloadAt = at + this.#payloadAt;
    target[payloadAt] = fields.publisher;
    target.writeUInt32BE(fields.sequence, payloadAt + SEQUENCE_AT);
    target.writeDoubleBE(fields.timeMs, payloadAt + TIME_AT);
    return at + this.bytes.length;
  }
}

/** The sequence number in a payload that begins at `payloadAt`. */
export function sequenceAt(bytes: Buffer, payloadAt: number): number {
  const at = payloadAt + SEQUENCE_AT;
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** The time in a payload that begins at `payloadAt`. */
export function timeAt(bytes: Buffer, payloadAt: number): number {
  return bytes.readDoubleBE(payloadAt + TIME_AT);
}

/** The packet id of a QoS 1 or 2 PUBLISH, which stands before its payload. */
export function publishIdAt(bytes: Buffer, payloadAt: number): number {
  return bytes.readUInt16BE(payloadAt - 2);
}

function packet(first: number, body: Buffer): Buffer {
  const length: number[] = [];
  for (let rest = body.length; length.length === 0 || rest > 0; rest >>>= 7) {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
  }
  return Buffer.concat([Buffer.from([first, ...length]), body]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u16(bytes.length), bytes]);
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}
