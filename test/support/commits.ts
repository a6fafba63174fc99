// Makes commits for the machines of queues, and reads what they answer and send.
import type { Commit, CommitPublish } from "../../worker/link/commit.ts";
import type { Handle } from "../../worker/link/handle.ts";
import type { QueueResult } from "../../worker/link/results.ts";
import type { Outcome, Settlement } from "../../worker/link/settlement.ts";
import { destinationOf } from "../../worker/queue/destination.ts";
import { type Draft, type Machine, messagesIn, records } from "./machine.ts";

/** A settlement of a delivery. */
export function settlement({ position, lease }: Handle, outcome: Outcome = "ack"): Settlement {
  return { position, lease, outcome, delayMs: undefined, reason: "" };
}

/** A message of a commit; `to` is "" for the queue that decides. */
export function publishOf(to: string, draft: Draft, expectSeq?: number): CommitPublish {
  return { to, record: records({ publisherId: true, ...draft }), expectSeq };
}

/** A commit that is known by a key. */
export function commitOf(key: string, parts: Partial<Commit>): Commit {
  return { key, tx: `${key}~1`, held: true, settlements: [], participants: [], publishes: [], ...parts };
}

/** Carries a commit out. */
export function commit(machine: Machine, key: string, parts: Partial<Commit>): QueueResult {
  return machine.turn({ type: "commit", commit: commitOf(key, parts) }).results[0]!;
}

/** A row of an outbox, with the bodies of its messages. */
export interface SentRow {
  id: number;
  target: string;
  data: Uint8Array;
  bodies: string[];
}

/** All rows of a queue's outbox, oldest first. */
export function outbox({ sql }: Machine): SentRow[] {
  return sql.all("SELECT id, target, data FROM outbox ORDER BY id").map((row) => {
    const [id, target, data] = [row.id as number, row.target as string, row.data as Uint8Array];
    const { kind } = destinationOf(target);
    const bodies = kind === "conclude" || kind === "ask" ? [] : messagesIn(data).map(({ body }) => `${body}`);
    return { id, target, data, bodies };
  });
}
