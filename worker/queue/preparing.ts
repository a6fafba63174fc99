// Prepared messages: stored unseen, decided over later, asked for when nobody decides.
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { MAX_PREPARED, MAX_PREPARED_BYTES } from "../limits.ts";
import type { Preparation } from "../link/preparation.ts";
import type { Published, QueueResult } from "../link/results.ts";
import { EMPTY_MESSAGE, JSON_BODY, RecordView } from "../message/record.ts";
import { RESERVED_ID } from "../message/reserved.ts";
import type { PreparedMessage } from "./prepared.ts";
import { checkRoom, findDuplicate, store } from "./publish.ts";
import type { Timed } from "./timers.ts";
import type { Turn } from "./turn.ts";

/** Rolled back: remembered in the dedup window, so that the decision can be repeated. */
const ROLLED_BACK = `${RESERVED_ID}rolled-back/`;
const NO_SEQ = 0;

/** Stores a message that nobody sees until it is decided; its seq is 0. */
export function prepare(turn: Turn, record: Uint8Array, preparation: Preparation): QueueResult {
  return { type: "published", messages: [prepareOne(turn, new RecordView(record), preparation)] };
}

/** Carries a decision out, or answers one that was made before. */
export function decide(turn: Turn, messageId: string, commit: boolean): QueueResult {
  const { ledger } = turn;
  const waiting = ledger.prepared.get(messageId);
  const decided =
    waiting === undefined ? decidedBefore(turn, messageId, commit) : decideNow(turn, waiting, commit);
  if (isRefusal(decided)) return { type: "refused", refusal: decided };
  return decided === undefined
    ? { type: "done", seq: ledger.nextSeq - 1 }
    : { type: "published", messages: [decided] };
}

/** Asks for those that nobody has decided over in time. */
export const preparedTimes: Timed = {
  deadline: ({ prepared }) => prepared.deadline,
  run: (turn) => {
    const { ledger, now } = turn;
    for (const message of [...ledger.prepared.values()]) {
      if (message.checkAt > now) continue;
      if (message.asked >= message.checks) rollBack(turn, message, true);
      else ask(turn, message);
    }
  },
};

function prepareOne(turn: Turn, view: RecordView, preparation: Preparation): Published | Refusal {
  const { ledger, now } = turn;
  const { prepared, epoch } = ledger;
  const duplicate = findDuplicate(turn, view);
  if (duplicate !== undefined) return duplicate;
  if (prepared.size >= MAX_PREPARED || prepared.bytes + view.size > MAX_PREPARED_BYTES) {
    const limit = `at most ${MAX_PREPARED} and ${MAX_PREPARED_BYTES} bytes`;
    return refuse("too-many", `${prepared.size} prepared messages wait for their decision, ${limit}`, 1_000);
  }
  // Room is looked for now: a decision must not fail for want of it.
  const refusal = checkRoom(turn, [view]);
  if (refusal !== undefined) return refusal;
  const { messageId, size: bytes } = view;
  const key = prepared.nextKey;
  turn.store.addPrepared(key, view.record);
  prepared.add({ ...preparation, messageId, key, bytes, asked: 0, checkAt: now + preparation.checkAfterMs });
  return { seq: NO_SEQ, duplicate: false, epoch };
}

function decideNow(turn: Turn, message: PreparedMessage, commit: boolean): Published | undefined {
  if (!commit) return rollBack(turn, message, false);
  const { ledger } = turn;
  const view = new RecordView(turn.store.readPrepared(message.key).slice());
  forget(turn, message, false);
  view.setTime(turn.now);
  const messageId = ledger.settings.dedupWindowMs > 0 ? message.messageId : undefined;
  return { seq: store(turn, view, messageId), duplicate: false, epoch: ledger.epoch };
}

function rollBack(turn: Turn, message: PreparedMessage, abandoned: boolean): undefined {
  forget(turn, message, abandoned);
  if (turn.ledger.settings.dedupWindowMs > 0) turn.rememberId(NO_SEQ, ROLLED_BACK + message.messageId);
}

function forget(turn: Turn, message: PreparedMessage, abandoned: boolean): void {
  turn.store.removePrepared(message.key);
  turn.ledger.prepared.end(message, abandoned);
}

/** What is left of a decision: the message in the log, or the word that it was rolled back. */
function decidedBefore(turn: Turn, messageId: string, commit: boolean): Published | Refusal | undefined {
  const { ledger, dedup, now } = turn;
  const { dedupWindowMs } = ledger.settings;
  const seq = dedup.find(messageId, now, dedupWindowMs);
  if (seq !== undefined) {
    if (commit) return { seq, duplicate: true, epoch: ledger.epoch };
    return refuse("conflict", `message ${JSON.stringify(messageId)} was committed under seq ${seq}`);
  }
  if (dedup.find(ROLLED_BACK + messageId, now, dedupWindowMs) === undefined) {
    return refuse("not-found", `there is no prepared message ${JSON.stringify(messageId)}`);
  }
  return commit ? refuse("conflict", `message ${JSON.stringify(messageId)} was rolled back`) : undefined;
}

function ask(turn: Turn, message: PreparedMessage): void {
  const { messageId, checkTo } = message;
  const check = message.asked + 1;
  turn.sendTo(checkTo, {
    ...EMPTY_MESSAGE,
    messageId: `${messageId.slice(0, 1_000)}/check/${check}`,
    time: turn.now,
    bodyKind: JSON_BODY,
    body: JSON.stringify({ messageId, to: `queue:${turn.queue}`, check }),
  });
  turn.ledger.prepared.ask(message, turn.now);
}
