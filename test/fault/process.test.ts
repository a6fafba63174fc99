// The broker as a process: clean ends, unclean ends, and two that want the same port.
import { afterEach, expect, it } from "vitest";
import { type Broker, startBroker } from "../support/broker.ts";
import { readStats } from "../support/stats.ts";
import { WireClient } from "../support/wire-client.ts";

const TIMEOUT_MS = 90_000;
const READY_WITHIN_MS = 5_000;

let broker: Broker | undefined;
afterEach(async () => {
  await broker?.stop();
  broker = undefined;
});

it("[RUN1] [RUN2] [RUN3] [DUR2] a broker ended with SIGTERM exits with 0, frees its port and finds its messages again", {
  timeout: TIMEOUT_MS,
}, async () => {
  broker = await startBroker();
  const producer = await WireClient.connect(broker.wsUrl);
  for (let index = 0; index < 20; index++) {
    await producer.ok({ op: "publish", to: "queue:jobs", body: index });
  }
  const pid = broker.pid;
  process.kill(pid, "SIGTERM");
  expect(await broker.ended).toEqual({ code: 0, signal: null });
  await expect(fetch(`${broker.url}/healthz`)).rejects.toThrow();

  const restarted = performance.now();
  await broker.restart();
  expect(performance.now() - restarted).toBeLessThan(READY_WITHIN_MS * 2);
  expect(broker.output().split("\n").at(-1)).toContain(broker.url);
  expect(await readStats(broker.url, "jobs")).toMatchObject({ accepted: 20, ready: 20 });
  const consumer = await WireClient.connect(broker.wsUrl);
  await consumer.ok({ op: "subscribe", sub: 1, to: "queue:jobs" });
  for (let index = 0; index < 20; index++) {
    const message = await consumer.nextMessage(1);
    expect(message).toMatchObject({ seq: index + 1, attempt: 1, body: index });
    await consumer.ok({ op: "settle", sub: 1, ack: [message.delivery] });
  }
});

it("[RUN3] a broker under load ends cleanly on SIGTERM", { timeout: TIMEOUT_MS }, async () => {
  broker = await startBroker();
  const wire = await WireClient.connect(broker.wsUrl);
  await wire.ok({ op: "subscribe", sub: 1, to: "queue:jobs", credit: 100 });
  const flood = setInterval(() => wire.send({ op: "publish", to: "queue:jobs", body: "x".repeat(1_000) }), 1);
  await wire.nextMessage(1);
  await broker.stop().finally(() => clearInterval(flood));
});

it("[RUN4] a SIGKILL of the started process alone ends its runtime too, and loses nothing confirmed", {
  timeout: TIMEOUT_MS,
}, async () => {
  broker = await startBroker();
  const producer = await WireClient.connect(broker.wsUrl);
  const { seq } = await producer.ok({ op: "publish", to: "queue:jobs", messageId: "a", body: 1 });
  process.kill(broker.pid, "SIGKILL");
  // `ended` waits for the runtime as well: it holds the same output.
  expect(await broker.ended).toEqual({ code: null, signal: "SIGKILL" });
  await producer.closed;
  await expect(fetch(`${broker.url}/healthz`)).rejects.toThrow();

  await broker.restart();
  const again = await WireClient.connect(broker.wsUrl);
  expect(await again.ok({ op: "publish", to: "queue:jobs", messageId: "a", body: 1 })).toMatchObject({
    seq,
    duplicate: true,
  });
});

it("[RUN1] a second broker on a taken port ends with a message that names the port, and disturbs nothing", {
  timeout: TIMEOUT_MS,
}, async () => {
  broker = await startBroker();
  const wire = await WireClient.connect(broker.wsUrl);
  const failure = await startBroker({ port: broker.port }).then(
    async (second) => {
      await second.stop();
      return "it started";
    },
    (error: Error) => error.message,
  );
  expect(failure).toMatch(/"code":1\b/);
  expect(failure).toMatch(/in use/i);
  expect(failure).toContain(String(broker.port));
  expect(await wire.ok({ op: "publish", to: "queue:jobs", body: 1 })).toMatchObject({ seq: 1 });
});

it("[DUR2] eight restarts in a row change nothing", { timeout: TIMEOUT_MS }, async () => {
  broker = await startBroker();
  const producer = await WireClient.connect(broker.wsUrl);
  await producer.ok({ op: "publish", to: "queue:jobs", body: 1 });
  await producer.ok({ op: "publish", to: "queue:jobs", body: 2, delayMs: 3_600_000 });
  for (let restart = 0; restart < 8; restart++) {
    await broker.restart();
    const stats = await readStats(broker.url, "jobs");
    expect(stats).toMatchObject({ accepted: 2, ready: 1, delayed: 1, settled: 0, leased: 0 });
  }
});
