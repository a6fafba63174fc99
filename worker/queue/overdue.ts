// What time does to a queue: leases run out, back-offs and delays end, messages expire.
import { RecordView } from "../message/record.ts";
import type { Entry } from "./entry.ts";
import { expire, fail } from "./failures.ts";
import { holdTimes } from "./holding.ts";
import type { Ledger } from "./ledger.ts";
import { preparedTimes } from "./preparing.ts";
import { expireHead } from "./publish.ts";
import { redriveOverTime } from "./redrive.ts";
import { schedulesOverTime } from "./schedules.ts";
import type { Timed } from "./timers.ts";
import type { Turn } from "./turn.ts";

/** Bytes of delayed messages that one turn brings to the log; the rest follows in the next. */
const MAX_MATURE_BYTES = 4_000_000;

const TIMED: readonly Timed[] = [redriveOverTime, schedulesOverTime, holdTimes, preparedTimes];

/** Does everything that is due by now. */
export function runOverdue(turn: Turn): void {
  const { ledger, now } = turn;
  while (ledger.timers.key <= now) {
    const { key } = ledger.timers;
    const entry = ledger.entries.get(ledger.timers.pop());
    // A timer that no longer holds must not decide when its entry's turn is: after an eviction it would not be there.
    if (entry !== undefined && holds(entry, key)) runEntry(turn, entry);
  }
  mature(turn);
  expireHead(turn);
  for (const part of TIMED) if (part.deadline(ledger) <= now) part.run(turn);
}

/** When a part of the books is due next, Infinity when none is. */
export function nextTimed(ledger: Ledger): number {
  return Math.min(...TIMED.map((part) => part.deadline(ledger)), Number.POSITIVE_INFINITY);
}

/** When the next entry needs attention, Infinity when none does. Drops timers that no longer hold. */
export function nextTimer(ledger: Ledger): number {
  const { timers, entries } = ledger;
  for (;;) {
    const entry = entries.get(timers.value);
    if (timers.size === 0 || (entry !== undefined && holds(entry, timers.key))) return timers.key;
    timers.pop();
  }
}

function holds(entry: Entry, time: number): boolean {
  return entry.deadline === time || expiryOf(entry) === time;
}

function runEntry(turn: Turn, entry: Entry): void {
  const { ledger, now } = turn;
  if (entry.state === "leased") {
    if (entry.deadline <= now) fail(turn, entry, "lease expired", undefined, false);
  } else if (expiryOf(entry) <= now) {
    expire(turn, entry);
  } else if (entry.state === "waiting" && entry.deadline <= now) {
    ledger.wake(entry);
  }
}

/** A message that is out may still be finished after its time to live; it expires when it comes back. */
function expiryOf(entry: Entry): number {
  return entry.expiresAt > 0 && entry.state !== "leased" ? entry.expiresAt : Number.POSITIVE_INFINITY;
}

function mature(turn: Turn): void {
  let bytes = 0;
  while (bytes < MAX_MATURE_BYTES) {
    const due = turn.store.takeDelayed(turn.now);
    if (due === undefined) break;
    for (const view = new RecordView(due.records); view.valid; view.next()) turn.mature(view.record);
    bytes += due.records.length;
  }
  turn.seal();
}
