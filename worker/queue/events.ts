// The facts of a turn as bytes: written by the ledger as they happen, replayed into a ledger when the queue opens.
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import type { ConsumerFacts } from "./consumers.ts";
import type { End, Taken } from "./entry.ts";
import type { Ledger } from "./ledger.ts";
import { type QueueSettings, readSettings } from "./settings.ts";

/* PERSISTED in the `events` column of the log: u8 kind, then its fields. New kinds take new numbers; none is ever reused.
 *
 *   1 created    f64 epoch, f64 newest lease     11 woken     f64 position
 *   2 configured text32 settings as JSON         12 attached  f64 ref, text16 gateway, u32 credit, f64 leaseMs, u32 generation
 *   3 accepted   f64 turn, u32 count, f64 bytes  13 credited  f64 ref, u32 add
 *   4 deferred   u32 count, f64 bytes            14 paused    f64 ref
 *   5 matured    f64 turn, u32 count, f64 bytes  15 detached  f64 ref
 *   6 taken      f64 position, f64 seq, u32 size, f64 time, f64 expiresAt, u16 attempts, u16 failures, text16 group
 *   7 leased     f64 position, f64 ref, f64 deadline
 *   8 extended   f64 position, f64 deadline      16 purged    f64 end
 *   9 finished   f64 position, u8 end, u8 byHandle
 *  10 givenBack  f64 position, u8 failed, u8 byHandle, f64 dueAt
 *  17 heard      text16 source, f64 id           18 sent      f64 id          19 moved  f64 position, u8 byHandle
 *  20 joined     as 12, then text16 client, text16 filter (12 is read, no longer written)
 *  21 noted      u8 book, u32 length, a fact of that book (book.ts)
 */
const CREATED = 1;
const CONFIGURED = 2;
const ACCEPTED = 3;
const DEFERRED = 4;
const MATURED = 5;
const TAKEN = 6;
const LEASED = 7;
const EXTENDED = 8;
const FINISHED = 9;
const GIVEN_BACK = 10;
const WOKEN = 11;
const ATTACHED_UNNAMED = 12;
const CREDITED = 13;
const PAUSED = 14;
const DETACHED = 15;
const PURGED = 16;
const HEARD = 17;
const SENT = 18;
const MOVED = 19;
const JOINED = 20;
const NOTED = 21;
const ENDS: readonly End[] = ["settled", "expired", "dead"];

/** Facts that share a row with messages, bytes, before they get a row of their own: the platform limits a row. */
const MAX_EVENT_BYTES = 1_000_000;

/** Records facts; one method for each of the ledger's. */
export class EventWriter {
  #to = new Writer(4096);
  readonly #spill: (events: Uint8Array) => void;

  /** @param spill takes what was recorded so far when it grows too large, before the next fact */
  constructor(spill: (events: Uint8Array) => void) {
    this.#spill = spill;
  }

  /** What was recorded since the last take, null when nothing was. */
  take(): Uint8Array | null {
    if (this.#to.length === 0) return null;
    const events = this.#to.take();
    this.#to = new Writer(4096);
    return events;
  }

  created(epoch: number, lease: number): void {
    this.#number(CREATED, epoch);
    this.#to.f64(lease);
  }

  configured(settings: QueueSettings): void {
    this.#begin(CONFIGURED);
    this.#to.text32(JSON.stringify(settings));
  }

  accepted(turn: number, count: number, bytes: number): void {
    this.#number(ACCEPTED, turn);
    this.#to.u32(count);
    this.#to.f64(bytes);
  }

  deferred(count: number, bytes: number): void {
    this.#begin(DEFERRED);
    this.#to.u32(count);
    this.#to.f64(bytes);
  }

  matured(turn: number, count: number, bytes: number): void {
    this.#number(MATURED, turn);
    this.#to.u32(count);
    this.#to.f64(bytes);
  }

  taken(position: number, message: Taken): void {
    this.#number(TAKEN, position);
    writeTaken(this.#to, message);
  }

  leased(position: number, ref: number, deadline: number): void {
    this.#number(LEASED, position);
    this.#to.f64(ref);
    this.#to.f64(deadline);
  }

  extended(position: number, deadline: number): void {
    this.#number(EXTENDED, position);
    this.#to.f64(deadline);
  }

  finished(position: number, end: End, byHandle: boolean): void {
    this.#number(FINISHED, position);
    this.#to.u8(ENDS.indexOf(end));
    this.#to.u8(byHandle ? 1 : 0);
  }

  givenBack(position: number, failed: boolean, byHandle: boolean, dueAt: number): void {
    this.#number(GIVEN_BACK, position);
    this.#to.u8(failed ? 1 : 0);
    this.#to.u8(byHandle ? 1 : 0);
    this.#to.f64(dueAt);
  }

  moved(position: number, byHandle: boolean): void {
    this.#number(MOVED, position);
    this.#to.u8(byHandle ? 1 : 0);
  }

  woken(position: number): void {
    this.#number(WOKEN, position);
  }

  attached(consumer: ConsumerFacts): void {
    this.#number(JOINED, consumer.ref);
    writeConsumer(this.#to, consumer);
  }

  credited(ref: number, add: number): void {
    this.#number(CREDITED, ref);
    this.#to.u32(add);
  }

  paused(ref: number): void {
    this.#number(PAUSED, ref);
  }

  detached(ref: number): void {
    this.#number(DETACHED, ref);
  }

  purged(end: number): void {
    this.#number(PURGED, end);
  }

  heard(source: string, id: number): void {
    this.#begin(HEARD);
    this.#to.text16(source);
    this.#to.f64(id);
  }

  sent(id: number): void {
    this.#number(SENT, id);
  }

  /** A fact of a book. */
  noted(book: number, write: (to: Writer) => void): void {
    this.#begin(NOTED);
    this.#to.u8(book);
    this.#to.u32(0);
    const start = this.#to.length;
    write(this.#to);
    this.#to.patchU32(start - 4, this.#to.length - start);
  }

  #number(kind: number, value: number): void {
    this.#begin(kind);
    this.#to.f64(value);
  }

  #begin(kind: number): void {
    if (this.#to.length >= MAX_EVENT_BYTES) this.#spill(this.take()!);
    this.#to.u8(kind);
  }
}

/** Writes the fields of a taken message; checkpoints hold them in the same form. */
export function writeTaken(to: Writer, message: Taken): void {
  to.f64(message.seq);
  to.u32(message.size);
  to.f64(message.time);
  to.f64(message.expiresAt);
  to.u16(Math.min(message.attempts, 65_535));
  to.u16(Math.min(message.failures, 65_535));
  to.text16(message.group);
}

/** The opposite of writeTaken. */
export function readTaken(from: Reader): Taken {
  const seq = from.f64();
  const size = from.u32();
  const time = from.f64();
  const expiresAt = from.f64();
  const attempts = from.u16();
  const failures = from.u16();
  return { seq, size, time, expiresAt, attempts, failures, group: from.text16() };
}

/** Writes a consumer's fields but for its ref; checkpoints hold them in the same form. */
export function writeConsumer(to: Writer, consumer: Omit<ConsumerFacts, "ref">): void {
  to.text16(consumer.gateway);
  to.u32(consumer.credit);
  to.f64(consumer.leaseMs);
  to.u32(consumer.generation);
  to.text16(consumer.client);
  to.text16(consumer.filter);
}

/**
 * The opposite of writeConsumer.
 *
 * @param named false: they were written before consumers had a client and a filter
 */
export function readConsumer(from: Reader, named = true): Omit<ConsumerFacts, "ref"> {
  const gateway = from.text16();
  const credit = from.u32();
  const facts = { gateway, credit, leaseMs: from.f64(), generation: from.u32() };
  return named
    ? { ...facts, client: from.text16(), filter: from.text16() }
    : { ...facts, client: "", filter: "" };
}

/**
 * Replays a turn's facts.
 *
 * @throws RangeError on a kind this version does not know: the data was written by a later one
 */
export function replay(events: Uint8Array, ledger: Ledger): void {
  const from = new Reader(events);
  while (!from.done) replayOne(from, ledger);
}

function replayOne(from: Reader, ledger: Ledger): void {
  const kind = from.u8();
  switch (kind) {
    case CREATED:
      return ledger.create(from.f64(), from.f64());
    case CONFIGURED:
      return ledger.configure(readSettings(from.text32()));
    case ACCEPTED:
      return ledger.accept(from.f64(), from.u32(), from.f64());
    case DEFERRED:
      return ledger.defer(from.u32(), from.f64());
    case MATURED:
      return ledger.mature(from.f64(), from.u32(), from.f64());
    case TAKEN:
      ledger.take(from.f64(), readTaken(from));
      return;
    case PURGED:
      return ledger.purge(from.f64());
    case HEARD:
      return ledger.heardFrom(from.text16(), from.f64());
    case SENT:
      return ledger.sendTo(from.f64());
    case ATTACHED_UNNAMED:
    case JOINED: {
      const ref = from.f64();
      return ledger.attach({ ref, ...readConsumer(from, kind === JOINED) });
    }
    case NOTED:
      return ledger.books.replay(from);
    case CREDITED:
    case PAUSED:
    case DETACHED:
      return replayConsumer(kind, from, ledger);
    default:
      return replayEntry(kind, from, ledger);
  }
}

function replayConsumer(kind: number, from: Reader, ledger: Ledger): void {
  const consumer = ledger.consumers.get(from.f64());
  if (consumer === undefined) throw new RangeError("a fact about a consumer that is not in the books");
  if (kind === CREDITED) ledger.addCredit(consumer, from.u32());
  else if (kind === PAUSED) ledger.pause(consumer);
  else ledger.detach(consumer);
}

function replayEntry(kind: number, from: Reader, ledger: Ledger): void {
  const entry = ledger.entries.get(from.f64());
  if (entry === undefined)
    throw new RangeError(`a fact of kind ${kind} about a message that is not in the books`);
  switch (kind) {
    case LEASED:
      return ledger.lease(entry, from.f64(), from.f64());
    case EXTENDED:
      return ledger.extend(entry, from.f64());
    case FINISHED:
      return ledger.finish(entry, ENDS[from.u8()]!, from.u8() === 1);
    case GIVEN_BACK:
      return ledger.giveBack(entry, from.u8() === 1, from.u8() === 1, from.f64());
    case WOKEN:
      return ledger.wake(entry);
    case MOVED:
      return ledger.moveToDelayed(entry, from.u8() === 1);
    default:
      throw new RangeError(`unknown fact ${kind}`);
  }
}
