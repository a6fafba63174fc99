// Failures: back-off, the way to the dead-letter queue, the history of deaths; time to live.
import { describe, expect, it } from "vitest";
import { QueueStore } from "../../../worker/log/store.ts";
import type { Message } from "../../../worker/message/record.ts";
import { backoffMs } from "../../../worker/queue/backoff.ts";
import { addDeath, type Death } from "../../../worker/queue/failures.ts";
import { Machine, messagesIn, records } from "../../support/machine.ts";

/** Dead letters on their way, by target; takes them out of the outbox. */
function outgoing(machine: Machine): { target: string; message: Message }[] {
  const store = new QueueStore(machine.sql);
  const found: { target: string; message: Message }[] = [];
  for (let row = store.nextOutbox(); row !== undefined; row = store.nextOutbox()) {
    for (const message of messagesIn(row.data)) found.push({ target: row.target, message });
    store.removeOutbox(row.id);
  }
  return found;
}

function deathsOf(message: Message): Death[] {
  return JSON.parse(message.deaths) as Death[];
}

describe("back-off", () => {
  it("[RET2] [RET3] fixed, linear and exponential, none longer than maxMs", () => {
    const of = (kind: "fixed" | "linear" | "exponential", maxMs = 1e9) =>
      [1, 2, 3, 4, 10_000].map((failures) =>
        backoffMs({ kind, baseMs: 100, maxMs, jitter: 0 }, failures, 0.9),
      );
    expect(of("fixed")).toEqual([100, 100, 100, 100, 100]);
    expect(of("linear")).toEqual([100, 200, 300, 400, 1_000_000]);
    expect(of("exponential", 350)).toEqual([100, 200, 350, 350, 350]);
    expect(backoffMs({ kind: "exponential", baseMs: 0, maxMs: 9, jitter: 1 }, 3, 0.5)).toBe(0);
  });

  it("[RET4] jitter takes off up to its share", () => {
    const backoff = { kind: "fixed", baseMs: 1_000, maxMs: 1_000, jitter: 0.25 } as const;
    expect([0, 0.5, 0.999_999].map((random) => backoffMs(backoff, 1, random))).toEqual([1_000, 875, 750]);
  });

  it("[RET5] [RET6] [SET10] a failed message counts as delayed, keeps its counts over an eviction, and holds up no other", () => {
    const machine = new Machine("orders", { backoff: { kind: "linear", baseMs: 100 }, maxFailures: 9 });
    machine.publish({ body: "a" }, { body: "b" });
    const [a] = machine.attach(1, 1);
    machine.settle(a!, "fail");
    expect(machine.delivered).toMatchObject([{ body: "b" }]);
    const b = machine.delivered[0]!;
    expect(machine.queue.ledger.counts).toMatchObject({ delayed: 1, leased: 1 });
    machine.reopen();
    expect(machine.queue.nextDeadline).toBe(machine.now + 100);
    machine.settle(b, "ack");
    machine.pass(100);
    expect(machine.delivered).toMatchObject([{ body: "a", attempt: 2, redelivered: true, seq: 1 }]);
    machine.settle(machine.delivered[0]!, "fail");
    machine.reopen();
    machine.pass(199);
    expect(machine.delivered).toEqual([]);
    machine.pass(1);
    expect(machine.delivered).toMatchObject([{ body: "a", attempt: 3 }]);
    machine.settle(machine.delivered[0]!, "fail", { delayMs: 7 });
    machine.pass(7);
    expect(machine.delivered).toMatchObject([{ body: "a", attempt: 4 }]);
  });

  it("[SET6] [SET7] a repeated settle of a message that moved to its back-off is answered the same, and a stale one lost", () => {
    const machine = new Machine("orders", { backoff: { kind: "fixed", baseMs: 100 } });
    machine.publish({ body: "a" });
    const [a] = machine.attach(1, 1);
    expect(machine.settle(a!, "fail")).toBe(true);
    expect(machine.settle(a!, "fail")).toBe(true);
    expect(machine.queue.ledger.counts).toMatchObject({ delayed: 1, accepted: 1 });
    machine.pass(100);
    const [again] = machine.delivered;
    machine.pass(30_000);
    expect(machine.settle(again!, "ack")).toBe(false);
  });
});

describe("dead letters", () => {
  it("[DLQ1] [DLQ9] the failure that reaches maxFailures; lease ends count, releases do not", () => {
    const machine = new Machine("orders", { maxFailures: 2, leaseMs: 1_000 });
    machine.publish({
      body: "a",
      messageId: "m",
      group: "g",
      headers: '{"h":"1"}',
      expiresAt: machine.now + 9e6,
    });
    const [first] = machine.attach(1, 1);
    machine.settle(first!, "release");
    machine.pass(1_000);
    machine.reopen();
    expect(outgoing(machine)).toEqual([]);
    machine.settle(machine.delivered[0]!, "fail", { reason: "no disk" });
    const [letter] = outgoing(machine);
    expect(letter).toMatchObject({
      target: "orders.dead",
      message: {
        body: "a",
        messageId: "m",
        group: "g",
        headers: '{"h":"1"}',
        expiresAt: 0,
        dueAt: 0,
        attempts: 0,
        failures: 0,
      },
    });
    expect(deathsOf(letter!.message)).toEqual([
      {
        queue: "orders",
        reason: "failures",
        count: 1,
        firstTime: machine.now,
        lastTime: machine.now,
        detail: "no disk",
      },
    ]);
    expect(machine.queue.ledger.counts).toMatchObject({ deadLettered: 1, bytes: 0 });
  });

  it("[DLQ2] [DLQ6] [DLQ7] where they go: the default, the one that was set, nowhere", () => {
    const die = (machine: Machine, outcome: "dead" | "fail") => {
      machine.publish({ body: "a" });
      const [delivery] = machine.attach(1, 1);
      machine.settle(delivery!, outcome);
      return outgoing(machine).map(({ target }) => target);
    };
    expect(die(new Machine("orders", { deadLetterTo: "graves" }), "dead")).toEqual(["graves"]);
    const discarding = new Machine("orders", { deadLetterTo: null, maxFailures: 1 });
    expect(die(discarding, "fail")).toEqual([]);
    expect(discarding.queue.ledger.counts.deadLettered).toBe(1);
    const grave = new Machine("orders.dead", { maxFailures: 1 });
    expect(die(grave, "fail")).toEqual([]);
    expect(grave.queue.ledger.counts).toMatchObject({ deadLettered: 0, leased: 1 });
    expect(die(new Machine("orders.dead", { maxFailures: 1, deadLetterTo: "x" }), "fail")).toEqual(["x"]);
  });

  it("[DLQ4] [DLQ5] the history counts per queue and reason, the latest first, with the last detail", () => {
    let deaths: Death[] = [];
    deaths = addDeath(deaths, "a", "failures", "one", 10);
    deaths = addDeath(deaths, "b", "rejected", "", 20);
    deaths = addDeath(deaths, "a", "expired", "", 30);
    deaths = addDeath(deaths, "a", "failures", "two", 40);
    expect(deaths).toEqual([
      { queue: "a", reason: "failures", count: 2, firstTime: 10, lastTime: 40, detail: "two" },
      { queue: "a", reason: "expired", count: 1, firstTime: 30, lastTime: 30 },
      { queue: "b", reason: "rejected", count: 1, firstTime: 20, lastTime: 20 },
    ]);
  });

  it("[DLQ8] [STA6] a transfer is taken once, also after an eviction, and beyond the queue's limits", () => {
    const machine = new Machine("graves", { maxMessages: 1 });
    const transfer = (id: number, source = "default:orders") =>
      machine.turn({
        type: "transfer",
        source,
        id,
        published: false,
        records: records({ body: "a" }, { body: "b" }),
      });
    transfer(5);
    transfer(5);
    machine.reopen();
    transfer(5);
    transfer(4);
    expect(machine.queue.ledger.counts).toMatchObject({ accepted: 2, ready: 2 });
    transfer(6);
    transfer(5, "default:other");
    expect(machine.queue.ledger.counts).toMatchObject({ accepted: 6, ready: 6 });
    machine.attach(1, 10);
    expect(machine.delivered.map(({ seq, attempt }) => [seq, attempt])).toEqual(
      [1, 2, 3, 4, 5, 6].map((s) => [s, 1]),
    );
  });

  it("[DLQ8] [QUE8] outbox ids of a queue made anew are above those of its first life", () => {
    const first = new Machine();
    first.publish({ body: "a" });
    first.settle(first.attach(1, 1)[0]!, "dead");
    const before = new QueueStore(first.sql).nextOutbox()!.id;
    expect(first.queue.ledger.nextOutboxId).toBe(before + 1);
    first.reopen();
    expect(first.queue.ledger.nextOutboxId).toBe(before + 1);
    expect((first.now + 1) * 1_000).toBeGreaterThan(before);
  });

  it("[DLQ8] [SET4] dead letters of one turn travel in one row, and the row stays until it is confirmed", () => {
    const machine = new Machine();
    machine.publish(...Array.from({ length: 50 }, (_, i) => ({ body: `${i}` })));
    const settlements = machine
      .attach(1, 100)
      .map((d) => ({ ...d, outcome: "dead" as const, delayMs: undefined, reason: "" }));
    const before = machine.sql.rowsWritten;
    machine.turn({ type: "settle", settlements });
    expect(machine.sql.rowsWritten - before).toBe(2);
    machine.reopen();
    const row = machine.queue.store.nextOutbox()!;
    expect(messagesIn(row.data)).toHaveLength(50);
    machine.turn({ type: "confirmed", outboxId: row.id });
    expect(machine.queue.store.nextOutbox()).toBeUndefined();
  });
});

describe("time to live", () => {
  it("[TTL1] a head that expired is gone without a consumer, and the deadline says when", () => {
    const machine = new Machine();
    machine.publish({ body: "a", expiresAt: machine.now + 100 }, { body: "b" });
    expect(machine.queue.nextDeadline).toBe(machine.now + 100);
    machine.reopen();
    expect(machine.queue.nextDeadline).toBe(machine.now + 100);
    machine.pass(99);
    expect(machine.queue.ledger.counts.expired).toBe(0);
    machine.pass(1);
    expect(machine.queue.ledger.counts).toMatchObject({ expired: 1, ready: 1 });
    expect(machine.attach(1, 5)).toMatchObject([{ body: "b" }]);
  });

  it("[TTL1] an expired message behind a live head is passed over", () => {
    const machine = new Machine();
    machine.publish({ body: "a" }, { body: "b", expiresAt: machine.now + 100 }, { body: "c" });
    machine.now += 100;
    expect(machine.attach(1, 5).map(({ body }) => body)).toEqual(["a", "c"]);
    expect(machine.queue.ledger.counts.expired).toBe(1);
  });

  it("[TTL2] the shorter of the queue's and the message's own holds", () => {
    const machine = new Machine("orders", { ttlMs: 100 });
    machine.publish(
      { body: "short", expiresAt: machine.now + 50 },
      { body: "queue's" },
      { body: "long", expiresAt: machine.now + 9e9 },
    );
    machine.pass(50);
    expect(machine.queue.ledger.counts.expired).toBe(1);
    machine.pass(50);
    expect(machine.queue.ledger.counts).toMatchObject({ expired: 3, bytes: 0 });
  });

  it("[TTL4] a leased message does not expire; it does when it comes back", () => {
    const machine = new Machine();
    machine.publish({ body: "a", expiresAt: machine.now + 100 }, { body: "b", expiresAt: machine.now + 100 });
    const [a, b] = machine.attach(1, 5);
    machine.pass(1_000);
    expect(machine.queue.ledger.counts).toMatchObject({ leased: 2, expired: 0 });
    machine.reopen();
    expect(machine.settle(a!, "ack")).toBe(true);
    expect(machine.settle(b!, "release")).toBe(true);
    machine.pass(0);
    expect(machine.delivered).toEqual([]);
    expect(machine.queue.ledger.counts).toMatchObject({ settled: 1, expired: 1 });
  });

  it("[TTL5] expired ones become dead letters only when deadLetterTo was set", () => {
    for (const [settings, targets] of [
      [{}, []],
      [{ deadLetterTo: null }, []],
      [{ deadLetterTo: "graves" }, ["graves"]],
    ] as const) {
      const machine = new Machine("orders", settings);
      machine.publish({ body: "a", expiresAt: machine.now + 10 });
      machine.pass(10);
      const letters = outgoing(machine);
      expect(letters.map(({ target }) => target)).toEqual(targets);
      for (const { message } of letters)
        expect(deathsOf(message)).toMatchObject([{ reason: "expired", count: 1 }]);
    }
  });
});
