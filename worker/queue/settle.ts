// What consumers say of their deliveries, and consumers coming and going.
import { type Refusal, refuse } from "../errors.ts";
import { MAX_CONSUMER_FILTER_CHARS, MAX_CONSUMER_FILTERS, MAX_CONSUMERS } from "../limits.ts";
import type { ConsumerSpec } from "../link/commands.ts";
import type { Handle } from "../link/handle.ts";

import type { Settlement } from "../link/settlement.ts";

import { elect } from "./active.ts";

import type { Consumer } from "./consumers.ts";
import type { Entry } from "./entry.ts";
import { EVERYONE } from "./everyone.ts";
import { deadLetter, fail } from "./failures.ts";
import { sendReceipt } from "./receipts.ts";
import type { Turn } from "./turn.ts";

/** In the place of the consumer that settles, when it is not known. */
export const NOBODY = 0;

/**
 * Settles one delivery. What everyone holds it ends for everyone, and the others are told.
 *
 * @param by ref of the consumer that settles, 0 when not known
 * @returns whether it is settled, now or already by this very handle; false when the lease was lost, and nothing changed
 */
export function settle(turn: Turn, settlement: Settlement, by: number): boolean {
  const { ledger } = turn;
  const entry = leasedBy(turn, settlement);
  if (entry === undefined) return ledger.outcomes.settled(settlement.lease, ledger.newestLease);
  if (entry.ref === EVERYONE) {
    for (const other of ledger.everyone.holders(entry.lease)) {
      if (other.ref !== by && !other.paused) turn.tell(other, "settled", entry);
    }
  }
  switch (settlement.outcome) {
    case "ack":
      sendReceipt(turn, entry, "ack", "", entry.ref === EVERYONE ? by : entry.ref);
      ledger.finish(entry, "settled", true);
      break;
    case "release":
      ledger.giveBack(entry, false, true, 0);
      break;
    case "fail":
      fail(turn, entry, settlement.reason, settlement.delayMs, true);
      break;
    case "dead":
      deadLetter(turn, entry, "rejected", settlement.reason, true);
      break;
  }
  return true;
}

/** Lets a lease run `leaseMs` from now; false when it was lost. */
export function extend(turn: Turn, handle: Handle, leaseMs: number): boolean {
  const entry = leasedBy(turn, handle);
  if (entry === undefined) return false;
  turn.ledger.extend(entry, turn.now + leaseMs);
  return true;
}

/** Adds a consumer, or changes one that is known; `resend` delivers again what it holds, under the same handles. */
export function attach(turn: Turn, spec: ConsumerSpec): Refusal | undefined {
  const { ledger } = turn;
  const known = ledger.consumers.get(spec.ref);
  const { ref, gateway, client, filter, credit, leaseMs = 0, generation } = spec;
  const refusal = checkConsumer(turn, filter, known);
  if (refusal !== undefined) return refusal;
  ledger.attach({ ref, gateway, client, filter, credit, leaseMs, generation });
  const consumer = ledger.consumers.get(ref)!;
  elect(turn, consumer);
  if (!spec.resend) return undefined;
  const shared = [...ledger.everyone.of(consumer, false)];
  for (const entry of [...heldBy(turn, consumer, shared.length), ...shared]) {
    turn.deliver(entry, consumer, true);
  }
  return undefined;
}

/** Why a queue takes no such consumer, or no such change of a known one. */
function checkConsumer({ ledger }: Turn, filter: string, known?: Consumer): Refusal | undefined {
  const { consumers, settings } = ledger;
  if (filter !== "" && settings.delivery === "all") {
    return refuse("bad-field", 'a queue with delivery "all" takes no filter');
  }
  if (known === undefined && consumers.size >= MAX_CONSUMERS) {
    return refuse("too-many", `the queue has ${MAX_CONSUMERS} consumers, which is its limit`, 10_000);
  }
  const filters = consumers.filtersWith(filter, known);
  if (filters > MAX_CONSUMER_FILTERS && filter !== known?.filter) {
    return refuse(
      "too-many",
      `a queue's consumers have at most ${MAX_CONSUMER_FILTERS} different filters`,
      10_000,
    );
  }
  const more = filter.length - (known?.filter.length ?? 0);
  if (more <= 0 || consumers.filterChars + more <= MAX_CONSUMER_FILTER_CHARS) return undefined;
  const limit = `the filters of a queue's consumers have at most ${MAX_CONSUMER_FILTER_CHARS} characters`;
  return refuse("too-many", `${limit} together, got ${consumers.filterChars + more}`, 10_000);
}

/** Takes consumers away; what they hold is ready again at once, but for what a commit holds until it is decided. */
export function detach(turn: Turn, refs: number[]): void {
  for (const ref of refs) {
    const consumer = turn.ledger.consumers.get(ref);
    if (consumer === undefined) continue;
    const shared = [...turn.ledger.everyone.of(consumer, false)].length;
    turn.ledger.detach(consumer);
    giveBackAll(turn, heldBy(turn, consumer, shared));
  }
  // What everyone held is nobody's any more.
  const { consumers, everyone } = turn.ledger;
  if (everyone.out.size === 0 || consumers.attached) return;
  giveBackAll(turn, [...everyone.out.values()]);
}

function giveBackAll({ ledger }: Turn, entries: Entry[]): void {
  for (const entry of entries) if (!ledger.holds.has(entry.position)) ledger.giveBack(entry, false, false, 0);
}

/** Stops deliveries to consumers whose connection is lost; they keep what they hold. */
export function pause(turn: Turn, refs: number[]): void {
  for (const ref of refs) {
    const consumer = turn.ledger.consumers.get(ref);
    if (consumer !== undefined && !consumer.paused) turn.ledger.pause(consumer);
  }
}

/**
 * An HTTP call that takes up to `max` messages: a consumer for as long as it waits, which nothing needs to remember. Its ref is
 * never given to another call, as leases under it may outlive it.
 */
export function receive(
  turn: Turn,
  {
    ref,
    max,
    leaseMs = 0,
    filter = "",
  }: { ref: number; max: number; leaseMs: number | undefined; filter?: string },
): Refusal | undefined {
  const refusal = checkConsumer(turn, filter);
  if (refusal !== undefined) return refusal;
  const consumer: Consumer = {
    ref,
    gateway: "",
    client: "",
    filter,
    credit: max,
    leaseMs,
    generation: 0,
    used: 0,
    paused: false,
    inLine: false,
  };
  turn.ledger.consumers.add(consumer);
  return undefined;
}

/** The message whose lease a handle is, if it may be settled: it is not while a commit holds it. */
export function leasedBy({ ledger }: Turn, { position, lease }: Handle): Entry | undefined {
  const entry = ledger.entries.get(position);
  return entry?.state === "leased" && entry.lease === lease && !ledger.holds.has(position)
    ? entry
    : undefined;
}

/**
 * What a consumer holds by itself.
 *
 * @param shared how many of those that it has are everybody's
 */
export function heldBy(turn: Turn, { ref, used }: Consumer, shared = 0): Entry[] {
  const count = used - shared;
  const held: Entry[] = [];
  for (const entry of turn.ledger.entries.values()) {
    // Most consumers come and go without holding anything: nothing is looked through for them.
    if (held.length === count) break;
    if (entry.state === "leased" && entry.ref === ref) held.push(entry);
  }
  return held;
}
