// Messages of topics on their way to a gateway: many records in one byte array, numbered so that the gateway can put them in order.
import { Writer } from "../bytes/writer.ts";
import { RecordView } from "../message/record.ts";

/* PERSISTED in a topic object's outbox from byte 21 on, and sent between objects. Little-endian:
 *
 *    0 u8  version (1)
 *    1 f64 stream: the life of the topic object that sends; rises with every life
 *    9 u32 number within the stream and for this gateway, from 1
 *   13 f64 id: 0, or the number under which the object keeps the packet until the gateway has it
 *   21 records (message/record.ts) until the end; each holds its topic, epoch and seq
 */
const VERSION = 1;
const STREAM = 1;
const NUMBER = 9;
const ID = 13;
const START = 21;

/** Where a packet stands: see the picture above. */
export interface TopicPacketHead {
  stream: number;
  number: number;
  id: number;
}

/**
 * Collects records for one gateway.
 *
 * @example const packet = new TopicPacketWriter(); packet.add(record); gateway.topicDeliver(name, packet.take({ stream, number: 1, id: 0 }));
 */
export class TopicPacketWriter {
  readonly #to: Writer;

  /** @param bytes roughly what will be added */
  constructor(bytes = 4096) {
    this.#to = new Writer(bytes + START);
    this.#to.length = START;
  }

  /** Bytes collected so far, the head included. */
  get size(): number {
    return this.#to.length;
  }

  /** Whether nothing was added. */
  get empty(): boolean {
    return this.#to.length === START;
  }

  /** Appends one record, or several that follow each other. */
  add(records: Uint8Array): void {
    this.#to.raw(records);
  }

  /** The records added so far, without a head. */
  records(): Uint8Array {
    return this.#to.bytes.slice(START, this.#to.length);
  }

  /** The packet. */
  take(head: TopicPacketHead): Uint8Array {
    const to = this.#to;
    const { length } = to;
    to.length = 0;
    to.u8(VERSION);
    to.f64(head.stream);
    to.u32(head.number);
    to.f64(head.id);
    to.length = length;
    return to.take();
  }
}

/**
 * Walks over a packet of topics' messages.
 *
 * @throws RangeError (constructor) on another version
 * @example for (const p = new TopicPacketView(packet); p.valid; p.next()) fanOut(p.message.topic, p.message);
 */
export class TopicPacketView implements TopicPacketHead {
  readonly stream: number;
  readonly number: number;
  readonly id: number;
  readonly message: RecordView;

  constructor(packet: Uint8Array) {
    const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
    if (view.getUint8(0) !== VERSION) throw new RangeError("a topic packet of an unknown version");
    this.stream = view.getFloat64(STREAM, true);
    this.number = view.getUint32(NUMBER, true);
    this.id = view.getFloat64(ID, true);
    this.message = new RecordView(packet, START);
  }

  /** Whether a record stands here. */
  get valid(): boolean {
    return this.message.valid;
  }

  /** Goes to the next record; throws a RangeError when the bytes are not records. */
  next(): void {
    this.message.next();
  }
}

/** How many records a packet holds from a place on: `message.at` of a view that has not moved. */
export function countRecords(packet: Uint8Array, start: number): number {
  let count = 0;
  for (const view = new RecordView(packet, start); view.valid; view.next()) count++;
  return count;
}
