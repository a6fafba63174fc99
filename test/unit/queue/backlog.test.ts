// A backlog far larger than what the queue keeps in memory.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { Machine } from "../../support/machine.ts";

const MEGABYTE = 1_000_000;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Bytes that JavaScript holds, byte arrays included; SQLite's own memory is not among them. */
function heldBytes(): number {
  // Byte arrays are freed by another thread while the program goes on; the next collection waits for it first.
  collectGarbage();
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe("a backlog", () => {
  it("[DUR6] of 80 MB opens at once, and is delivered with few megabytes in memory", () => {
    const machine = new Machine();
    const body = "x".repeat(20_000);
    for (let i = 0; i < 40; i++) machine.publish(...Array.from({ length: 100 }, () => ({ body })));
    const before = heldBytes();
    const opening = performance.now();
    machine.reopen();
    machine.attach(1, 100);
    expect(performance.now() - opening).toBeLessThan(1_000);
    for (let done = 100; done < 4_000; done += 100) {
      expect(machine.delivered).toHaveLength(100);
      const settlements = machine.delivered.map(({ position, lease }) => ({
        ...{ position, lease, reason: "" },
        outcome: "ack" as const,
        delayMs: undefined,
      }));
      machine.turn({ type: "settle", settlements });
      if (done % 500 > 0) continue;
      expect(heldBytes() - before, `after ${done} messages`).toBeLessThan(32 * MEGABYTE);
    }
    expect(machine.queue.ledger.counts).toMatchObject({ settled: 3_900, leased: 100 });
  });

  it("[DUR6] of 200,000 messages that were looked at once opens from its checkpoint in well under a second", () => {
    const machine = new Machine();
    for (let i = 0; i < 40; i++)
      machine.publish(
        ...Array.from({ length: 5_000 }, (_, n) => ({ body: "1", group: n % 2 === 0 ? "" : `g${n}` })),
      );
    machine.attach(1, 10_000);
    machine.turn({ type: "detach", refs: [1] });
    const opening = performance.now();
    machine.reopen();
    expect(machine.attach(2, 1)).toHaveLength(1);
    expect(performance.now() - opening).toBeLessThan(1_000);
  });
});
