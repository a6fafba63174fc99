// Restarts: what a SIGKILL may not change, and a clean end. Each test kills the broker that the file shares, so they run in turn.
import { connect as connectTcp } from "node:net";
import { describe, expect } from "vitest";
import { startBroker } from "../support/broker.ts";
import {
  eventually,
  expectBalance,
  message,
  noMessage,
  queuePath,
  take,
  type World,
  withBroker,
} from "./harness.ts";

const it = withBroker();

/** The figures of a queue without those that a restart may change. */
async function lasting(world: World, queue: string) {
  const { oldestReadyMs: _, consumers: __, rowsWritten: ___, ...stats } = await world.stats(queue);
  return stats;
}

describe("SIGKILL", () => {
  it("[DUR1] [DUR3] every confirmed publish of a killed socket is there once, in order", async ({
    world,
  }) => {
    const wire = await world.connect();
    const confirmed: number[] = [];
    let sent = 0;
    const publishing = (async () => {
      while (confirmed.length < 20_000) {
        const from = sent;
        sent += 50;
        const replies = wire.requestAll(
          Array.from({ length: 50 }, (_, i) => ({
            op: "publish",
            to: "queue:q",
            body: from + i,
            messageId: `m${from + i}`,
          })),
        );
        const outcomes = await Promise.allSettled(replies);
        for (const [i, outcome] of outcomes.entries()) {
          if (outcome.status === "fulfilled" && outcome.value.op === "ok") confirmed.push(from + i);
        }
        if (outcomes.some((outcome) => outcome.status === "rejected")) return;
      }
    })();
    await expect.poll(() => confirmed.length, { timeout: 30_000 }).toBeGreaterThan(500);
    await world.broker.kill();
    await publishing;
    await world.broker.restart();
    const seen: number[] = [];
    const reader = await world.connect();
    await reader.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 1_000 });
    const { ready, leased } = await world.stats("q");
    while (seen.length < ready + leased) {
      const got = message(await reader.nextMessage());
      seen.push(got.body as number);
      reader.send({ op: "settle", sub: 1, ack: [got.delivery] });
    }
    expect(seen).toEqual(Array.from({ length: seen.length }, (_, i) => i));
    expect(seen.length).toBeGreaterThan(confirmed.at(-1)!);
    expect(seen.length).toBeLessThanOrEqual(sent);
  });

  it("[DUR1] [DUR4] a confirmed ack holds: nothing acked comes again, nothing else is lost", async ({
    world,
  }) => {
    for (let i = 0; i < 20; i += 1) await world.publish("q", i);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const got = await take(wire, 20);
    const acked = got.filter((_, i) => i % 2 === 0);
    await wire.ok({ op: "settle", sub: 1, ack: acked.map((m) => m.delivery) });
    await world.broker.kill();
    await world.broker.restart();
    const left: unknown[] = [];
    await eventually(async () => {
      left.push(...(await world.receive("q", { max: 100 })).map((m) => m.body));
      expect(left.length).toBe(10);
    });
    expect(left).toEqual([1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    expect(await world.settle("q", { ack: acked.map((m) => m.delivery) }), "a repeated settle").toEqual({
      settled: 10,
      lost: [],
    });
  });

  it("[DUR2] [DUR5] [DLY5] [SET8] every state survives, handles too", async ({ world }) => {
    await world.declare("q", { maxFailures: 5 });
    const wire = await world.connect();
    const frames = [
      { body: "acked", messageId: "a" },
      { body: "leased" },
      { body: "failed", headers: { h: "1" } },
      { body: "released" },
      { body: "dead" },
      { body: "g1", group: "g" },
      { body: "g2", group: "g" },
      { body: "waiting" },
      { body: "delayed", delayMs: 60_000 },
    ];
    await Promise.all(wire.requestAll(frames.map((fields) => ({ op: "publish", to: "queue:q", ...fields }))));
    const [acked, leased, failed, released, dead, g1] = await world.receive("q", { max: 6, leaseMs: 60_000 });
    await world.settle("q", {
      ack: [acked!.delivery],
      fail: [{ delivery: failed!.delivery, delayMs: 60_000 }],
      release: [released!.delivery],
      dead: [{ delivery: dead!.delivery, reason: "r" }],
    });
    await eventually(async () => {
      expect(await world.stats("q.dead")).toMatchObject({ ready: 1 });
    });
    const before = await lasting(world, "q");
    expect(before).toMatchObject({
      accepted: 9,
      settled: 1,
      leased: 2,
      delayed: 2,
      ready: 3,
      deadLettered: 1,
    });
    await world.broker.kill();
    await world.broker.restart();
    expect(await lasting(world, "q")).toEqual(before);
    expect(await lasting(world, "q.dead")).toMatchObject({ accepted: 1, ready: 1 });
    expect((await world.peek("q.dead"))[0]).toMatchObject({
      body: "dead",
      deaths: [{ reason: "rejected", detail: "r" }],
    });
    expect((await world.peek("q", "delayed")).map((m) => m.body).sort()).toEqual(["delayed", "failed"]);
    const got = await world.receive("q", { max: 10 });
    expect(got.map((m) => [m.body, m.attempt, m.redelivered])).toEqual([
      ["released", 2, true],
      ["waiting", 1, false],
    ]);
    const answer = await world.settle("q", { ack: [leased!.delivery, g1!.delivery, acked!.delivery] });
    expect(answer).toEqual({ settled: 3, lost: [] });
    expect(await world.receive("q")).toMatchObject([{ body: "g2" }]);
    expect(await world.publish("q", "again", { "idempotency-key": "a" })).toMatchObject({
      seq: 1,
      duplicate: true,
    });
    await expectBalance(world);
  });

  it("[SET8] [SET6] outcomes are remembered over 20,000 further leases and a restart", async ({ world }) => {
    const wire = await world.connect();
    const thousand = Array.from({ length: 1_000 }, () => ({ op: "publish", to: "queue:q", body: "x" }));
    let first: string[] = [];
    for (let round = 0; round < 20; round += 1) {
      await Promise.all(wire.requestAll(thousand));
      const handles = (await world.receive("q", { max: 1_000 })).map((m) => m.delivery);
      expect(await world.settle("q", { ack: handles })).toEqual({ settled: 1_000, lost: [] });
      if (round === 0) first = handles;
    }
    await world.broker.kill();
    await world.broker.restart();
    expect(await world.settle("q", { ack: first })).toEqual({ settled: 1_000, lost: [] });
    expect(await world.stats("q")).toMatchObject({ settled: 20_000, accepted: 20_000 });
  });

  it("[DED3] [PUB2] [PUB3] dedup window, seq and epoch go on", async ({ world }) => {
    const first = await world.publish("q", 1, { "idempotency-key": "m" });
    for (let round = 0; round < 2; round += 1) {
      await world.broker.kill();
      await world.broker.restart();
      expect(await world.publish("q", 1, { "idempotency-key": "m" })).toEqual({ ...first, duplicate: true });
    }
    expect(await world.publish("q", 2)).toMatchObject({ seq: 2, epoch: first.epoch });
  });

  it("[QUE4] [OPS6] [QUE9] settings, pause and the list of queues survive", async ({ world }) => {
    await world.declare("a", {
      maxFailures: 7,
      backoff: { kind: "linear", baseMs: 5 },
      overflow: "drop-oldest",
    });
    await world.publish("b", 1);
    await world.call("PUT", `${queuePath("b")}/pause`);
    await world.declare("gone");
    await world.call("DELETE", queuePath("gone"));
    const listed = (await world.call("GET", "/v1/queues")).body;
    await world.broker.kill();
    await world.broker.restart();
    expect((await world.call("GET", "/v1/queues")).body).toEqual(listed);
    expect(await world.call("GET", queuePath("a"))).toMatchObject({
      body: { settings: { maxFailures: 7, backoff: { kind: "linear", baseMs: 5 }, overflow: "drop-oldest" } },
    });
    expect(await world.call("GET", queuePath("b"))).toMatchObject({ body: { settings: { paused: true } } });
    expect(await world.receive("b", { waitMs: 300 })).toEqual([]);
    await world.call("PUT", `${queuePath("b")}/resume`);
    expect(await world.receive("b")).toMatchObject([{ body: 1 }]);
  });

  it("[LEA2] [DLY1] [EVC2] deadlines are met by a broker that was down when they were set or passed", async ({
    world,
  }) => {
    await world.publish("lease", 1);
    await world.receive("lease", { leaseMs: 3_000 });
    await world.publish("delay", 1, { "dunlin-delay-ms": "3000" });
    await world.publish("ttl", 1, { "dunlin-ttl-ms": "3000" });
    await world.broker.kill();
    await world.broker.restart();
    const [lease, delay] = await Promise.all([
      world.receive("lease", { waitMs: 30_000 }),
      world.receive("delay", { waitMs: 30_000 }),
    ]);
    expect(lease).toMatchObject([{ attempt: 2 }]);
    expect(delay).toMatchObject([{ attempt: 1 }]);
    await eventually(async () => expect(await world.stats("ttl")).toMatchObject({ ready: 0, expired: 1 }));
  });

  it("[SES17] [SES9] a session with an expiry is resumed after a restart", async ({ world }) => {
    const hello = { client: "c", session: { expirySeconds: 120 } };
    await world.publish("q", 1);
    const first = await world.connect(hello);
    await first.ok({ op: "subscribe", sub: 3, to: "queue:q", credit: 2, leaseMs: 120_000 });
    const [held] = await take(first, 1);
    await world.broker.kill();
    await world.broker.restart();
    const second = await world.connect(hello);
    expect(second.welcome).toMatchObject({ resumed: true, session: first.welcome!.session });
    expect((await take(second, 1))[0]).toMatchObject({
      sub: 3,
      delivery: held!.delivery,
      attempt: 1,
      redelivered: true,
    });
    await world.publish("q", 2);
    expect((await take(second, 1))[0]).toMatchObject({ sub: 3, body: 2 });
    await world.publish("q", 3);
    await noMessage(second);
    expect(await second.ok({ op: "settle", sub: 3, ack: [held!.delivery] })).toMatchObject({
      settled: 1,
      lost: [],
    });
    expect((await take(second, 1))[0]).toMatchObject({ body: 3 });
  });

  it("[SES7] [DUR2] a session without an expiry is gone after a restart, and its messages are ready", async ({
    world,
  }) => {
    await world.publish("q", 1);
    const first = await world.connect({ client: "c" });
    await first.ok({ op: "subscribe", sub: 1, to: "queue:q", leaseMs: 600_000 });
    await take(first, 1);
    await world.broker.kill();
    await world.broker.restart();
    expect(await world.receive("q", { waitMs: 30_000 })).toMatchObject([{ attempt: 2, redelivered: true }]);
    expect(await world.stats("q")).toMatchObject({ consumers: 0 });
  });

  it("[DLQ8] dead letters in flight between two queues arrive once", async ({ world }) => {
    const count = 300;
    await world.declare("q", { maxFailures: 1 });
    const wire = await world.connect();
    await Promise.all(
      wire.requestAll(Array.from({ length: count }, (_, i) => ({ op: "publish", to: "queue:q", body: i }))),
    );
    const got = await world.receive("q", { max: count });
    const half = got.slice(0, count / 2);
    await world.settle("q", { dead: half.map((m) => ({ delivery: m.delivery })) });
    const rest = world
      .settle("q", { dead: got.slice(count / 2).map((m) => ({ delivery: m.delivery })) })
      .catch(() => {});
    await world.broker.kill();
    await rest;
    await world.broker.restart();
    const { deadLettered } = await world.stats("q");
    expect(deadLettered).toBeGreaterThanOrEqual(count / 2);
    await eventually(async () =>
      expect(await world.stats("q.dead")).toMatchObject({ accepted: deadLettered }),
    );
    const bodies = (await world.peek("q.dead", "ready", 1_000)).map((m) => m.body as number);
    expect(new Set(bodies).size).toBe(deadLettered);
    for (const { body } of half) expect(bodies).toContain(body);
  });
});

describe("a clean end", () => {
  it("[RUN1] [RUN2] [RUN3] SIGTERM ends with code 0, frees the port, and keeps the data", async ({
    world,
  }) => {
    const broker = world.broker;
    await world.publish("q", 1);
    const ended = broker.ended;
    process.kill(broker.pid, "SIGTERM");
    expect(await ended).toEqual({ code: 0, signal: null });
    await expect(
      new Promise((resolve, reject) => {
        connectTcp(broker.port, "127.0.0.1").once("connect", resolve).once("error", reject);
      }),
    ).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await broker.restart();
    expect(broker.output()).toMatch(/ready.*http:\/\/127\.0\.0\.1:\d+/);
    expect(await world.receive("q")).toMatchObject([{ body: 1 }]);
  });

  it("[RUN4] nothing outlives a SIGKILL of the started process alone", async () => {
    const broker = await startBroker();
    const ended = broker.ended;
    process.kill(broker.pid, "SIGKILL");
    expect(await ended).toMatchObject({ signal: "SIGKILL" });
    await expect(fetch(`${broker.url}/healthz`)).rejects.toThrow();
    await broker.stop();
  });
});
