// Settles and publishes in one turn, or refuses all of it. The turn is what decides: whatever else must happen elsewhere is in the outbox.
import { parseAddress } from "../address.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import type { Commit, CommitPublish } from "../link/commit.ts";
import type { Committed, QueueResult } from "../link/results.ts";
import { RecordView } from "../message/record.ts";
import { RESERVED_ID } from "../message/reserved.ts";
import { outboxTarget, publishTarget, transactionData } from "./destination.ts";
import { checkRoom, publishOne } from "./publish.ts";
import { leasedBy, NOBODY, settle } from "./settle.ts";
import type { Turn } from "./turn.ts";

/** Its key is in the dedup window like the id of a message, so that a repeated commit is known for as long as a message would be. */
const COMMIT_KEY = `${RESERVED_ID}commit/`;
const NO_SEQ = 0;

/** Carries a commit out, or answers one that was carried out before. */
export function commit(turn: Turn, wanted: Commit): QueueResult {
  const { ledger, now } = turn;
  const { key, tx, held, settlements, publishes, participants } = wanted;
  const { dedupWindowMs } = ledger.settings;
  const known = turn.dedup.find(COMMIT_KEY + key, now, dedupWindowMs) !== undefined;
  if (known || participants.some((name) => isCommitted(turn, tx, name))) return repeated(turn, publishes);
  if (!held) return abandon(turn, wanted);
  if (ledger.aborts.has(tx)) {
    return refused(
      refuse("unavailable", "the commit came too late: its queues hold nothing for it any more"),
    );
  }
  const settled = settlements.map((settlement) => leasedBy(turn, settlement) !== undefined);
  if (settled.includes(false)) return giveUp(turn, wanted, { type: "settled", settled });
  const refusal = refuseOwn(turn, publishes);
  if (refusal !== undefined) return giveUp(turn, wanted, refused(refusal));

  // Released messages count as ready again: they must not take the room that was found for the new ones.
  const messages = publishes.map((publish) => send(turn, publish));
  for (const settlement of settlements) settle(turn, settlement, NOBODY);
  for (const name of participants) {
    turn.sendRow(outboxTarget({ kind: "conclude", name }), transactionData(tx));
  }
  if (dedupWindowMs > 0) turn.rememberId(NO_SEQ, COMMIT_KEY + key);
  return { type: "committed", messages };
}

/**
 * Tells a participant what became of a transaction. One that is not known here is never committed from now on.
 *
 * @returns `settled` with whether it was committed
 */
export function resolve(turn: Turn, tx: string, participant: string): QueueResult {
  const committed = isCommitted(turn, tx, participant);
  const refusal = committed ? undefined : abort(turn, tx);
  return refusal === undefined ? { type: "settled", settled: [committed] } : refused(refusal);
}

/** Whether a transaction is committed, and a participant may still have to conclude it: until it has, its row waits in the outbox. */
function isCommitted({ store }: Turn, tx: string, name: string): boolean {
  return store.hasOutbox(outboxTarget({ kind: "conclude", name }), transactionData(tx));
}

/** The commit cannot be made: a participant does not hold its part. */
function abandon(turn: Turn, { tx, settlements }: Commit): QueueResult {
  const refusal = abort(turn, tx);
  return refusal === undefined
    ? { type: "settled", settled: settlements.map(() => false) }
    : refused(refusal);
}

/** It is not made now. Its participants are let go for that, so the same call, come again late, must not make it either. */
function giveUp(turn: Turn, { tx, participants }: Commit, answer: QueueResult): QueueResult {
  const refusal = participants.length === 0 ? undefined : abort(turn, tx);
  return refusal === undefined ? answer : refused(refusal);
}

function abort({ ledger: { aborts }, now }: Turn, tx: string): Refusal | undefined {
  if (aborts.has(tx)) return undefined;
  if (!aborts.hasRoom(now)) return refuse("too-many", "too many commits were given up lately", 10_000);
  aborts.add(tx, now);
  return undefined;
}

/** What stands against storing the queue's own messages of a commit: nothing of it has happened yet. */
function refuseOwn(turn: Turn, publishes: CommitPublish[]): Refusal | undefined {
  const own = publishes.filter(({ to }) => to === "");
  const last = turn.nextSeq - 1;
  const unmet = own.find(({ expectSeq }) => expectSeq !== undefined && expectSeq !== last);
  if (unmet !== undefined) {
    return refuse("conflict", `expectSeq is ${unmet.expectSeq}, the queue's last seq is ${last}`);
  }
  return checkRoom(
    turn,
    own.map(({ record }) => new RecordView(record)),
  );
}

function send(turn: Turn, { to, record }: CommitPublish): Committed {
  if (to !== "") {
    const address = parseAddress(to);
    if (isRefusal(address)) throw new TypeError(`a commit to ${to}`);
    return turn.sendRecord(publishTarget(address), record);
  }
  const outcome = publishOne(turn, new RecordView(record), undefined);
  if (isRefusal(outcome)) throw new Error(`a commit was checked, and then refused: ${outcome.message}`);
  return outcome;
}

/** The answer to a commit that was made before, as far as the dedup window knows it. */
function repeated(turn: Turn, publishes: CommitPublish[]): QueueResult {
  const { ledger, dedup, now } = turn;
  const messages = publishes.map(({ to, record }): Committed => {
    const { messageId } = new RecordView(record);
    const seq = to === "" ? dedup.find(messageId, now, ledger.settings.dedupWindowMs) : undefined;
    return seq === undefined ? "unknown" : { seq, duplicate: true, epoch: ledger.epoch };
  });
  return { type: "committed", messages };
}

function refused(refusal: Refusal): QueueResult {
  return { type: "refused", refusal };
}
