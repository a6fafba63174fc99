// One consumer at a time: who it is, when another takes over, and that no order is lost on the way.
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../../worker/errors.ts";
import { listConsumers } from "../../../worker/queue/peek.ts";
import { Machine } from "../../support/machine.ts";

const SINGLE = { singleActiveConsumer: true, leaseMs: 1_000 };

function bodies(machine: Machine): string[] {
  return machine.delivered.map(({ ref, body }) => `${ref}:${body}`);
}

function numbers(count: number): { body: string }[] {
  return Array.from({ length: count }, (_, i) => ({ body: `${i + 1}` }));
}

describe("a single active consumer", () => {
  it("[SAC1] [SAC2] the first to attach gets all, and the next takes over when it detaches, in the same order", () => {
    const machine = new Machine("orders", SINGLE);
    for (const ref of [3, 1, 2]) machine.attach(ref, 2);
    machine.publish(...numbers(4));
    expect(bodies(machine)).toEqual(["3:1", "3:2"]);
    machine.turn({ type: "detach", refs: [3] });
    expect(bodies(machine)).toEqual(["1:1", "1:2"]);
    machine.turn({ type: "detach", refs: [2] });
    for (const delivery of [...machine.delivered]) machine.settle(delivery, "ack");
    machine.turn({ type: "detach", refs: [1] });
    expect(machine.queue.ledger.counts).toMatchObject({ ready: 4, leased: 0 });
  });

  it("[SAC3] one that lost its connection is replaced once it holds nothing: all settled, or the leases run out", () => {
    const machine = new Machine("orders", SINGLE);
    machine.publish(...numbers(3));
    const [first] = machine.attach(1, 2);
    machine.attach(2, 5);
    machine.turn({ type: "pause", refs: [1] });
    expect(bodies(machine)).toEqual([]);
    machine.settle(first!, "ack");
    expect(bodies(machine), "it holds one more").toEqual([]);
    machine.reopen();
    machine.pass(1_000);
    expect(bodies(machine)).toEqual(["2:2", "2:3"]);
    expect(machine.told).toEqual(["2 active"]);
  });

  it("[SAC3] one that comes back in time stays the active one", () => {
    const machine = new Machine("orders", SINGLE);
    machine.publish(...numbers(2));
    machine.attach(1, 1);
    machine.attach(2, 1);
    machine.turn({ type: "pause", refs: [1] });
    machine.reopen();
    expect(machine.attach(1, 2, { resend: true }).map(({ body }) => body)).toEqual(["1", "2"]);
    expect(machine.told).toEqual(["1 active"]);
  });

  it("[SAC4] consumers are told when they attach and whenever it changes, before what they get", () => {
    const machine = new Machine("orders", SINGLE);
    machine.attach(1, 1);
    expect(machine.told).toEqual(["1 active"]);
    machine.attach(2, 1);
    expect(machine.told).toEqual(["2 standby"]);
    machine.turn({ type: "pause", refs: [1] });
    expect(machine.told).toEqual(["2 active"]);
    machine.attach(1, 1);
    expect(machine.told).toEqual(["1 standby"]);
    machine.turn({ type: "detach", refs: [2] });
    expect(machine.told).toEqual(["1 active"]);
  });

  it("[SAC4] turned on, everyone is told; turned off, everyone gets messages", () => {
    const machine = new Machine();
    for (const ref of [1, 2, 3]) machine.attach(ref, 1);
    expect(machine.told).toEqual([]);
    machine.turn({ type: "configure", patch: SINGLE });
    expect(machine.told).toEqual(["1 active", "2 standby", "3 standby"]);
    machine.publish(...numbers(3));
    expect(bodies(machine)).toEqual(["1:1"]);
    machine.turn({ type: "configure", patch: { singleActiveConsumer: false } });
    expect(bodies(machine).sort()).toEqual(["2:2", "3:3"]);
  });

  it("[SAC5] an HTTP call gets messages only while no subscription is attached, connected or not", () => {
    const machine = new Machine("orders", SINGLE);
    const receive = (ref: number, wait: boolean) => {
      machine.turn({ type: "receive", ref, max: 1, leaseMs: undefined, wait });
      return bodies(machine);
    };
    machine.publish(...numbers(4));
    expect(receive(-1, false)).toEqual(["-1:1"]);
    machine.attach(1, 0);
    expect(receive(-2, false)).toEqual([]);
    machine.turn({ type: "pause", refs: [1] });
    expect(receive(-3, true)).toEqual([]);
    machine.turn({ type: "detach", refs: [1] });
    expect(bodies(machine)).toEqual(["-3:2"]);
  });

  it("[SAC6] the list of consumers shows who is active", () => {
    const machine = new Machine("orders", SINGLE);
    for (const ref of [1, 2]) machine.attach(ref, 5);
    machine.publish(...numbers(2));
    machine.turn({ type: "pause", refs: [2] });
    const common = { kind: "subscription", credit: 5 };
    expect(listConsumers(machine.queue, 0, 10)).toEqual({
      consumers: [
        { ...common, client: "client-1", unsettled: 2, paused: false, active: true },
        { ...common, client: "client-2", unsettled: 0, paused: true, active: false },
      ],
    });
    expect(listConsumers(machine.queue, 0, 1)).toMatchObject({
      consumers: [{ client: "client-1" }],
      next: 1,
    });
    expect(listConsumers(machine.queue, 1, 1)).not.toHaveProperty("next");
  });

  it('[SAC7] [DEV8] does not go together with delivery "all"', () => {
    const machine = new Machine("orders", SINGLE);
    const { results } = machine.turn({ type: "configure", patch: { delivery: "all" } });
    expect(results[0]).toMatchObject({ type: "refused", refusal: { kind: "bad-field" } });
    expect(isRefusal(results[0])).toBe(false);
    expect(machine.queue.settings).toMatchObject({ delivery: "one", singleActiveConsumer: true });
  });
});
