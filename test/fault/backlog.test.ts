// SIGKILL while a backlog stands: delayed, grouped, failed, leased and dead messages are found as they were.
import { afterEach, expect, it } from "vitest";
import { type Broker, startBroker } from "../support/broker.ts";
import { createRandom } from "../support/random.ts";
import { readStats, waitForStats } from "../support/stats.ts";
import { WireClient, type WireFrame } from "../support/wire-client.ts";

const TIMEOUT_MS = 120_000;

let broker: Broker | undefined;
afterEach(async () => {
  await broker?.stop();
  broker = undefined;
});

async function publishAll(frames: WireFrame[]): Promise<WireFrame[]> {
  const producer = await WireClient.connect(broker!.wsUrl);
  const replies = [];
  for (let start = 0; start < frames.length; start += 100) {
    replies.push(...(await Promise.all(producer.requestAll(frames.slice(start, start + 100)))));
  }
  await producer.close();
  return replies;
}

it("[DUR2] [STA2] [DLY1] [DLY3] [DLY5] [GRP1] a backlog with delays and groups outlives kills as it was, and drains in order", {
  timeout: TIMEOUT_MS,
}, async () => {
  broker = await startBroker();
  const delayMs = 20_000;
  const publishedAt = Date.now();
  const plain = Array.from({ length: 600 }, (_, n) => ({
    op: "publish",
    to: "queue:backlog",
    group: `g${n % 7}`,
    body: { n, group: n % 7 },
  }));
  const delayed = Array.from({ length: 50 }, (_, n) => ({
    op: "publish",
    to: "queue:backlog",
    delayMs: delayMs + (50 - n) * 10,
    body: { late: 50 - n },
  }));
  const replies = await publishAll([...plain, ...delayed]);
  expect(replies.map((reply) => reply.seq)).toEqual(Array.from({ length: 650 }, (_, n) => n + 1));
  for (let kill = 0; kill < 3; kill++) {
    const before = await readStats(broker.url, "backlog");
    await broker.kill();
    await broker.restart();
    const after = await readStats(broker.url, "backlog");
    expect(after).toMatchObject({ ready: before.ready, delayed: before.delayed, accepted: 650, leased: 0 });
    expect(after).toMatchObject({ bytes: before.bytes, settled: 0, expired: 0, deadLettered: 0 });
  }

  const consumer = await WireClient.connect(broker.wsUrl);
  await consumer.ok({ op: "subscribe", sub: 1, to: "queue:backlog", credit: 20 });
  const order: number[][] = Array.from({ length: 7 }, () => []);
  const late: number[] = [];
  for (let count = 0; count < 650; count++) {
    const message = await consumer.nextMessage(1, delayMs + 30_000);
    const body = message.body as { n: number; group: number } | { late: number };
    if ("late" in body) {
      expect(Date.now() - publishedAt).toBeGreaterThanOrEqual(delayMs);
      late.push(body.late);
    } else order[body.group]!.push(body.n);
    consumer.send({ op: "settle", sub: 1, ack: [message.delivery] });
  }
  const inOrder = order.map((numbers) => [...numbers].sort((a, b) => a - b));
  expect(order).toEqual(inOrder);
  expect(late).toEqual(Array.from({ length: 50 }, (_, n) => n + 1));
  await waitForStats(broker.url, "backlog", (stats) => stats.settled === 650);
});

it("[DUR2] [DUR4] [DLQ1] [DLQ4] [DLQ8] [RET1] failures, back-offs and dead letters are remembered through a kill", {
  timeout: TIMEOUT_MS,
}, async () => {
  broker = await startBroker();
  const put = await fetch(`${broker.url}/v1/queues/fails`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ maxFailures: 3, backoff: { kind: "fixed", baseMs: 300, maxMs: 300, jitter: 0 } }),
  });
  expect(put.status).toBe(201);
  await publishAll([{ op: "publish", to: "queue:fails", messageId: "poison", body: "p" }]);
  for (let attempt = 1; attempt <= 3; attempt++) {
    const consumer = await WireClient.connect(broker.wsUrl);
    await consumer.ok({ op: "subscribe", sub: 1, to: "queue:fails" });
    const message = await consumer.nextMessage(1);
    expect(message).toMatchObject({ messageId: "poison", attempt });
    const fail = [{ delivery: message.delivery, reason: `no ${attempt}` }];
    // Unsubscribed in the same frame, so that the kill finds the message in back-off.
    const settle = { op: "settle", sub: 1, fail };
    await Promise.all(consumer.requestAll([settle, { op: "unsubscribe", sub: 1 }]));
    await broker.kill();
    await broker.restart();
    await readStats(broker.url, "fails");
  }
  expect(await readStats(broker.url, "fails")).toMatchObject({ accepted: 1, deadLettered: 1 });
  await waitForStats(broker.url, "fails.dead", (stats) => stats.ready === 1);
  const dead = await WireClient.connect(broker.wsUrl);
  await dead.ok({ op: "subscribe", sub: 1, to: "queue:fails.dead" });
  const letter = await dead.nextMessage(1);
  expect(letter).toMatchObject({ messageId: "poison", body: "p" });
  expect(letter.deaths).toMatchObject([{ queue: "fails", reason: "failures", count: 1, detail: "no 3" }]);
  expect(await readStats(broker.url, "fails.dead")).toMatchObject({ accepted: 1 });
});

it("[DLQ8] [STA2] [DUR1] dead-lettering under kills loses and doubles no dead letter", {
  timeout: TIMEOUT_MS,
}, async () => {
  const random = createRandom(process.env.FAULT_SEED ? Number(process.env.FAULT_SEED) : undefined);
  console.log(`seed ${random.seed} (repeat with FAULT_SEED=${random.seed})`);
  broker = await startBroker();
  const count = 3_000;
  await publishAll(
    Array.from({ length: count }, (_, n) => ({
      op: "publish",
      to: "queue:rejects",
      messageId: `r${n}`,
      body: n,
    })),
  );
  for (let kill = 0; kill < 4; kill++) {
    const consumer = await WireClient.connect(broker.wsUrl, {
      onFrame: (frame) => {
        if (frame.op !== "message") return false;
        consumer.send({ op: "settle", sub: 1, dead: [{ delivery: frame.delivery, reason: "no" }] });
        return true;
      },
    });
    await consumer.ok({ op: "subscribe", sub: 1, to: "queue:rejects", credit: 10 });
    await new Promise((resolve) => setTimeout(resolve, random.integer(5, 80)));
    await broker.kill();
    await broker.restart();
    await readStats(broker.url, "rejects");
  }
  const last = await WireClient.connect(broker.wsUrl, {
    onFrame: (frame) => {
      if (frame.op !== "message") return false;
      last.send({ op: "settle", sub: 1, dead: [{ delivery: frame.delivery, reason: "no" }] });
      return true;
    },
  });
  await last.ok({ op: "subscribe", sub: 1, to: "queue:rejects", credit: 100 });
  await waitForStats(broker.url, "rejects", (stats) => stats.deadLettered === count);
  await waitForStats(broker.url, "rejects.dead", (stats) => stats.ready >= count);
  expect(await readStats(broker.url, "rejects.dead")).toMatchObject({ accepted: count, ready: count });
});

it("[DUR5] a lease taken over HTTP outlives a kill, and its handle settles after it", {
  timeout: TIMEOUT_MS,
}, async () => {
  broker = await startBroker();
  await publishAll([{ op: "publish", to: "queue:http", body: 1 }]);
  const call = (path: string, body: unknown) =>
    fetch(`${broker!.url}/v1/queues/http/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    }).then((response) => response.json() as Promise<Record<string, unknown>>);
  const { messages } = await call("receive", { max: 1, leaseMs: 600_000 });
  const [message] = messages as WireFrame[];
  await broker.kill();
  await broker.restart();
  expect(await readStats(broker.url, "http")).toMatchObject({ leased: 1, ready: 0 });
  expect(await call("receive", { max: 1, waitMs: 0 })).toEqual({ messages: [] });
  expect(await call("settle", { ack: [message!.delivery] })).toMatchObject({ settled: 1, lost: [] });
  expect(await readStats(broker.url, "http")).toMatchObject({ leased: 0, settled: 1 });
});
