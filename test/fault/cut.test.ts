// Sockets cut in the middle of jobs, with sessions that end with the socket and sessions that outlive it.
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Broker, startBroker } from "../support/broker.ts";
import { readStats, waitForStats } from "../support/stats.ts";
import { WireClient } from "../support/wire-client.ts";

const TIMEOUT_MS = 90_000;
const LONG_LEASE_MS = 600_000;

let broker: Broker;
beforeAll(async () => {
  broker = await startBroker();
}, TIMEOUT_MS);
afterAll(() => broker.stop());

/** Publishes `count` messages and lets a consumer take them all, settling none. */
async function takeAll(queue: string, count: number, hello: Record<string, unknown>) {
  const producer = await WireClient.connect(broker.wsUrl);
  await Promise.all(
    producer.requestAll(
      Array.from({ length: count }, (_, body) => ({ op: "publish", to: `queue:${queue}`, body })),
    ),
  );
  await producer.close();
  const consumer = await WireClient.connect(broker.wsUrl, { hello });
  await consumer.ok({
    op: "subscribe",
    sub: 1,
    to: `queue:${queue}`,
    credit: count,
    leaseMs: LONG_LEASE_MS,
  });
  const taken = [];
  for (let index = 0; index < count; index++) taken.push(await consumer.nextMessage(1));
  return { consumer, taken };
}

it("[SES7] [DLQ9] [LEA6] a cut socket gives a session without expiry's messages back at once, and its handles are stale", {
  timeout: TIMEOUT_MS,
}, async () => {
  const { consumer, taken } = await takeAll("cut-0", 5, {});
  consumer.cut();
  await consumer.closed;
  const other = await WireClient.connect(broker.wsUrl);
  await other.ok({ op: "subscribe", sub: 7, to: "queue:cut-0", credit: 5, leaseMs: LONG_LEASE_MS });
  for (const { seq, messageId } of taken) {
    expect(await other.nextMessage(7)).toMatchObject({ seq, messageId, attempt: 2, redelivered: true });
  }
  const stale = taken.map((message) => message.delivery!);
  const reply = await other.ok({ op: "settle", sub: 7, ack: stale });
  expect(reply).toMatchObject({ settled: 0, lost: stale });
  expect(await readStats(broker.url, "cut-0")).toMatchObject({ leased: 5, settled: 0, deadLettered: 0 });
});

it("[SES8] [SES9] [SES10] a session with expiry resumes on a new socket with the same leases and handles", {
  timeout: TIMEOUT_MS,
}, async () => {
  const hello = { client: "cut-worker", session: { expirySeconds: 60 } };
  const { consumer, taken } = await takeAll("cut-60", 5, hello);
  consumer.cut();
  await consumer.closed;
  expect(await readStats(broker.url, "cut-60")).toMatchObject({ leased: 5, ready: 0 });
  const resumed = await WireClient.connect(broker.wsUrl, { hello });
  expect(resumed.welcome).toMatchObject({ resumed: true, session: consumer.welcome!.session });
  for (const { seq, delivery } of taken) {
    expect(await resumed.nextMessage(1)).toMatchObject({ seq, delivery, attempt: 1, redelivered: true });
  }
  const reply = await resumed.ok({ op: "settle", sub: 1, ack: taken.map((message) => message.delivery!) });
  expect(reply).toMatchObject({ settled: 5, lost: [] });
  expect(await readStats(broker.url, "cut-60")).toMatchObject({ settled: 5, leased: 0, ready: 0 });
});

it("[SES11] a session with expiry that stays away gives its messages back when the expiry has passed", {
  timeout: TIMEOUT_MS,
}, async () => {
  const hello = { client: "cut-gone", session: { expirySeconds: 2 } };
  const { consumer, taken } = await takeAll("cut-2", 3, hello);
  const cutAt = performance.now();
  consumer.cut();
  await waitForStats(broker.url, "cut-2", (stats) => stats.ready === 3);
  expect(performance.now() - cutAt).toBeGreaterThan(1_900);
  const back = await WireClient.connect(broker.wsUrl, { hello });
  expect(back.welcome).toMatchObject({ resumed: false });
  expect(back.welcome!.session).not.toBe(consumer.welcome!.session);
  await back.ok({ op: "subscribe", sub: 1, to: "queue:cut-2" });
  expect(await back.nextMessage(1)).toMatchObject({ seq: taken[0]!.seq, attempt: 2 });
});

it("[SES8] [SES17] [DUR2] [SET6] a session with expiry resumes after SIGKILL, and what it acked before stays acked", {
  timeout: TIMEOUT_MS,
}, async () => {
  const hello = { client: "cut-killed", session: { expirySeconds: 120 } };
  const { consumer, taken } = await takeAll("cut-killed", 6, hello);
  const handles = taken.map((message) => message.delivery!);
  await consumer.ok({ op: "settle", sub: 1, ack: handles.slice(0, 2) });
  await broker.kill();
  await broker.restart();
  const resumed = await WireClient.connect(broker.wsUrl, { hello });
  expect(resumed.welcome).toMatchObject({ resumed: true, session: consumer.welcome!.session });
  for (const { seq, delivery } of taken.slice(2)) {
    expect(await resumed.nextMessage(1)).toMatchObject({ seq, delivery, attempt: 1, redelivered: true });
  }
  expect(await resumed.ok({ op: "settle", sub: 1, ack: handles })).toMatchObject({ settled: 6, lost: [] });
  expect(await readStats(broker.url, "cut-killed")).toMatchObject({ settled: 6, leased: 0, ready: 0 });
});

it("[SES7] [DUR2] SIGKILL ends sessions without expiry: their messages are ready again after the restart", {
  timeout: TIMEOUT_MS,
}, async () => {
  const { taken } = await takeAll("cut-all", 4, {});
  await broker.kill();
  await broker.restart();
  const other = await WireClient.connect(broker.wsUrl);
  await other.ok({ op: "subscribe", sub: 1, to: "queue:cut-all" });
  for (const { seq } of taken) {
    expect(await other.nextMessage(1)).toMatchObject({ seq, attempt: 2, redelivered: true });
  }
});
