// Delivery to all: one lease for every consumer, and one settle that ends it for all of them.
import { describe, expect, it } from "vitest";
import { settlement } from "../../support/commits.ts";
import { type Delivered, Machine } from "../../support/machine.ts";

const ALL = { delivery: "all" as const, leaseMs: 1_000, maxFailures: 3 };

function shown(delivered: Delivered[]): string[] {
  return delivered.map(({ ref, body, attempt }) => `${ref}:${body}${attempt > 1 ? `/${attempt}` : ""}`);
}

function numbers(count: number, first = 1): { body: string }[] {
  return Array.from({ length: count }, (_, i) => ({ body: `${first + i}` }));
}

describe("delivery to all", () => {
  it("[DEV1] every consumer gets each message under the same handle, and counts it as its own", () => {
    const machine = new Machine("user", ALL);
    for (const ref of [1, 2, 3]) machine.attach(ref, 10);
    machine.publish(...numbers(2));
    expect(shown(machine.delivered)).toEqual(["1:1", "1:2", "2:1", "2:2", "3:1", "3:2"]);
    expect(new Set(machine.delivered.map(({ position, lease }) => `${position}.${lease}`)).size).toBe(2);
    expect(machine.queue.ledger.counts).toMatchObject({ ready: 0, leased: 2 });
    expect([...machine.queue.ledger.consumers.values()].map(({ used }) => used)).toEqual([2, 2, 2]);
  });

  it("[DEV2] [DEV3] the first settle ends it for all, and the others are told", () => {
    for (const outcome of ["ack", "dead", "release", "fail"] as const) {
      const machine = new Machine("user", ALL);
      for (const ref of [1, 2, 3]) machine.attach(ref, 10);
      machine.publish(...numbers(1));
      const [delivery] = machine.delivered;
      const handle = `${delivery!.position}.${delivery!.lease}`;
      machine.reopen();
      expect(machine.settle(delivery!, outcome, { by: 2 })).toBe(true);
      expect(machine.told).toEqual([`1 settled ${handle}`, `3 settled ${handle}`]);
      const again = outcome === "release" || outcome === "fail" ? ["1:1/2", "2:1/2", "3:1/2"] : [];
      expect(shown(machine.delivered), outcome).toEqual(again);
      expect(machine.settle(delivery!, "ack", { by: 1 }), "[SET6] the same handle again").toBe(true);
      expect(machine.told).toEqual([]);
    }
  });

  it("[DEV3] a settle by HTTP is told to every consumer, and one whose connection is lost is not told", () => {
    const machine = new Machine("user", ALL);
    for (const ref of [1, 2, 3]) machine.attach(ref, 10);
    machine.publish(...numbers(1));
    const [delivery] = machine.delivered;
    machine.turn({ type: "pause", refs: [3] });
    machine.settle(delivery!, "ack");
    expect(machine.told.map((word) => word.slice(0, 9))).toEqual(["1 settled", "2 settled"]);
    expect(machine.attach(3, 10, { resend: true })).toEqual([]);
  });

  it("[DEV4] an extend by any keeps it; a lease that runs out is one failure, and it goes to all again", () => {
    const machine = new Machine("user", ALL);
    for (const ref of [1, 2]) machine.attach(ref, 10);
    machine.publish(...numbers(1));
    const [delivery] = machine.delivered;
    machine.turn({ type: "extend", handles: [delivery!], leaseMs: 5_000 });
    machine.pass(4_999);
    expect(machine.delivered).toEqual([]);
    machine.pass(1);
    expect(shown(machine.delivered)).toEqual(["1:1/2", "2:1/2"]);
    expect(machine.settle(delivery!, "ack"), "the old handle").toBe(false);
    machine.pass(1_000);
    machine.pass(1_000);
    expect(machine.queue.ledger.counts).toMatchObject({ deadLettered: 1, leased: 0 });
  });

  it("[DEV5] whoever attaches later gets what is out, oldest first, up to its credit, and the rest as that is settled", () => {
    const machine = new Machine("user", ALL);
    machine.attach(1, 5);
    machine.publish(...numbers(4));
    const held = [...machine.delivered];
    expect(shown(machine.attach(2, 2))).toEqual(["2:1", "2:2"]);
    machine.reopen();
    machine.settle(held[3]!, "ack", { by: 1 });
    expect(machine.told, "it never had that one").toEqual([]);
    machine.settle(held[0]!, "ack", { by: 1 });
    expect(shown(machine.delivered)).toEqual(["2:3"]);
  });

  it("[DEV6] no more is out at once than the least credit of those with credit", () => {
    const machine = new Machine("user", ALL);
    machine.attach(1, 0);
    machine.attach(2, 3);
    machine.attach(3, 2);
    machine.publish(...numbers(5));
    expect(shown(machine.delivered)).toEqual(["2:1", "2:2", "3:1", "3:2"]);
    machine.settle(machine.delivered[0]!, "ack", { by: 2 });
    expect(shown(machine.delivered)).toEqual(["2:3", "3:3"]);
    machine.turn({ type: "credit", ref: 1, add: 1 });
    expect(shown(machine.delivered)).toEqual(["1:2"]);
    machine.turn({ type: "detach", refs: [1, 3] });
    expect(shown(machine.delivered)).toEqual(["2:4"]);
  });

  it("[DEV7] what one leaves the others go on with; when the last one goes, all is ready again, and no failure counted", () => {
    const machine = new Machine("user", ALL);
    for (const ref of [1, 2]) machine.attach(ref, 5);
    machine.publish(...numbers(2));
    const held = [...machine.delivered];
    machine.turn({ type: "detach", refs: [1] });
    expect(machine.queue.ledger.counts).toMatchObject({ leased: 2, ready: 0 });
    expect(machine.settle(held[0]!, "ack", { by: 2 })).toBe(true);
    machine.turn({ type: "detach", refs: [2] });
    expect(machine.queue.ledger.counts).toMatchObject({ leased: 0, ready: 1 });
    machine.reopen();
    expect(machine.attach(4, 5)).toMatchObject([{ body: "2", attempt: 2, redelivered: true }]);
    expect([...machine.queue.ledger.entries.values()][0]).toMatchObject({ failures: 0 });
  });

  it("[DEV7] [SES9] a new connection gets again what it holds, under the same handles, and nothing twice", () => {
    const machine = new Machine("user", ALL);
    for (const ref of [1, 2]) machine.attach(ref, 5);
    machine.publish(...numbers(2));
    const [first, second] = machine.delivered;
    machine.turn({ type: "pause", refs: [1] });
    machine.publish(...numbers(1, 3));
    expect(shown(machine.delivered)).toEqual(["2:3"]);
    machine.settle(first!, "ack", { by: 2 });
    machine.reopen();
    const again = machine.attach(1, 5, { resend: true });
    expect(shown(again)).toEqual(["1:2", "1:3"]);
    expect(again[0]).toMatchObject({ lease: second!.lease, redelivered: true, attempt: 1 });
  });

  it("[DEV8] takes no selectors, and cannot be set while a consumer has one", () => {
    const machine = new Machine("user", ALL);
    const consumer = { ref: 1, gateway: "g", client: "c", filter: "a = 'b'", credit: 1, leaseMs: undefined };
    const attach = { type: "attach" as const, consumer: { ...consumer, generation: 1, resend: false } };
    expect(machine.turn(attach).results[0]).toMatchObject({ refusal: { kind: "bad-field" } });
    const receive = {
      type: "receive" as const,
      ref: -1,
      max: 1,
      leaseMs: undefined,
      filter: "a = 'b'",
      wait: true,
    };
    expect(machine.turn(receive).results[0]).toMatchObject({ refusal: { kind: "bad-field" } });
    expect(machine.queue.ledger.consumers.size).toBe(0);
    machine.turn({ type: "configure", patch: { delivery: "one" } });
    machine.turn(attach);
    expect(machine.turn({ type: "configure", patch: { delivery: "all" } }).results[0]).toMatchObject({
      refusal: { kind: "conflict" },
    });
  });

  it("[DEV9] an HTTP call is one more consumer for as long as it lasts", () => {
    const machine = new Machine("user", ALL);
    machine.publish(...numbers(3));
    const receive = (ref: number, max: number) => {
      machine.turn({ type: "receive", ref, max, leaseMs: undefined, wait: false });
      return shown(machine.delivered);
    };
    expect(receive(-1, 2)).toEqual(["-1:1", "-1:2"]);
    expect(receive(-2, 1)).toEqual(["-2:1"]);
    expect(shown(machine.attach(1, 5))).toEqual(["1:1", "1:2", "1:3"]);
    expect(receive(-3, 10)).toEqual(["-3:1", "-3:2", "-3:3"]);
  });

  it("[DEV1] the setting holds for leases from then on", () => {
    const machine = new Machine("user", { leaseMs: 1_000 });
    for (const ref of [1, 2]) machine.attach(ref, 2);
    machine.publish(...numbers(1));
    const [alone] = machine.delivered;
    machine.turn({ type: "configure", patch: { delivery: "all" } });
    machine.publish(...numbers(1, 2));
    expect(shown(machine.delivered)).toEqual(["1:2", "2:2"]);
    const [shared] = machine.delivered;
    machine.turn({ type: "configure", patch: { delivery: "one" } });
    machine.reopen();
    machine.settle(alone!, "ack");
    machine.settle(shared!, "ack", { by: 1 });
    expect(machine.told).toHaveLength(1);
    expect([...machine.queue.ledger.consumers.values()].map(({ used }) => used)).toEqual([0, 0]);
  });
});

describe("a commit that holds what is out to all", () => {
  const hold = (machine: Machine, delivery: Delivered) =>
    machine.turn({
      type: "hold",
      hold: { tx: "k~1", decider: "other", settlements: [settlement(delivery)] },
    }).results[0];
  const conclude = (machine: Machine, committed: boolean) =>
    machine.turn({ type: "conclude", tx: "k~1", committed });

  function held(): { machine: Machine; delivery: Delivered } {
    const machine = new Machine("user", ALL);
    for (const ref of [1, 2]) machine.attach(ref, 5);
    machine.publish(...numbers(1));
    const [delivery] = machine.delivered;
    expect(hold(machine, delivery!)).toEqual({ type: "settled", settled: [true] });
    machine.reopen();
    return { machine, delivery: delivery! };
  }

  it("[CMT8] [DEV2] [DEV3] keeps it from the others, who are told when it is committed", () => {
    const { machine, delivery } = held();
    expect(machine.settle(delivery, "ack", { by: 2 }), "another settles").toBe(false);
    machine.pass(100_000);
    expect(shown(machine.attach(3, 5)), "whoever comes meanwhile").toEqual(["3:1"]);
    conclude(machine, true);
    const handle = `${delivery.position}.${delivery.lease}`;
    expect(machine.told).toEqual([1, 2, 3].map((ref) => `${ref} settled ${handle}`));
    expect(machine.queue.ledger.counts).toMatchObject({ leased: 0, settled: 1 });
    expect([...machine.queue.ledger.consumers.values()].map(({ used }) => used)).toEqual([0, 0, 0]);
  });

  it("[CMT9] [DEV7] when it is not made: everyone's again, or ready where nobody is left", () => {
    const { machine, delivery } = held();
    machine.turn({ type: "detach", refs: [1] });
    conclude(machine, false);
    expect(machine.settle(delivery, "ack", { by: 2 })).toBe(true);

    const { machine: left } = held();
    left.turn({ type: "detach", refs: [1, 2] });
    expect(left.queue.ledger.counts, "it is held").toMatchObject({ leased: 1, ready: 0 });
    conclude(left, false);
    expect(left.queue.ledger.counts).toMatchObject({ leased: 0, ready: 1 });
    expect([...left.queue.ledger.entries.values()]).toMatchObject([{ failures: 0 }]);
  });
});
