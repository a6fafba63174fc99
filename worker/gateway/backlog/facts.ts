// The facts of a turn as bytes: written at its end, replayed into the books when the backlog opens.
import { Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";
import type { Options } from "./owed.ts";
import { readNumber, readRising, writeNumber, writeRising } from "./varint.ts";

/* PERSISTED in the `facts` column: u8 kind, then its fields. Numbers as in varint.ts; `ranges` is how many, then first and count of
 * each; `sessions` is a list of rising session numbers. New kinds take new numbers; none is ever reused.
 *
 *   1 begun      session, u8 durable, text16 id     6 done      session, ranges of indexes
 *   2 forgotten  sessions                           7 sent      session, up to which index
 *   3 taken      text16 source, id                  8 sentAll   sessions (up to their next index)
 *   4 indexed    session, its next index            9 idle      sessions (all of theirs is finished)
 *   5 owed       position, count, options, sessions 10 released session, ranges of indexes
 *  11 inbound    session, packet id, u8 present     12 kept     count, { size, expiresAt } of each record of this row
 *
 * options: u8 (bits 0–1 QoS, bit 2 retain), how many subscription identifiers, each of them
 */
const BEGUN = 1;
const FORGOTTEN = 2;
const TAKEN = 3;
const INDEXED = 4;
const OWED = 5;
const DONE = 6;
const SENT = 7;
const SENT_ALL = 8;
const IDLE = 9;
const RELEASED = 10;
const INBOUND = 11;
const KEPT = 12;

/** Facts that share a row with records, bytes, before they get rows of their own: the platform limits a row. */
const MAX_FACT_BYTES = 1_000_000;

/** Hears the facts of the log. Sessions go by number. */
export interface FactReader {
  begun(session: number, durable: boolean, id: string): void;
  forgotten(session: number): void;
  taken(source: string, id: number): void;
  indexed(session: number, next: number): void;
  owed(position: number, count: number, options: Options, sessions: readonly number[]): void;
  done(session: number, ranges: readonly number[]): void;
  /** `upTo` undefined: all that it is owed. */
  sent(session: number, upTo: number | undefined): void;
  idle(session: number): void;
  released(session: number, ranges: readonly number[]): void;
  inbound(session: number, packetId: number, present: boolean): void;
  /** A record of the row being read, in order. */
  kept(place: number, size: number, expiresAt: number): void;
}

/** Records the facts of a turn; one method for each kind. */
export class FactWriter {
  #to = new Writer(1024);
  readonly #full: Uint8Array[] = [];

  /** What was recorded, in pieces of at most about 1 MB; none when nothing was. */
  take(): Uint8Array[] {
    this.#cut();
    return this.#full;
  }

  begun(session: number, durable: boolean, id: string): void {
    this.#begin(BEGUN, session);
    this.#to.u8(durable ? 1 : 0);
    this.#to.text16(id);
  }

  forgotten(sessions: number[]): void {
    this.#sessions(FORGOTTEN, sessions);
  }

  taken(source: string, id: number): void {
    this.#room(TAKEN);
    this.#to.text16(source);
    writeNumber(this.#to, id);
  }

  indexed(session: number, next: number): void {
    this.#begin(INDEXED, session);
    writeNumber(this.#to, next);
  }

  owed(position: number, count: number, options: Options, sessions: number[]): void {
    this.#begin(OWED, position);
    writeNumber(this.#to, count);
    writeOptions(this.#to, options);
    writeRising(this.#to, sessions);
  }

  done(session: number, ranges: readonly number[]): void {
    this.#ranges(DONE, session, ranges);
  }

  sent(session: number, upTo: number): void {
    this.#begin(SENT, session);
    writeNumber(this.#to, upTo);
  }

  sentAll(sessions: number[]): void {
    this.#sessions(SENT_ALL, sessions);
  }

  idle(sessions: number[]): void {
    this.#sessions(IDLE, sessions);
  }

  released(session: number, ranges: readonly number[]): void {
    this.#ranges(RELEASED, session, ranges);
  }

  inbound(session: number, packetId: number, present: boolean): void {
    this.#begin(INBOUND, session);
    writeNumber(this.#to, packetId);
    this.#to.u8(present ? 1 : 0);
  }

  #sessions(kind: number, sessions: number[]): void {
    if (sessions.length === 0) return;
    this.#room(kind);
    writeRising(
      this.#to,
      sessions.sort((a, b) => a - b),
    );
  }

  #ranges(kind: number, session: number, ranges: readonly number[]): void {
    if (ranges.length === 0) return;
    this.#begin(kind, session);
    writeRanges(this.#to, ranges);
  }

  #begin(kind: number, first: number): void {
    this.#room(kind);
    writeNumber(this.#to, first);
  }

  #room(kind: number): void {
    if (this.#to.length >= MAX_FACT_BYTES) this.#cut();
    this.#to.u8(kind);
  }

  #cut(): void {
    if (this.#to.length === 0) return;
    this.#full.push(this.#to.take());
    this.#to = new Writer(1024);
  }
}

/** The fact about the records of a row. */
export function keptFact(records: readonly { size: number; expiresAt: number }[]): Uint8Array {
  const to = new Writer(16 + records.length * 4);
  to.u8(KEPT);
  writeNumber(to, records.length);
  for (const { size, expiresAt } of records) {
    writeNumber(to, size);
    writeNumber(to, expiresAt);
  }
  return to.take();
}

/** Writes options; checkpoints hold them in the same form. */
export function writeOptions(to: Writer, { qos, retain, subscriptionIds }: Options): void {
  to.u8(qos + (retain ? 4 : 0));
  writeNumber(to, subscriptionIds.length);
  for (const id of subscriptionIds) writeNumber(to, id);
}

/** The opposite of writeOptions. */
export function readOptions(from: Reader): Options {
  const flags = from.u8();
  const subscriptionIds: number[] = [];
  for (let left = readNumber(from); left > 0; left--) subscriptionIds.push(readNumber(from));
  return { qos: (flags & 3) === 2 ? 2 : 1, retain: (flags & 4) > 0, subscriptionIds };
}

function writeRanges(to: Writer, ranges: readonly number[]): void {
  writeNumber(to, ranges.length / 2);
  for (const number of ranges) writeNumber(to, number);
}

function readRanges(from: Reader): number[] {
  const ranges: number[] = [];
  for (let left = readNumber(from) * 2; left > 0; left--) ranges.push(readNumber(from));
  return ranges;
}

/**
 * Replays the facts of a row.
 *
 * @throws RangeError on a kind this version does not know: the data was written by a later one
 */
export function replay(facts: Uint8Array, to: FactReader): void {
  const from = new Reader(facts);
  while (!from.done) replayOne(from, to);
}

function replayOne(from: Reader, to: FactReader): void {
  const kind = from.u8();
  switch (kind) {
    case BEGUN:
      return to.begun(readNumber(from), from.u8() === 1, from.text16());
    case FORGOTTEN:
      for (const session of readRising(from)) to.forgotten(session);
      return;
    case TAKEN:
      return to.taken(from.text16(), readNumber(from));
    case INDEXED:
      return to.indexed(readNumber(from), readNumber(from));
    case OWED:
      return to.owed(readNumber(from), readNumber(from), readOptions(from), readRising(from));
    case DONE:
      return to.done(readNumber(from), readRanges(from));
    case SENT:
      return to.sent(readNumber(from), readNumber(from));
    case SENT_ALL:
      for (const session of readRising(from)) to.sent(session, undefined);
      return;
    case IDLE:
      for (const session of readRising(from)) to.idle(session);
      return;
    case RELEASED:
      return to.released(readNumber(from), readRanges(from));
    case INBOUND:
      return to.inbound(readNumber(from), readNumber(from), from.u8() === 1);
    case KEPT: {
      const count = readNumber(from);
      for (let place = 0; place < count; place++) to.kept(place, readNumber(from), readNumber(from));
      return;
    }
    default:
      throw new RangeError(`unknown fact ${kind}`);
  }
}
