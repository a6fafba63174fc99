// What settles and publishes as one act, as queues are told of it: the commit itself, at the queue that decides, and what the other
// queues that settle in it hold until then. Why two phases: docs/commit.md.
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import { readSettlements, type Settlement, writeSettlements } from "./settlement.ts";

/** One message of a commit. */
export interface CommitPublish {
  /** `queue:NAME` or `topic:NAME`, "" for the queue that decides. */
  to: string;
  /** One record (message/record.ts). */
  record: Uint8Array;
  /** What the last seq of the deciding queue must be before the commit; only for its own messages. */
  expectSeq: number | undefined;
}

/** A commit, as the queue gets it that decides. */
export interface Commit {
  /** The same for the same commit, however often it is made. */
  key: string;
  /** This attempt to make it: what the participants hold under. */
  tx: string;
  /** Whether the participants hold their part. If not, it is only answered when it was made before; and never made under this tx. */
  held: boolean;
  /** Of the deciding queue's own messages. */
  settlements: Settlement[];
  /** Other queues that settle in it. */
  participants: string[];
  publishes: CommitPublish[];
}

/** What another queue holds for a commit. */
export interface HoldRequest {
  tx: string;
  /** The queue that decides. */
  decider: string;
  settlements: Settlement[];
}

/** A transaction's key is that of its commit: attempts of one commit know each other. */
const KEY_END = "~";

/** The attempt of a commit to hold what other queues must settle. `unique` is like no other's. */
export function transactionOf(key: string, unique: string): string {
  return key + KEY_END + unique;
}

/** Whether two transactions are attempts of the same commit. */
export function isSameCommit(one: string, other: string): boolean {
  return keyOf(one) === keyOf(other);
}

function keyOf(tx: string): string {
  return tx.slice(0, tx.lastIndexOf(KEY_END));
}

/* text16 key, text16 tx, u8 held, settlements (settlement.ts), u32 × text16 participant,
 * u32 × { text16 to, f64 expectSeq (-1: none), u32 length, record }
 */

/** Appends a commit. */
export function writeCommit(to: Writer, commit: Commit): void {
  to.text16(commit.key);
  to.text16(commit.tx);
  to.u8(commit.held ? 1 : 0);
  writeSettlements(to, commit.settlements);
  to.u32(commit.participants.length);
  for (const queue of commit.participants) to.text16(queue);
  to.u32(commit.publishes.length);
  for (const { to: address, record, expectSeq } of commit.publishes) {
    to.text16(address);
    to.f64(expectSeq ?? -1);
    to.u32(record.length);
    to.raw(record);
  }
}

/** The opposite of writeCommit. */
export function readCommit(from: Reader): Commit {
  const key = from.text16();
  const tx = from.text16();
  const held = from.u8() === 1;
  const settlements = readSettlements(from);
  const participants: string[] = [];
  for (let left = from.u32(); left > 0; left--) participants.push(from.text16());
  const publishes: CommitPublish[] = [];
  for (let left = from.u32(); left > 0; left--) {
    const to = from.text16();
    const expectSeq = from.f64();
    const record = from.raw(from.u32());
    publishes.push({ to, record, expectSeq: expectSeq < 0 ? undefined : expectSeq });
  }
  return { key, tx, held, settlements, participants, publishes };
}

/** Appends what is to be held. */
export function writeHold(to: Writer, hold: HoldRequest): void {
  to.text16(hold.tx);
  to.text16(hold.decider);
  writeSettlements(to, hold.settlements);
}

/** The opposite of writeHold. */
export function readHold(from: Reader): HoldRequest {
  return { tx: from.text16(), decider: from.text16(), settlements: readSettlements(from) };
}
