// Deadlines of objects that were evicted before them, and alarms that ring too early, twice or for nothing.
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it } from "vitest";
import { call, eventually, stats, Wire } from "./support/client.ts";
import { evict, gatewayStub, queueStub } from "./support/objects.ts";

let runs = 0;
const open: Wire[] = [];

afterEach(() => {
  for (const wire of open.splice(0)) if (wire.closed === undefined) wire.close();
});

async function connect(hello: Record<string, unknown> = {}): Promise<Wire> {
  const wire = await Wire.connect(hello);
  open.push(wire);
  return wire;
}

function newQueue(): { queue: string; to: string } {
  const queue = `deadline-${++runs}`;
  return { queue, to: `queue:${queue}` };
}

async function declare(queue: string, settings: Record<string, unknown>): Promise<void> {
  const answer = await call(`/v1/queues/${queue}`, { method: "PUT", body: JSON.stringify(settings) });
  expect(answer.status).toBe(201);
}

async function evictBoth(queue: string): Promise<void> {
  await evict(queueStub(queue));
  await evict(gatewayStub());
}

/** The time an object's alarm is set to, null when it has none. */
function alarmOf(stub: DurableObjectStub): Promise<number | null> {
  return runInDurableObject(stub, (_, state) => state.storage.getAlarm());
}

describe("deadlines of evicted objects", () => {
  it("[EVC2] [LEA2] a lease", async () => {
    const { queue, to } = newQueue();
    const wire = await connect();
    await wire.ask({ op: "subscribe", sub: 1, to, credit: 1, leaseMs: 1_000 });
    const began = Date.now();
    await wire.ask({ op: "publish", to, body: "x" });
    const [first] = await wire.take(1);
    await evictBoth(queue);
    const [second] = await wire.take(1);
    expect(Date.now() - began).toBeGreaterThanOrEqual(1_000);
    expect(second).toMatchObject({ body: "x", attempt: 2, redelivered: true });
    expect(await wire.ask({ op: "settle", sub: 1, ack: [first!.delivery] })).toMatchObject({
      lost: [first!.delivery],
    });
  });

  it("[EVC2] [DLY1] a delay", async () => {
    const { queue, to } = newQueue();
    const wire = await connect();
    await wire.ask({ op: "subscribe", sub: 1, to });
    const began = Date.now();
    await wire.ask({ op: "publish", to, body: "x", delayMs: 400 });
    await evictBoth(queue);
    expect(await wire.take(1)).toMatchObject([{ body: "x", attempt: 1 }]);
    expect(Date.now() - began).toBeGreaterThanOrEqual(400);
  });

  it("[EVC2] [TTL1] a time to live", async () => {
    const { queue, to } = newQueue();
    const wire = await connect();
    await wire.ask({ op: "publish", to, body: "x", ttlMs: 300 });
    await evictBoth(queue);
    await eventually("the expiry", async () => ((await stats(queue)).expired === 1 ? true : undefined));
  });

  it("[EVC2] [RET1] [GRP4] a back-off, inside a group and outside", async () => {
    const { queue, to } = newQueue();
    await declare(queue, { backoff: { kind: "fixed", baseMs: 400 } });
    const wire = await connect();
    await wire.ask({ op: "subscribe", sub: 1, to });
    await wire.askAll({ op: "publish", to, body: "g", group: "g" }, { op: "publish", to, body: "x" });
    const fail = (await wire.take(2)).map(({ delivery }) => ({ delivery }));
    await wire.ask({ op: "settle", sub: 1, fail });
    await evictBoth(queue);
    const again = await wire.take(2);
    expect(again.map(({ body, attempt }) => [body, attempt]).toSorted()).toEqual([
      ["g", 2],
      ["x", 2],
    ]);
  });

  it("[EVC2] [SES11] a session's expiry", async () => {
    const { queue, to } = newQueue();
    const client = `client-${queue}`;
    const wire = await connect({ client, session: { expirySeconds: 1 } });
    await wire.ask({ op: "subscribe", sub: 1, to });
    await wire.ask({ op: "publish", to, body: "x" });
    await wire.take(1);
    wire.close();
    await eventually("the socket's end", () => wire.closed);
    await evictBoth(queue);
    const other = await connect();
    await other.ask({ op: "subscribe", sub: 1, to });
    expect(await other.take(1)).toMatchObject([{ body: "x", attempt: 2, redelivered: true }]);
    expect(await stats(queue)).toMatchObject({ consumers: 1 });
  });
});

describe("alarms", () => {
  it("[EVC1] one that rings too early changes nothing, and the deadline is still met", async () => {
    const { queue, to } = newQueue();
    const wire = await connect();
    await wire.ask({ op: "subscribe", sub: 1, to, credit: 1, leaseMs: 1_500 });
    await wire.ask({ op: "publish", to, body: "x" });
    await wire.take(1);
    const { rowsWritten: _, oldestReadyMs: __, ...before } = await stats(queue);
    for (let i = 0; i < 3; i++) {
      if (i === 1) await evict(queueStub(queue));
      expect(await runDurableObjectAlarm(queueStub(queue))).toBe(true);
      expect(await stats(queue)).toMatchObject(before);
    }
    expect(wire.frames).toEqual([]);
    expect(await wire.take(1)).toMatchObject([{ attempt: 2 }]);
  });

  it("[EVC1] [LEA2] one that rings again after its time makes nothing happen twice", async () => {
    const { queue, to } = newQueue();
    const wire = await connect();
    await wire.ask({ op: "subscribe", sub: 1, to, credit: 1, leaseMs: 1_000 });
    await wire.ask({ op: "publish", to, body: "x" });
    await wire.take(1);
    await wire.take(1);
    for (let i = 0; i < 3; i++) await runDurableObjectAlarm(queueStub(queue));
    expect(wire.frames).toEqual([]);
    expect(await stats(queue)).toMatchObject({ leased: 1, ready: 0, accepted: 1 });
  });

  it("[QUE6] a queue without deadlines, and a deleted one, has no alarm", async () => {
    const { queue, to } = newQueue();
    const wire = await connect();
    await wire.ask({ op: "publish", to, body: "x" });
    expect(await alarmOf(queueStub(queue))).toBeNull();
    await wire.ask({ op: "publish", to, body: "x", delayMs: 60_000 });
    expect(await alarmOf(queueStub(queue))).not.toBeNull();
    expect((await call(`/v1/queues/${queue}`, { method: "DELETE" })).status).toBe(204);
    expect(await alarmOf(queueStub(queue))).toBeNull();
    await evict(queueStub(queue));
    expect((await call(`/v1/queues/${queue}`)).status).toBe(404);
  });
});
