// What happens to messages that were not finished: back-off, dead-lettering with the history of deaths, expiry.
import { MAX_DEATHS } from "../limits.ts";
import { RecordView } from "../message/record.ts";
import { backoffMs } from "./backoff.ts";
import type { Entry } from "./entry.ts";
import { sendReceipt } from "./receipts.ts";
import { deadLetterQueue, holdsDeadLetters } from "./settings.ts";
import type { Turn } from "./turn.ts";

/** Why a message was dead-lettered. */
export type DeathReason = "failures" | "rejected" | "expired" | "overflow";

/** One entry of a dead letter's history: one for each queue and reason. */
export interface Death {
  queue: string;
  reason: DeathReason;
  count: number;
  /** ms since the epoch. */
  firstTime: number;
  lastTime: number;
  /** What the consumer said when it failed or rejected the message the last time. */
  detail?: string;
}

/**
 * A leased message failed (its consumer said so, or its lease ran out): another attempt after the back-off, or the end.
 *
 * @param delayMs the consumer's own wait; undefined: the queue's back-off
 */
export function fail(
  turn: Turn,
  entry: Entry,
  reason: string,
  delayMs: number | undefined,
  byHandle: boolean,
): void {
  const { ledger, now } = turn;
  const { settings } = ledger;
  const failures = entry.failures + 1;
  if (failures >= settings.maxFailures && mayDie(turn)) {
    deadLetter(turn, entry, "failures", reason, byHandle);
    return;
  }
  const wait = delayMs ?? backoffMs(settings.backoff, failures, turn.random());
  if (wait <= 0) ledger.giveBack(entry, true, byHandle, 0);
  // A group waits for its head, so the head waits where it is; others would fill the books, and go to the delayed ones.
  else if (entry.group !== "") ledger.giveBack(entry, true, byHandle, now + wait);
  else moveToDelayed(turn, entry, failures, now + wait, byHandle);
}

/** Ends a message and sends it to the dead-letter queue, if there is one. */
export function deadLetter(
  turn: Turn,
  entry: Entry,
  reason: DeathReason,
  detail: string,
  byHandle: boolean,
): void {
  sendReceipt(turn, entry, "dead", detail || reason);
  const target = deadLetterQueue(turn.queue, turn.ledger.settings);
  if (target !== null) writeDeadLetter(turn, entry, target, reason, detail);
  turn.ledger.finish(entry, "dead", byHandle);
}

/** Ends a message whose time to live is over. Only a queue told where to send its dead letters keeps expired ones. */
export function expire(turn: Turn, entry: Entry): void {
  if (typeof turn.ledger.settings.deadLetterTo === "string")
    return deadLetter(turn, entry, "expired", "", false);
  sendReceipt(turn, entry, "expired");
  turn.ledger.finish(entry, "expired", false);
}

/** A queue of dead letters gives its messages up only when it was told where they go. */
function mayDie(turn: Turn): boolean {
  return turn.ledger.settings.deadLetterTo !== undefined || !holdsDeadLetters(turn.queue);
}

function moveToDelayed(turn: Turn, entry: Entry, failures: number, dueAt: number, byHandle: boolean): void {
  const copy = new RecordView(turn.store.log.record(entry.position)!.record.slice());
  copy.setCounts(entry.attempts, failures);
  copy.setDueAt(dueAt);
  turn.delay(dueAt, copy.bytes);
  // It is watched again where it comes back.
  if (turn.ledger.receipts.wants(entry.position)) turn.ledger.receipts.done(entry.position);
  turn.ledger.moveToDelayed(entry, byHandle);
}

function writeDeadLetter(
  turn: Turn,
  entry: Entry,
  target: string,
  reason: DeathReason,
  detail: string,
): void {
  const message = turn.store.log.record(entry.position)!.decode();
  const deaths = message.deaths === "" ? [] : (JSON.parse(message.deaths) as Death[]);
  const text = JSON.stringify(addDeath(deaths, turn.queue, reason, detail, turn.now));
  const fresh = { ...message, deaths: text, dueAt: 0, expiresAt: 0, attempts: 0, failures: 0 };
  turn.sendTo(target, fresh);
}

/** The history with one more death: counted up when the message died in the same queue for the same reason before. */
export function addDeath(
  deaths: Death[],
  queue: string,
  reason: DeathReason,
  detail: string,
  now: number,
): Death[] {
  const known = deaths.find((death) => death.queue === queue && death.reason === reason);
  const death: Death = {
    queue,
    reason,
    count: (known?.count ?? 0) + 1,
    firstTime: known?.firstTime ?? now,
    lastTime: now,
  };
  if (detail !== "") death.detail = detail;
  // The latest death stands first, and the oldest are forgotten.
  return [death, ...deaths.filter((other) => other !== known)].slice(0, MAX_DEATHS);
}
