// Cuts a stream of bytes into packets. Knows where a packet ends and which kinds may come; bodies are read by their own files.
import { type Context, readBody } from "./body-reader.ts";
import { readConnect, readProtocol } from "./connect-reader.ts";
import { Cursor, malformed } from "./cursor.ts";
import { fixedFlags, mayReach, type PacketType, packetType, type Role } from "./kinds.ts";
import type { Malformed, Packet, Version } from "./packets.ts";
import { ReasonCode } from "./reason.ts";

const { MalformedPacket, PacketTooLarge, ProtocolError } = ReasonCode;
const NONE = new Uint8Array(0);

export interface ReaderOptions {
  /** Largest packet taken, bytes with its header. */
  maxPacketBytes: number;
  /** The side that reads; "server" unless told. */
  role?: Role;
  /** Set for a connection whose CONNECT was read before (after hibernation), and by a client. */
  version?: Version;
}

/** A packet's kind and where its parts lie. */
interface Header {
  type: PacketType;
  flags: number;
  bodyAt: number;
  end: number;
  /** Whether the remaining length was longer than it need be. */
  padded: boolean;
}

/**
 * Reads the packets of one connection out of frames that may hold several packets or parts of one.
 *
 * Payloads and binary properties are views: of the pushed bytes when a packet lies within one frame. Whoever keeps one
 * beyond the turn copies it. After a `Malformed` the reader is dead: it takes and yields nothing more.
 *
 * @example
 * reader.push(frame);
 * for (let packet = reader.next(); packet !== undefined; packet = reader.next()) {
 *   if (packet.type === "malformed") return refuse(packet);
 *   handle(packet);
 * }
 */
export class PacketReader {
  readonly #maxPacketBytes: number;
  readonly #context: Context;
  readonly #cursor = new Cursor();
  /** Whether a CONNECT was seen, or the version set. */
  #connected = false;
  #dead = false;
  /** Unread bytes are `#bytes` from `#at` to `#end`. */
  #bytes: Uint8Array = NONE;
  #at = 0;
  #end = 0;
  /** Whether `#bytes` is ours and may be appended to behind `#end`. */
  #own = false;

  constructor({ maxPacketBytes, role = "server", version }: ReaderOptions) {
    this.#maxPacketBytes = maxPacketBytes;
    this.#context = { version: version ?? 4, role, flags: 0 };
    this.#connected = version !== undefined || role === "client";
  }

  /** The version that packets are read in: of the CONNECT, 4 before. What a refusal is to be written in. */
  get version(): Version {
    return this.#context.version;
  }

  /** Setting it says that the CONNECT was read before. */
  set version(version: Version) {
    this.#context.version = version;
    this.#connected = true;
  }

  /** Whether a `Malformed` was yielded. */
  get dead(): boolean {
    return this.#dead;
  }

  /** How many bytes were pushed and not read. */
  get unread(): number {
    return this.#end - this.#at;
  }

  /** A copy of the bytes of a packet begun; pushing them into another reader of the same version goes on from here. */
  get rest(): Uint8Array {
    return this.#bytes.slice(this.#at, this.#end);
  }

  /** Takes the bytes of one frame. They must not change until their packets were used. */
  push(bytes: Uint8Array): void {
    if (this.#dead || bytes.length === 0) return;
    if (this.#at === this.#end) {
      this.#bytes = bytes;
      this.#at = 0;
      this.#end = bytes.length;
      this.#own = false;
      return;
    }
    if (!this.#own || this.#end + bytes.length > this.#bytes.length) this.#move(bytes.length);
    this.#bytes.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  /** The next packet; undefined when more bytes are needed. */
  next(): Packet | Malformed | undefined {
    const header = this.#dead ? undefined : this.#header();
    if (header === undefined) {
      this.#settle();
      return undefined;
    }
    const packet = "reason" in header ? header : this.#packet(header);
    if (packet.type === "malformed") {
      this.#dead = true;
      this.#at = this.#end;
      this.#settle();
    }
    return packet;
  }

  /** Lets a frame go that was read, and keeps no whole frame for the few bytes of a packet begun. */
  #settle(): void {
    if (this.#at === this.#end) {
      this.#bytes = NONE;
      this.#at = 0;
      this.#end = 0;
    } else if (!this.#own) {
      this.#move(0);
    }
  }

  /** Moves the unread bytes into a buffer of our own, at most half full, so that each byte is moved few times. */
  #move(more: number): void {
    const length = this.#end - this.#at;
    const moved = new Uint8Array(Math.max(64, 2 * length, length + more));
    moved.set(this.#bytes.subarray(this.#at, this.#end));
    this.#bytes = moved;
    this.#at = 0;
    this.#end = length;
    this.#own = true;
  }

  /**
   * ```
   * | kind (4 bits) flags (4 bits) | remaining length (1-4 bytes) | body
   * ```
   */
  #header(): Header | Malformed | undefined {
    const bytes = this.#bytes;
    const at = this.#at;
    if (at === this.#end) return undefined;
    const type = this.#kind(bytes[at]!);
    if (typeof type !== "string") return type;
    let length = 0;
    let bodyAt = at + 1;
    for (let size = 0; ; size++, bodyAt++) {
      // [MQTT-1.5.5-1]
      if (size === 4)
        return malformed(MalformedPacket, "remaining length has more than 4 bytes", "MQTT-1.5.5-1");
      if (bodyAt === this.#end) return undefined;
      const byte = bytes[bodyAt]!;
      length += (byte & 127) << (7 * size);
      if (byte < 128) break;
    }
    bodyAt++;
    const padded = bodyAt > at + 2 && bytes[bodyAt - 1] === 0;
    const end = bodyAt + length;
    // [MQTT-3.2.2-15]
    if (end - at > this.#maxPacketBytes) {
      const limit = `at most ${this.#maxPacketBytes} bytes are taken`;
      return malformed(PacketTooLarge, `a packet of ${end - at} bytes: ${limit}`, "MQTT-3.2.2-15");
    }
    return end > this.#end ? undefined : { type, flags: bytes[at]! & 15, bodyAt, end, padded };
  }

  /** The kind of a first byte, if it may come now. */
  #kind(first: number): PacketType | Malformed {
    const { version, role } = this.#context;
    const type = packetType(first >> 4);
    if (type === undefined || (type === "auth" && this.#connected && version !== 5)) {
      return malformed(MalformedPacket, `packet type ${first >> 4} does not exist`);
    }
    if (!mayReach(type, role)) return malformed(ProtocolError, `a ${role} does not take ${type}`);
    if (role === "server" && (type === "connect") === this.#connected) {
      return this.#connected
        ? malformed(ProtocolError, "a second CONNECT", "MQTT-3.1.0-2")
        : malformed(ProtocolError, `the first packet is ${type}, not CONNECT`, "MQTT-3.1.0-1");
    }
    // [MQTT-2.1.3-1] MQTT 3.1 leaves these flags unused, and marks repeated requests in them.
    if (type !== "publish" && (first & 15) !== fixedFlags(type) && version !== 3) {
      return malformed(MalformedPacket, `${type} with flags ${first & 15}`, "MQTT-2.1.3-1");
    }
    return type;
  }

  #packet({ type, flags, bodyAt, end, padded }: Header): Packet | Malformed {
    const cursor = this.#cursor;
    cursor.open(this.#bytes, bodyAt, end);
    this.#at = end;
    this.#context.flags = flags;
    const packet = type === "connect" ? this.#connect() : readBody(type, cursor, this.#context);
    if (cursor.fault !== undefined) return cursor.fault;
    if (packet === undefined || !cursor.done) {
      return malformed(MalformedPacket, `${end - cursor.at} bytes too many at the end of ${type}`);
    }
    // [MQTT-1.5.5-1] is of 5.0 alone; earlier versions do not forbid a longer form.
    if (padded && this.version === 5) {
      return malformed(MalformedPacket, "remaining length is not minimal", "MQTT-1.5.5-1");
    }
    return packet;
  }

  #connect(): Packet | undefined {
    const { version, known } = readProtocol(this.#cursor);
    this.version = version;
    return known ? readConnect(this.#cursor, version) : undefined;
  }
}
