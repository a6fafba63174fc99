// Segments of the log go when nothing needs them any more, and not before: no message, no fact after the checkpoint, no id.
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../../worker/errors.ts";
import { type Draft, Machine } from "../../support/machine.ts";

const TURNS = 4_096;

function segments(machine: Machine): number {
  return machine.queue.store.log.segments.length;
}

/** Turns that write a fact each, to the end of the present segment. */
function turnOver(machine: Machine): void {
  const before = machine.queue.store.log.segments.at(-1);
  for (let i = 0; i <= TURNS && machine.queue.store.log.segments.at(-1) === before; i++) {
    machine.publish({ body: "x" });
    machine.turn({ type: "purge" });
  }
  expect(machine.queue.store.log.segments.at(-1)).not.toBe(before);
}

function publishNamed(machine: Machine, draft: Draft): string {
  const [outcome] = machine.publish({ publisherId: true, ...draft });
  return isRefusal(outcome!) ? outcome.kind : `${outcome!.duplicate ? "again" : "new"} ${outcome!.seq}`;
}

describe("segments of the log", () => {
  it("[DUR6] a finished segment is dropped, so a busy queue keeps few", () => {
    const machine = new Machine();
    for (let round = 0; round < 4; round++) turnOver(machine);
    expect(segments(machine)).toBeLessThanOrEqual(2);
    machine.reopen();
    expect(machine.queue.ledger.counts).toMatchObject({ ready: 0, bytes: 0 });
  });

  it("[DUR2] one unfinished message keeps its segment, and it alone, until it is done", () => {
    const machine = new Machine();
    machine.publish({ body: "old", group: "g" });
    const [old] = machine.attach(1, 1, { leaseMs: 43_200_000 });
    for (let round = 0; round < 3; round++) turnOver(machine);
    expect(segments(machine)).toBeLessThanOrEqual(3);
    machine.reopen();
    machine.settle(old!, "release");
    expect(machine.delivered).toMatchObject([{ body: "old", attempt: 2 }]);
    machine.settle(machine.delivered[0]!, "ack");
    turnOver(machine);
    turnOver(machine);
    expect(segments(machine)).toBeLessThanOrEqual(2);
  });

  it("[DED6] [DED3] ids keep their segment for as long as the window lasts, and no longer", () => {
    const machine = new Machine("orders", { dedupWindowMs: 60_000 });
    expect(publishNamed(machine, { body: "a", messageId: "a" })).toBe("new 1");
    machine.turn({ type: "purge" });
    turnOver(machine);
    turnOver(machine);
    machine.reopen();
    expect(publishNamed(machine, { body: "a", messageId: "a" })).toBe("again 1");
    const kept = segments(machine);
    expect(kept).toBeGreaterThanOrEqual(3);
    machine.now += 60_000;
    turnOver(machine);
    expect(segments(machine)).toBeLessThanOrEqual(2);
    expect(publishNamed(machine, { body: "a", messageId: "a" })).toMatch(/^new/);
  });

  it("[EVC1] evictions around the turn of a segment change nothing", () => {
    const machine = new Machine();
    machine.attach(1, 3);
    machine.publish({ body: "kept" });
    for (let i = 0; i < TURNS + 20; i++) {
      machine.publish({ body: `${i}` });
      for (const delivery of machine.delivered) machine.settle(delivery, "ack");
      if (i < TURNS / 2 - 15 || i > TURNS / 2 + 15) continue;
      const books = machine.books();
      machine.reopen();
      expect(machine.books() === books, `the books after turn ${i}`).toBe(true);
    }
    expect(machine.queue.ledger.counts).toMatchObject({ settled: TURNS + 20, leased: 1 });
  });

  it("[DUR6] a delivered backlog of many segments shrinks as it is settled", () => {
    const machine = new Machine();
    const body = "x".repeat(1_000_000);
    for (let i = 0; i < 60; i++) machine.publish({ body });
    expect(segments(machine)).toBeGreaterThanOrEqual(3);
    machine.reopen();
    machine.attach(1, 1);
    for (let i = 0; i < 60; i++) machine.settle(machine.delivered[0]!, "ack");
    for (let i = 0; i < 20; i++) {
      machine.publish({ body });
      machine.settle(machine.delivered[0]!, "ack");
    }
    expect(machine.queue.ledger.counts).toMatchObject({ settled: 80, bytes: 0 });
    expect(segments(machine)).toBeLessThanOrEqual(2);
  });
});
