import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backoffMs } from "../../../client/backoff.ts";

describe("back-off", () => {
  it("[CLI1] is random, doubles with each failed attempt and stays below 10 s", () => {
    fc.assert(
      fc.property(fc.nat(1_000), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, chance) => {
        const ceilingMs = Math.min(10_000, 250 * 2 ** Math.min(attempt, 30));
        const waitMs = backoffMs(attempt, chance);
        expect(waitMs).toBeGreaterThanOrEqual(Math.floor(ceilingMs / 10));
        expect(waitMs).toBeLessThanOrEqual(ceilingMs);
      }),
    );
  });

  it("[CLI1] spreads over most of its range", () => {
    expect(backoffMs(2, 0)).toBe(100);
    expect(backoffMs(2, 1)).toBe(1_000);
  });

  it("[CLI1] adds what the broker asked for", () => {
    expect(backoffMs(0, 0, 5_000)).toBe(5_025);
  });
});
