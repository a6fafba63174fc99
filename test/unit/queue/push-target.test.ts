// The consumer that stands for a push: what it holds over an eviction, and what its waking costs.
import { describe, expect, it } from "vitest";
import type { PushSpec } from "../../../worker/push/spec.ts";
import { Machine } from "../../support/machine.ts";

const SPEC: PushSpec = {
  ...{ url: "https://example.com/", secret: "", headers: {}, service: "" },
  ...{ concurrency: 2, timeoutMs: 30_000 },
};

function pushing(): Machine {
  const machine = new Machine();
  machine.turn({ type: "push", spec: SPEC });
  return machine;
}

describe("a push over an eviction", () => {
  it("[PSH7] sends what was under way again, the same attempt, with the time for a whole answer", () => {
    const machine = pushing();
    machine.publish({ body: "a" }, { body: "b" }, { body: "c" });
    const held = machine.delivered;
    expect(held.map(({ body }) => body)).toEqual(["a", "b"]);
    machine.now += 40_000;
    machine.reopen();
    machine.turn({ type: "resume-push" });
    expect(machine.delivered).toMatchObject(
      held.map(({ lease }) => ({ lease, attempt: 1, redelivered: true })),
    );
    // The first lease would have ended now, in the middle of the second push.
    machine.pass(20_000);
    expect(held.map((delivery) => machine.settle(delivery, "ack"))).toEqual([true, true]);
    expect(machine.delivered).toHaveLength(0);
  });

  it("[PSH7] [EVC1] what waits for its next attempt is pushed after an eviction", () => {
    const machine = pushing();
    machine.publish({ body: "a" });
    machine.settle(machine.delivered[0]!, "fail", { delayMs: 300 });
    machine.reopen();
    machine.now = machine.queue.nextDeadline;
    machine.turn();
    expect(machine.delivered).toMatchObject([{ attempt: 2 }]);
  });

  it("[PSH12] waking a queue that pushes, with nothing under way, writes no row", () => {
    const machine = pushing();
    const before = machine.sql.rowsWritten;
    machine.reopen();
    machine.turn({ type: "resume-push" });
    expect(machine.sql.rowsWritten).toBe(before);
  });
});
