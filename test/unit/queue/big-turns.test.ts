// Turns that do very much at once: whatever they do, no row outgrows what the platform stores, and nothing is lost on the way.
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../../worker/errors.ts";
import { MAX_ROW_BYTES } from "../../../worker/limits.ts";
import { QueueStore } from "../../../worker/log/store.ts";
import { Machine, messagesIn, type records } from "../../support/machine.ts";

/** The machine's SQLite refuses rows over the platform's limit, so a turn that writes one throws. */
function expectSameAfterEviction(machine: Machine): void {
  const books = machine.books();
  machine.reopen();
  expect(machine.books() === books, "the books after an eviction").toBe(true);
}

function many(
  count: number,
  draft: (i: number) => Parameters<typeof records>[0],
): Parameters<typeof records> {
  return Array.from({ length: count }, (_, i) => draft(i));
}

/** Publishes `count` small messages, a thousand in each turn. */
function fill(machine: Machine, count: number, draft: { expiresAt?: number; group?: string } = {}): void {
  for (let left = count; left > 0; left -= 1_000)
    machine.publish(...many(1_000, () => ({ body: "1", ...draft })));
}

function settleAll(machine: Machine, outcome: "ack" | "dead"): void {
  const settlements = machine.delivered.map(({ position, lease }) => ({
    position,
    lease,
    outcome,
    delayMs: undefined,
    reason: "no",
  }));
  machine.turn({ type: "settle", settlements });
}

describe("one turn with very much in it", () => {
  it("[PUB2] [SUB11] 5,000 messages in one turn are stored, delivered in order, and settled in one turn", () => {
    const machine = new Machine();
    machine.attach(1, 10_000);
    const outcomes = machine.publish(...many(5_000, (i) => ({ body: `${i}` })));
    expect(outcomes.map((o) => (isRefusal(o) ? 0 : o.seq))).toEqual(
      Array.from({ length: 5_000 }, (_, i) => i + 1),
    );
    expect(machine.delivered.map(({ body }) => body)).toEqual(
      Array.from({ length: 5_000 }, (_, i) => `${i}`),
    );
    expectSameAfterEviction(machine);
    settleAll(machine, "ack");
    expect(machine.queue.ledger.counts).toMatchObject({ settled: 5_000, leased: 0, ready: 0, bytes: 0 });
    expectSameAfterEviction(machine);
  });

  it("[DUR2] a turn with far more than 1 MB of facts is the same after an eviction", () => {
    const machine = new Machine();
    const group = (i: number) => `${"g".repeat(240)}${i}`;
    for (let round = 0; round < 10; round++)
      machine.publish(...many(1_000, (i) => ({ body: "1", group: group(round * 1_000 + i) })));
    machine.attach(1, 10_000);
    expect(machine.delivered).toHaveLength(10_000);
    expect(machine.sql.largestRowBytes).toBeGreaterThan(900_000);
    expectSameAfterEviction(machine);
  });

  it("[TTL1] 40,000 messages that expire at once", () => {
    const machine = new Machine();
    fill(machine, 40_000, { expiresAt: machine.now + 1_000 });
    machine.pass(1_000);
    expect(machine.queue.ledger.counts).toMatchObject({ expired: 40_000, ready: 0, bytes: 0 });
    expectSameAfterEviction(machine);
  });

  it("[LIM3] 40,000 messages that are dropped at once for as many new ones", () => {
    const machine = new Machine("orders", { maxMessages: 40_000, overflow: "drop-oldest" });
    fill(machine, 40_000);
    machine.publish(...many(40_000, () => ({ body: "2" })));
    expect(machine.queue.ledger.counts).toMatchObject({ expired: 40_000, ready: 40_000 });
    expectSameAfterEviction(machine);
  });

  it("[LEA2] [SUB7] 60,000 leases that run out at once, and 60,000 given back by consumers that went", () => {
    const machine = new Machine("orders", { maxFailures: 100 });
    const refs = [1, 2, 3, 4, 5, 6];
    for (const ref of refs) machine.attach(ref, 10_000);
    fill(machine, 60_000);
    expect(machine.queue.ledger.counts.leased).toBe(60_000);
    for (const ref of refs) machine.turn({ type: "pause", refs: [ref] });
    machine.pass(30_000);
    expect(machine.queue.ledger.counts).toMatchObject({ leased: 0, ready: 60_000 });
    for (const ref of refs) machine.attach(ref, 10_000);
    while (machine.queue.ledger.counts.ready > 0) machine.turn();
    machine.turn({ type: "detach", refs });
    expect(machine.queue.ledger.counts).toMatchObject({ leased: 0, ready: 60_000 });
    expectSameAfterEviction(machine);
  });

  it("[DLY1] [DED1] 2,000 delayed messages with the longest ids of the widest characters", () => {
    const machine = new Machine();
    const drafts = many(2_000, (i) => ({
      body: "1",
      publisherId: true,
      messageId: `${"€".repeat(1_018)}${String(i).padStart(6, "0")}`,
      dueAt: machine.now + 1_000,
    }));
    machine.publish(...drafts);
    machine.reopen();
    const again = machine.publish(...drafts);
    expect(again.every((outcome) => !isRefusal(outcome) && outcome.duplicate)).toBe(true);
    machine.attach(1, 10_000);
    machine.pass(1_000);
    while (machine.queue.ledger.counts.ready + machine.queue.ledger.counts.delayed > 0) machine.turn();
    expect(machine.queue.ledger.counts).toMatchObject({ leased: 2_000, delayed: 0 });
  });

  it("[DLQ8] dead letters of the largest sizes, several in one turn", () => {
    const machine = new Machine();
    const sizes = [890_000, 1_500_000, 10, 1_599_000, 899_000, 1_048_576, 1_048_576];
    machine.attach(1, 100);
    for (const size of sizes) machine.publish({ body: "x".repeat(size), messageId: `${size}` });
    settleEverything(machine, "dead");
    const store = new QueueStore(machine.sql);
    const sent: number[] = [];
    for (let row = store.nextOutbox(); row !== undefined; row = store.nextOutbox()) {
      expect(row.target).toBe("orders.dead");
      sent.push(...messagesIn(row.data).map(({ body }) => body.length));
      store.removeOutbox(row.id);
    }
    expect(sent.toSorted((a, b) => a - b)).toEqual(sizes.toSorted((a, b) => a - b));
  });

  it("[DLQ4] a dead letter with a long history dies once more", () => {
    const machine = new Machine();
    const deaths = JSON.stringify(
      Array.from({ length: 100 }, (_, i) => ({
        queue: `queue-${i}-${"q".repeat(480)}`,
        reason: "rejected",
        count: 1,
        firstTime: 1,
        lastTime: 1,
        detail: "€".repeat(1_024),
      })),
    );
    machine.attach(1, 100);
    machine.publish({ body: "x".repeat(890_000) }, { body: "y".repeat(1_048_000), deaths });
    settleEverything(machine, "dead");
    expect(machine.queue.ledger.counts.deadLettered).toBe(2);
  });

  it("[DUR6] messages near the largest size, alone and side by side, in the log and delayed", () => {
    const machine = new Machine();
    const size = MAX_ROW_BYTES - 200_000;
    machine.publish(...many(5, (i) => ({ body: `${i}`.repeat(size) })));
    machine.publish(...many(5, (i) => ({ body: `${i}`.repeat(size), dueAt: machine.now + 10 })));
    machine.publish(...many(4, () => ({ body: "x".repeat(MAX_ROW_BYTES / 2 - 100) })));
    machine.reopen();
    machine.now += 10;
    const bodies: string[] = [];
    machine.attach(1, 100);
    for (let turns = 0; turns < 20; turns++) {
      bodies.push(...machine.delivered.map(({ body }) => `${body[0]}${body.length}`));
      machine.turn();
    }
    const large = [0, 1, 2, 3, 4].map((i) => `${i}${size}`);
    expect(bodies).toEqual([...large, ...Array(4).fill(`x${MAX_ROW_BYTES / 2 - 100}`), ...large]);
    expectSameAfterEviction(machine);
  });

  it("[SUB2] one turn delivers at most about 4 MB, and says that more follows", () => {
    const machine = new Machine();
    machine.publish(...many(10, () => ({ body: "x".repeat(1_000_000) })));
    machine.attach(1, 0);
    const outcome = machine.turn({ type: "credit", ref: 1, add: 100 });
    expect(outcome.more).toBe(true);
    expect(machine.delivered.length).toBeLessThanOrEqual(5);
    let delivered = machine.delivered.length;
    for (let more = true; more; delivered += machine.delivered.length) more = machine.turn().more;
    expect(delivered).toBe(10);
  });

  it("[DLY3] delayed messages of many megabytes come in due order over several turns", () => {
    const machine = new Machine();
    for (let i = 0; i < 12; i++)
      machine.publish({ body: `${i % 10}`.repeat(1_000_000), dueAt: machine.now + 20 - i });
    machine.now += 20;
    machine.attach(1, 100);
    const order: string[] = [];
    for (let turns = 0; turns < 12; turns++) {
      order.push(...machine.delivered.map(({ body }) => body[0]!));
      machine.turn();
    }
    expect(order).toEqual(["1", "0", "9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]);
  });
});

/** Settles what is delivered, turn by turn, until nothing is ready or out. */
function settleEverything(machine: Machine, outcome: "ack" | "dead"): void {
  const held = machine.queue.ledger.entries;
  for (
    let turns = 0;
    turns < 20 && machine.queue.ledger.counts.ready + machine.queue.ledger.counts.leased > 0;
    turns++
  ) {
    const settlements = [...held.values()]
      .filter(({ state }) => state === "leased")
      .map(({ position, lease }) => ({ position, lease, outcome, delayMs: undefined, reason: "no" }));
    machine.turn({ type: "settle", settlements });
  }
}
