// The consumer that stands for a push: what it holds over an eviction, and what its waking costs.
import { describe, expect, it } from "vitest";
import { MAX_CONSUMERS } from "../../../worker/limits.ts";
import type { PushSpec } from "../../../worker/push/spec.ts";
import { PUSH_REF } from "../../../worker/queue/push-target.ts";
import { outbox, settlement } from "../../support/commits.ts";
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

  it("[PSH7] what a commit of the handler holds is not pushed again, and stays held whatever time passes", () => {
    const machine = pushing();
    machine.publish({ body: "a" }, { body: "b" });
    const [first, second] = machine.delivered;
    const hold = { tx: "k~1", decider: "other", settlements: [settlement(first!)] };
    machine.turn({ type: "hold", hold });
    machine.reopen();
    machine.turn({ type: "resume-push" });
    expect(machine.delivered).toMatchObject([{ body: "b", lease: second!.lease }]);
    machine.pass(100_000);
    machine.turn({ type: "conclude", tx: "k~1", committed: true });
    expect(machine.queue.ledger.counts).toMatchObject({ settled: 1 });
    expect(machine.queue.ledger.entries.has(first!.position), "[CMT1] it is settled for good").toBe(false);
  });

  it("[PSH7] [DEV1] what is out to all is pushed again too, and who settles it is the push", () => {
    const machine = new Machine("jobs", { delivery: "all", leaseMs: 5_000 });
    machine.attach(7, 5);
    machine.turn({ type: "push", spec: SPEC });
    machine.publish({ body: "a", receiptTo: "queue:told" });
    expect(machine.delivered.map(({ ref }) => ref)).toEqual([7, PUSH_REF]);
    const [delivery] = machine.delivered;
    machine.reopen();
    machine.turn({ type: "resume-push" });
    expect(machine.delivered).toMatchObject([{ ref: PUSH_REF, lease: delivery!.lease, redelivered: true }]);
    machine.pass(SPEC.timeoutMs);
    expect(machine.settle(delivery!, "ack", { by: PUSH_REF })).toBe(true);
    expect(machine.told).toHaveLength(1);
    const [row] = outbox(machine);
    expect(JSON.parse(row!.bodies[0]!)).toMatchObject({ outcome: "ack", client: "push" });
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

describe("a push beside other consumers", () => {
  it("[PSH14] is refused where there is no room for one more, and changes nothing", () => {
    const machine = new Machine();
    const consumer = { gateway: "g", client: "", filter: "", credit: 0, leaseMs: undefined };
    for (let ref = 2; ref < MAX_CONSUMERS + 2; ref++) {
      machine.queue.ledger.attach({ ...consumer, ref, leaseMs: 0, generation: 1 });
    }
    const [result] = machine.turn({ type: "push", spec: SPEC }).results;
    expect(result).toMatchObject({ type: "refused", refusal: { kind: "too-many" } });
    expect(machine.queue.ledger.push.spec).toBe(undefined);
    machine.turn({ type: "detach", refs: [2] });
    expect(machine.turn({ type: "push", spec: SPEC }).results).toMatchObject([{ type: "done" }]);
  });
});
