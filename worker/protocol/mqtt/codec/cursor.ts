// Reads MQTT's numbers and texts out of one packet. The first fault sticks, so that a packet is read straight through and
// judged once at its end.
import type { Malformed } from "./packets.ts";
import { ReasonCode } from "./reason.ts";

// [MQTT-1.5.4-1] [MQTT-1.5.4-3] refuses what is ill-formed (surrogates are) and keeps a byte order mark.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const { MalformedPacket, ProtocolError, TopicNameInvalid } = ReasonCode;

function decode(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Builds the value that says what was wrong. */
export function malformed(reason: number, message: string, clause?: string): Malformed {
  return clause === undefined
    ? { type: "malformed", reason, message }
    : { type: "malformed", reason, message, clause };
}

/**
 * A place in a packet's bytes. After a fault every read yields 0 or nothing and `fault` says what it was. `what` names the
 * field in the message.
 *
 * @example cursor.open(bytes, 2, 20); const topic = cursor.text("topic"); if (cursor.fault) return cursor.fault;
 */
export class Cursor {
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  /** Where the packet, or the block of properties being read, ends. */
  end = 0;
  fault: Malformed | undefined;
  /** The last topic name, kept while it is ASCII: clients publish to the same one again and again. */
  #topic = "";

  /** Starts on the body of another packet. */
  open(bytes: Uint8Array, at: number, end: number): void {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
    this.fault = undefined;
  }

  /** Whether everything was read. */
  get done(): boolean {
    return this.at >= this.end;
  }

  /** Notes a fault, unless one came before, and reads no further. */
  fail(reason: number, message: string, clause?: string): void {
    this.fault ??= malformed(reason, message, clause);
    this.at = this.end;
  }

  u8(what: string): number {
    return this.#has(1, what) ? this.bytes[this.at++]! : 0;
  }

  u16(what: string): number {
    if (!this.#has(2, what)) return 0;
    const value = this.bytes[this.at]! * 0x100 + this.bytes[this.at + 1]!;
    this.at += 2;
    return value;
  }

  u32(what: string): number {
    const high = this.u16(what);
    return high * 0x1_0000 + this.u16(what);
  }

  /** A packet identifier. */
  packetId(): number {
    const id = this.u16("packet identifier");
    // [MQTT-2.2.1-3]
    if (id === 0) this.fail(ProtocolError, "packet identifier is 0", "MQTT-2.2.1-3");
    return id;
  }

  /** A variable byte integer, 0 to 268,435,455, in its shortest form. */
  varInt(what: string): number {
    let value = 0;
    for (let size = 0; size < 4; size++) {
      const byte = this.u8(what);
      value += (byte & 127) << (7 * size);
      if (byte > 127) continue;
      // [MQTT-1.5.5-1]
      if (byte === 0 && size > 0) this.fail(MalformedPacket, `${what} is not minimal`, "MQTT-1.5.5-1");
      return value;
    }
    this.fail(MalformedPacket, `${what} has more than 4 bytes`, "MQTT-1.5.5-1");
    return 0;
  }

  /** UTF-8 after its length in 16 bits. */
  text(what: string): string {
    const bytes = this.binary(what);
    if (bytes.length === 0) return "";
    const text = decode(bytes);
    if (text === undefined) {
      this.fail(MalformedPacket, `${what} is not well-formed UTF-8`, "MQTT-1.5.4-1");
      return "";
    }
    // [MQTT-1.5.4-2]
    if (text.includes("\0")) this.fail(MalformedPacket, `${what} contains U+0000`, "MQTT-1.5.4-2");
    return text;
  }

  /** A topic name, possibly empty, without wildcards. */
  topicName(what: string): string {
    const start = this.at;
    if (this.#repeatsTopic()) return this.#topic;
    const topic = this.text(what);
    // [MQTT-3.3.2-2] [MQTT-4.7.0-1]
    if (topic.includes("+") || topic.includes("#")) {
      this.fail(TopicNameInvalid, `${what} ${JSON.stringify(topic)} has a wildcard`, "MQTT-3.3.2-2");
    }
    const ascii = this.fault === undefined && topic.length === this.at - start - 2;
    if (ascii) this.#topic = topic;
    return topic;
  }

  /** A view (not a copy) of bytes after their length in 16 bits. */
  binary(what: string): Uint8Array {
    const length = this.u16(what);
    if (!this.#has(length, what)) return this.bytes.subarray(0, 0);
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** A view of all that is left. */
  rest(): Uint8Array {
    const from = this.at;
    this.at = this.end;
    return this.bytes.subarray(from, this.end);
  }

  #has(length: number, what: string): boolean {
    if (this.at + length <= this.end) return true;
    this.fail(MalformedPacket, `the packet ends inside ${what}`);
    return false;
  }

  /** Passes over the topic name if it is the last one again. */
  #repeatsTopic(): boolean {
    const topic = this.#topic;
    const start = this.at + 2;
    const { length } = topic;
    if (length === 0 || start + length > this.end) return false;
    if (this.bytes[start - 2] !== length >> 8 || this.bytes[start - 1] !== (length & 255)) return false;
    for (let i = 0; i < length; i++) if (this.bytes[start + i] !== topic.charCodeAt(i)) return false;
    this.at = start + length;
    return true;
  }
}
