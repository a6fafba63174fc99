// A queue's limits: exactly which messages are refused, dropped or dead-lettered.
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../../worker/errors.ts";
import { QueueStore } from "../../../worker/log/store.ts";
import { Machine, messagesIn, records } from "../../support/machine.ts";

function kinds(outcomes: ReturnType<Machine["publish"]>): (number | string)[] {
  return outcomes.map((outcome) => (isRefusal(outcome) ? outcome.kind : outcome.seq));
}

function drafts(...bodies: string[]): { body: string }[] {
  return bodies.map((body) => ({ body }));
}

describe("reject", () => {
  it("[LIM1] [LIM2] [LIM6] [PUB2] refuses exactly those beyond the limit, each by itself, and seqs stay contiguous", () => {
    const machine = new Machine("orders", { maxMessages: 3 });
    expect(kinds(machine.publish(...drafts("1", "2", "3", "4", "5")))).toEqual([
      1,
      2,
      3,
      "queue-full",
      "queue-full",
    ]);
    machine.reopen();
    expect(kinds(machine.publish(...drafts("6")))).toEqual(["queue-full"]);
    const held = machine.attach(1, 2);
    expect(kinds(machine.publish(...drafts("7", "8", "9"))), "[LIM5]").toEqual([4, 5, "queue-full"]);
    machine.settle(held[0]!, "ack");
    expect(kinds(machine.publish(...drafts("10")))).toEqual([6]);
  });

  it("[LIM1] a message for which a consumer waits is not in the way", () => {
    const machine = new Machine("orders", { maxMessages: 1 });
    machine.attach(1, 3);
    expect(kinds(machine.publish(...drafts("1", "2", "3", "4", "5")))).toEqual([1, 2, 3, 4, "queue-full"]);
    expect(machine.delivered.map(({ body }) => body)).toEqual(["1", "2", "3"]);
  });

  it("[LIM1] counts bytes exactly", () => {
    const one = records({ body: "12345678" }).length;
    const machine = new Machine("orders", { maxBytes: 3 * one });
    expect(kinds(machine.publish(...drafts("12345678", "12345678", "12345678", "1")))).toEqual([
      1,
      2,
      3,
      "queue-full",
    ]);
    expect(machine.queue.ledger.counts.readyBytes).toBe(3 * one);
    machine.turn({ type: "purge" });
    expect(kinds(machine.publish({ body: "x".repeat(4 * one) }))).toEqual(["message-too-large"]);
  });

  it("[DED7] a refused publish does not enter its id", () => {
    const machine = new Machine("orders", { maxMessages: 1 });
    const named = { body: "x", messageId: "m", publisherId: true };
    machine.publish({ body: "1" });
    expect(kinds(machine.publish(named))).toEqual(["queue-full"]);
    machine.turn({ type: "purge" });
    expect(machine.publish(named)).toMatchObject([{ seq: 2, duplicate: false }]);
    expect(machine.publish(named), "a duplicate needs no room").toMatchObject([{ seq: 2, duplicate: true }]);
  });

  it("[LIM1] [DLY5] delayed messages need no room, also when they become ready", () => {
    const machine = new Machine("orders", { maxMessages: 1 });
    const later = { dueAt: machine.now + 10 };
    expect(kinds(machine.publish({ body: "1", ...later }, { body: "2", ...later }, { body: "3" }))).toEqual([
      1, 2, 3,
    ]);
    machine.pass(10);
    expect(machine.queue.ledger.counts).toMatchObject({ ready: 3, delayed: 0 });
    expect(kinds(machine.publish({ body: "4" }))).toEqual(["queue-full"]);
  });
});

describe("drop-oldest and dead-letter", () => {
  it("[LIM3] drops exactly the oldest ready ones", () => {
    const machine = new Machine("orders", { maxMessages: 3, overflow: "drop-oldest" });
    machine.publish(...drafts("1", "2", "3"));
    machine.attach(1, 1);
    machine.publish(...drafts("4", "5", "6"));
    machine.reopen();
    expect(machine.queue.ledger.counts).toMatchObject({ ready: 3, expired: 2, leased: 1 });
    machine.turn({ type: "detach", refs: [1] });
    machine.publish(...drafts("7"));
    const rest = machine.attach(2, 10).map(({ body }) => body);
    expect(rest).toEqual(["5", "6", "7"]);
  });

  it("[LIM3] drops as many as the bytes of the new one take, and parked ones in their turn", () => {
    const one = records({ body: "xxxxxxxx", group: "g" }).length;
    const machine = new Machine("orders", { maxBytes: 3 * one, overflow: "drop-oldest" });
    machine.publish(...["a", "b", "c", "d"].map((body) => ({ body: body.repeat(8), group: "g" })));
    machine.attach(1, 1);
    expect(machine.queue.ledger.counts).toMatchObject({ leased: 1, ready: 2 });
    machine.publish({ body: "e".repeat(8 + one), group: "g" });
    expect(machine.queue.ledger.counts).toMatchObject({ leased: 1, ready: 2, expired: 2 });
    expect(machine.queue.ledger.counts.readyBytes).toBe(3 * one);
  });

  it("[LIM3] [CST1] dropping costs no row for each message", () => {
    const machine = new Machine("orders", { maxMessages: 1_000, overflow: "drop-oldest" });
    const batch = Array.from({ length: 1_000 }, () => ({ body: "1" }));
    machine.publish(...batch);
    const before = machine.sql.rowsWritten;
    machine.publish(...batch);
    expect(machine.queue.ledger.counts).toMatchObject({ expired: 1_000, ready: 1_000 });
    expect(machine.sql.rowsWritten - before).toBeLessThanOrEqual(50);
  });

  it("[LIM3] a batch larger than the queue keeps its newest", () => {
    const machine = new Machine("orders", { maxMessages: 2, overflow: "drop-oldest" });
    expect(kinds(machine.publish(...drafts("1", "2", "3", "4", "5")))).toEqual([1, 2, 3, 4, 5]);
    expect(machine.attach(1, 10).map(({ body }) => body)).toEqual(["4", "5"]);
    expect(machine.queue.ledger.counts).toMatchObject({ accepted: 5, expired: 3, leased: 2 });
  });

  it("[LIM4] dead-letters the oldest ready ones with reason overflow", () => {
    const machine = new Machine("orders", { maxMessages: 2, overflow: "dead-letter" });
    machine.publish(...drafts("1", "2", "3", "4"));
    const row = new QueueStore(machine.sql).nextOutbox()!;
    expect(row.target).toBe("orders.dead");
    expect(messagesIn(row.data).map(({ body, deaths }) => [body, JSON.parse(deaths)[0].reason])).toEqual([
      ["1", "overflow"],
      ["2", "overflow"],
    ]);
    expect(machine.queue.ledger.counts).toMatchObject({ deadLettered: 2, ready: 2, expired: 0 });
  });

  it("[LIM2] when nothing is ready to be dropped, a too large one is refused by name", () => {
    const machine = new Machine("orders", { maxBytes: 100, overflow: "drop-oldest" });
    expect(kinds(machine.publish({ body: "x".repeat(100) }))).toEqual(["message-too-large"]);
  });
});
