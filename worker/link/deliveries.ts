// Deliveries on their way from a queue to a gateway or to an HTTP call: many in one byte array.
import { Writer } from "../bytes/writer.ts";
import { RecordView } from "../message/record.ts";
import type { Handle } from "./handle.ts";

/* u8 version (1), f64 epoch, f64 stream, u32 number, then deliveries until the end, each:
 *
 *   f64 ref of the consumer   u32 its generation   f64 position   f64 lease   u16 attempt   u8 bit 0: redelivered, bits 1–2: kind
 *   kind 0 record (message/record.ts)
 *   others u32 4: word about the consumer or about a delivery of it, in the order of its deliveries. 1 settled by another
 *          consumer   2 it is the active consumer   3 it stands by
 */
const VERSION = 1;
const STREAM = 9;
const NUMBER = 17;
const START = 21;
const HEADER = 31;
/** A word without a message has the length of one in its place. */
const LENGTH = 4;
const KINDS = ["message", "settled", "active", "standby"] as const;

/** What a delivery is: a message, or a word to its consumer. */
export type DeliveryKind = (typeof KINDS)[number];

/** What a delivery says besides the message. */
export interface DeliveryHead extends Handle {
  /** The consumer. */
  ref: number;
  /** Which of the consumer's connections it is for. */
  generation: number;
  /** 1 for the first. */
  attempt: number;
  redelivered: boolean;
}

/** Collects deliveries to one gateway. */
export class DeliveryWriter {
  readonly #to = new Writer(4096);

  constructor(epoch: number) {
    this.#to.u8(VERSION);
    this.#to.f64(epoch);
    this.#to.f64(0);
    this.#to.u32(0);
  }

  /** Bytes collected so far. */
  get size(): number {
    return this.#to.length;
  }

  add(delivery: DeliveryHead, record: Uint8Array): void {
    this.#head(delivery, delivery.redelivered ? 1 : 0, record.length);
    this.#to.raw(record);
  }

  /** Adds a word to a consumer, about a delivery that it has if it is `settled`. */
  tell(delivery: DeliveryHead, kind: Exclude<DeliveryKind, "message">): void {
    this.#head(delivery, KINDS.indexOf(kind) << 1, LENGTH);
    this.#to.u32(LENGTH);
  }

  #head(delivery: DeliveryHead, flags: number, length: number): void {
    const to = this.#to;
    to.reserve(HEADER + length);
    to.f64(delivery.ref);
    to.u32(delivery.generation);
    to.f64(delivery.position);
    to.f64(delivery.lease);
    to.u16(Math.min(delivery.attempt, 65_535));
    to.u8(flags);
  }

  /** The packet. Those that a gateway gets are numbered within a stream, so that it can put them in order. */
  take(stream = 0, number = 0): Uint8Array {
    this.#to.patchF64(STREAM, stream);
    this.#to.patchU32(NUMBER, number);
    return this.#to.take();
  }
}

/**
 * Walks over a packet of deliveries.
 *
 * @throws RangeError (constructor) on another version
 * @example for (const d = new DeliveryView(packet); d.valid; d.next()) send(d.ref, d.message.decode());
 */
export class DeliveryView {
  readonly epoch: number;
  readonly stream: number;
  readonly number: number;
  readonly message: RecordView;
  readonly #view: DataView;
  #at = START;

  constructor(packet: Uint8Array) {
    this.#view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
    if (this.#view.getUint8(0) !== VERSION) throw new RangeError("deliveries of an unknown version");
    this.epoch = this.#view.getFloat64(1, true);
    this.stream = this.#view.getFloat64(STREAM, true);
    this.number = this.#view.getUint32(NUMBER, true);
    this.message = new RecordView(packet, START + HEADER);
  }

  get valid(): boolean {
    return this.#at < this.#view.byteLength;
  }

  next(): void {
    this.#at += HEADER + this.message.size;
    this.message.at = this.#at + HEADER;
  }

  get ref(): number {
    return this.#view.getFloat64(this.#at, true);
  }

  get generation(): number {
    return this.#view.getUint32(this.#at + 8, true);
  }

  get position(): number {
    return this.#view.getFloat64(this.#at + 12, true);
  }

  get lease(): number {
    return this.#view.getFloat64(this.#at + 20, true);
  }

  get attempt(): number {
    return this.#view.getUint16(this.#at + 28, true);
  }

  /** What it is; only a `message` has one. */
  get kind(): DeliveryKind {
    return KINDS[(this.#view.getUint8(this.#at + 30) >> 1) & 3]!;
  }

  get redelivered(): boolean {
    return (this.#view.getUint8(this.#at + 30) & 1) === 1;
  }
}
