// What an operator sees and does: figures, peek, purge, pause and resume.
import { describe, expect } from "vitest";
import { eventually, message, noMessage, pass, queuePath, take, type World, withBroker } from "./harness.ts";

const it = withBroker();

async function fill(
  world: World,
  queue: string,
  count: number,
  fields: Record<string, unknown> = {},
): Promise<void> {
  const wire = await world.connect();
  const frames = Array.from({ length: count }, (_, i) => ({
    op: "publish",
    to: `queue:${queue}`,
    body: i,
    ...fields,
  }));
  await Promise.all(wire.requestAll(frames));
}

describe("stats", () => {
  it("[STA1] has all figures, as numbers", async ({ world }) => {
    await world.declare("q");
    const stats = await world.stats("q");
    expect(Object.keys(stats).sort()).toEqual(
      [
        "accepted",
        "bytes",
        "consumers",
        "deadLettered",
        "delayed",
        "expired",
        "leased",
        "oldestReadyMs",
        "ready",
        "rowsWritten",
        "settled",
      ].sort(),
    );
    for (const value of Object.values(stats)) expect(value).toEqual(expect.any(Number));
  });

  it("[STA2] the equation holds after each step of a message's life", async ({ world }) => {
    await world.declare("q", { maxFailures: 2, maxMessages: 5 });
    const step = async (expected: Record<string, number>) => {
      const stats = await world.stats("q");
      expect(stats).toMatchObject(expected);
      const { ready, delayed, leased, settled, expired, deadLettered } = stats;
      expect(ready + delayed + leased + settled + expired + deadLettered).toBe(stats.accepted);
    };
    const wire = await world.connect();
    for (let i = 0; i < 5; i += 1) await world.publish("q", i);
    await step({ accepted: 5, ready: 5 });
    await wire.error({ op: "publish", to: "queue:q", body: "full" });
    await step({ accepted: 5, ready: 5 });
    await wire.ok({ op: "publish", to: "queue:q", body: "d", delayMs: 60_000, messageId: "d" });
    await wire.ok({ op: "publish", to: "queue:q", body: "d", messageId: "d" });
    await step({ accepted: 6, ready: 5, delayed: 1 });
    const [a, b, c, d] = await world.receive("q", { max: 4 });
    await step({ ready: 1, delayed: 1, leased: 4 });
    await world.settle("q", { ack: [a!.delivery] });
    await step({ leased: 3, settled: 1 });
    await world.settle("q", { release: [b!.delivery], fail: [{ delivery: c!.delivery, delayMs: 60_000 }] });
    await step({ ready: 2, delayed: 2, leased: 1, settled: 1 });
    await world.settle("q", { dead: [{ delivery: d!.delivery }] });
    await step({ leased: 0, deadLettered: 1 });
    await world.settle("q", { ack: ["stale"] });
    await world.call("POST", `${queuePath("q")}/purge`);
    await step({ accepted: 6, ready: 0, delayed: 2, settled: 1, deadLettered: 1, expired: 2 });
  });

  it("[STA3] bytes grow with the bodies and are 0 when the queue is empty", async ({ world }) => {
    await world.publish("q", "x".repeat(10_000));
    const one = (await world.stats("q")).bytes;
    expect(one).toBeGreaterThanOrEqual(10_000);
    expect(one).toBeLessThan(12_000);
    await world.publish("q", "x".repeat(10_000));
    expect((await world.stats("q")).bytes).toBeGreaterThanOrEqual(2 * 10_000);
    const got = await world.receive("q", { max: 2 });
    await world.settle("q", { ack: got.map((m) => m.delivery) });
    expect((await world.stats("q")).bytes).toBe(0);
  });

  it("[STA4] oldestReadyMs is the age of the oldest ready message", async ({ world }) => {
    await world.publish("q", 1);
    await pass(400);
    await world.publish("q", 2);
    expect((await world.stats("q")).oldestReadyMs).toBeGreaterThanOrEqual(390);
    expect((await world.stats("q")).oldestReadyMs).toBeLessThan(20_000);
    const got = await world.receive("q", { max: 2 });
    expect((await world.stats("q")).oldestReadyMs).toBe(0);
    await world.settle("q", { ack: got.map((m) => m.delivery) });
    expect((await world.stats("q")).oldestReadyMs).toBe(0);
  });

  it("[STA5] consumers counts the subscriptions, also after sockets went away", async ({ world }) => {
    const a = await world.connect();
    const b = await world.connect();
    await a.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    await a.ok({ op: "subscribe", sub: 2, to: "queue:q" });
    await b.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    expect(await world.stats("q")).toMatchObject({ consumers: 3 });
    await a.ok({ op: "unsubscribe", sub: 2 });
    expect(await world.stats("q")).toMatchObject({ consumers: 2 });
    b.cut();
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ consumers: 1 }));
  });

  it("[CST4] reading and peeking write no rows", async ({ world }) => {
    await fill(world, "q", 10);
    const before = (await world.stats("q")).rowsWritten;
    for (let i = 0; i < 10; i += 1) {
      await world.peek("q");
      await world.stats("q");
    }
    expect((await world.stats("q")).rowsWritten).toBe(before);
    expect(before).toBeGreaterThan(0);
  });
});

describe("peek", () => {
  it("[OPS1] shows each state in the order of seq", async ({ world }) => {
    await fill(world, "q", 6);
    const held = await world.receive("q", { max: 2 });
    await fill(world, "q", 2, { delayMs: 60_000 });
    expect((await world.peek("q", "ready")).map((m) => m.seq)).toEqual([3, 4, 5, 6]);
    expect((await world.peek("q", "leased")).map((m) => m.seq)).toEqual([1, 2]);
    expect((await world.peek("q", "delayed")).map((m) => m.seq)).toEqual([7, 8]);
    expect((await world.peek("q", "ready", 2)).map((m) => m.seq)).toEqual([3, 4]);
    const plain = await world.call("GET", `${queuePath("q")}/messages`);
    expect((plain.body as { messages: unknown[] }).messages).toHaveLength(4);
    await world.settle("q", { ack: held.map((m) => m.delivery) });
    expect(await world.peek("q", "leased")).toEqual([]);
  });

  it("[OPS1] shows what was published, and no handle to settle with", async ({ world }) => {
    const wire = await world.connect();
    const fields = { messageId: "m", headers: { a: "b" }, group: "g" };
    await wire.ok({ op: "publish", to: "queue:q", body: { x: 1 }, ...fields });
    const [got] = await world.peek("q");
    expect(got).toMatchObject({ ...fields, body: { x: 1 }, seq: 1, time: expect.any(Number), to: "queue:q" });
    expect(got).not.toHaveProperty("delivery");
  });

  it("[OPS1] pages through more messages than fit a small answer", async ({ world }) => {
    await fill(world, "q", 1_000);
    const got = await world.peek("q", "ready", 1_000);
    expect(got.map((m) => m.seq)).toEqual(Array.from({ length: 1_000 }, (_, i) => i + 1));
  });

  it("[OPS2] changes nothing", async ({ world }) => {
    await fill(world, "q", 5);
    const before = await world.stats("q");
    for (const state of ["ready", "leased", "delayed"]) await world.peek("q", state);
    expect({ ...(await world.stats("q")), oldestReadyMs: 0 }).toEqual({ ...before, oldestReadyMs: 0 });
    expect((await world.receive("q", { max: 10 })).map((m) => [m.seq, m.attempt, m.redelivered])).toEqual(
      [1, 2, 3, 4, 5].map((seq) => [seq, 1, false]),
    );
  });
});

describe("purge and pause", () => {
  it("[OPS3] purge removes the ready messages alone, counted as expired", async ({ world }) => {
    await fill(world, "q", 5);
    const [held] = await world.receive("q");
    await fill(world, "q", 2, { delayMs: 60_000 });
    const answer = await world.call("POST", `${queuePath("q")}/purge`);
    expect(answer.status).toBe(200);
    expect(await world.stats("q")).toMatchObject({ ready: 0, leased: 1, delayed: 2, expired: 4 });
    expect(await world.receive("q")).toEqual([]);
    expect(await world.settle("q", { ack: [held!.delivery] })).toEqual({ settled: 1, lost: [] });
    await world.publish("q", "after");
    expect(await world.receive("q")).toMatchObject([{ body: "after", seq: 8 }]);
  });

  it("[OPS3] a released message of before the purge comes back", async ({ world }) => {
    await fill(world, "q", 2);
    const [held] = await world.receive("q");
    await world.call("POST", `${queuePath("q")}/purge`);
    await world.settle("q", { release: [held!.delivery] });
    expect(await world.receive("q")).toMatchObject([{ seq: 1, attempt: 2 }]);
  });

  it("[OPS4] [OPS5] pause stops delivery over every protocol, resume goes on", async ({ world }) => {
    await fill(world, "q", 2);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 1 });
    const held = message(await wire.nextMessage());
    const paused = await world.call("PUT", `${queuePath("q")}/pause`);
    expect(paused.status).toBe(200);
    expect(await world.call("GET", queuePath("q"))).toMatchObject({ body: { settings: { paused: true } } });
    await world.publish("q", "while paused");
    expect(
      await wire.ok({ op: "extend", sub: 1, deliveries: [held.delivery], leaseMs: 60_000 }),
    ).toMatchObject({
      lost: [],
    });
    expect(await wire.ok({ op: "settle", sub: 1, ack: [held.delivery] })).toMatchObject({ settled: 1 });
    await noMessage(wire);
    expect(await world.receive("q", { waitMs: 300 })).toEqual([]);
    expect(await world.stats("q")).toMatchObject({ ready: 2, settled: 1 });
    const polling = world.receive("q", { waitMs: 20_000, max: 1 });
    expect((await world.call("PUT", `${queuePath("q")}/resume`)).status).toBe(200);
    const bodies = [message(await wire.nextMessage()).body, (await polling)[0]?.body];
    expect(bodies.sort()).toEqual([1, "while paused"]);
    expect(await world.call("GET", queuePath("q"))).toMatchObject({ body: { settings: { paused: false } } });
  });

  it("[OPS4] a subscriber that comes while the queue is paused waits for the resume", async ({ world }) => {
    await fill(world, "q", 1);
    await world.call("PUT", `${queuePath("q")}/pause`);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    await noMessage(wire);
    await world.call("PUT", `${queuePath("q")}/resume`);
    await take(wire, 1);
  });
});
