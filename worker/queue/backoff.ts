// How long a failed message waits before its next attempt.
import type { Backoff } from "./settings.ts";

/**
 * The wait after the n-th failure, ms.
 *
 * @param failures failures so far, 1 after the first
 * @param random from 0 up to 1: jitter takes off up to its share of the wait
 * @example backoffMs({ kind: "exponential", baseMs: 100, maxMs: 1000, jitter: 0 }, 3, 0) // 400
 */
export function backoffMs(backoff: Backoff, failures: number, random: number): number {
  const { kind, baseMs, maxMs, jitter } = backoff;
  const n = Math.max(1, failures);
  const factor = kind === "fixed" ? 1 : kind === "linear" ? n : 2 ** Math.min(n - 1, 60);
  const wait = Math.min(baseMs * factor, maxMs);
  return Math.round(wait * (1 - jitter * random));
}
