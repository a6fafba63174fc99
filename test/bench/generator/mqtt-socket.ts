// A WebSocket client over a TCP socket that carries MQTT packets, cheap enough for a thousand subscribers in one process: one read
// buffer for all sockets, frames parsed where they lie, packets handed on as places in that buffer.
import { createHash, randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";

const OPEN_TIMEOUT_MS = 60_000;
const READ_BYTES = 256 * 1024;
const HANDSHAKE_LIMIT_BYTES = 16 * 1024;
const HANDSHAKE_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const HEAD_END = "\r\n\r\n";
const BINARY = 0x82;
const CONTROL = 0x08;
const OPCODE_PING = 0x9;
const OPCODE_PONG = 0xa;
const OPCODE_CLOSE = 0x8;
const NOTHING = Buffer.alloc(0);

// Reads are handled one after the other to the end, so all sockets share the buffer; what outlives a read is copied.
const readBuffer = Buffer.allocUnsafe(READ_BYTES);

/** What to do with what arrives. */
export interface PacketHandlers {
  /** One whole MQTT packet; its body is `bytes[start..end)`, valid until this returns. */
  packet(first: number, bytes: Buffer, start: number, end: number): void;
  /** Everything that one read brought was handed on: the moment to send what became due. */
  readDone?: (() => void) | undefined;
  /** The socket closed although nobody here asked for it. */
  closed(reason: string): void;
}

/** An open WebSocket that speaks the subprotocol `mqtt`. */
export class MqttSocket {
  readonly #on: PacketHandlers;
  readonly #url: string;
  readonly #mask = randomBytes(4);
  readonly #tcp: Socket;
  readonly #key = randomBytes(16).toString("base64");
  #opened: ((error?: Error) => void) | undefined;
  #closing = false;
  /** Of a frame header or a control frame, as far as it has come. */
  #head: Buffer = NOTHING;
  /** Bytes of the current data frame that have not come yet. */
  #frameRest = 0;
  /** Of an MQTT packet, as far as it has come. */
  #partial: Buffer = NOTHING;

  /** Connects; resolves once the handshake is over. */
  static open(url: string, protocol: string | undefined, on: PacketHandlers): Promise<MqttSocket> {
    return new Promise((resolve, reject) => {
      const socket = new MqttSocket(url, protocol, on, (error) => {
        clearTimeout(timer);
        if (error) reject(error);
        else resolve(socket);
      });
      const timer = setTimeout(() => socket.#fail("the handshake was not answered in time"), OPEN_TIMEOUT_MS);
    });
  }

  private constructor(
    url: string,
    protocol: string | undefined,
    on: PacketHandlers,
    opened: (error?: Error) => void,
  ) {
    this.#url = url;
    this.#on = on;
    this.#opened = opened;
    const { hostname, port, host, pathname } = new URL(url);
    this.#tcp = connect({
      host: hostname,
      port: Number(port),
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          this.#read(length);
          return true;
        },
      },
    });
    this.#tcp.on("error", (error) => this.#fail(error.message));
    this.#tcp.on("close", () => this.#fail("the peer ended the connection"));
    this.#tcp.write(
      `GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${this.#key}\r\n` +
        `${protocol === undefined ? "" : `Sec-WebSocket-Protocol: ${protocol}\r\n`}\r\n`,
    );
  }

  /** Sends bytes as one binary frame. */
  send(payload: Buffer): void {
    this.sendAll([payload]);
  }

  /** Sends several binary frames in one write. */
  sendAll(payloads: readonly Buffer[]): void {
    let size = 0;
    for (const payload of payloads) size += payload.length + 14;
    const frames = Buffer.allocUnsafe(size);
    let at = 0;
    for (const payload of payloads) at = this.#frame(frames, at, BINARY, payload);
    this.#tcp.write(frames.subarray(0, at));
  }

  close(): void {
    this.#closing = true;
    this.#tcp.destroy();
  }

  #frame(target: Buffer, at: number, first: number, payload: Buffer): number {
    target[at++] = first;
    if (payload.length < 126) target[at++] = 0x80 | payload.length;
    else if (payload.length < 65_536) {
      target[at++] = 0x80 | 126;
      at = target.writeUInt16BE(payload.length, at);
    } else {
      target[at++] = 0x80 | 127;
      at = target.writeBigUInt64BE(BigInt(payload.length), at);
    }
    const mask = this.#mask;
    target.set(mask, at);
    at += 4;
    for (let i = 0; i < payload.length; i++) target[at + i] = payload[i]! ^ mask[i & 3]!;
    return at + payload.length;
  }

  #fail(reason: string): void {
    if (this.#closing) return;
    this.close();
    const text = `${this.#url}: ${reason}`;
    const opened = this.#opened;
    this.#opened = undefined;
    if (opened) opened(new Error(text));
    else this.#on.closed(text);
  }

  #read(length: number): void {
    if (this.#closing) return;
    let bytes = readBuffer;
    let end = length;
    if (this.#head.length > 0) {
      bytes = Buffer.concat([this.#head, readBuffer.subarray(0, length)]);
      end = bytes.length;
      this.#head = NOTHING;
    }
    const start = this.#opened ? this.#readHandshake(bytes, end) : 0;
    if (start < 0) {
      this.#head = Buffer.from(bytes.subarray(0, end));
      if (end > HANDSHAKE_LIMIT_BYTES) this.#fail("the handshake's answer is too long");
      return;
    }
    this.#readFrames(bytes, start, end);
    if (!this.#closing) this.#on.readDone?.();
  }

  /** Where the answer to the handshake ends, or -1 when it has not come whole. */
  #readHandshake(bytes: Buffer, end: number): number {
    const answer = bytes.toString("latin1", 0, end);
    const headEnd = answer.indexOf(HEAD_END);
    if (headEnd < 0) return -1;
    const accept = createHash("sha1").update(`${this.#key}${HANDSHAKE_GUID}`).digest("base64");
    if (!answer.startsWith("HTTP/1.1 101") || !answer.includes(accept)) {
      this.#fail(`the handshake was answered ${answer.slice(0, 200)}`);
      return end;
    }
    const opened = this.#opened!;
    this.#opened = undefined;
    opened();
    return headEnd + HEAD_END.length;
  }

  #readFrames(bytes: Buffer, at: number, end: number): void {
    while (at < end && !this.#closing) {
      if (this.#frameRest > 0) {
        const take = Math.min(this.#frameRest, end - at);
        this.#frameRest -= take;
        this.#readPackets(bytes, at, at + take);
        at += take;
        continue;
      }
      // A server's frames are not masked (RFC 6455, 5.1): flags and opcode, a length of 7, 16 or 64 bits, the payload.
      const short = end - at >= 2 ? bytes[at + 1]! & 0x7f : 0;
      const headBytes = short < 126 ? 2 : short === 126 ? 4 : 10;
      const control = (bytes[at]! & CONTROL) !== 0;
      if (end - at < headBytes || (control && end - at < headBytes + short)) {
        this.#head = Buffer.from(bytes.subarray(at, end));
        return;
      }
      if (control) this.#onControl(bytes[at]! & 0x0f, bytes.subarray(at + 2, at + 2 + short));
      else if (short < 126) this.#frameRest = short;
      else
        this.#frameRest = short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
      at += headBytes + (control ? short : 0);
    }
  }

  #onControl(opcode: number, payload: Buffer): void {
    if (opcode === OPCODE_CLOSE) {
      const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
      this.#fail(`closed with ${code} ${payload.toString("utf8", 2)}`);
    } else if (opcode === OPCODE_PING) {
      const pong = Buffer.allocUnsafe(payload.length + 14);
      this.#tcp.write(pong.subarray(0, this.#frame(pong, 0, 0x80 | OPCODE_PONG, payload)));
    }
  }

  /** A frame's bytes are a piece of the stream of packets, cut anywhere. */
  #readPackets(bytes: Buffer, at: number, end: number): void {
    if (this.#partial.length > 0) {
      bytes = Buffer.concat([this.#partial, bytes.subarray(at, end)]);
      at = 0;
      end = bytes.length;
      this.#partial = NOTHING;
    }
    while (at < end) {
      let start = at + 1;
      let length = 0;
      let more = true;
      for (let shift = 0; more && start < end; shift += 7) {
        const byte = bytes[start++]!;
        length |= (byte & 0x7f) << shift;
        more = byte > 0x7f;
      }
      if (more || start + length > end) {
        this.#partial = Buffer.from(bytes.subarray(at, end));
        return;
      }
      this.#on.packet(bytes[at]!, bytes, start, start + length);
      at = start + length;
    }
  }
}
