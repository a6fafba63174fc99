// How long to wait before the next attempt. Pure: chance is an argument.

const BASE_MS = 250;
const MAX_MS = 10_000;

/**
 * A wait that doubles with each failed attempt up to 10 s, spread over most of its range: many clients lost by one broker at
 * one instant do not come back at one instant.
 *
 * @param attempt 0 for the first try after a working connection
 * @param chance uniform from 0 to 1
 * @param atLeastMs what the broker asked for; the spread comes on top
 */
export function backoffMs(attempt: number, chance: number, atLeastMs = 0): number {
  const ceilingMs = Math.min(MAX_MS, BASE_MS * 2 ** Math.min(attempt, 10));
  return Math.round(atLeastMs + ceilingMs * (0.1 + 0.9 * chance));
}
