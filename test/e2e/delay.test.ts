// Delay, expiry and back-off: everything about a message that the clock decides. Time passes for real, so tests run side by side.
import { describe, expect } from "vitest";
import { eventually, message, noMessage, pass, take, type World, withBroker } from "./harness.ts";

const it = withBroker();

/** Fails the one ready message of `q` and returns how long it took to come back, ms. */
async function failAndWait(world: World, queue: string, expectedAttempt: number): Promise<number> {
  const [got] = await world.receive(queue, { waitMs: 30_000 });
  expect(got).toMatchObject({ attempt: expectedAttempt });
  // The wait begins when the broker takes the settle, which is before its answer is here.
  const start = performance.now();
  await world.settle(queue, { fail: [{ delivery: got!.delivery }] });
  const [again] = await world.receive(queue, { waitMs: 30_000 });
  const tookMs = performance.now() - start;
  expect(again).toMatchObject({ attempt: expectedAttempt + 1, redelivered: true });
  await world.settle(queue, { release: [again!.delivery] });
  return tookMs;
}

describe.concurrent("delay", () => {
  it("[DLY1] delayMs over JSON: not before its time, and then", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const start = performance.now();
    await wire.ok({ op: "publish", to: "queue:q", body: 1, delayMs: 1_000 });
    expect(await world.stats("q")).toMatchObject({ delayed: 1, ready: 0 });
    expect(await wire.nextMessage()).toMatchObject({ body: 1, attempt: 1, redelivered: false });
    const tookMs = performance.now() - start;
    expect(tookMs).toBeGreaterThan(950);
    expect(tookMs).toBeLessThan(5_000);
  });

  it("[DLY1] Dunlin-Delay-Ms over HTTP: not before its time, and then", async ({ world }) => {
    const start = performance.now();
    await world.publish("q", 1, { "dunlin-delay-ms": "1000" });
    expect(await world.receive("q")).toEqual([]);
    expect(await world.receive("q", { waitMs: 15_000 })).toMatchObject([{ body: 1 }]);
    expect(performance.now() - start).toBeGreaterThan(950);
  });

  it("[DLY2] deliverAt: not before its time; in the past, at once", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const at = Date.now() + 1_200;
    await wire.ok({ op: "publish", to: "queue:q", body: "later", deliverAt: at });
    await wire.ok({ op: "publish", to: "queue:q", body: "past", deliverAt: Date.now() - 60_000 });
    await wire.ok({ op: "publish", to: "queue:q", body: "zero", delayMs: 0 });
    expect((await take(wire, 2)).map((m) => m.body)).toEqual(["past", "zero"]);
    expect(await wire.nextMessage()).toMatchObject({ body: "later" });
    expect(Date.now()).toBeGreaterThanOrEqual(at - 20);
  });

  it("[DLY3] [DLY5] delayed messages come in the order of their times and hold up no others", async ({
    world,
  }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const base = Date.now() + 1_000;
    const order = [3, 1, 4, 0, 2];
    for (const n of order) {
      await wire.ok({ op: "publish", to: "queue:q", body: n, deliverAt: base + n * 250 });
    }
    await wire.ok({ op: "publish", to: "queue:q", body: "now" });
    expect((await take(wire, 6)).map((m) => m.body)).toEqual(["now", 0, 1, 2, 3, 4]);
  });

  it("[DLY4] a delay of a year is taken", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "publish", to: "queue:q", body: 1, delayMs: 365 * 86_400_000 });
    await wire.ok({ op: "publish", to: "queue:q", body: 1, deliverAt: Date.now() + 364 * 86_400_000 });
    expect(await world.stats("q")).toMatchObject({ delayed: 2 });
    expect((await world.peek("q", "delayed")).map((m) => m.seq)).toEqual([2, 1]);
  });

  it("[DLY1] [DLY3] a thousand messages with delays all come, none before its time", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 1_000 });
    const base = Date.now() + 1_000;
    const early: unknown[] = [];
    const frames = Array.from({ length: 1_000 }, (_, i) => {
      const deliverAt = base + ((i * 7_919) % 1_000);
      return { op: "publish", to: "queue:q", body: deliverAt, deliverAt };
    });
    await Promise.all(wire.requestAll(frames));
    for (let i = 0; i < 1_000; i += 1) {
      const got = message(await wire.nextMessage());
      if (Date.now() < (got.body as number) - 20) early.push(got);
    }
    expect(early).toEqual([]);
  });
});

describe.concurrent("time to live", () => {
  it("[TTL1] [TTL5] a message past its ttlMs is not delivered, counts as expired and is dead-lettered nowhere", async ({
    world,
  }) => {
    const wire = await world.connect();
    await wire.ok({ op: "publish", to: "queue:q", body: "short", ttlMs: 300 });
    await world.publish("q", "http", { "dunlin-ttl-ms": "300" });
    await wire.ok({ op: "publish", to: "queue:q", body: "long", ttlMs: 60_000 });
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ expired: 2, ready: 1 }));
    expect((await world.receive("q", { max: 10 })).map((m) => m.body)).toEqual(["long"]);
    expect((await world.call("GET", "/v1/queues/q.dead")).status).toBe(404);
  });

  it("[TTL1] a consumer that comes late never sees an expired message", async ({ world }) => {
    const wire = await world.connect();
    for (let i = 0; i < 20; i += 1)
      await wire.ok({ op: "publish", to: "queue:q", body: i, ttlMs: i % 2 ? 60_000 : 200 });
    await pass(300);
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    expect((await take(wire, 10)).map((m) => m.body)).toEqual([1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    await noMessage(wire);
  });

  it("[TTL1] a delayed message whose time passed while it waited is not delivered", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    await wire.ok({ op: "publish", to: "queue:q", body: 1, delayMs: 1_000, ttlMs: 300 });
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ expired: 1, delayed: 0 }));
    await noMessage(wire);
  });

  it("[TTL2] the queue's ttlMs holds for messages without one, and caps longer ones", async ({ world }) => {
    await world.declare("q", { ttlMs: 400 });
    const wire = await world.connect();
    await wire.ok({ op: "publish", to: "queue:q", body: 1 });
    await wire.ok({ op: "publish", to: "queue:q", body: 2, ttlMs: 60_000 });
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ expired: 2, ready: 0 }));
  });

  it("[TTL4] a leased message does not expire; it does when it would be ready again", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "publish", to: "queue:q", body: "acked", ttlMs: 500 });
    await wire.ok({ op: "publish", to: "queue:q", body: "released", ttlMs: 500 });
    const [a, b] = await world.receive("q", { max: 2 });
    await pass(800);
    expect(await world.stats("q")).toMatchObject({ leased: 2, expired: 0 });
    expect(await world.settle("q", { ack: [a!.delivery], release: [b!.delivery] })).toEqual({
      settled: 2,
      lost: [],
    });
    expect(await world.receive("q")).toEqual([]);
    await eventually(async () =>
      expect(await world.stats("q")).toMatchObject({ settled: 1, expired: 1, ready: 0 }),
    );
  });

  it("[TTL5] [DLQ5] [DLQ3] with deadLetterTo set, expired messages go there and lose their ttl", async ({
    world,
  }) => {
    await world.declare("q", { deadLetterTo: "late" });
    await world.publish("q", 1, { "dunlin-ttl-ms": "300", "dunlin-header-k": "v", "idempotency-key": "m" });
    const [dead] = await world.receive("late", { waitMs: 15_000 });
    expect(dead).toMatchObject({
      body: 1,
      messageId: "m",
      headers: { k: "v" },
      attempt: 1,
      deaths: [{ queue: "q", reason: "expired", count: 1 }],
    });
    await world.settle("late", { release: [dead!.delivery] });
    await pass(600);
    expect(await world.peek("late")).toHaveLength(1);
  });
});

describe.concurrent("back-off", () => {
  it("[RET2] [RET6] fixed waits baseMs each time, as delayed", async ({ world }) => {
    await world.declare("q", { backoff: { kind: "fixed", baseMs: 500 } });
    await world.publish("q", 1);
    const first = await failAndWait(world, "q", 1);
    const second = await failAndWait(world, "q", 3);
    for (const tookMs of [first, second]) {
      expect(tookMs).toBeGreaterThan(450);
      expect(tookMs).toBeLessThan(4_000);
    }
    const [got] = await world.receive("q");
    await world.settle("q", { fail: [{ delivery: got!.delivery }] });
    expect(await world.stats("q")).toMatchObject({ delayed: 1, ready: 0, leased: 0 });
    expect(await world.peek("q", "delayed")).toMatchObject([{ body: 1 }]);
  });

  it("[RET2] linear waits baseMs times the failures", async ({ world }) => {
    await world.declare("q", { backoff: { kind: "linear", baseMs: 400 } });
    await world.publish("q", 1);
    const waits = [
      await failAndWait(world, "q", 1),
      await failAndWait(world, "q", 3),
      await failAndWait(world, "q", 5),
    ];
    for (const [index, tookMs] of waits.entries()) {
      expect(tookMs, String(waits)).toBeGreaterThan(400 * (index + 1) - 50);
      expect(tookMs, String(waits)).toBeLessThan(400 * (index + 1) + 3_000);
    }
  });

  it("[RET2] [RET3] exponential doubles, up to maxMs", async ({ world }) => {
    await world.declare("q", { backoff: { kind: "exponential", baseMs: 300, maxMs: 1_000 } });
    await world.publish("q", 1);
    const expected = [300, 600, 1_000, 1_000];
    for (const [index, waitMs] of expected.entries()) {
      const tookMs = await failAndWait(world, "q", 1 + index * 2);
      expect(tookMs, `failure ${index + 1}`).toBeGreaterThan(waitMs - 50);
      expect(tookMs, `failure ${index + 1}`).toBeLessThan(waitMs + 3_000);
    }
  });

  it("[RET4] jitter keeps each wait between (1 - jitter) and 1 of it, and waits differ", async ({
    world,
  }) => {
    await world.declare("q", { backoff: { kind: "fixed", baseMs: 2_000, jitter: 0.5 } });
    const count = 40;
    for (let i = 0; i < count; i += 1) await world.publish("q", i);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 100 });
    const first = await take(wire, count);
    const start = Date.now();
    await wire.ok({ op: "settle", sub: 1, fail: first.map((m) => ({ delivery: m.delivery })) });
    const settledAt = Date.now();
    const waits: number[] = [];
    for (let i = 0; i < count; i += 1) {
      const got = message(await wire.nextMessage());
      expect(got.attempt).toBe(2);
      waits.push(Date.now() - start);
    }
    const slackMs = settledAt - start + 1_500;
    expect(Math.min(...waits)).toBeGreaterThan(950);
    expect(Math.max(...waits)).toBeLessThan(2_000 + slackMs);
    expect(Math.max(...waits) - Math.min(...waits), "all waits alike").toBeGreaterThan(300);
  });

  it("[RET5] a message in back-off does not hold up others", async ({ world }) => {
    await world.declare("q", { backoff: { kind: "fixed", baseMs: 60_000 } });
    for (let i = 0; i < 3; i += 1) await world.publish("q", i);
    const [got] = await world.receive("q");
    await world.settle("q", { fail: [{ delivery: got!.delivery }] });
    expect((await world.receive("q", { max: 10 })).map((m) => m.body)).toEqual([1, 2]);
  });

  it("[RET1] [LEA2] an expired lease waits for the back-off too", async ({ world }) => {
    await world.declare("q", { leaseMs: 1_000, backoff: { kind: "fixed", baseMs: 1_000 } });
    await world.publish("q", 1);
    await world.receive("q");
    const start = performance.now();
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ delayed: 1, leased: 0 }));
    expect(await world.receive("q", { waitMs: 15_000 })).toMatchObject([{ attempt: 2 }]);
    expect(performance.now() - start).toBeGreaterThan(1_900);
  });
});
