// Who gets which message next: by priority, redelivered ones first, then the log in order, groups one message at a time, consumers in turn.
import { MAX_OUTSTANDING, MAX_PARKED, MAX_PASSED } from "../limits.ts";
import { RecordFields } from "../selector/record-fields.ts";
import { selectorOf } from "../selector/selector.ts";
import { elect } from "./active.ts";
import type { Consumer } from "./consumers.ts";
import type { Entry } from "./entry.ts";
import { EVERYONE } from "./everyone.ts";
import { expire } from "./failures.ts";
import { takeNext } from "./head.ts";
import type { Turn } from "./turn.ts";

/** Leases ready messages to consumers with credit until one of the two runs out. */
export function dispatch(turn: Turn): void {
  const { consumers, settings, ready } = turn.ledger;
  elect(turn);
  if (settings.paused) return;
  if (settings.delivery === "all") return dispatchToAll(turn);
  if (consumers.selecting > 0) return dispatchSelected(turn);
  ready.lanes.clear();
  while (consumers.waiting) {
    if (turn.full) {
      turn.more = true;
      return;
    }
    const entry = nextReady(turn);
    if (entry === undefined) return;
    hand(turn, entry, consumers.next()!);
  }
}

/** As `dispatch`, where a consumer may have nothing to wait for while others do. */
function dispatchSelected(turn: Turn): void {
  while (serveLine(turn));
  turn.more ||= turn.full;
}

/** Serves each in the line until all have had what they want or found nothing; whether some of these may find something now. */
function serveLine(turn: Turn): boolean {
  const { ledger } = turn;
  const unserved: Consumer[] = [];
  let lookedTo = 0;
  let handed = false;
  for (let consumer = ledger.consumers.next(); consumer !== undefined; consumer = ledger.consumers.next()) {
    const entry = turn.full ? undefined : nextMatching(turn, consumer.filter);
    if (entry === undefined) {
      unserved.push(consumer);
      if (unserved.length === 1) lookedTo = ledger.cursor;
    } else {
      hand(turn, entry, consumer);
      handed = true;
    }
  }
  ledger.consumers.putBack(unserved);
  // Others have let the cursor pass more, or have made room for it to.
  return handed && unserved.length > 0 && !turn.full && (ledger.cursor > lookedTo || ledger.untaken > 0);
}

/** Leases messages to all consumers together, no more at once than each of them may hold, and sends each of them what it lacks. */
function dispatchToAll(turn: Turn): void {
  const { ledger, now } = turn;
  const { everyone } = ledger;
  const takers = [...ledger.consumers.values()].filter(({ paused, credit }) => !paused && credit > 0);
  const attached = takers.filter(({ ref }) => ref > 0);
  const counting = attached.length > 0 ? attached : takers;
  const limit = counting.reduce((least, { credit }) => Math.min(least, credit), Number.POSITIVE_INFINITY);
  while (counting.length > 0 && everyone.out.size < limit) {
    const entry = nextReady(turn);
    if (entry === undefined) break;
    ledger.lease(entry, EVERYONE, now + ledger.settings.leaseMs);
  }
  for (const consumer of takers) bring(turn, consumer);
}

/** Sends a consumer what is out and it was not sent, oldest first, up to its credit. */
function bring(turn: Turn, consumer: Consumer): void {
  let room = consumer.credit - consumer.used;
  let last = 0;
  for (const entry of turn.ledger.everyone.of(consumer, true)) {
    if (room <= 0 || turn.full) break;
    turn.deliver(entry, consumer, entry.attempts > 1);
    last = entry.lease;
    room--;
  }
  if (last > 0) turn.ledger.everyone.sent(consumer, last);
  turn.more ||= turn.full;
}

function hand(turn: Turn, entry: Entry, consumer: Consumer): void {
  const { ledger, now } = turn;
  const redelivered = entry.attempts > 0;
  ledger.lease(entry, consumer.ref, now + (consumer.leaseMs || ledger.settings.leaseMs));
  turn.deliver(entry, consumer, redelivered);
  ledger.consumers.lineUp(consumer);
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

/** The next message that matches a selector; those that do not stay where they are, and the cursor passes them. */
function nextMatching(turn: Turn, filter: string): Entry | undefined {
  const selector = selectorOf(filter);
  if (selector === undefined) return nextReady(turn);
  const { ledger, store, now } = turn;
  const matches = ({ position, attempts }: Entry) =>
    selector.matches(new RecordFields(store.log.record(position)!, attempts + 1));
  for (;;) {
    const entry = ledger.ready.lanes.first(filter, matches);
    if (entry !== undefined && !isOver(entry, now)) return entry;
    if (entry !== undefined) expire(turn, entry);
    else if (!lookFurther(turn)) return undefined;
  }
}

/** Lets the cursor pass one more message, unless it has passed as many as it may. */
function lookFurther(turn: Turn): boolean {
  const { counts, untaken, parked, entries } = turn.ledger;
  const passed = counts.ready - untaken - parked;
  if (passed >= MAX_PASSED || parked >= MAX_PARKED || entries.size >= MAX_OUTSTANDING) return false;
  return takeNext(turn) !== undefined;
}

function isOver(entry: Entry, now: number): boolean {
  return entry.expiresAt > 0 && entry.expiresAt <= now;
}
