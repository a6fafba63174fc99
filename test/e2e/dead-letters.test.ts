// Dead letters and the limits of a queue: where messages go that cannot stay.
import { describe, expect } from "vitest";
import {
  eventually,
  expectError,
  expectProblem,
  message,
  pass,
  queuePath,
  take,
  type World,
  withBroker,
} from "./harness.ts";

const it = withBroker();

/** Fails the message of a queue that holds one until it is gone, and returns the attempts it took. */
async function failUntilDead(world: World, queue: string, reason?: string): Promise<number[]> {
  const wire = await world.connect();
  await wire.ok({ op: "subscribe", sub: 1, to: `queue:${queue}` });
  const attempts: number[] = [];
  while ((await world.stats(queue)).deadLettered === 0) {
    const got = message(await wire.nextMessage());
    attempts.push(got.attempt);
    const fail = {
      delivery: got.delivery,
      ...(reason === undefined ? {} : { reason: `${reason} ${got.attempt}` }),
    };
    await wire.ok({ op: "settle", sub: 1, fail: [fail] });
  }
  await wire.ok({ op: "unsubscribe", sub: 1 });
  return attempts;
}

describe.concurrent("dead letters", () => {
  it("[DLQ1] [DLQ2] [DLQ4] [DLQ5] the 20th failure moves the message to NAME.dead with its history", async ({
    world,
  }) => {
    const before = Date.now();
    const wire = await world.connect();
    const headers = { a: "1", b: "ü" };
    await wire.ok({ op: "publish", to: "queue:q", body: { n: [1] }, messageId: "m", headers, group: "g" });
    const attempts = await failUntilDead(world, "q", "try");
    expect(attempts).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    await wire.ok({ op: "subscribe", sub: 9, to: "queue:q.dead" });
    const dead = message(await wire.nextMessage(9));
    expect(dead).toMatchObject({
      to: "queue:q.dead",
      seq: 1,
      attempt: 1,
      redelivered: false,
      messageId: "m",
      body: { n: [1] },
      headers,
      group: "g",
    });
    expect(dead.deaths).toEqual([
      {
        queue: "q",
        reason: "failures",
        count: 1,
        firstTime: expect.any(Number),
        lastTime: expect.any(Number),
        detail: "try 20",
      },
    ]);
    const { firstTime, lastTime } = dead.deaths![0]!;
    expect(firstTime).toBeGreaterThanOrEqual(before - 5);
    expect(lastTime).toBeGreaterThanOrEqual(firstTime);
    expect(lastTime).toBeLessThanOrEqual(Date.now() + 5);
    expect(await world.stats("q")).toMatchObject({
      deadLettered: 1,
      ready: 0,
      delayed: 0,
      leased: 0,
      bytes: 0,
    });
    expect(await world.stats("q.dead")).toMatchObject({ accepted: 1, leased: 1 });
  });

  it("[DLQ1] maxFailures 1 dead-letters at the first failure", async ({ world }) => {
    await world.declare("q", { maxFailures: 1 });
    await world.publish("q", 1);
    expect(await failUntilDead(world, "q")).toEqual([1]);
  });

  it("[DLQ9] releases and closed sockets count nothing", async ({ world }) => {
    await world.declare("q", { maxFailures: 2 });
    await world.publish("q", 1);
    for (let i = 0; i < 3; i += 1) {
      const wire = await world.connect();
      await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
      const got = message(await wire.nextMessage());
      await wire.ok({ op: "settle", sub: 1, release: [got.delivery] });
      await wire.nextMessage();
      wire.cut();
      await eventually(async () => expect(await world.stats("q")).toMatchObject({ ready: 1 }));
    }
    expect(await failUntilDead(world, "q")).toEqual([7, 8]);
  });

  it("[DLQ2] deadLetterTo names another queue", async ({ world }) => {
    await world.declare("q", { deadLetterTo: "graveyard", maxFailures: 1 });
    await world.publish("q", 1);
    await failUntilDead(world, "q");
    expect(await world.receive("graveyard", { waitMs: 15_000 })).toMatchObject([{ body: 1 }]);
    expect((await world.call("GET", queuePath("q.dead"))).status).toBe(404);
  });

  it("[DLQ3] bytes and content type survive", async ({ world }) => {
    await world.declare("q", { maxFailures: 1 });
    const wire = await world.connect();
    await wire.ok({
      op: "publish",
      to: "queue:q",
      base64: "AP8=",
      contentType: "image/x",
      correlationId: "c",
    });
    await failUntilDead(world, "q");
    expect(await world.receive("q.dead", { waitMs: 15_000 })).toMatchObject([
      { base64: "AP8=", contentType: "image/x", correlationId: "c" },
    ]);
  });

  it("[DLQ4] a message that dies in two queues carries both deaths", async ({ world }) => {
    await world.declare("a", { deadLetterTo: "b", maxFailures: 1 });
    await world.declare("b", { deadLetterTo: "c", maxFailures: 2 });
    await world.publish("a", 1);
    await failUntilDead(world, "a");
    await eventually(async () => expect(await world.stats("b")).toMatchObject({ ready: 1 }));
    expect(await failUntilDead(world, "b")).toEqual([1, 2]);
    const [got] = await world.receive("c", { waitMs: 15_000 });
    expect(got!.deaths!.map(({ queue, reason, count }) => ({ queue, reason, count }))).toEqual(
      expect.arrayContaining([
        { queue: "a", reason: "failures", count: 1 },
        { queue: "b", reason: "failures", count: 1 },
      ]),
    );
    expect(got!.deaths).toHaveLength(2);
  });

  it("[DLQ6] deadLetterTo null discards, and counts it", async ({ world }) => {
    await world.declare("q", { deadLetterTo: null, maxFailures: 1 });
    await world.publish("q", 1);
    await failUntilDead(world, "q");
    await world.publish("q", 2);
    const [got] = await world.receive("q");
    await world.settle("q", { dead: [{ delivery: got!.delivery }] });
    expect(await world.stats("q")).toMatchObject({ deadLettered: 2, ready: 0, leased: 0 });
    expect((await world.call("GET", queuePath("q.dead"))).status).toBe(404);
  });

  it("[DLQ7] a queue named .dead never dead-letters by failures", async ({ world }) => {
    await world.declare("q.dead", { maxFailures: 1 });
    await world.publish("q.dead", 1);
    for (let attempt = 1; attempt <= 25; attempt += 1) {
      const [got] = await world.receive("q.dead", { waitMs: 5_000 });
      expect(got).toMatchObject({ attempt });
      await world.settle("q.dead", { fail: [{ delivery: got!.delivery }] });
    }
    expect(await world.stats("q.dead")).toMatchObject({ deadLettered: 0 });
    expect((await world.call("GET", queuePath("q.dead.dead"))).status).toBe(404);
  });

  it("[DLQ8] [STA6] a hundred dead letters arrive once each", async ({ world }) => {
    const wire = await world.connect();
    await Promise.all(
      wire.requestAll(Array.from({ length: 100 }, (_, i) => ({ op: "publish", to: "queue:q", body: i }))),
    );
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 100 });
    const got = await take(wire, 100);
    await wire.ok({ op: "settle", sub: 1, dead: got.map((m) => ({ delivery: m.delivery, reason: "r" })) });
    await eventually(async () =>
      expect(await world.stats("q.dead")).toMatchObject({ accepted: 100, ready: 100 }),
    );
    await pass(500);
    const bodies = (await world.peek("q.dead", "ready", 1_000)).map((m) => m.body as number);
    expect(bodies.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(await world.stats("q")).toMatchObject({ accepted: 100, deadLettered: 100 });
  });

  it("[DLQ8] [QUE8] a queue made anew sends its dead letters as the first one did", async ({ world }) => {
    for (let life = 1; life <= 3; life += 1) {
      await world.publish("q", life);
      const [got] = await world.receive("q");
      await world.settle("q", { dead: [{ delivery: got!.delivery }] });
      await eventually(async () => expect(await world.stats("q.dead")).toMatchObject({ accepted: life }));
      expect((await world.call("DELETE", queuePath("q"))).status).toBe(204);
    }
    expect((await world.peek("q.dead")).map((m) => m.body)).toEqual([1, 2, 3]);
  });

  it("[DLQ2] a dead letter may be consumed, failed and acked like any message", async ({ world }) => {
    await world.publish("q", 1);
    const [got] = await world.receive("q");
    await world.settle("q", { dead: [{ delivery: got!.delivery }] });
    const [dead] = await world.receive("q.dead", { waitMs: 15_000 });
    await world.settle("q.dead", { fail: [{ delivery: dead!.delivery }] });
    const [again] = await world.receive("q.dead", { waitMs: 15_000 });
    expect(again).toMatchObject({ attempt: 2, deaths: [{ queue: "q", reason: "rejected" }] });
    expect(await world.settle("q.dead", { ack: [again!.delivery] })).toEqual({ settled: 1, lost: [] });
  });
});

describe.concurrent("limits and overflow", () => {
  it("[LIM1] [LIM2] [LIM6] reject answers queue-full over both protocols and stores nothing", async ({
    world,
  }) => {
    await world.declare("q", { maxMessages: 2 });
    const wire = await world.connect();
    const replies = await Promise.all(
      wire.requestAll([1, 2, 3, 4].map((body) => ({ op: "publish", to: "queue:q", body }))),
    );
    expect(replies.map((reply) => reply.op)).toEqual(["ok", "ok", "error", "error"]);
    expectError(replies[2], 3, "queue-full");
    expect(replies[2]).toMatchObject({ retry: "after", afterMs: expect.any(Number) });
    const answer = await world.call("POST", `${queuePath("q")}/messages`, { a: 1 });
    expectProblem(answer, 429, 3, "queue-full");
    expect((await world.peek("q")).map((m) => m.body)).toEqual([1, 2]);
    expect(await world.stats("q")).toMatchObject({ accepted: 2, ready: 2 });
    await wire.ok({ op: "publish", to: "queue:other", body: 1 });
  });

  it("[LIM6] [HTTP7] a batch beyond the limit answers each message by itself", async ({ world }) => {
    await world.declare("q", { maxMessages: 2 });
    const answer = await world.call(
      "POST",
      `${queuePath("q")}/messages`,
      JSON.stringify({ messages: [1, 2, 3].map((body) => ({ body })) }),
      { "content-type": "application/vnd.dunlin.batch+json" },
    );
    expect(answer).toMatchObject({
      status: 201,
      body: [{ seq: 1 }, { seq: 2 }, { kind: "queue-full", code: 303 }],
    });
  });

  it("[LIM5] a full queue accepts again once a message is leased, settled or purged", async ({ world }) => {
    await world.declare("q", { maxMessages: 1 });
    const wire = await world.connect();
    const publish = () => wire.request({ op: "publish", to: "queue:q", body: 1 });
    expect(await publish()).toMatchObject({ op: "ok" });
    expect(await publish()).toMatchObject({ kind: "queue-full" });
    await world.receive("q");
    expect(await publish()).toMatchObject({ op: "ok" });
    expect(await publish()).toMatchObject({ kind: "queue-full" });
    await world.call("POST", `${queuePath("q")}/purge`);
    expect(await publish()).toMatchObject({ op: "ok" });
  });

  it("[LIM1] a duplicate in a full queue is answered as a duplicate", async ({ world }) => {
    await world.declare("q", { maxMessages: 1 });
    await world.publish("q", 1, { "idempotency-key": "m" });
    expect(await world.publish("q", 1, { "idempotency-key": "m" })).toMatchObject({
      seq: 1,
      duplicate: true,
    });
  });

  it("[LIM1] delayed messages are not counted until they are ready", async ({ world }) => {
    await world.declare("q", { maxMessages: 1 });
    const wire = await world.connect();
    for (let i = 0; i < 3; i += 1) await wire.ok({ op: "publish", to: "queue:q", body: i, delayMs: 60_000 });
    await wire.ok({ op: "publish", to: "queue:q", body: "ready" });
    expect(await world.stats("q")).toMatchObject({ delayed: 3, ready: 1 });
  });

  it("[LIM1] [LIM2] maxBytes counts the bytes of ready messages", async ({ world }) => {
    await world.declare("q", { maxBytes: 10_000 });
    const wire = await world.connect();
    const publish = (length: number) =>
      wire.request({ op: "publish", to: "queue:q", body: "x".repeat(length) });
    expect(await publish(4_000)).toMatchObject({ op: "ok" });
    expect(await publish(4_000)).toMatchObject({ op: "ok" });
    expect(await publish(4_000)).toMatchObject({ kind: "queue-full" });
    expect(await publish(100)).toMatchObject({ op: "ok" });
    await world.receive("q");
    expect(await publish(3_000)).toMatchObject({ op: "ok" });
  });

  it("[LIM3] drop-oldest drops the oldest ready messages, counted as expired", async ({ world }) => {
    await world.declare("q", { maxMessages: 3, overflow: "drop-oldest" });
    const wire = await world.connect();
    const replies = await Promise.all(
      wire.requestAll([1, 2, 3, 4, 5].map((body) => ({ op: "publish", to: "queue:q", body }))),
    );
    expect(replies.map((reply) => reply.seq)).toEqual([1, 2, 3, 4, 5]);
    expect((await world.peek("q")).map((m) => m.body)).toEqual([3, 4, 5]);
    expect(await world.stats("q")).toMatchObject({ accepted: 5, expired: 2, ready: 3 });
    expect((await world.receive("q", { max: 10 })).map((m) => m.body)).toEqual([3, 4, 5]);
    expect((await world.call("GET", queuePath("q.dead"))).status).toBe(404);
  });

  it("[LIM3] drop-oldest leaves leased messages alone", async ({ world }) => {
    await world.declare("q", { maxMessages: 1, overflow: "drop-oldest" });
    await world.publish("q", 1);
    const [held] = await world.receive("q");
    for (const body of [2, 3, 4]) await world.publish("q", body);
    expect((await world.peek("q")).map((m) => m.body)).toEqual([4]);
    expect(await world.settle("q", { ack: [held!.delivery] })).toEqual({ settled: 1, lost: [] });
    expect(await world.stats("q")).toMatchObject({ settled: 1, expired: 2, ready: 1 });
  });

  it("[LIM3] drop-oldest by bytes drops as many as needed", async ({ world }) => {
    await world.declare("q", { maxBytes: 10_000, overflow: "drop-oldest" });
    for (let i = 0; i < 8; i += 1) await world.publish("q", `${i}`.repeat(1_000));
    await world.publish("q", "z".repeat(8_000));
    const left = await world.peek("q");
    expect(left.at(-1)!.body).toBe("z".repeat(8_000));
    expect(left.length).toBeLessThan(4);
    expect(await world.stats("q")).toMatchObject({ accepted: 9, expired: 9 - left.length });
  });

  it("[LIM4] [DLQ5] dead-letter moves the oldest ready message with reason overflow", async ({ world }) => {
    await world.declare("q", { maxMessages: 2, overflow: "dead-letter" });
    for (const body of [1, 2, 3, 4]) await world.publish("q", body, { "idempotency-key": `m${body}` });
    expect((await world.peek("q")).map((m) => m.body)).toEqual([3, 4]);
    await eventually(async () => expect(await world.peek("q.dead")).toHaveLength(2));
    const dead = await world.receive("q.dead", { max: 10 });
    expect(
      dead.map((m) => [
        m.body,
        m.messageId,
        m.deaths!.map((death) => [death.queue, death.reason, death.count]),
      ]),
    ).toEqual([
      [1, "m1", [["q", "overflow", 1]]],
      [2, "m2", [["q", "overflow", 1]]],
    ]);
    expect(await world.stats("q")).toMatchObject({ accepted: 4, deadLettered: 2, ready: 2 });
  });

  it("[LIM1] messages given straight to a waiting consumer do not fill the queue", async ({ world }) => {
    await world.declare("q", { maxMessages: 1 });
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 100 });
    for (let i = 0; i < 20; i += 1) await wire.ok({ op: "publish", to: "queue:q", body: i });
    await take(wire, 20);
  });
});
