// Who gets which message: fairness between consumers, credit, calls that wait, consumers that come, go, pause and resume.
import { describe, expect, it } from "vitest";
import { type Delivered, Machine, records } from "../../support/machine.ts";

function numbers(count: number, first = 1): { body: string }[] {
  return Array.from({ length: count }, (_, i) => ({ body: `${first + i}` }));
}

function shares(delivered: Delivered[]): Record<number, number> {
  const by: Record<number, number> = {};
  for (const { ref } of delivered) by[ref] = (by[ref] ?? 0) + 1;
  return by;
}

function bodies(delivered: Delivered[]): string[] {
  return delivered.map(({ body }) => body);
}

/** A call that takes messages over HTTP; its refs are negative. */
function receive(machine: Machine, ref: number, max: number, wait: boolean, leaseMs?: number): Delivered[] {
  machine.turn({ type: "receive", ref, max, leaseMs, wait });
  return machine.delivered;
}

describe("fairness", () => {
  it("[SUB9] serves consumers in turn, each message to one of them", () => {
    const machine = new Machine();
    for (const ref of [1, 2, 3]) machine.attach(ref, 100);
    machine.publish(...numbers(9));
    expect(machine.delivered.map(({ ref }) => ref)).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3]);
    expect(new Set(bodies(machine.delivered)).size).toBe(9);
  });

  it("[SUB9] a consumer with little credit does not slow the others, nor is it forgotten", () => {
    const machine = new Machine();
    machine.attach(1, 1);
    machine.attach(2, 100);
    machine.publish(...numbers(21));
    expect(shares(machine.delivered)).toEqual({ 1: 1, 2: 20 });
    const small = machine.delivered.find(({ ref }) => ref === 1)!;
    machine.publish(...numbers(1, 100));
    expect(shares(machine.delivered)).toEqual({ 2: 1 });
    machine.settle(small, "ack");
    machine.publish(...numbers(2, 200));
    expect(shares(machine.delivered)).toEqual({ 1: 1, 2: 1 });
  });

  it("[SUB9] with a backlog everyone who comes gets some as others settle", () => {
    const machine = new Machine();
    machine.publish(...numbers(100));
    const held = machine.attach(1, 10);
    machine.attach(2, 10);
    expect(shares(machine.delivered)).toEqual({ 2: 10 });
    machine.turn({
      type: "settle",
      settlements: held.map((d) => ({ ...d, outcome: "ack" as const, delayMs: undefined, reason: "" })),
    });
    expect(shares(machine.delivered)).toEqual({ 1: 10 });
    expect(bodies(machine.delivered)).toEqual(numbers(10, 21).map(({ body }) => body));
  });

  it("[SUB9] 300 consumers that come and go leave the line in order", () => {
    const machine = new Machine();
    for (let ref = 1; ref <= 300; ref++) machine.attach(ref, 1_000);
    machine.turn({ type: "detach", refs: Array.from({ length: 150 }, (_, i) => 2 * i + 1) });
    machine.publish(...numbers(300));
    expect(Object.values(shares(machine.delivered))).toEqual(Array(150).fill(2));
    machine.publish(...numbers(1_500));
    expect(Object.values(shares(machine.delivered))).toEqual(Array(150).fill(10));
  });
});

describe("credit", () => {
  it("[SUB2] [SUB3] no more than credit are out, and each settled one makes room for one", () => {
    const machine = new Machine();
    machine.publish(...numbers(10));
    const held = machine.attach(1, 3);
    expect(bodies(held)).toEqual(["1", "2", "3"]);
    for (const [index, outcome] of (["ack", "dead", "release"] as const).entries()) {
      machine.settle(held[index]!, outcome);
      expect(machine.delivered).toHaveLength(1);
      expect(machine.queue.ledger.counts.leased).toBe(3);
    }
  });

  it("[SUB4] [SUB5] nothing without credit; what is added counts at once, and after an eviction", () => {
    const machine = new Machine();
    machine.publish(...numbers(5));
    expect(machine.attach(1, 0)).toEqual([]);
    machine.turn({ type: "credit", ref: 1, add: 2 });
    expect(bodies(machine.delivered)).toEqual(["1", "2"]);
    machine.reopen();
    machine.turn({ type: "credit", ref: 1, add: 1 });
    expect(bodies(machine.delivered)).toEqual(["3"]);
  });

  it("[SUB14] a smaller credit than is held sends nothing until enough is settled", () => {
    const machine = new Machine();
    machine.publish(...numbers(5));
    const held = machine.attach(1, 3);
    expect(machine.attach(1, 1)).toEqual([]);
    for (const delivery of held.slice(0, 2)) {
      machine.settle(delivery, "ack");
      expect(machine.delivered).toEqual([]);
    }
    machine.settle(held[2]!, "ack");
    expect(bodies(machine.delivered)).toEqual(["4"]);
  });

  it("[SUB8] credit for a consumer that is not there is refused", () => {
    const machine = new Machine();
    const [result] = machine.turn({ type: "credit", ref: 9, add: 1 }).results;
    expect(result).toMatchObject({ type: "refused", refusal: { kind: "no-subscription" } });
  });
});

describe("calls that wait", () => {
  it("[HTTP10] [HTTP11] one that does not wait gets what is there, or nothing, and is gone", () => {
    const machine = new Machine();
    expect(receive(machine, -1, 5, false)).toEqual([]);
    machine.publish(...numbers(3));
    expect(machine.delivered).toEqual([]);
    expect(bodies(receive(machine, -2, 2, false))).toEqual(["1", "2"]);
    machine.publish(...numbers(1, 9));
    expect(machine.delivered).toEqual([]);
    expect(machine.queue.ledger.consumers.size).toBe(0);
  });

  it("[HTTP11] one that waits gets the next messages once, up to its max", () => {
    const machine = new Machine();
    expect(receive(machine, -1, 2, true)).toEqual([]);
    machine.publish(...numbers(5));
    expect(machine.delivered.map(({ ref, body }) => [ref, body])).toEqual([
      [-1, "1"],
      [-1, "2"],
    ]);
    machine.publish(...numbers(1, 9));
    expect(machine.delivered).toEqual([]);
  });

  it("[HTTP11] [HTTP12] one that was withdrawn gets nothing, and what it holds comes back with its lease", () => {
    const machine = new Machine();
    receive(machine, -1, 1, true);
    machine.turn({ type: "withdraw", ref: -1 });
    machine.publish(...numbers(1));
    expect(machine.delivered).toEqual([]);
    const [held] = receive(machine, -2, 1, false, 5_000);
    machine.reopen();
    machine.now += 4_999;
    expect(receive(machine, -3, 1, false)).toEqual([]);
    machine.now += 1;
    expect(receive(machine, -4, 1, false)).toMatchObject([{ seq: held!.seq, attempt: 2, redelivered: true }]);
  });

  it("[SUB9] a waiting call and a subscription are served in turn", () => {
    const machine = new Machine();
    machine.attach(1, 10);
    receive(machine, -1, 2, true);
    machine.publish(...numbers(4));
    expect(shares(machine.delivered)).toEqual({ 1: 2, [-1]: 2 });
  });
});

describe("consumers that pause, resume and leave", () => {
  it("[SES9] [SES12] a paused one keeps what it holds, gets nothing, and is sent the same again when it resumes", () => {
    const machine = new Machine();
    machine.publish(...numbers(4));
    const held = machine.attach(1, 2);
    machine.turn({ type: "pause", refs: [1] });
    machine.settle(held[0]!, "ack");
    expect(machine.delivered).toEqual([]);
    machine.reopen();
    machine.attach(1, 2, { resend: true });
    expect(machine.delivered.map(({ body, redelivered, attempt }) => [body, redelivered, attempt])).toEqual([
      ["2", true, 1],
      ["3", false, 1],
    ]);
    expect(machine.delivered[0]).toMatchObject({ position: held[1]!.position, lease: held[1]!.lease });
  });

  it("[SES9] attach with resend sends what is held, under its handles, to the new gateway", () => {
    const machine = new Machine();
    machine.publish(...numbers(2));
    const held = machine.attach(1, 2);
    const again = machine.attach(1, 2, { resend: true, gateway: "gateway-7" });
    expect(again).toEqual(held.map((delivery) => ({ ...delivery, redelivered: true })));
    expect(machine.queue.ledger.consumers.get(1)?.gateway).toBe("gateway-7");
    expect(machine.settle(held[0]!, "ack")).toBe(true);
  });

  it("[SUB7] [SES7] what a consumer held is ready at once for others, attempt + 1, no failure", () => {
    const machine = new Machine("orders", { maxFailures: 1 });
    machine.publish(...numbers(2));
    machine.attach(1, 2);
    machine.attach(2, 2);
    machine.turn({ type: "detach", refs: [1, 77] });
    expect(machine.delivered.map(({ ref, attempt, redelivered }) => [ref, attempt, redelivered])).toEqual([
      [2, 2, true],
      [2, 2, true],
    ]);
    expect(machine.queue.ledger.counts.deadLettered).toBe(0);
  });

  it("[OPS4] [OPS5] [OPS6] a paused queue accepts, settles and extends, delivers nothing, and stays so after an eviction", () => {
    const machine = new Machine();
    machine.publish(...numbers(1));
    const [held] = machine.attach(1, 5);
    machine.turn({ type: "configure", patch: { paused: true } });
    machine.publish(...numbers(1, 2));
    expect(machine.delivered).toEqual([]);
    machine.reopen();
    expect(receive(machine, -1, 1, false)).toEqual([]);
    const [extended] = machine.turn({ type: "extend", handles: [held!], leaseMs: 60_000 }).results;
    expect(extended).toEqual({ type: "settled", settled: [true] });
    expect(machine.settle(held!, "ack")).toBe(true);
    machine.turn({ type: "configure", patch: { paused: false } });
    expect(bodies(machine.delivered)).toEqual(["2"]);
  });

  it("[LEA1] [LEA4] a consumer's own lease time counts, and extend counts from now", () => {
    const machine = new Machine("orders", { leaseMs: 5_000 });
    machine.publish(...numbers(1));
    const [held] = machine.attach(1, 5, { leaseMs: 2_000 });
    machine.pass(1_999);
    machine.turn({ type: "extend", handles: [held!], leaseMs: 3_000 });
    expect(machine.queue.nextDeadline).toBe(machine.now + 3_000);
    machine.pass(2_999);
    expect(machine.delivered).toEqual([]);
    machine.pass(1);
    expect(machine.delivered).toMatchObject([{ attempt: 2 }]);
    const [late] = machine.turn({ type: "extend", handles: [held!], leaseMs: 3_000 }).results;
    expect(late, "[LEA6]").toEqual({ type: "settled", settled: [false] });
  });

  it("[OPS3] purge takes what is ready, parked or not yet looked at, and nothing else", () => {
    const machine = new Machine();
    machine.publish({ body: "a", group: "g" }, { body: "b", group: "g" }, { body: "c" });
    machine.publish({ body: "later", dueAt: machine.now + 1_000 });
    const held = machine.attach(1, 1);
    machine.publish(...numbers(10));
    machine.turn({ type: "purge" });
    expect(machine.queue.ledger.counts).toMatchObject({
      ready: 0,
      leased: 1,
      delayed: 1,
      expired: 12,
      readyBytes: 0,
    });
    machine.reopen();
    expect(machine.queue.ledger.parked).toBe(0);
    machine.settle(held[0]!, "ack");
    expect(machine.delivered).toEqual([]);
    machine.publish({ body: "new", group: "g" });
    expect(bodies(machine.delivered)).toEqual(["new"]);
    machine.settle(machine.delivered[0]!, "ack");
    machine.pass(1_000);
    expect(bodies(machine.delivered)).toEqual(["later"]);
    machine.settle(machine.delivered[0]!, "ack");
    expect(machine.queue.ledger.counts).toMatchObject({ bytes: 0, readyBytes: 0 });
  });

  it("[OPS3] purge in the turn of a publish takes its messages as well", () => {
    const machine = new Machine();
    machine.turn(
      { type: "publish", records: records(...numbers(3)) },
      { type: "purge" },
      {
        type: "publish",
        records: records({ body: "after" }),
      },
    );
    expect(bodies(machine.attach(1, 10))).toEqual(["after"]);
    expect(machine.queue.ledger.counts).toMatchObject({ accepted: 4, expired: 3, leased: 1 });
  });
});
