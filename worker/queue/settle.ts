// What consumers say of their deliveries, and consumers coming and going.
import { type Refusal, refuse } from "../errors.ts";
import { MAX_CONSUMERS } from "../limits.ts";
import type { ConsumerSpec } from "../link/commands.ts";
import type { Handle } from "../link/handle.ts";
import type { Settlement } from "../link/settlement.ts";
import type { Consumer } from "./consumers.ts";
import type { Entry } from "./entry.ts";
import { deadLetter, fail } from "./failures.ts";
import { sendReceipt } from "./receipts.ts";
import type { Turn } from "./turn.ts";

/**
 * Settles one delivery.
 *
 * @returns whether it is settled, now or already by this very handle; false when the lease was lost, and nothing changed
 */
export function settle(turn: Turn, settlement: Settlement): boolean {
  const { ledger } = turn;
  const entry = leasedBy(turn, settlement);
  if (entry === undefined) return ledger.outcomes.settled(settlement.lease, ledger.newestLease);
  switch (settlement.outcome) {
    case "ack":
      sendReceipt(turn, entry, "ack");
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
  if (known === undefined && ledger.consumers.size >= MAX_CONSUMERS) {
    return refuse("too-many", `the queue has ${MAX_CONSUMERS} consumers, which is its limit`, 10_000);
  }
  const { ref, gateway, client, filter, credit, leaseMs = 0, generation } = spec;
  ledger.attach({ ref, gateway, client, filter, credit, leaseMs, generation });
  const consumer = ledger.consumers.get(ref)!;
  if (spec.resend) for (const entry of heldBy(turn, ref, consumer.used)) turn.deliver(entry, consumer, true);
  return undefined;
}

/** Takes consumers away; what they hold is ready again at once, but for what a commit holds until it is decided. */
export function detach(turn: Turn, refs: number[]): void {
  for (const ref of refs) {
    const consumer = turn.ledger.consumers.get(ref);
    if (consumer === undefined) continue;
    turn.ledger.detach(consumer);
    for (const entry of heldBy(turn, ref, consumer.used)) {
      if (!turn.ledger.holds.has(entry.position)) turn.ledger.giveBack(entry, false, false, 0);
    }
  }
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
export function receive(turn: Turn, ref: number, max: number, leaseMs: number | undefined): void {
  const consumer: Consumer = {
    ref,
    gateway: "",
    client: "",
    filter: "",
    credit: max,
    leaseMs: leaseMs ?? 0,
    generation: 0,
    used: 0,
    paused: false,
    inLine: false,
  };
  turn.ledger.consumers.add(consumer);
}

/** The message whose lease a handle is, if it may be settled: it is not while a commit holds it. */
export function leasedBy({ ledger }: Turn, { position, lease }: Handle): Entry | undefined {
  const entry = ledger.entries.get(position);
  return entry?.state === "leased" && entry.lease === lease && !ledger.holds.has(position)
    ? entry
    : undefined;
}

function heldBy(turn: Turn, ref: number, count: number): Entry[] {
  const held: Entry[] = [];
  for (const entry of turn.ledger.entries.values()) {
    // Most consumers come and go without holding anything: nothing is looked through for them.
    if (held.length === count) break;
    if (entry.state === "leased" && entry.ref === ref) held.push(entry);
  }
  return held;
}
