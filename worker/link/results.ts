// What a queue answers: one result per command, in the commands' order.
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import { errorEntry, errorKind, isRefusal, type Refusal } from "../errors.ts";

/** A message that is stored (now or, as a duplicate, before). */
export interface Published {
  seq: number;
  duplicate: boolean;
  /** The epoch that the seq belongs to: of the queue, or of the message's topic. */
  epoch: number;
}

/** A message of a commit: stored by the queue that decided, on its way under a row of its outbox, or not remembered any more. */
export type Committed = Published | { row: number; at: number } | "unknown";

/** The result of one command. `settled` tells per delivery whether it is settled, or extended, or held. */
export type QueueResult =
  | { type: "published"; messages: (Published | Refusal)[] }
  | { type: "committed"; messages: Committed[] }
  | { type: "settled"; settled: boolean[] }
  | { type: "done"; seq: number }
  | { type: "refused"; refusal: Refusal };

/** All results of one packet, and the queue's epoch. */
export interface QueueResults {
  epoch: number;
  results: QueueResult[];
}

/* u8 version (1), f64 epoch, then results until the end, each: u8 kind, then
 *
 *   1 published  u32 count × { u8 0 new | 1 duplicate, f64 seq, f64 epoch } or { u8 2, refusal }
 *   2 settled    u32 count × u8
 *   3 done       f64 the queue's last seq
 *   4 refused    refusal
 *   5 committed  u32 count × { u8 0 | 1, as in published } or { u8 2, f64 row, u32 place in it } or { u8 3 unknown }
 *   refusal: u16 code, u32 afterMs (0: none), text16 message
 */
const VERSION = 1;
const PUBLISHED = 1;
const SETTLED = 2;
const DONE = 3;
const REFUSED = 4;
const COMMITTED = 5;
const NEW = 0;
const DUPLICATE = 1;
const NOT_STORED = 2;
const ON_ITS_WAY = 2;
const UNKNOWN = 3;

/** Encodes results. */
export function writeResults(epoch: number, results: QueueResult[]): Uint8Array {
  const to = new Writer(256);
  to.u8(VERSION);
  to.f64(epoch);
  for (const result of results) {
    switch (result.type) {
      case "published":
        writePublished(to, result.messages);
        break;
      case "committed":
        writeCommitted(to, result.messages);
        break;
      case "settled":
        to.u8(SETTLED);
        to.u32(result.settled.length);
        for (const settled of result.settled) to.u8(settled ? 1 : 0);
        break;
      case "done":
        to.u8(DONE);
        to.f64(result.seq);
        break;
      case "refused":
        to.u8(REFUSED);
        writeRefusal(to, result.refusal);
        break;
    }
  }
  return to.take();
}

/**
 * Decodes results.
 *
 * @throws RangeError on another version
 */
export function readResults(packet: Uint8Array): QueueResults {
  const from = new Reader(packet);
  if (from.u8() !== VERSION) throw new RangeError("results of an unknown version");
  const epoch = from.f64();
  const results: QueueResult[] = [];
  while (!from.done) results.push(readResult(from));
  return { epoch, results };
}

function writePublished(to: Writer, messages: (Published | Refusal)[]): void {
  to.u8(PUBLISHED);
  to.u32(messages.length);
  for (const message of messages) {
    if (isRefusal(message)) {
      to.u8(NOT_STORED);
      writeRefusal(to, message);
    } else {
      writeStored(to, message);
    }
  }
}

function writeStored(to: Writer, { duplicate, seq, epoch }: Published): void {
  to.u8(duplicate ? DUPLICATE : NEW);
  to.f64(seq);
  to.f64(epoch);
}

function writeCommitted(to: Writer, messages: Committed[]): void {
  to.u8(COMMITTED);
  to.u32(messages.length);
  for (const message of messages) {
    if (message === "unknown") {
      to.u8(UNKNOWN);
    } else if ("row" in message) {
      to.u8(ON_ITS_WAY);
      to.f64(message.row);
      to.u32(message.at);
    } else {
      writeStored(to, message);
    }
  }
}

function readResult(from: Reader): QueueResult {
  const kind = from.u8();
  switch (kind) {
    case PUBLISHED: {
      const messages: (Published | Refusal)[] = [];
      for (let left = from.u32(); left > 0; left--) {
        const status = from.u8();
        messages.push(status === NOT_STORED ? readRefusal(from) : readPublished(from, status === DUPLICATE));
      }
      return { type: "published", messages };
    }
    case COMMITTED: {
      const messages: Committed[] = [];
      for (let left = from.u32(); left > 0; left--) messages.push(readCommitted(from));
      return { type: "committed", messages };
    }
    case SETTLED: {
      const settled: boolean[] = [];
      for (let left = from.u32(); left > 0; left--) settled.push(from.u8() === 1);
      return { type: "settled", settled };
    }
    case DONE:
      return { type: "done", seq: from.f64() };
    case REFUSED:
      return { type: "refused", refusal: readRefusal(from) };
    default:
      throw new RangeError(`unknown result ${kind}`);
  }
}

function readCommitted(from: Reader): Committed {
  const status = from.u8();
  if (status === UNKNOWN) return "unknown";
  if (status !== ON_ITS_WAY) return readPublished(from, status === DUPLICATE);
  const row = from.f64();
  return { row, at: from.u32() };
}

function writeRefusal(to: Writer, refusal: Refusal): void {
  to.u16(errorEntry(refusal.kind).code);
  to.u32(refusal.afterMs ?? 0);
  to.text16(refusal.message);
}

function readPublished(from: Reader, duplicate: boolean): Published {
  const seq = from.f64();
  return { seq, duplicate, epoch: from.f64() };
}

function readRefusal(from: Reader): Refusal {
  const kind = errorKind(from.u16());
  const afterMs = from.u32();
  const message = from.text16();
  return afterMs === 0 ? { kind, message } : { kind, message, afterMs };
}
