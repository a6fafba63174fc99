// Queues as things: declaring, describing, listing and deleting them.
import { describe, expect } from "vitest";
import { expectError, expectProblem, message, queuePath, type World, withBroker } from "./harness.ts";

const it = withBroker();

interface Listed {
  queues: { name: string; createdAt: number }[];
  next?: string;
}

async function list(world: World, query = ""): Promise<Listed> {
  const answer = await world.call("GET", `/v1/queues${query}`);
  expect(answer).toMatchObject({ status: 200 });
  return answer.body as Listed;
}

describe("declare, describe, delete", () => {
  it("[QUE1] [QUE2] PUT declares: 201, then 200, with name, settings and stats", async ({ world }) => {
    const settings = {
      leaseMs: 5_000,
      maxFailures: 3,
      backoff: { kind: "exponential", baseMs: 100, maxMs: 10_000, jitter: 0.2 },
      deadLetterTo: "graves",
      ttlMs: 60_000,
      maxMessages: 10,
      maxBytes: 10_000,
      overflow: "drop-oldest",
      dedupWindowMs: 1_000,
    };
    const first = await world.call("PUT", queuePath("q"), settings);
    expect(first).toMatchObject({
      status: 201,
      body: { name: "q", settings, stats: { ready: 0, accepted: 0 } },
    });
    const second = await world.call("PUT", queuePath("q"), { maxFailures: 4 });
    expect(second).toMatchObject({
      status: 200,
      body: { name: "q", settings: { ...settings, maxFailures: 4 } },
    });
    const read = await world.call("GET", queuePath("q"));
    expect(read).toMatchObject({
      status: 200,
      body: { name: "q", settings: { ...settings, maxFailures: 4 } },
    });
  });

  it("[QUE1] [QUE2] the defaults are those of the contract; an empty PUT takes them", async ({ world }) => {
    expect(await world.call("PUT", queuePath("q"), {})).toMatchObject({ status: 201 });
    expect(await world.call("GET", queuePath("q"))).toMatchObject({
      body: {
        settings: {
          leaseMs: 30_000,
          maxFailures: 20,
          backoff: { kind: "fixed", baseMs: 0, jitter: 0 },
          deadLetterTo: "q.dead",
          ttlMs: null,
          maxMessages: null,
          maxBytes: null,
          overflow: "reject",
          dedupWindowMs: 300_000,
          paused: false,
        },
      },
    });
    expect(await world.call("PUT", queuePath("bare"))).toMatchObject({ status: 201 });
  });

  it("[QUE1] a queue that came into being by use is declared with 200", async ({ world }) => {
    await world.publish("q", 1);
    expect(await world.call("PUT", queuePath("q"), { maxFailures: 2 })).toMatchObject({
      status: 200,
      body: { settings: { maxFailures: 2 }, stats: { ready: 1 } },
    });
  });

  it("[QUE1] null takes a limit, a ttl and a dead-letter queue away", async ({ world }) => {
    await world.declare("q", { ttlMs: 60_000, maxMessages: 1, maxBytes: 1_000, deadLetterTo: "x" });
    await world.declare("q", { ttlMs: null, maxMessages: null, maxBytes: null, deadLetterTo: null });
    expect(await world.call("GET", queuePath("q"))).toMatchObject({
      body: { settings: { ttlMs: null, maxMessages: null, maxBytes: null, deadLetterTo: null } },
    });
    for (let i = 0; i < 3; i += 1) await world.publish("q", i);
  });

  it("[QUE3] a request with one wrong setting changes none", async ({ world }) => {
    await world.declare("q", { maxFailures: 3 });
    const answer = await world.call("PUT", queuePath("q"), { maxFailures: 5, leaseMs: 1 });
    expectProblem(answer, 400, 1);
    expect(await world.call("GET", queuePath("q"))).toMatchObject({ body: { settings: { maxFailures: 3 } } });
    expectProblem(await world.call("PUT", queuePath("new"), { overflow: "explode" }), 400, 1);
    expect((await world.call("GET", queuePath("new"))).status).toBe(404);
  });

  it("[QUE4] a changed setting holds for what is there already", async ({ world }) => {
    await world.publish("q", 1);
    await world.declare("q", { maxFailures: 1 });
    const [got] = await world.receive("q");
    await world.settle("q", { fail: [{ delivery: got!.delivery }] });
    expect(await world.stats("q")).toMatchObject({ deadLettered: 1 });
  });

  it("[QUE5] an unknown queue is 404 not-found for every call that does not create, and stays unknown", async ({
    world,
  }) => {
    for (const [method, path] of [
      ["GET", ""],
      ["DELETE", ""],
      ["GET", "/messages"],
      ["POST", "/purge"],
      ["PUT", "/pause"],
      ["PUT", "/resume"],
    ] as const) {
      expectProblem(await world.call(method, `${queuePath("nope")}${path}`), 404, 4, "not-found");
    }
    expect(await list(world)).toEqual({ queues: [] });
  });

  it("[QUE6] [QUE8] DELETE removes everything; a new queue of the name is empty, with another epoch", async ({
    world,
  }) => {
    await world.declare("q", { maxFailures: 3 });
    const before = await world.publish("q", 1, { "idempotency-key": "m" });
    await world.publish("q", 2, { "dunlin-delay-ms": "60000" });
    expect(await world.call("DELETE", queuePath("q"))).toMatchObject({ status: 204, body: undefined });
    expectProblem(await world.call("GET", queuePath("q")), 404, 4, "not-found");
    expectProblem(await world.call("DELETE", queuePath("q")), 404, 4, "not-found");
    expect(await list(world)).toEqual({ queues: [] });
    const after = await world.publish("q", 3, { "idempotency-key": "m" });
    expect(after).toMatchObject({ seq: 1, duplicate: false });
    expect(after.epoch).not.toBe(before.epoch);
    expect(await world.call("GET", queuePath("q"))).toMatchObject({
      body: { settings: { maxFailures: 20 }, stats: { ready: 1, accepted: 1, delayed: 0 } },
    });
  });

  it("[QUE7] consumers of a deleted queue get event gone, and its handles are lost", async ({ world }) => {
    await world.publish("q", 1);
    await world.publish("q", 2);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 4, to: "queue:q", credit: 1 });
    const pushed = message(await wire.nextMessage());
    const [pulled] = await world.receive("q");
    expect((await world.call("DELETE", queuePath("q"))).status).toBe(204);
    expect(await wire.next((frame) => frame.op === "event")).toMatchObject({ kind: "gone", sub: 4 });
    await world.publish("q", "new");
    await world.publish("q", "newer");
    const held = await world.receive("q", { max: 2 });
    expect(held.map((m) => m.body)).toEqual(["new", "newer"]);
    for (const stale of [pulled!, pushed]) {
      expect(await world.settle("q", { ack: [stale.delivery] })).toEqual({
        settled: 0,
        lost: [stale.delivery],
      });
    }
    expect(await world.stats("q")).toMatchObject({ leased: 2, settled: 0 });
    await wire.ok({ op: "publish", to: "queue:alive", body: 1 });
    await wire.ok({ op: "subscribe", sub: 4, to: "queue:alive" });
  });

  it("[ADR9] names with any character work in paths", async ({ world }) => {
    const names = ["a/b", "a b", "100%", "a?b=c", "日本", "a:b", "'quote\"", "a&b;c", "~!@$^*()"];
    for (const name of names) {
      await world.publish(name, name);
      const answer = await world.call("GET", queuePath(name));
      expect(answer).toMatchObject({ status: 200, body: { name, stats: { ready: 1 } } });
      const [got] = await world.receive(name);
      expect(got).toMatchObject({ body: name, to: `queue:${name}` });
      expect(await world.settle(name, { ack: [got!.delivery] })).toEqual({ settled: 1, lost: [] });
    }
    expect((await list(world)).queues.map((queue) => queue.name).sort()).toEqual([...names].sort());
  });
});

describe("declare-first", () => {
  it("[ADR10] only declared queues are used, until the namespace is set back", async ({ world }) => {
    const wire = await world.connect();
    await world.publish("known", 1);
    expect(await world.call("PUT", "/v1/namespace", { declareFirst: true })).toMatchObject({ status: 200 });
    expectError(await wire.error({ op: "publish", to: "queue:new", body: 1 }), 4, "not-declared");
    expectError(await wire.error({ op: "subscribe", sub: 1, to: "queue:new" }), 4, "not-declared");
    for (const path of ["messages", "receive"]) {
      expectProblem(await world.call("POST", `${queuePath("new")}/${path}`, {}), 404, 4, "not-declared");
    }
    expect((await list(world)).queues.map((queue) => queue.name)).toEqual(["known"]);
    await world.declare("new");
    await wire.ok({ op: "publish", to: "queue:new", body: 1 });
    await wire.ok({ op: "publish", to: "queue:known", body: 1 });
    await world.call("PUT", "/v1/namespace", { declareFirst: false });
    await wire.ok({ op: "publish", to: "queue:newer", body: 1 });
  });

  it("[ADR10] [HTTP14] a wrong setting of the namespace is refused", async ({ world }) => {
    for (const body of [{}, { declareFirst: 1 }, { declareFirst: "true" }, { declareFirst: null }]) {
      expectProblem(await world.call("PUT", "/v1/namespace", body), 400, 1);
    }
  });
});

describe("lists", () => {
  it("[QUE9] pages through all queues once, by name", async ({ world }) => {
    const names = Array.from({ length: 25 }, (_, i) => `q${String(i).padStart(3, "0")}`);
    const before = Date.now();
    await Promise.all(names.map((name) => world.declare(name)));
    const seen: string[] = [];
    let pages = 0;
    for (let after: string | undefined = ""; after !== undefined; ) {
      const query: string = after === "" ? "?limit=10" : `?limit=10&after=${encodeURIComponent(after)}`;
      const page: Listed = await list(world, query);
      seen.push(...page.queues.map((queue) => queue.name));
      for (const { createdAt } of page.queues) expect(createdAt).toBeGreaterThanOrEqual(before - 5);
      after = page.next;
      pages += 1;
    }
    expect(seen).toEqual(names);
    expect(pages).toBe(3);
    expect(await list(world, "?limit=1000")).not.toHaveProperty("next");
    expect((await list(world, "?limit=25")).queues).toHaveLength(25);
    expect((await list(world, "?after=q023")).queues.map((queue) => queue.name)).toEqual(["q024"]);
    expect((await list(world, "?after=zzz")).queues).toEqual([]);
  });
});
