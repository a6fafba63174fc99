// Prepared messages in the machine: when they are asked for, what is remembered, what they cost and where the limits are.
import { describe, expect, it } from "vitest";
import { MAX_PREPARED, MAX_PREPARED_BYTES } from "../../../worker/limits.ts";
import type { QueueResult } from "../../../worker/link/results.ts";
import { outbox } from "../../support/commits.ts";
import { type Draft, Machine, records } from "../../support/machine.ts";

const MINUTE_MS = 60_000;
const PREPARATION = { checkTo: "checks", checkAfterMs: MINUTE_MS, checks: 3 };

function prepare(machine: Machine, messageId: string, draft: Partial<Draft> = {}): QueueResult {
  const record = records({ body: "1", messageId, publisherId: true, ...draft });
  return machine.turn({ type: "prepare", record, preparation: PREPARATION }).results[0]!;
}

function decide(machine: Machine, messageId: string, commit: boolean): QueueResult {
  return machine.turn({ type: "decide", messageId, commit }).results[0]!;
}

describe("prepared messages", () => {
  it("[PRE6] are asked for after one wait, then two, then four; then rolled back and counted", () => {
    const machine = new Machine();
    prepare(machine, "m");
    const start = machine.now;
    const times: number[] = [];
    let asked = 0;
    while (machine.queue.nextDeadline < Number.POSITIVE_INFINITY) {
      machine.now = machine.queue.nextDeadline;
      machine.turn();
      machine.reopen();
      times.push((machine.now - start) / MINUTE_MS);
      if (outbox(machine).length > asked) asked++;
    }
    expect(times).toEqual([1, 3, 7, 15]);
    expect(outbox(machine).map(({ target, bodies }) => [target, JSON.parse(bodies[0]!)])).toEqual(
      [1, 2, 3].map((check) => ["checks", { messageId: "m", to: "queue:orders", check }]),
    );
    expect(machine.queue.ledger.prepared).toMatchObject({ size: 0, bytes: 0, abandoned: 1 });
    expect(decide(machine, "m", true)).toMatchObject({ refusal: { kind: "conflict" } });
  });

  it("[PRE2] [PRE3] decisions are remembered for the dedup window, over evictions", () => {
    const machine = new Machine();
    prepare(machine, "yes");
    prepare(machine, "no");
    machine.reopen();
    expect(decide(machine, "yes", true)).toMatchObject({ messages: [{ seq: 1, duplicate: false }] });
    expect(decide(machine, "no", false)).toMatchObject({ type: "done" });
    machine.reopen();
    expect(decide(machine, "yes", true)).toMatchObject({ messages: [{ seq: 1, duplicate: true }] });
    expect(decide(machine, "yes", false)).toMatchObject({ refusal: { kind: "conflict" } });
    expect(decide(machine, "no", false)).toMatchObject({ type: "done" });
    expect(decide(machine, "no", true)).toMatchObject({ refusal: { kind: "conflict" } });
    machine.pass(300_001);
    expect(decide(machine, "no", false)).toMatchObject({ refusal: { kind: "not-found" } });
    expect(prepare(machine, "no")).toMatchObject({ messages: [{ seq: 0, duplicate: false }] });
  });

  it("[PRE5] room is found when they are prepared, and not again", () => {
    const machine = new Machine("orders", { maxMessages: 1 });
    prepare(machine, "a");
    machine.publish({ body: "x" });
    expect(prepare(machine, "b")).toMatchObject({ messages: [{ kind: "queue-full" }] });
    expect(decide(machine, "a", true)).toMatchObject({ messages: [{ seq: 2 }] });
    expect(machine.queue.ledger.counts).toMatchObject({ accepted: 2, ready: 2 });
  });

  it("[PRE1] a delayed one waits for what is left of its delay; it costs two rows, and two to decide", () => {
    const machine = new Machine();
    prepare(machine, "warm");
    const before = machine.sql.rowsWritten;
    prepare(machine, "m", { dueAt: machine.now + 1_000 });
    expect(machine.sql.rowsWritten - before).toBe(2);
    decide(machine, "warm", true);
    expect(machine.sql.rowsWritten - before).toBe(4);
    decide(machine, "m", true);
    expect(machine.queue.ledger.counts).toMatchObject({ ready: 1, delayed: 1 });
    machine.pass(1_000);
    expect(machine.queue.ledger.counts).toMatchObject({ ready: 2, delayed: 0 });
  });

  it("[PRE8] a queue holds 10,000 of them, and 100,000,000 bytes", () => {
    const machine = new Machine();
    const { prepared } = machine.queue.ledger;
    for (let key = 1; key < MAX_PREPARED; key++) {
      prepared.add({ ...PREPARATION, messageId: `p${key}`, key, bytes: 1, asked: 0, checkAt: 9e15 });
    }
    expect(prepare(machine, "last")).toMatchObject({ messages: [{ seq: 0 }] });
    expect(prepare(machine, "more")).toMatchObject({ messages: [{ kind: "too-many" }] });
    prepared.end(prepared.get("p1")!, false);
    prepared.bytes = MAX_PREPARED_BYTES - 1;
    expect(prepare(machine, "more")).toMatchObject({ messages: [{ kind: "too-many" }] });
  });
});
