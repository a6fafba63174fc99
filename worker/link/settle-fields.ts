// A settle as clients describe it, in a frame or over HTTP, and the settlements it becomes.
import { type Refusal, refuse } from "../errors.ts";
import { MAX_BATCH, MAX_DELAY_MS, MAX_REASON_CHARS } from "../limits.ts";
import { type Infer, object } from "../schema.ts";

import { parseHandle } from "./handle.ts";
import type { Outcome, Settlement } from "./settlement.ts";

/** A delivery's handle as clients send it back. */
export const HANDLE = { type: "string", minLength: 1, maxLength: 64 } as const;

const reason = { type: "string", maxLength: MAX_REASON_CHARS } as const;
const delayMs = { type: "integer", minimum: 0, maximum: MAX_DELAY_MS } as const;
const failed = object({ delivery: HANDLE, reason, delayMs }, ["delivery"]);
const given = object({ delivery: HANDLE, reason }, ["delivery"]);
// The limit holds for all lists together: settlementsOf checks it.
const maxItems = Number.MAX_SAFE_INTEGER;

/** The four lists of a settle. */
export const SETTLE_FIELDS = object(
  {
    ack: { type: "array", items: HANDLE, maxItems },
    release: { type: "array", items: HANDLE, maxItems },
    fail: { type: "array", items: failed, maxItems },
    dead: { type: "array", items: given, maxItems },
  },
  [],
);

/** Handles as they were given, and the settlements at the same places. */
export interface Settlements {
  deliveries: string[];
  settlements: Settlement[];
}

/**
 * Makes the settlements of a settle, or refuses it as a whole with `batch-too-large`.
 *
 * @param others how many handles the same request holds besides
 * @example settlementsOf({ ack: ["1.a"], fail: [{ delivery: "2.b", delayMs: 500 }] })
 */
export function settlementsOf(lists: Infer<typeof SETTLE_FIELDS>, others = 0): Settlements | Refusal {
  const { ack = [], release = [], fail = [], dead = [] } = lists;
  const count = ack.length + release.length + fail.length + dead.length + others;
  if (count > MAX_BATCH) {
    return refuse("batch-too-large", `a settle has at most ${MAX_BATCH} deliveries, got ${count}`);
  }
  const deliveries: string[] = [];
  const settlements: Settlement[] = [];
  const add = (delivery: string, outcome: Outcome, why = "", afterMs?: number) => {
    deliveries.push(delivery);
    settlements.push({ ...parseHandle(delivery), outcome, delayMs: afterMs, reason: why });
  };
  for (const delivery of ack) add(delivery, "ack");
  for (const delivery of release) add(delivery, "release");
  for (const entry of fail) add(entry.delivery, "fail", entry.reason, entry.delayMs);
  for (const entry of dead) add(entry.delivery, "dead", entry.reason);
  return { deliveries, settlements };
}
