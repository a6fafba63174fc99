// Which leases were settled, remembered over more leases than the ring has places.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { REMEMBERED_LEASES } from "../../../worker/limits.ts";
import { Outcomes } from "../../../worker/queue/outcomes.ts";
import { type Delivered, Machine } from "../../support/machine.ts";

describe("outcomes of leases", () => {
  it("[SET8] remembers each of the last 131,072 leases, none older, whatever number they begin with", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 40 }), (start) => {
        const outcomes = new Outcomes();
        const count = REMEMBERED_LEASES + 1_000;
        for (let lease = start + 1; lease <= start + count; lease++) {
          outcomes.begin(lease);
          if (lease % 3 === 0) outcomes.settle(lease);
        }
        const newest = start + count;
        const loaded = new Outcomes(Uint8Array.from(outcomes.save()));
        for (const ring of [outcomes, loaded]) {
          for (const age of [0, 1, 2, 1_000, 65_535, REMEMBERED_LEASES - 3, REMEMBERED_LEASES - 1]) {
            expect(ring.settled(newest - age, newest)).toBe((newest - age) % 3 === 0);
          }
          for (const age of [REMEMBERED_LEASES, REMEMBERED_LEASES + 1, REMEMBERED_LEASES + 999]) {
            expect(ring.settled(newest - age, newest)).toBe(false);
          }
          expect(ring.settled(newest + 1, newest)).toBe(false);
          expect(ring.settled(0, newest)).toBe(false);
          expect(ring.settled(-1, newest)).toBe(false);
        }
      }),
      { numRuns: 8, examples: [[0], [2 ** 40]] },
    );
  });

  it("[SET6] [SET8] a queue answers repeated settles over more leases than it remembers, and after an eviction", () => {
    const machine = new Machine();
    machine.attach(1, 10_000);
    const rounds = Math.ceil(REMEMBERED_LEASES / 5_000) + 2;
    const kept: Delivered[] = [];
    for (let round = 0; round < rounds; round++) {
      machine.publish(...Array.from({ length: 5_000 }, () => ({ body: "1" })));
      const { delivered } = machine;
      kept.push(delivered[17]!);
      const settlements = delivered.map(({ position, lease }) => ({
        position,
        lease,
        outcome: "ack" as const,
        delayMs: undefined,
        reason: "",
      }));
      machine.turn({ type: "settle", settlements });
    }
    const expected = kept.map(({ lease }) => lease > machine.queue.ledger.newestLease - REMEMBERED_LEASES);
    expect(expected.filter((known) => !known)).toHaveLength(3);
    expect(kept.map((delivery) => machine.settle(delivery, "ack"))).toEqual(expected);
    machine.reopen();
    expect(kept.map((delivery) => machine.settle(delivery, "ack"))).toEqual(expected);
    expect(machine.queue.ledger.counts.settled).toBe(rounds * 5_000);
  });

  it("[SET7] a lease that ended otherwise is lost, though its number is remembered", () => {
    const machine = new Machine("orders", { leaseMs: 1_000 });
    machine.publish({ body: "a" });
    const [first] = machine.attach(1, 1);
    machine.pass(1_000);
    const [second] = machine.delivered;
    machine.turn({ type: "detach", refs: [1] });
    machine.reopen();
    expect([machine.settle(first!, "ack"), machine.settle(second!, "ack")]).toEqual([false, false]);
    expect(machine.settle({ position: first!.position, lease: second!.lease + 1 }, "ack")).toBe(false);
    expect(machine.settle({ position: -1, lease: -1 }, "ack")).toBe(false);
  });
});
