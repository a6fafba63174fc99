// Who gets which message next: redelivered ones first, then the log in order, groups one message at a time, consumers in turn.
import { MAX_OUTSTANDING, MAX_PARKED } from "../limits.ts";
import type { Entry } from "./entry.ts";
import { expire } from "./failures.ts";
import { takeNext } from "./head.ts";
import type { Turn } from "./turn.ts";

/** Leases ready messages to consumers with credit until one of the two runs out. */
export function dispatch(turn: Turn): void {
  const { ledger, now } = turn;
  if (ledger.settings.paused) return;
  while (ledger.consumers.waiting) {
    if (turn.full) {
      turn.more = true;
      return;
    }
    const entry = nextReady(turn);
    if (entry === undefined) return;
    const consumer = ledger.consumers.next()!;
    const redelivered = entry.attempts > 0;
    ledger.lease(entry, consumer.ref, now + (consumer.leaseMs || ledger.settings.leaseMs));
    turn.deliver(entry, consumer, redelivered);
    ledger.consumers.lineUp(consumer);
  }
}

function nextReady(turn: Turn): Entry | undefined {
  const { ledger, now } = turn;
  for (let entry = ledger.ready.first(); entry !== undefined; entry = ledger.ready.first()) {
    if (!isOver(entry, now)) return entry;
    expire(turn, entry);
  }
  while (ledger.entries.size < MAX_OUTSTANDING && ledger.parked < MAX_PARKED) {
    const entry = takeNext(turn);
    if (entry === undefined) return undefined;
    if (isOver(entry, now)) expire(turn, entry);
    else if (entry.state === "ready") return entry;
  }
  return undefined;
}

function isOver(entry: Entry, now: number): boolean {
  return entry.expiresAt > 0 && entry.expiresAt <= now;
}
