// The whole ledger as bytes at the end of a turn: opening a queue reads the checkpoint and replays only the turns after it.
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import type { Entry, EntryState } from "./entry.ts";
import { readConsumer, readTaken, writeConsumer, writeTaken } from "./events.ts";
import type { Ledger } from "./ledger.ts";
import { Outcomes } from "./outcomes.ts";
import { readSettings } from "./settings.ts";

/* PERSISTED in the checkpoint table, version 2:
 *
 *   u8 version  f64 turn (the last one it knows)  f64 rows written so far  f64 epoch nextSeq newestLease cursor nextOutboxId lastServed
 *   9 × f64 counts, in the order of COUNTS   text32 settings as JSON
 *   u32 × { f64 segment, f64 live }          u32 × { text16 source, f64 id }
 *   u32 × consumer { f64 ref, fields of events.ts, u8 paused }
 *   u32 × entry { f64 position, fields of events.ts, u8 state, f64 lease, f64 ref, f64 deadline }
 *   u32 length, outcomes                     books (book.ts)
 *
 * Version 1 had consumers without client and filter, and no books.
 */
const VERSION = 2;
const STATES: readonly EntryState[] = ["ready", "parked", "leased", "waiting"];
const COUNTS = [
  "accepted",
  "ready",
  "delayed",
  "leased",
  "settled",
  "expired",
  "deadLettered",
  "readyBytes",
  "bytes",
] as const;

/** What a checkpoint tells besides the books. */
export interface CheckpointHead {
  /** The last turn it knows. */
  turn: number;
  /** Rows that the queue had written by then. */
  rowsWritten: number;
}

/** Encodes the books after a turn. */
export function saveLedger(ledger: Ledger, { turn, rowsWritten }: CheckpointHead): Uint8Array {
  const to = new Writer(65_536);
  to.u8(VERSION);
  for (const value of [
    turn,
    rowsWritten,
    ledger.epoch,
    ledger.nextSeq,
    ledger.newestLease,
    ledger.cursor,
    ledger.nextOutboxId,
    ledger.lastServed,
  ]) {
    to.f64(value);
  }
  for (const name of COUNTS) to.f64(ledger.counts[name]);
  to.text32(JSON.stringify(ledger.settings));
  list(to, ledger.segments.entries(), ([segment, live]) => {
    to.f64(segment);
    to.f64(live);
  });
  list(to, [...ledger.sources], ([source, id]) => {
    to.text16(source);
    to.f64(id);
  });
  // HTTP calls that wait (negative refs) do not outlive their object.
  list(
    to,
    [...ledger.consumers.values()].filter((consumer) => consumer.ref > 0),
    (consumer) => {
      to.f64(consumer.ref);
      writeConsumer(to, consumer);
      to.u8(consumer.paused ? 1 : 0);
    },
  );
  list(to, [...ledger.entries.values()], (entry) => saveEntry(to, entry));
  const outcomes = ledger.outcomes.save();
  to.u32(outcomes.length);
  to.raw(outcomes);
  ledger.books.save(to);
  return to.take();
}

/**
 * Fills an empty ledger from a checkpoint.
 *
 * @throws RangeError on another version
 */
export function loadLedger(saved: Uint8Array, ledger: Ledger): CheckpointHead {
  const from = new Reader(saved);
  const version = from.u8();
  if (version < 1 || version > VERSION) throw new RangeError("a checkpoint of an unknown version");
  const head = { turn: from.f64(), rowsWritten: from.f64() };
  ledger.epoch = from.f64();
  ledger.nextSeq = from.f64();
  ledger.newestLease = from.f64();
  ledger.cursor = from.f64();
  ledger.nextOutboxId = from.f64();
  ledger.lastServed = from.f64();
  for (const name of COUNTS) ledger.counts[name] = from.f64();
  ledger.settings = readSettings(from.text32());
  const segments: [number, number][] = [];
  for (let left = from.u32(); left > 0; left--) segments.push([from.f64(), from.f64()]);
  ledger.segments.load(segments);
  for (let left = from.u32(); left > 0; left--) ledger.sources.set(from.text16(), from.f64());
  for (let left = from.u32(); left > 0; left--) {
    const ref = from.f64();
    ledger.consumers.add({
      ref,
      ...readConsumer(from, version > 1),
      used: 0,
      paused: from.u8() === 1,
      inLine: false,
    });
  }
  for (let left = from.u32(); left > 0; left--) {
    const entry = loadEntry(from);
    ledger.entries.set(entry.position, entry);
    const holder = entry.state === "leased" ? ledger.consumers.get(entry.ref) : undefined;
    if (holder !== undefined) holder.used++;
  }
  ledger.outcomes = new Outcomes(from.raw(from.u32()).slice());
  if (version > 1) ledger.books.load(from);
  ledger.rebuildDerived();
  return head;
}

function saveEntry(to: Writer, entry: Entry): void {
  to.f64(entry.position);
  writeTaken(to, entry);
  to.u8(STATES.indexOf(entry.state));
  to.f64(entry.lease);
  to.f64(entry.ref);
  to.f64(entry.deadline);
}

function loadEntry(from: Reader): Entry {
  const position = from.f64();
  const taken = readTaken(from);
  const state = STATES[from.u8()]!;
  return { position, ...taken, level: 0, state, lease: from.f64(), ref: from.f64(), deadline: from.f64() };
}

function list<T>(to: Writer, items: T[], write: (item: T) => void): void {
  to.u32(items.length);
  for (const item of items) write(item);
}
