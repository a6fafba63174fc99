// Settlements as bytes: in commands between objects, and in what a queue stores of those that it holds.
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import type { Handle } from "./handle.ts";

/** What becomes of a delivery: done, back without blame, failed, or given up. */
export type Outcome = "ack" | "release" | "fail" | "dead";

/** One settled delivery. */
export interface Settlement extends Handle {
  outcome: Outcome;
  /** Wait before the next attempt, ms; undefined: the queue's back-off. Only for `fail`. */
  delayMs: number | undefined;
  /** Why it failed or died, "" when not told. */
  reason: string;
}

/* PERSISTED in a queue's holds: f64 position, f64 lease, u8 outcome, f64 delayMs (-1: none), text16 reason */
const OUTCOMES: readonly Outcome[] = ["ack", "release", "fail", "dead"];

/** Appends u32 count and the settlements. */
export function writeSettlements(to: Writer, settlements: readonly Settlement[]): void {
  to.u32(settlements.length);
  for (const settlement of settlements) writeSettlement(to, settlement);
}

/** The opposite of writeSettlements. */
export function readSettlements(from: Reader): Settlement[] {
  const settlements: Settlement[] = [];
  for (let left = from.u32(); left > 0; left--) settlements.push(readSettlement(from));
  return settlements;
}

/** Appends one settlement. */
export function writeSettlement(to: Writer, settlement: Settlement): void {
  to.f64(settlement.position);
  to.f64(settlement.lease);
  to.u8(OUTCOMES.indexOf(settlement.outcome));
  to.f64(settlement.delayMs ?? -1);
  to.text16(settlement.reason);
}

/** The opposite of writeSettlement. */
export function readSettlement(from: Reader): Settlement {
  const position = from.f64();
  const lease = from.f64();
  const outcome = OUTCOMES[from.u8()]!;
  const delayMs = from.f64();
  return { position, lease, outcome, delayMs: delayMs < 0 ? undefined : delayMs, reason: from.text16() };
}
