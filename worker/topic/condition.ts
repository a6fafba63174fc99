// What must hold of a topic for a message to be published.
import { type Refusal, refuse } from "../errors.ts";
import type { Condition } from "../link/condition.ts";

/** Why a message with a condition is not published, if it is not. */
export function checkCondition(
  { expectSeq, responders }: Condition,
  last: number,
  targets: number,
): Refusal | undefined {
  if (expectSeq !== undefined && expectSeq !== last) {
    return refuse("conflict", `expectSeq is ${expectSeq}, the topic's last seq is ${last}`);
  }
  if (responders === true && targets === 0) {
    return refuse("no-responders", "nobody subscribes to the topic");
  }
  return undefined;
}
