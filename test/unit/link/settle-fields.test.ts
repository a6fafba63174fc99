// From the lists of a settle to settlements, one for each handle, in a stated order.
import { expect, it } from "vitest";
import { MAX_BATCH } from "../../../worker/limits.ts";
import { formatHandle } from "../../../worker/link/handle.ts";
import { SETTLE_FIELDS, settlementsOf } from "../../../worker/link/settle-fields.ts";
import { check } from "../../../worker/schema.ts";

it("[SET5] each handle becomes one settlement, list by list", () => {
  const lists = {
    dead: [{ delivery: formatHandle(5, 50), reason: "bad" }],
    fail: [{ delivery: formatHandle(3, 30), delayMs: 0 }, { delivery: formatHandle(4, 40) }],
    release: [formatHandle(2, 20)],
    ack: [formatHandle(1, 10)],
  };
  expect(check(SETTLE_FIELDS, lists, "")).toBeUndefined();
  expect(settlementsOf(lists)).toEqual({
    deliveries: [1, 2, 3, 4, 5].map((n) => formatHandle(n, n * 10)),
    settlements: [
      { position: 1, lease: 10, outcome: "ack", delayMs: undefined, reason: "" },
      { position: 2, lease: 20, outcome: "release", delayMs: undefined, reason: "" },
      { position: 3, lease: 30, outcome: "fail", delayMs: 0, reason: "" },
      { position: 4, lease: 40, outcome: "fail", delayMs: undefined, reason: "" },
      { position: 5, lease: 50, outcome: "dead", delayMs: undefined, reason: "bad" },
    ],
  });
});

it("[SET7] what no queue can have given out is a handle all the same, and never valid", () => {
  expect(settlementsOf({ ack: ["not a handle"] })).toMatchObject({
    deliveries: ["not a handle"],
    settlements: [{ position: -1, lease: -1 }],
  });
});

it("[SET9] a settle of too many deliveries is refused as a whole, over all lists", () => {
  const half = Array.from({ length: MAX_BATCH / 2 }, () => "1.a");
  expect(settlementsOf({ ack: half, release: half })).toMatchObject({ deliveries: expect.any(Array) });
  expect(settlementsOf({ ack: half, release: half }, 1)).toMatchObject({
    kind: "batch-too-large",
    message: expect.stringContaining(`${MAX_BATCH + 1}`),
  });
});
