// A message as bytes: written once by the adapter that received it, stored, moved and delivered as it is.
// Knows nothing of queues, protocols or storage.
import { decodeText } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";

/** How the body reads: JSON text, other text, or bytes. */
export type BodyKind = 0 | 1 | 2;
export const JSON_BODY: BodyKind = 0;
export const TEXT_BODY: BodyKind = 1;
export const BYTES_BODY: BodyKind = 2;

/** At most once, at least once, exactly once. */
export type Qos = 0 | 1 | 2;

/** A message in full. Text that is absent is ""; times are ms since the epoch, 0 when absent. */
export interface Message {
  /** The topic it was published to, "" when it was published to a queue. */
  topic: string;
  /** Client id of who published it, "" when not known. */
  publisher: string;
  messageId: string;
  /** Whether the publisher chose the messageId: only then is it held against the dedup window. */
  publisherId: boolean;
  group: string;
  contentType: string;
  replyTo: string;
  correlationId: string;
  /** A JSON object of strings. */
  headers: string;
  /** A JSON array of why this message was dead-lettered before. */
  deaths: string;
  /** Address that is told how the message ended. */
  receiptTo: string;
  bodyKind: BodyKind;
  /** JSON or other text as a string, bytes as bytes. */
  body: string | Uint8Array;
  priority: number;
  /** How surely it must reach the subscribers of a topic: MQTT's quality of service. */
  qos: Qos;
  /** The topic keeps it for later subscribers. */
  retain: boolean;
  /** The publisher vouches that the body is UTF-8: MQTT's payload format indicator. */
  utf8: boolean;
  /** Given by the topic; a queue has one for all its messages. */
  epoch: number;
  /** Given by the queue or topic. */
  seq: number;
  time: number;
  expiresAt: number;
  dueAt: number;
  /** Deliveries and failures so far: kept when a message in back-off moves within its queue. */
  attempts: number;
  failures: number;
}

/** A message of which nothing is said: what others are made of. */
export const EMPTY_MESSAGE: Readonly<Message> = {
  topic: "",
  publisher: "",
  messageId: "",
  publisherId: false,
  group: "",
  contentType: "",
  replyTo: "",
  correlationId: "",
  headers: "",
  deaths: "",
  receiptTo: "",
  bodyKind: TEXT_BODY,
  body: "",
  priority: 0,
  qos: 0,
  retain: false,
  utf8: true,
  epoch: 0,
  seq: 0,
  time: 0,
  expiresAt: 0,
  dueAt: 0,
  attempts: 0,
  failures: 0,
};

/* PERSISTED and sent between objects. Grows only through a new version number. Little-endian:
 *
 *   0 u32 length of the record      32 f64 dueAt               52 u16 correlationId length
 *   4 u8  version (2)               40 u16 attempts            54 u16 topic length
 *   5 u8  priority                  42 u16 failures            56 u32 headers length
 *   6 u8  body kind                 44 u16 messageId length    60 u32 deaths length
 *   7 u8  flags                     46 u16 group length        64 u16 publisher length
 *   8 f64 seq   16 f64 time         48 u16 contentType length  66 u16 receiptTo length  68 f64 epoch
 *  24 f64 expiresAt                 50 u16 replyTo length      76 the texts, then the body
 *
 * flags: bit 0 publisherId, 1 retain, 2 utf8, 3–4 qos
 * texts: topic, publisher, messageId, group, contentType, replyTo, correlationId, headers, deaths, receiptTo
 * Version 1 had no receiptTo, and 0 in the place of its length.
 */
const VERSION = 2;
const HEADER = 76;
const SEQ = 8;
const TIME = 16;
const EXPIRES = 24;
const DUE = 32;
const ATTEMPTS = 40;
const FAILURES = 42;
const TOPIC_LENGTH = 54;
const PUBLISHER_LENGTH = 64;
const RECEIPT_LENGTH = 66;
const EPOCH = 68;
const PUBLISHER_ID = 1;
const RETAIN = 2;
const UTF8 = 4;
const QOS_SHIFT = 3;
/** The lengths of the texts before headers and deaths, in their order. */
const SHORT_LENGTHS = [TOPIC_LENGTH, PUBLISHER_LENGTH, 44, 46, 48, 50, 52];

/** Appends a message's record. */
export function writeMessage(to: Writer, message: Message): void {
  const start = to.length;
  to.reserve(HEADER + 256);
  to.u32(0);
  to.u8(VERSION);
  to.u8(message.priority);
  to.u8(message.bodyKind);
  to.u8(flagsOf(message));
  to.f64(message.seq);
  to.f64(message.time);
  to.f64(message.expiresAt);
  to.f64(message.dueAt);
  to.u16(message.attempts);
  to.u16(message.failures);
  to.length = start + HEADER;
  to.patchF64(start + EPOCH, message.epoch);
  to.patchU16(start + TOPIC_LENGTH, to.text(message.topic));
  to.patchU16(start + PUBLISHER_LENGTH, to.text(message.publisher));
  to.patchU16(start + 44, to.text(message.messageId));
  to.patchU16(start + 46, to.text(message.group));
  to.patchU16(start + 48, to.text(message.contentType));
  to.patchU16(start + 50, to.text(message.replyTo));
  to.patchU16(start + 52, to.text(message.correlationId));
  to.patchU32(start + 56, to.text(message.headers));
  to.patchU32(start + 60, to.text(message.deaths));
  to.patchU16(start + RECEIPT_LENGTH, to.text(message.receiptTo));
  if (typeof message.body === "string") to.text(message.body);
  else to.raw(message.body);
  to.patchU32(start, to.length - start);
}

function flagsOf({ publisherId, retain, utf8, qos }: Message): number {
  return (publisherId ? PUBLISHER_ID : 0) | (retain ? RETAIN : 0) | (utf8 ? UTF8 : 0) | (qos << QOS_SHIFT);
}

/**
 * Points at one record inside bytes that hold many, and reads the few fields a queue decides by without building objects.
 *
 * @example for (const r = new RecordView(bytes); r.valid; r.next()) total += r.size;
 */
export class RecordView {
  readonly bytes: Uint8Array;
  at: number;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.at = at;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Whether a record begins here. */
  get valid(): boolean {
    return this.at < this.bytes.length;
  }

  /** Length of the record, bytes. */
  get size(): number {
    return this.#view.getUint32(this.at, true);
  }

  /** Goes to the next record; throws a RangeError when this one's size cannot be: the bytes are not records. */
  next(): void {
    const { size } = this;
    if (size < HEADER || this.at + size > this.bytes.length)
      throw new RangeError(`a record of ${size} bytes`);
    this.at += size;
  }

  get priority(): number {
    return this.#view.getUint8(this.at + 5);
  }

  get publisherId(): boolean {
    return (this.#view.getUint8(this.at + 7) & PUBLISHER_ID) !== 0;
  }

  get retain(): boolean {
    return (this.#view.getUint8(this.at + 7) & RETAIN) !== 0;
  }

  get qos(): Qos {
    return ((this.#view.getUint8(this.at + 7) >> QOS_SHIFT) & 3) as Qos;
  }

  get epoch(): number {
    return this.#view.getFloat64(this.at + EPOCH, true);
  }

  get seq(): number {
    return this.#view.getFloat64(this.at + SEQ, true);
  }

  get time(): number {
    return this.#view.getFloat64(this.at + TIME, true);
  }

  get expiresAt(): number {
    return this.#view.getFloat64(this.at + EXPIRES, true);
  }

  get dueAt(): number {
    return this.#view.getFloat64(this.at + DUE, true);
  }

  get attempts(): number {
    return this.#view.getUint16(this.at + ATTEMPTS, true);
  }

  get failures(): number {
    return this.#view.getUint16(this.at + FAILURES, true);
  }

  get topic(): string {
    return this.#short(0);
  }

  get publisher(): string {
    return this.#short(1);
  }

  get messageId(): string {
    return this.#short(2);
  }

  get group(): string {
    return this.#short(3);
  }

  get contentType(): string {
    return this.#short(4);
  }

  get replyTo(): string {
    return this.#short(5);
  }

  get correlationId(): string {
    return this.#short(6);
  }

  get bodyKind(): BodyKind {
    return this.#view.getUint8(this.at + 6) as BodyKind;
  }

  /** A JSON object of strings, "" when there are no headers. */
  get headers(): string {
    const length = this.#view.getUint32(this.at + 56, true);
    let start = this.at + HEADER;
    for (const field of SHORT_LENGTHS) start += this.#view.getUint16(this.at + field, true);
    return decodeText(this.bytes, start, start + length);
  }

  /** Whether somebody wants to be told how it ends. */
  get wantsReceipt(): boolean {
    return this.#view.getUint16(this.at + RECEIPT_LENGTH, true) > 0;
  }

  /** Bytes of the body. */
  get bodyLength(): number {
    return this.at + this.size - this.#bodyStart();
  }

  /** A view (not a copy) of the body's bytes: JSON and other text as UTF-8. */
  get body(): Uint8Array {
    return this.bytes.subarray(this.#bodyStart(), this.at + this.size);
  }

  /** A view (not a copy) of the record. */
  get record(): Uint8Array {
    return this.bytes.subarray(this.at, this.at + this.size);
  }

  setSeq(value: number): void {
    this.#view.setFloat64(this.at + SEQ, value, true);
  }

  setEpoch(value: number): void {
    this.#view.setFloat64(this.at + EPOCH, value, true);
  }

  setTime(value: number): void {
    this.#view.setFloat64(this.at + TIME, value, true);
  }

  setExpiresAt(value: number): void {
    this.#view.setFloat64(this.at + EXPIRES, value, true);
  }

  setDueAt(value: number): void {
    this.#view.setFloat64(this.at + DUE, value, true);
  }

  setCounts(attempts: number, failures: number): void {
    this.#view.setUint16(this.at + ATTEMPTS, Math.min(attempts, 65_535), true);
    this.#view.setUint16(this.at + FAILURES, Math.min(failures, 65_535), true);
  }

  /** Reads the message in full. */
  decode(): Message {
    const view = this.#view;
    const at = this.at;
    const end = at + this.size;
    const bodyKind = view.getUint8(at + 6) as BodyKind;
    const texts = new Texts(this.bytes, at + HEADER, bodyKind === BYTES_BODY ? this.#bodyStart() : end);
    return {
      topic: texts.next(view.getUint16(at + TOPIC_LENGTH, true)),
      publisher: texts.next(view.getUint16(at + PUBLISHER_LENGTH, true)),
      messageId: texts.next(view.getUint16(at + 44, true)),
      publisherId: this.publisherId,
      group: texts.next(view.getUint16(at + 46, true)),
      contentType: texts.next(view.getUint16(at + 48, true)),
      replyTo: texts.next(view.getUint16(at + 50, true)),
      correlationId: texts.next(view.getUint16(at + 52, true)),
      headers: texts.next(view.getUint32(at + 56, true)),
      deaths: texts.next(view.getUint32(at + 60, true)),
      receiptTo: texts.next(view.getUint16(at + RECEIPT_LENGTH, true)),
      bodyKind,
      body: bodyKind === BYTES_BODY ? this.bytes.slice(this.#bodyStart(), end) : texts.rest(),
      priority: this.priority,
      qos: this.qos,
      retain: this.retain,
      utf8: (view.getUint8(at + 7) & UTF8) !== 0,
      epoch: this.epoch,
      seq: this.seq,
      time: this.time,
      expiresAt: this.expiresAt,
      dueAt: this.dueAt,
      attempts: this.attempts,
      failures: this.failures,
    };
  }

  /** One of the texts before headers and deaths, by its place among them. */
  #short(place: number): string {
    const view = this.#view;
    const length = view.getUint16(this.at + SHORT_LENGTHS[place]!, true);
    if (length === 0) return "";
    let start = this.at + HEADER;
    for (let i = 0; i < place; i++) start += view.getUint16(this.at + SHORT_LENGTHS[i]!, true);
    return decodeText(this.bytes, start, start + length);
  }

  #bodyStart(): number {
    const view = this.#view;
    let start = this.at + HEADER + view.getUint32(this.at + 56, true) + view.getUint32(this.at + 60, true);
    for (const field of SHORT_LENGTHS) start += view.getUint16(this.at + field, true);
    return start + view.getUint16(this.at + RECEIPT_LENGTH, true);
  }
}

/** Cuts a stretch of UTF-8 into texts of known byte lengths, one after the other. */
class Texts {
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #end: number;
  readonly #whole: string;
  /** One call into the decoder serves all texts when every character is one byte, as in most messages. */
  readonly #ascii: boolean;
  #at = 0;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    this.#whole = decodeText(bytes, start, end);
    this.#ascii = this.#whole.length === end - start;
  }

  next(length: number): string {
    if (length === 0) return "";
    const from = this.#at;
    this.#at += length;
    if (this.#ascii) return this.#whole.slice(from, this.#at);
    return decodeText(this.#bytes, this.#start + from, this.#start + this.#at);
  }

  rest(): string {
    return this.next(this.#end - this.#start - this.#at);
  }
}
