// Whether the conditions of a publish hold in this queue now.
import { type Refusal, refuse } from "../errors.ts";
import type { Condition } from "../link/condition.ts";
import type { Turn } from "./turn.ts";

/** Why a message with a condition is not stored, if it is not. A repeated messageId was recognised before. */
export function checkCondition(turn: Turn, { expectSeq, responders }: Condition): Refusal | undefined {
  const last = turn.nextSeq - 1;
  if (expectSeq !== undefined && expectSeq !== last) {
    return refuse("conflict", `expectSeq is ${expectSeq}, the queue's last seq is ${last}`);
  }
  if (responders === true && !turn.ledger.consumers.anyone) {
    return refuse("no-responders", "nobody consumes from the queue");
  }
  return undefined;
}
