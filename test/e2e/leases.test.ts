// Leases and settling: how a delivery ends, and what a handle is worth afterwards. Time passes for real, so tests run side by side.
import { describe, expect } from "vitest";
import { eventually, message, noMessage, pass, take, withBroker } from "./harness.ts";

const it = withBroker();

describe.concurrent("leases", () => {
  it("[LEA1] [LEA2] [SUB15] a lease holds for its time, then the message is ready again", async ({
    world,
  }) => {
    await world.publish("q", 1);
    const a = await world.connect();
    await a.ok({ op: "subscribe", sub: 1, to: "queue:q", leaseMs: 1_500, credit: 1 });
    const held = message(await a.nextMessage());
    const start = performance.now();
    const b = await world.connect();
    await b.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 1 });
    await a.ok({ op: "credit", sub: 1, add: 1 });
    const next = await Promise.race([a.nextMessage(), b.nextMessage()]);
    const tookMs = performance.now() - start;
    expect(next).toMatchObject({ seq: 1, attempt: 2, redelivered: true });
    expect(next.delivery).not.toBe(held.delivery);
    expect(tookMs).toBeGreaterThan(1_300);
    expect(tookMs).toBeLessThan(10_000);
  });

  it("[LEA2] [DLQ1] an expired lease counts as a failure", async ({ world }) => {
    await world.declare("q", { maxFailures: 2, leaseMs: 1_000 });
    await world.publish("q", 1);
    expect(await world.receive("q")).toMatchObject([{ attempt: 1 }]);
    expect(await world.receive("q", { waitMs: 15_000 })).toMatchObject([{ attempt: 2 }]);
    const [dead] = await world.receive("q.dead", { waitMs: 15_000 });
    expect(dead).toMatchObject({ body: 1, deaths: [{ queue: "q", reason: "failures", count: 1 }] });
    expect(await world.stats("q")).toMatchObject({ deadLettered: 1, leased: 0, ready: 0 });
  });

  it("[LEA1] the queue's leaseMs holds where the subscription names none", async ({ world }) => {
    await world.declare("q", { leaseMs: 1_000 });
    await world.publish("q", 1);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    expect(message(await wire.nextMessage()).attempt).toBe(1);
    expect(message(await wire.nextMessage()).attempt).toBe(2);
  });

  it("[LEA1] [HTTP10] a receive's own leaseMs holds for its messages", async ({ world }) => {
    await world.publish("a", 1);
    await world.publish("b", 1);
    await world.receive("a", { leaseMs: 1_000 });
    await world.receive("b");
    expect(await world.receive("a", { waitMs: 15_000 })).toMatchObject([{ attempt: 2, redelivered: true }]);
    expect(await world.receive("b")).toEqual([]);
  });

  it("[LEA6] a handle whose lease ran out settles nothing, also once it is leased anew", async ({
    world,
  }) => {
    await world.publish("q", 1);
    const [old] = await world.receive("q", { leaseMs: 1_000 });
    const [current] = await world.receive("q", { waitMs: 15_000 });
    for (const lists of [
      { ack: [old!.delivery] },
      { release: [old!.delivery] },
      { fail: [{ delivery: old!.delivery }] },
      { dead: [{ delivery: old!.delivery }] },
    ]) {
      expect(await world.settle("q", lists)).toEqual({ settled: 0, lost: [old!.delivery] });
    }
    expect(await world.stats("q")).toMatchObject({ leased: 1, settled: 0, deadLettered: 0 });
    expect(await world.settle("q", { ack: [current!.delivery] })).toEqual({ settled: 1, lost: [] });
  });

  it("[LEA4] [LEA5] extend over JSON holds the lease from now on", async ({ world }) => {
    await world.publish("q", 1);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", leaseMs: 1_200 });
    const held = message(await wire.nextMessage());
    const answer = await wire.ok({ op: "extend", sub: 1, deliveries: [held.delivery], leaseMs: 60_000 });
    expect(answer).toMatchObject({ op: "ok", lost: [] });
    await noMessage(wire, 1, 2_500);
    expect(await wire.ok({ op: "settle", sub: 1, ack: [held.delivery] })).toMatchObject({
      settled: 1,
      lost: [],
    });
  });

  it("[LEA4] [HTTP13] extend over HTTP holds the lease, and may shorten it", async ({ world }) => {
    await world.publish("q", 1);
    const [held] = await world.receive("q", { leaseMs: 1_200 });
    const extend = (leaseMs: number) =>
      world.settle("q", { extend: [{ delivery: held!.delivery, leaseMs }] });
    expect(await extend(60_000)).toMatchObject({ lost: [] });
    await pass(2_000);
    expect(await world.receive("q")).toEqual([]);
    expect(await extend(1_000)).toMatchObject({ lost: [] });
    expect(await world.receive("q", { waitMs: 15_000 })).toMatchObject([{ attempt: 2 }]);
  });

  it("[LEA5] extend of handles that are not leased lists them and changes nothing", async ({ world }) => {
    await world.publish("q", 1);
    await world.publish("q", 2);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const [a, b] = await take(wire, 2);
    await wire.ok({ op: "settle", sub: 1, ack: [a!.delivery] });
    const deliveries = [a!.delivery, "nonsense", b!.delivery, "zz.zz"];
    const answer = await wire.ok({ op: "extend", sub: 1, deliveries, leaseMs: 60_000 });
    expect(answer.lost).toEqual([a!.delivery, "nonsense", "zz.zz"]);
    expect(await world.stats("q")).toMatchObject({ leased: 1, settled: 1 });
  });
});

describe.concurrent("settle", () => {
  it("[SET1] [SET5] ack settles for ever", async ({ world }) => {
    await world.publish("q", 1);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", leaseMs: 1_000 });
    const held = message(await wire.nextMessage());
    expect(await wire.ok({ op: "settle", sub: 1, ack: [held.delivery] })).toMatchObject({
      settled: 1,
      lost: [],
    });
    await noMessage(wire, 1, 1_800);
    expect(await world.stats("q")).toMatchObject({ settled: 1, ready: 0, leased: 0, bytes: 0 });
  });

  it("[SET2] [DLQ9] release makes ready at once, with attempt + 1 and no failure", async ({ world }) => {
    await world.declare("q", { maxFailures: 1, backoff: { kind: "fixed", baseMs: 60_000 } });
    await world.publish("q", 1);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    for (let attempt = 1; attempt <= 25; attempt += 1) {
      const held = message(await wire.nextMessage());
      expect(held).toMatchObject({ attempt, redelivered: attempt > 1 });
      expect(await wire.ok({ op: "settle", sub: 1, release: [held.delivery] })).toMatchObject({ settled: 1 });
    }
    expect(await world.stats("q")).toMatchObject({ deadLettered: 0 });
  });

  it("[SET3] [RET1] fail makes ready again at once by default", async ({ world }) => {
    await world.publish("q", 1);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const held = message(await wire.nextMessage());
    await wire.ok({ op: "settle", sub: 1, fail: [{ delivery: held.delivery, reason: "out of ink" }] });
    expect(message(await wire.nextMessage())).toMatchObject({ seq: 1, attempt: 2, redelivered: true });
  });

  it("[SET4] [DLQ5] dead moves to the dead-letter queue at once", async ({ world }) => {
    await world.publish("q", { job: 1 });
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const held = message(await wire.nextMessage());
    const answer = await wire.ok({
      op: "settle",
      sub: 1,
      dead: [{ delivery: held.delivery, reason: "no such job" }],
    });
    expect(answer).toMatchObject({ settled: 1, lost: [] });
    const [dead] = await world.receive("q.dead", { waitMs: 15_000 });
    expect(dead).toMatchObject({
      body: { job: 1 },
      messageId: held.messageId,
      deaths: [{ queue: "q", reason: "rejected", count: 1, detail: "no such job" }],
    });
    expect(await world.stats("q")).toMatchObject({ deadLettered: 1, settled: 0 });
  });

  it("[SET5] one settle holds all four lists", async ({ world }) => {
    for (let i = 0; i < 5; i += 1) await world.publish("q", i);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const got = await take(wire, 5);
    const handle = got.map((m) => m.delivery);
    await world.call("PUT", "/v1/queues/q/pause");
    const answer = await wire.ok({
      op: "settle",
      sub: 1,
      ack: [handle[0]],
      release: [handle[1]],
      fail: [{ delivery: handle[2], delayMs: 60_000 }],
      dead: [{ delivery: handle[3] }],
    });
    expect(answer).toMatchObject({ settled: 4, lost: [] });
    expect(await world.stats("q")).toMatchObject({
      settled: 1,
      ready: 1,
      delayed: 1,
      deadLettered: 1,
      leased: 1,
    });
  });

  it("[SET5] an empty settle and one without lists are answered", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    for (const lists of [{}, { ack: [] }, { ack: [], release: [], fail: [], dead: [] }]) {
      expect(await wire.ok({ op: "settle", sub: 1, ...lists })).toMatchObject({ settled: 0, lost: [] });
    }
  });

  it("[SET6] a repeated settle is answered as settled and changes nothing, over both protocols", async ({
    world,
  }) => {
    for (let i = 0; i < 3; i += 1) await world.publish("q", i);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 3 });
    const [a, b, c] = await take(wire, 3);
    await world.call("PUT", "/v1/queues/q/pause");
    const lists = {
      ack: [a!.delivery],
      dead: [{ delivery: b!.delivery }],
      fail: [{ delivery: c!.delivery, delayMs: 60_000 }],
    };
    const first = await wire.ok({ op: "settle", sub: 1, ...lists });
    expect(first).toMatchObject({ settled: 3, lost: [] });
    const figures = await world.stats("q");
    for (let i = 0; i < 3; i += 1) {
      expect(await wire.ok({ op: "settle", sub: 1, ...lists })).toMatchObject({ settled: 3, lost: [] });
      expect(await world.settle("q", lists)).toEqual({ settled: 3, lost: [] });
    }
    const after = await world.stats("q");
    expect({ ...after, rowsWritten: 0, oldestReadyMs: 0 }).toEqual({
      ...figures,
      rowsWritten: 0,
      oldestReadyMs: 0,
    });
    expect(await world.stats("q.dead")).toMatchObject({ accepted: 1 });
  });

  it("[SET6] a handle named twice in one settle is settled once", async ({ world }) => {
    await world.publish("q", 1);
    const [got] = await world.receive("q");
    const answer = await world.settle("q", { ack: [got!.delivery, got!.delivery] });
    expect(answer.lost).toEqual([]);
    expect(await world.stats("q")).toMatchObject({ settled: 1, accepted: 1 });
  });

  it("[SET7] unknown handles and those of other queues are lost and change nothing", async ({ world }) => {
    await world.publish("a", 1);
    await world.publish("b", 1);
    await world.publish("b", 2);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:a" });
    await take(wire, 1);
    const strangers = ["x", "0.0", "zzzzzz.zzzzzz", "-1.-1", "1e3", "9".repeat(40), "ключ"];
    const answer = await wire.ok({ op: "settle", sub: 1, ack: strangers });
    expect(answer).toMatchObject({ settled: 0 });
    expect(answer.lost).toEqual(strangers);
    for (const ofB of await world.receive("b", { max: 2 })) {
      expect(await world.settle("a", { ack: [ofB.delivery] })).toEqual({ settled: 0, lost: [ofB.delivery] });
    }
    expect(await world.stats("a")).toMatchObject({ leased: 1, settled: 0 });
    expect(await world.stats("b")).toMatchObject({ leased: 2, settled: 0 });
  });

  it("[SET5] [SET7] good and stale handles of one settle are told apart", async ({ world }) => {
    for (let i = 0; i < 3; i += 1) await world.publish("q", i);
    const [a, b] = await world.receive("q", { max: 2 });
    await world.settle("q", { release: [a!.delivery] });
    const [again] = await world.receive("q");
    expect(again!.seq).toBe(1);
    const answer = await world.settle("q", { ack: [b!.delivery, "stale", again!.delivery] });
    expect(answer).toEqual({ settled: 2, lost: ["stale"] });
  });

  it("[LIM7] a settle or extend of more than 1,000 deliveries is refused as a whole", async ({ world }) => {
    await world.publish("q", 1);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const held = message(await wire.nextMessage());
    const many = [held.delivery, ...Array.from({ length: 1_000 }, (_, i) => `x${i}`)];
    for (const frame of [
      { op: "settle", sub: 1, ack: many },
      { op: "settle", sub: 1, ack: many.slice(0, 600), release: many.slice(600) },
      { op: "extend", sub: 1, deliveries: many, leaseMs: 1_000 },
    ]) {
      expect(await wire.error(frame)).toMatchObject({ op: "error" });
    }
    for (const lists of [{ ack: many }, { extend: many.map((delivery) => ({ delivery, leaseMs: 1_000 })) }]) {
      expect([400, 413]).toContain((await world.call("POST", "/v1/queues/q/settle", lists)).status);
    }
    expect(await world.stats("q")).toMatchObject({ leased: 1, settled: 0 });
    expect(await wire.ok({ op: "settle", sub: 1, ack: many.slice(0, 1_000) })).toMatchObject({ settled: 1 });
  });

  it("[FRM16] [SET1] a settle without id is silent and takes effect", async ({ world }) => {
    await world.publish("q", 1);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const held = message(await wire.nextMessage());
    wire.send({ op: "settle", sub: 1, ack: [held.delivery] });
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ settled: 1 }));
    expect(wire.pushes).toEqual([]);
  });

  it("[SET10] delayMs of a fail replaces the queue's back-off this time", async ({ world }) => {
    await world.declare("q", { backoff: { kind: "fixed", baseMs: 60_000 } });
    await world.publish("q", 1);
    const [first] = await world.receive("q");
    const start = performance.now();
    await world.settle("q", { fail: [{ delivery: first!.delivery, delayMs: 700 }] });
    const [second] = await world.receive("q", { waitMs: 15_000 });
    expect(performance.now() - start).toBeGreaterThan(650);
    expect(second).toMatchObject({ attempt: 2 });
    await world.settle("q", { fail: [{ delivery: second!.delivery, delayMs: 0 }] });
    const [third] = await world.receive("q", { waitMs: 15_000 });
    expect(third).toMatchObject({ attempt: 3 });
    await world.settle("q", { fail: [{ delivery: third!.delivery }] });
    expect(await world.stats("q")).toMatchObject({ delayed: 1 });
  });
});
