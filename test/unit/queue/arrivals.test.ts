// What a queue remembers of other objects' receipts: enough for those who wait, and no more than its limit.
import { expect, it } from "vitest";
import { MAX_ARRIVALS } from "../../../worker/limits.ts";
import type { Published } from "../../../worker/link/results.ts";
import { Arrivals } from "../../../worker/queue/arrivals.ts";

const ONE: Published = { seq: 1, epoch: 1, duplicate: false };

/** What is known of rows, at once. */
function known(arrivals: Arrivals, ...rows: number[]): (number | undefined)[] {
  let found: (number | undefined)[] = [];
  const giveUp = arrivals.wait(
    rows,
    () => true,
    (receipts) => {
      found = receipts.map((receipt) => receipt?.length);
    },
  );
  giveUp();
  return found;
}

it("[INP13] keeps receipts up to a limit of rows and messages together, the latest", () => {
  const large = new Arrivals();
  const messages = Array.from({ length: 1_000 }, () => ONE);
  for (let row = 1; row <= 30; row++) large.arrived(row, messages);
  const kept = Math.floor(MAX_ARRIVALS / 1_001);
  expect(known(large, 30 - kept, 31 - kept, 30)).toEqual([undefined, 1_000, 1_000]);
  const empty = new Arrivals();
  for (let row = 1; row <= MAX_ARRIVALS + 1; row++) empty.arrived(row, []);
  expect(known(empty, 1, 2)).toEqual([undefined, 0]);
});
