// Groups: order within one, nothing between two, and how far the queue looks past those that wait.
import { describe, expect, it } from "vitest";
import { MAX_PARKED } from "../../../worker/limits.ts";
import { type Delivered, type Draft, Machine } from "../../support/machine.ts";

function grouped(group: string, ...bodies: string[]): Draft[] {
  return bodies.map((body) => ({ body, group }));
}

function bodies(delivered: Delivered[]): string[] {
  return delivered.map(({ body }) => body);
}

describe("groups", () => {
  it("[GRP1] [GRP2] [GRP3] one of a group is out, others and the groupless go past", () => {
    const machine = new Machine();
    machine.publish(...grouped("a", "a1", "a2"), ...grouped("b", "b1"), { body: "x" }, ...grouped("a", "a3"));
    const out = machine.attach(1, 10);
    expect(bodies(out)).toEqual(["a1", "b1", "x"]);
    machine.attach(2, 10);
    expect(machine.delivered).toEqual([]);
    machine.settle(out[0]!, "ack");
    expect(bodies(machine.delivered)).toEqual(["a2"]);
    machine.reopen();
    machine.settle(machine.delivered[0]!, "ack");
    expect(bodies(machine.delivered)).toEqual(["a3"]);
    machine.settle(machine.delivered[0]!, "ack");
    expect([...machine.queue.ledger.groups.values()], "only b is left").toEqual([[]]);
  });

  it("[GRP4] a released or failed message comes back before later ones of its group", () => {
    for (const outcome of ["release", "fail"] as const) {
      const machine = new Machine();
      machine.publish(...grouped("a", "a1", "a2"));
      const [first] = machine.attach(1, 10);
      machine.settle(first!, outcome);
      expect(machine.delivered).toMatchObject([{ body: "a1", attempt: 2 }]);
    }
  });

  it("[GRP4] later ones wait through its back-off, others of the queue do not", () => {
    const machine = new Machine("orders", { backoff: { kind: "fixed", baseMs: 500 } });
    machine.publish(...grouped("a", "a1", "a2"), ...grouped("b", "b1", "b2"));
    const [a1, b1] = machine.attach(1, 10);
    machine.settle(a1!, "fail");
    expect(machine.delivered).toEqual([]);
    expect(machine.queue.ledger.counts).toMatchObject({ delayed: 1, ready: 2, leased: 1 });
    machine.settle(b1!, "ack");
    expect(bodies(machine.delivered)).toEqual(["b2"]);
    machine.reopen();
    machine.pass(499);
    expect(machine.delivered).toEqual([]);
    machine.pass(1);
    expect(bodies(machine.delivered)).toEqual(["a1"]);
  });

  it("[GRP5] the next follows a dead one, an expired one and one whose lease ran out for good", () => {
    const machine = new Machine("orders", { maxFailures: 1, leaseMs: 1_000 });
    machine.publish(
      ...grouped("a", "a1"),
      { body: "a2", group: "a", expiresAt: machine.now + 100 },
      ...grouped("a", "a3", "a4"),
    );
    const [a1] = machine.attach(1, 10);
    machine.pass(100);
    machine.settle(a1!, "dead");
    expect(bodies(machine.delivered)).toEqual(["a3"]);
    machine.pass(1_000);
    expect(bodies(machine.delivered)).toEqual(["a4"]);
    expect(machine.queue.ledger.counts).toMatchObject({ deadLettered: 2, expired: 1 });
  });

  it("[GRP5] a parked message that expires leaves its place, whichever it is", () => {
    const machine = new Machine();
    const soon = machine.now + 100;
    machine.publish(
      ...grouped("a", "a1"),
      { body: "a2", group: "a", expiresAt: soon },
      ...grouped("a", "a3"),
      { body: "a4", group: "a", expiresAt: soon },
    );
    const [a1] = machine.attach(1, 10);
    expect(machine.queue.ledger.parked).toBe(3);
    machine.pass(100);
    expect(machine.queue.ledger.parked).toBe(1);
    machine.settle(a1!, "ack");
    expect(bodies(machine.delivered)).toEqual(["a3"]);
    expect(machine.queue.ledger.parked).toBe(0);
  });

  it("[TTL1] [EVC1] a message that waits in its group expires at its time, awake or evicted", () => {
    for (const evicted of [false, true]) {
      const machine = new Machine();
      machine.publish({ body: "a1", group: "a", expiresAt: machine.now + 200 }, ...grouped("a", "a2"));
      const [a1] = machine.attach(1, 1);
      machine.settle(a1!, "fail", { delayMs: 1_000 });
      if (evicted) machine.reopen();
      expect(machine.queue.nextDeadline).toBe(machine.now + 200);
      machine.pass(200);
      expect(machine.queue.ledger.counts).toMatchObject({ expired: 1, delayed: 0 });
      expect(bodies(machine.delivered), "[GRP5]").toEqual(["a2"]);
    }
  });

  it("[GRP7] looks past 10,000 that wait, no further, and goes on as they are done", () => {
    const machine = new Machine();
    for (let i = 0; i <= MAX_PARKED / 1_000; i++)
      machine.publish(...Array.from({ length: 1_000 }, () => ({ body: "a", group: "a" })));
    machine.publish({ body: "far" });
    const [first] = machine.attach(1, 100);
    expect(machine.queue.ledger.parked).toBe(MAX_PARKED);
    expect(machine.queue.ledger.counts.leased).toBe(1);
    machine.reopen();
    expect(machine.queue.ledger.parked).toBe(MAX_PARKED);
    let head = first!;
    const seen: string[] = [];
    for (let i = 0; i < 1_001; i++) {
      machine.settle(head, "ack");
      for (const delivery of machine.delivered) {
        if (delivery.group === "a") head = delivery;
        else seen.push(delivery.body);
      }
    }
    expect(seen).toEqual(["far"]);
    expect(machine.queue.ledger.parked).toBeLessThan(MAX_PARKED);
  });

  it("[GRP7] [EVC1] a queue that parked its most goes on at once when what they wait for is dead", () => {
    const machine = new Machine();
    for (let i = 0; i <= 11; i++)
      machine.publish(...Array.from({ length: 1_000 }, () => ({ body: "a", group: "a" })));
    machine.publish({ body: "far" });
    machine.attach(1, 100);
    machine.turn({ type: "purge" });
    expect(machine.queue.ledger.parked).toBe(0);
    machine.publish({ body: "new" });
    expect(bodies(machine.delivered)).toEqual(["new"]);
  });

  it("[GRP1] 200 groups over 7 consumers keep the order of each, whatever is failed or released", () => {
    const machine = new Machine("orders", { maxFailures: 1_000 });
    for (let ref = 1; ref <= 7; ref++) machine.attach(ref, 20);
    const done = new Map<string, number>();
    const waiting: Delivered[] = [];
    for (let i = 0; i < 10; i++) {
      machine.publish(...Array.from({ length: 200 }, (_, group) => ({ body: `${i}`, group: `g${group}` })));
      waiting.push(...machine.delivered);
    }
    for (let step = 0; waiting.length > 0; step++) {
      const delivery = waiting.splice((step * 7) % waiting.length, 1)[0]!;
      const outcome = step % 5 === 0 ? "release" : step % 7 === 0 ? "fail" : "ack";
      if (outcome === "ack") {
        expect(Number(delivery.body)).toBe(done.get(delivery.group) ?? 0);
        done.set(delivery.group, Number(delivery.body) + 1);
      }
      if (step % 400 === 0) machine.reopen();
      machine.settle(delivery, outcome);
      waiting.push(...machine.delivered);
    }
    expect([...done.values()]).toEqual(Array(200).fill(10));
  });
});
