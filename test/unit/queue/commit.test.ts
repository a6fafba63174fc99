// A commit at the queue that decides: all of it in one turn, or nothing; and what another queue holds for it meanwhile.
import { describe, expect, it } from "vitest";
import { ABORT_MEMORY_MS, HOLD_MS, MAX_ABORTS, MAX_HELD } from "../../../worker/limits.ts";
import type { QueueResult } from "../../../worker/link/results.ts";
import { commit, commitOf, outbox, publishOf, settlement } from "../../support/commits.ts";
import { type Delivered, Machine, records } from "../../support/machine.ts";

const LEASE_MS = 30_000;

/** A queue with messages that one consumer holds. */
function holding(count: number, name = "in"): { machine: Machine; held: Delivered[] } {
  const machine = new Machine(name);
  machine.publish(...Array.from({ length: count }, (_, at) => ({ body: `${name}${at}` })));
  return { machine, held: machine.attach(7, count) };
}

function hold(machine: Machine, tx: string, held: Delivered[]): QueueResult {
  const settlements = held.map((delivery) => settlement(delivery));
  return machine.turn({ type: "hold", hold: { tx, decider: "decider", settlements } }).results[0]!;
}

function conclude(machine: Machine, tx: string, committed: boolean): void {
  machine.turn({ type: "conclude", tx, committed });
}

describe("a commit", () => {
  it("[CMT1] [CMT2] settles, stores and sends in one turn; receipts name what is stored and the rows of the rest", () => {
    const { machine, held } = holding(2);
    const result = commit(machine, "k", {
      settlements: [settlement(held[0]!), settlement(held[1]!, "release")],
      publishes: [
        publishOf("", { body: "own", messageId: "a" }),
        publishOf("queue:out", { body: "there", messageId: "b" }),
        publishOf("topic:news", { body: "told", messageId: "c" }),
        publishOf("queue:out", { body: "too", messageId: "d" }),
      ],
    });
    const [first, second] = outbox(machine);
    expect(result).toEqual({
      type: "committed",
      messages: [
        { seq: 3, duplicate: false, epoch: machine.queue.ledger.epoch },
        { row: first!.id, at: 0 },
        { row: second!.id, at: 0 },
        { row: first!.id, at: 1 },
      ],
    });
    expect([first, second]).toMatchObject([
      { target: "\0publish:out", bodies: ["there", "too"] },
      { target: "\0topic:news", bodies: ["told"] },
    ]);
    expect(machine.queue.ledger.counts).toMatchObject({ settled: 1, accepted: 3 });
  });

  it("[CMT3] with one lost delivery changes nothing, and tells which", () => {
    const { machine, held } = holding(2);
    machine.settle(held[1]!, "ack");
    const before = machine.books();
    const result = commit(machine, "k", {
      settlements: held.map((delivery) => settlement(delivery)),
      publishes: [publishOf("", { body: "own" }), publishOf("queue:out", { body: "there" })],
    });
    expect(result).toEqual({ type: "settled", settled: [true, false] });
    expect(machine.books()).toBe(before);
    expect(outbox(machine)).toEqual([]);
  });

  it("[CMT4] is refused whole when the deciding queue has no room for all of its messages, or its seq is another", () => {
    const { machine, held } = holding(1);
    machine.turn({ type: "configure", patch: { maxMessages: 1 } });
    machine.turn({ type: "detach", refs: [7] });
    const [delivery] = machine.attach(8, 1);
    expect(delivery).toMatchObject({ position: held[0]!.position });
    const settlements = [settlement(delivery!)];
    const before = machine.books();
    const two = [publishOf("", { body: "a", messageId: "a" }), publishOf("", { body: "b", messageId: "b" })];
    expect(commit(machine, "k", { settlements, publishes: two })).toMatchObject({
      refusal: { kind: "queue-full" },
    });
    const elsewhere = [publishOf("", { body: "a" }, 9)];
    expect(commit(machine, "k", { settlements, publishes: elsewhere })).toMatchObject({
      refusal: { kind: "conflict", message: "expectSeq is 9, the queue's last seq is 1" },
    });
    expect(machine.books()).toBe(before);
    const fits = [publishOf("", { body: "a" }, 1)];
    expect(commit(machine, "k", { settlements, publishes: fits })).toMatchObject({ type: "committed" });
  });

  it("[CMT4] a released message does not take the room of a published one", () => {
    const { machine, held } = holding(1);
    machine.turn({ type: "configure", patch: { maxMessages: 1 } });
    machine.turn({ type: "pause", refs: [7] });
    const settlements = [settlement(held[0]!, "release")];
    const publishes = [publishOf("", { body: "a" })];
    expect(commit(machine, "k", { settlements, publishes })).toMatchObject({ type: "committed" });
    expect(machine.queue.ledger.counts.ready).toBe(2);
  });

  it("[CMT5] repeated is answered as made, stores and sends nothing again, also after an eviction", () => {
    const { machine, held } = holding(1);
    const parts = {
      settlements: [settlement(held[0]!)],
      publishes: [
        publishOf("", { body: "own", messageId: "a" }),
        publishOf("queue:out", { body: "there", messageId: "b" }),
      ],
    };
    expect(commit(machine, "k", parts)).toMatchObject({ type: "committed" });
    machine.reopen();
    const before = machine.books();
    const { epoch } = machine.queue.ledger;
    const repeated = { type: "committed", messages: [{ seq: 2, duplicate: true, epoch }, "unknown"] };
    expect(commit(machine, "k", parts)).toEqual(repeated);
    expect(commit(machine, "k", { ...parts, held: false }), "asked whether it was made").toEqual(repeated);
    expect(machine.books()).toBe(before);
    expect(outbox(machine)).toHaveLength(1);
    // The window is the queue's.
    machine.pass(300_001);
    expect(commit(machine, "k", parts)).toEqual({ type: "settled", settled: [false] });
  });

  it("[CMT5] a handle that was settled by itself before is lost to a commit", () => {
    const { machine, held } = holding(1);
    machine.settle(held[0]!, "ack");
    expect(commit(machine, "k", { settlements: [settlement(held[0]!)] })).toEqual({
      type: "settled",
      settled: [false],
    });
  });

  it("[CMT6] a message whose id the destination knows is not stored there again; moved ones are", () => {
    const machine = new Machine("out");
    machine.publish({ body: "first", messageId: "m", publisherId: true });
    const bytes = records(
      { body: "again", messageId: "m", publisherId: true },
      { body: "new", messageId: "n", publisherId: true },
    );
    const transfer = (id: number, published: boolean) =>
      machine.turn({ type: "transfer", source: "default:in", id, published, records: bytes }).results[0];
    const { epoch } = machine.queue.ledger;
    expect(transfer(5, true)).toEqual({
      type: "published",
      messages: [
        { seq: 1, duplicate: true, epoch },
        { seq: 2, duplicate: false, epoch },
      ],
    });
    expect(transfer(5, true), "taken before").toEqual({ type: "published", messages: [] });
    machine.reopen();
    transfer(6, true);
    expect(machine.queue.ledger.counts.accepted).toBe(2);
    transfer(7, false);
    expect(machine.queue.ledger.counts.accepted).toBe(4);
  });

  it("[CMT7] costs a row for the turn and one for each destination at the queue that decides", () => {
    const { machine, held } = holding(2);
    const before = machine.sql.rowsWritten;
    commit(machine, "k", {
      settlements: [settlement(held[0]!)],
      publishes: [publishOf("queue:out", { body: "there" })],
    });
    const [row] = outbox(machine);
    machine.turn({ type: "confirmed", outboxId: row!.id });
    expect(machine.sql.rowsWritten - before).toBe(3);
    const middle = machine.sql.rowsWritten;
    commit(machine, "l", {
      settlements: [settlement(held[1]!)],
      publishes: [publishOf("", { body: "own" })],
    });
    expect(machine.sql.rowsWritten - middle).toBe(1);
  });
});

describe("the part of another queue", () => {
  it("[CMT8] a held lease neither runs out, nor is given back, nor settled or extended; the commit settles it", () => {
    const { machine, held } = holding(2);
    expect(hold(machine, "k~1", held)).toEqual({ type: "settled", settled: [true, true] });
    expect(hold(machine, "k~1", held), "repeated").toEqual({ type: "settled", settled: [true, true] });
    machine.reopen();
    expect(machine.settle(held[0]!, "ack")).toBe(false);
    const { position, lease } = held[0]!;
    const extend = machine.turn({ type: "extend", handles: [{ position, lease }], leaseMs: 1_000 });
    expect(extend.results).toEqual([{ type: "settled", settled: [false] }]);
    expect(commit(machine, "l", { settlements: [settlement(held[0]!)] })).toMatchObject({ settled: [false] });
    machine.turn({ type: "detach", refs: [7] });
    machine.pass(LEASE_MS * 100);
    machine.reopen();
    expect(machine.queue.ledger.counts).toMatchObject({ leased: 2, ready: 0 });
    conclude(machine, "k~1", true);
    conclude(machine, "k~1", true);
    expect(machine.queue.ledger.counts).toMatchObject({ leased: 0, settled: 2, ready: 0 });
  });

  it("[CMT8] holds all of a transaction's leases or none", () => {
    const { machine, held } = holding(2);
    machine.settle(held[0]!, "ack");
    expect(hold(machine, "k~1", held)).toEqual({ type: "settled", settled: [false, true] });
    expect(machine.settle(held[1]!, "ack")).toBe(true);
  });

  it("[CMT9] an aborted hold gives the lease the rest of its time", () => {
    const { machine, held } = holding(1);
    hold(machine, "k~1", held);
    machine.pass(LEASE_MS - 1);
    conclude(machine, "k~1", false);
    expect(machine.queue.nextDeadline).toBe(machine.now + 1);
    expect(machine.settle(held[0]!, "ack")).toBe(true);
  });

  it("[CMT9] a lease whose time is over when its hold is aborted has run out; that of a consumer that went is given back", () => {
    const { machine, held } = holding(2);
    hold(machine, "k~1", held.slice(0, 1));
    machine.pass(LEASE_MS - 1);
    machine.turn({ type: "extend", handles: [held[1]!], leaseMs: LEASE_MS * 2 });
    hold(machine, "l~1", held.slice(1));
    machine.pass(1);
    conclude(machine, "k~1", false);
    expect(machine.delivered).toMatchObject([{ position: held[0]!.position, attempt: 2 }]);
    machine.turn({ type: "detach", refs: [7] });
    conclude(machine, "l~1", false);
    const entries = [...machine.queue.ledger.entries.values()];
    expect(entries).toMatchObject([
      { failures: 1, state: "ready" },
      { failures: 0, state: "ready" },
    ]);
  });

  it("[CMT10] asks the deciding queue after 30 s, once, and goes by its answer", () => {
    const { machine, held } = holding(1);
    hold(machine, "k~1", held);
    expect(machine.queue.nextDeadline).toBe(machine.now + HOLD_MS);
    machine.pass(HOLD_MS);
    machine.pass(HOLD_MS);
    machine.reopen();
    machine.pass(HOLD_MS);
    expect(outbox(machine)).toMatchObject([{ target: "\0ask:decider" }]);
    expect(machine.queue.ledger.counts.leased).toBe(1);
  });

  it("[CMT10] a transaction that the deciding queue does not know is aborted for good", () => {
    const { machine, held } = holding(1, "decider");
    const resolve = (tx: string) =>
      machine.turn({ type: "resolve", tx, participant: "in" }).results[0] as { settled: boolean[] };
    expect(resolve("k~1").settled).toEqual([false]);
    machine.reopen();
    const parts = { settlements: [settlement(held[0]!)], participants: ["in"] };
    expect(commit(machine, "k", parts)).toMatchObject({ refusal: { kind: "unavailable" } });
    expect(commit(machine, "k", { ...parts, tx: "k~2" })).toMatchObject({ type: "committed" });
    machine.reopen();
    expect(resolve("k~2").settled).toEqual([true]);
    expect(outbox(machine)).toMatchObject([{ target: "\0conclude:in" }]);
  });

  it("[CMT10] within one turn too, what was committed first stays so", () => {
    const { machine, held } = holding(1, "decider");
    const { results } = machine.turn(
      {
        type: "commit",
        commit: commitOf("k", { settlements: [settlement(held[0]!)], participants: ["in"] }),
      },
      { type: "resolve", tx: "k~1", participant: "in" },
    );
    expect(results[1]).toEqual({ type: "settled", settled: [true] });
  });

  it("[CMT10] without a dedup window a committed transaction is known while a participant has not heard of it", () => {
    const { machine, held } = holding(1, "decider");
    machine.turn({ type: "configure", patch: { dedupWindowMs: 0 } });
    const parts = { settlements: [settlement(held[0]!)], participants: ["in"] };
    expect(commit(machine, "k", parts)).toMatchObject({ type: "committed" });
    expect(commit(machine, "k", { ...parts, held: false })).toMatchObject({ type: "committed" });
  });

  it("[CMT11] another attempt of the same commit is told to come again, another commit that the lease is lost", () => {
    const { machine, held } = holding(1);
    hold(machine, "k~1", held);
    for (const attempt of ["k~2", "k~3"]) {
      expect(hold(machine, attempt, held)).toMatchObject({ refusal: { kind: "unavailable" } });
    }
    expect(outbox(machine), "asked at once, and once").toMatchObject([{ target: "\0ask:decider" }]);
    expect(hold(machine, "l~1", held)).toEqual({ type: "settled", settled: [false] });
  });

  it("[CMT12] a queue holds 10,000 leases for commits, and remembers 10,000 aborted ones for 10 minutes", () => {
    const { machine } = holding(1);
    const { holds, aborts } = machine.queue.ledger;
    const many = Array.from({ length: MAX_HELD }, (_, position) => ({
      settlement: settlement({ position: -position, lease: 1 }),
      deadline: 1,
    }));
    holds.hold({ tx: "many~1", decider: "decider", askAt: Number.POSITIVE_INFINITY, held: many });
    machine.publish({ body: "more" });
    const more = machine.attach(8, 1);
    expect(hold(machine, "k~1", more)).toMatchObject({ refusal: { kind: "too-many" } });

    for (let at = 0; at < MAX_ABORTS; at++) aborts.add(`t${at}~1`, machine.now);
    const resolve = () => machine.turn({ type: "resolve", tx: "k~1", participant: "in" }).results[0];
    expect(resolve()).toMatchObject({ refusal: { kind: "too-many" } });
    machine.now += ABORT_MEMORY_MS;
    expect(resolve()).toEqual({ type: "settled", settled: [false] });
    expect(aborts.has("t1~1")).toBe(false);
  });
});
