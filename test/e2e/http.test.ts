// The HTTP calls of queues: payloads, headers, batches, long poll, errors.
import { describe, expect } from "vitest";
import {
  type Answer,
  expectProblem,
  http,
  type Message,
  message,
  pass,
  queuePath,
  type Receipt,
  type World,
  withBroker,
} from "./harness.ts";

const it = withBroker();
const BATCH = "application/vnd.dunlin.batch+json";

function post(world: World, body: unknown, headers: Record<string, string>, queue = "q"): Promise<Answer> {
  return world.call("POST", `${queuePath(queue)}/messages`, body, headers);
}

async function receiveOne(world: World, queue = "q"): Promise<Message> {
  const [got] = await world.receive(queue);
  expect(got, "a message").toBeDefined();
  return got!;
}

describe("publish", () => {
  it("[HTTP1] answers 201 with the receipt", async ({ world }) => {
    const answer = await post(world, '{"a":1}', {
      "content-type": "application/json",
      "idempotency-key": "m",
    });
    expect(answer).toMatchObject({ status: 201 });
    expect(answer.body).toEqual({ messageId: "m", seq: 1, epoch: expect.any(Number), duplicate: false });
    expect(answer.headers.get("content-type")).toContain("application/json");
  });

  it("[HTTP2] application/json reaches consumers as the value, whatever its parameters and case", async ({
    world,
  }) => {
    for (const type of ["application/json", "application/json; charset=utf-8", "Application/JSON"]) {
      await post(world, ' {"a": [1, null, "ü"]} ', { "content-type": type });
      const got = await receiveOne(world);
      expect(got.body).toEqual({ a: [1, null, "ü"] });
      expect(got).not.toHaveProperty("base64");
    }
  });

  it("[HTTP2] another JSON type reaches consumers as the value, with its type", async ({ world }) => {
    await post(world, "[1]", { "content-type": "application/geo+json" });
    expect(await receiveOne(world)).toMatchObject({ body: [1], contentType: "application/geo+json" });
  });

  it("[HTTP2] invalid JSON is refused", async ({ world }) => {
    for (const text of ["{", "", "{'a':1}", "undefined", "[1,]"]) {
      expectProblem(await post(world, text, { "content-type": "application/json" }), 400, 1);
    }
    expect((await world.call("GET", queuePath("q"))).status).toBe(404);
  });

  it("[HTTP3] text reaches consumers as a string with its content type", async ({ world }) => {
    for (const type of ["text/plain", "text/csv", "text/plain; charset=utf-8"]) {
      await post(world, "ü, 1\n2", { "content-type": type });
      expect(await receiveOne(world)).toMatchObject({ body: "ü, 1\n2", contentType: type });
    }
    await post(world, "", { "content-type": "text/plain" });
    expect(await receiveOne(world)).toMatchObject({ body: "" });
  });

  it("[HTTP4] other bodies reach consumers as base64 with their content type", async ({ world }) => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    await post(world, bytes, { "content-type": "image/png" });
    const got = await receiveOne(world);
    expect(got).toMatchObject({ base64: Buffer.from(bytes).toString("base64"), contentType: "image/png" });
    expect(got).not.toHaveProperty("body");
    await post(world, bytes, {});
    expect(await receiveOne(world)).toMatchObject({ contentType: "application/octet-stream" });
    const wire = await world.connect();
    await post(world, new Uint8Array(0), { "content-type": "application/x" });
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    expect(await wire.nextMessage()).toMatchObject({ base64: "", contentType: "application/x" });
  });

  it("[HTTP5] the Dunlin headers and Idempotency-Key are the publish's fields", async ({ world }) => {
    const headers = {
      "content-type": "text/plain",
      "idempotency-key": "key-1",
      "dunlin-group": "g 1",
      "dunlin-priority": "9",
      "dunlin-delay-ms": "0",
      "dunlin-ttl-ms": "60000",
    };
    expect((await post(world, "x", headers)).body).toMatchObject({ messageId: "key-1" });
    expect(await receiveOne(world)).toMatchObject({ messageId: "key-1", group: "g 1", body: "x" });
  });

  it("[HTTP6] Dunlin-Header-NAME becomes the message's header name", async ({ world }) => {
    await post(world, "x", {
      "content-type": "text/plain",
      "Dunlin-Header-Trace-Id": "abc, def",
      "dunlin-header-x": "",
      "x-other": "not carried",
    });
    const { headers } = await receiveOne(world);
    expect(headers).toMatchObject({ "trace-id": "abc, def" });
    expect(Object.keys(headers!).sort()).toEqual(["trace-id", "x"]);
  });

  it("[HTTP9] bodies beyond their limit are 413 and stored nowhere", async ({ world }) => {
    const big = new Uint8Array(1_048_577);
    expectProblem(await post(world, big, { "content-type": "application/octet-stream" }), 413, 3);
    expectProblem(await post(world, "x".repeat(1_048_577), { "content-type": "text/plain" }), 413, 3);
    expectProblem(
      await post(world, JSON.stringify("x".repeat(1_048_576)), { "content-type": "application/json" }),
      413,
      3,
    );
    expectProblem(
      await post(world, `{"messages":[]${" ".repeat(4_194_304)}}`, { "content-type": BATCH }),
      413,
      3,
    );
    expect((await world.call("GET", queuePath("q"))).status).toBe(404);
    const fits = new Uint8Array(1_000_000).fill(7);
    expect((await post(world, fits, { "content-type": "application/octet-stream" })).status).toBe(201);
    expect((await receiveOne(world)).base64?.length).toBe(Math.ceil(1_000_000 / 3) * 4);
  });
});

describe("batches", () => {
  it("[HTTP7] a batch is answered with its receipts in order", async ({ world }) => {
    const messages = [
      { body: { a: 1 }, messageId: "a", headers: { h: "1" }, group: "g" },
      { base64: "AP8=", contentType: "image/x" },
      { body: "later", delayMs: 60_000 },
      { body: null },
      { body: 2, messageId: "a" },
    ];
    const answer = await post(world, JSON.stringify({ messages }), { "content-type": BATCH });
    expect(answer.status).toBe(201);
    const receipts = answer.body as Receipt[];
    expect(receipts.map((receipt) => [receipt.seq, receipt.duplicate])).toEqual([
      [1, false],
      [2, false],
      [3, false],
      [4, false],
      [1, true],
    ]);
    expect(receipts.every((receipt) => receipt.epoch === receipts[0]!.epoch)).toBe(true);
    expect(await world.receive("q", { max: 10 })).toMatchObject([
      { body: { a: 1 }, messageId: "a", headers: { h: "1" }, group: "g" },
      { base64: "AP8=", contentType: "image/x" },
      { body: null },
    ]);
    expect(await world.stats("q")).toMatchObject({ accepted: 4, delayed: 1 });
  });

  it("[HTTP7] [HTTP8] 1,000 messages are taken, 1,001 refused as a whole", async ({ world }) => {
    const batch = (count: number) =>
      JSON.stringify({ messages: Array.from({ length: count }, () => ({ body: 0 })) });
    const answer = await post(world, batch(1_000), { "content-type": BATCH });
    expect((answer.body as Receipt[]).map((receipt) => receipt.seq)).toEqual(
      Array.from({ length: 1_000 }, (_, i) => i + 1),
    );
    expectProblem(await post(world, batch(1_001), { "content-type": BATCH }), 413, 3, "batch-too-large");
    expect(await world.stats("q")).toMatchObject({ accepted: 1_000 });
  });

  it("[HTTP18] [DED5] Idempotency-Key makes a batch repeatable as a whole", async ({ world }) => {
    const text = JSON.stringify({ messages: [{ body: 1 }, { body: 2, messageId: "own" }, { body: 3 }] });
    const headers = { "content-type": BATCH, "idempotency-key": "k" };
    for (const duplicate of [false, true]) {
      expect((await post(world, text, headers)).body).toMatchObject([
        { messageId: "k/0", seq: 1, duplicate },
        { messageId: "own", seq: 2, duplicate },
        { messageId: "k/2", seq: 3, duplicate },
      ]);
    }
  });

  it("[HTTP8] a malformed batch stores nothing", async ({ world }) => {
    for (const text of [
      "{",
      "[]",
      "{}",
      '{"messages":{}}',
      '{"messages":[7]}',
      '{"messages":[{"body":1},{}]}',
    ]) {
      expectProblem(await post(world, text, { "content-type": BATCH }), 400, 1);
    }
    expect((await world.call("GET", queuePath("q"))).status).toBe(404);
  });
});

describe("receive", () => {
  it("[HTTP10] leases up to max messages with all their fields", async ({ world }) => {
    const wire = await world.connect();
    const receipt = await wire.ok({
      op: "publish",
      to: "queue:q",
      body: { a: 1 },
      messageId: "m",
      headers: { h: "1" },
    });
    for (let i = 2; i <= 5; i += 1) await world.publish("q", i);
    const [first] = await world.receive("q");
    expect(first).toEqual({
      seq: 1,
      epoch: receipt.epoch,
      messageId: "m",
      time: expect.any(Number),
      to: "queue:q",
      body: { a: 1 },
      headers: { h: "1" },
      delivery: expect.any(String),
      attempt: 1,
      redelivered: false,
    });
    expect((await world.receive("q", { max: 3 })).map((m) => m.seq)).toEqual([2, 3, 4]);
    expect((await world.receive("q", { max: 1_000 })).map((m) => m.seq)).toEqual([5]);
    const bare = await world.call("POST", `${queuePath("q")}/receive`);
    expect(bare).toMatchObject({ status: 200, body: { messages: [] } });
  });

  it("[HTTP10] takes a thousand at a time", async ({ world }) => {
    const wire = await world.connect();
    for (let part = 0; part < 2; part += 1) {
      await Promise.all(
        wire.requestAll(Array.from({ length: 600 }, () => ({ op: "publish", to: "queue:q", body: 0 }))),
      );
    }
    const got = await world.receive("q", { max: 1_000 });
    expect(got.map((m) => m.seq)).toEqual(Array.from({ length: 1_000 }, (_, i) => i + 1));
    expect(await world.settle("q", { ack: got.map((m) => m.delivery) })).toEqual({
      settled: 1_000,
      lost: [],
    });
  });

  it("[HTTP11] answers at once without waitMs, and waits with it", async ({ world }) => {
    let start = performance.now();
    expect(await world.receive("q")).toEqual([]);
    expect(performance.now() - start).toBeLessThan(2_000);
    start = performance.now();
    expect(await world.receive("q", { waitMs: 1_000 })).toEqual([]);
    expect(performance.now() - start).toBeGreaterThan(950);
    expect(performance.now() - start).toBeLessThan(5_000);
  });

  it("[HTTP11] a waiting receive is answered as soon as a message comes, by whatever way", async ({
    world,
  }) => {
    const wire = await world.connect();
    for (const arrive of [
      () => world.publish("q", 1),
      () => wire.ok({ op: "publish", to: "queue:q", body: 2 }),
      () => wire.ok({ op: "publish", to: "queue:q", body: 3, delayMs: 300 }),
    ]) {
      const start = performance.now();
      const polling = world.receive("q", { waitMs: 30_000, max: 10 });
      await pass(150);
      await arrive();
      expect(await polling).toHaveLength(1);
      expect(performance.now() - start).toBeLessThan(10_000);
    }
  });

  it("[HTTP11] several waiting receives get one message each", async ({ world }) => {
    const polling = [1, 2, 3].map(() => world.receive("q", { waitMs: 30_000 }));
    await pass(200);
    for (let i = 1; i <= 3; i += 1) await world.publish("q", i);
    const got = (await Promise.all(polling)).flat();
    expect(got.map((m) => m.seq).sort()).toEqual([1, 2, 3]);
  });

  it("[HTTP12] a receive given up by its caller keeps no message for longer than a lease", async ({
    world,
  }) => {
    const url = new URL(`${queuePath("q")}/receive`, world.broker.url);
    url.searchParams.set("ns", world.ns);
    const given = new AbortController();
    const abandoned = fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ waitMs: 30_000, leaseMs: 1_000 }),
      signal: given.signal,
    }).catch(() => "given up");
    await pass(300);
    given.abort();
    expect(await abandoned).toBe("given up");
    await world.publish("q", 1);
    expect(await world.receive("q", { waitMs: 20_000 })).toMatchObject([{ body: 1 }]);
  });
});

describe("one queue over both protocols", () => {
  it("[HTTP16] what one publishes the other receives and settles", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:a" });
    await world.publish("a", { via: "http" });
    const pushed = message(await wire.nextMessage());
    expect(pushed.body).toEqual({ via: "http" });
    expect(await wire.ok({ op: "settle", sub: 1, ack: [pushed.delivery] })).toMatchObject({ settled: 1 });
    await wire.ok({ op: "publish", to: "queue:b", body: { via: "ws" } });
    const [pulled] = await world.receive("b");
    expect(pulled!.body).toEqual({ via: "ws" });
    expect(await world.settle("b", { ack: [pulled!.delivery] })).toEqual({ settled: 1, lost: [] });
  });

  it("[HTTP13] settle takes all lists at once", async ({ world }) => {
    for (let i = 0; i < 6; i += 1) await world.publish("q", i);
    const handle = (await world.receive("q", { max: 6 })).map((m) => m.delivery);
    const answer = await world.settle("q", {
      ack: [handle[0]],
      release: [handle[1]],
      fail: [{ delivery: handle[2], delayMs: 60_000, reason: "r" }],
      dead: [{ delivery: handle[3], reason: "r" }],
      extend: [{ delivery: handle[4], leaseMs: 60_000 }],
    });
    expect(answer).toMatchObject({ lost: [] });
    expect(await world.stats("q")).toMatchObject({
      settled: 1,
      ready: 1,
      delayed: 1,
      deadLettered: 1,
      leased: 2,
    });
    expect(await world.settle("q", { ack: ["x"], extend: [{ delivery: "y", leaseMs: 1_000 }] })).toEqual({
      settled: 0,
      lost: ["x", "y"],
    });
    expect(await world.settle("q", {})).toEqual({ settled: 0, lost: [] });
  });
});

describe("errors and paths", () => {
  it("[ERR3] [ERR4] [HTTP15] unknown paths and wrong methods are problems", async ({ world }) => {
    for (const path of ["/v1", "/v1/nothing", "/v2/queues", "/v1/queues/q/fly", "/v1/queues/q/messages/1"]) {
      const answer = await world.call("GET", path);
      expectProblem(answer, 404, 4, "not-found");
      expect(answer.body).toMatchObject({ detail: expect.any(String), title: expect.any(String) });
    }
    for (const [method, path, allowed] of [
      ["PATCH", "/v1/queues/q", "PUT"],
      ["DELETE", "/v1/queues/q/messages", "POST"],
      ["GET", "/v1/queues/q/receive", "POST"],
      ["GET", "/v1/queues/q/settle", "POST"],
      ["POST", "/v1/queues", "GET"],
      ["GET", "/v1/queues/q/purge", "POST"],
      ["POST", "/v1/queues/q/pause", "PUT"],
    ] as const) {
      const answer = await world.call(method, path);
      expect(answer, `${method} ${path}`).toMatchObject({ status: 405 });
      expect(answer.headers.get("allow"), `${method} ${path}`).toContain(allowed);
      expect(answer.headers.get("content-type")).toContain("application/problem+json");
    }
  });

  it("[HTTP15] a malformed percent-encoding in a name is 400", async ({ world }) => {
    const answer = await http("GET", new URL(`/v1/queues/%E0%A4%A?ns=${world.ns}`, world.broker.url));
    expectProblem(answer, 400, 1);
  });

  for (const [path, name] of [
    ["/client.js", "connect"],
    ["/tabs.js", "sharedSocket"],
  ] as const) {
    it(`[HTTP20] ${path} has ${name}, for pages of every origin`, async ({ world }) => {
      const answer = await http("GET", new URL(path, world.broker.url), undefined, {
        origin: "https://a.example",
      });
      expect(answer.status).toBe(200);
      expect(answer.headers.get("content-type")).toMatch(/javascript/);
      expect(answer.headers.get("access-control-allow-origin")).toBe("*");
      expect(answer.body).toMatch(new RegExp(`export\\s*\\{[^}]*\\b${name}\\b`));
    });
  }

  it("[CLI14] /durable.js stands beside it, for pages of every origin", async ({ world }) => {
    const url = new URL("/durable.js", world.broker.url);
    const answer = await http("GET", url, undefined, { origin: "https://a.example" });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toMatch(/javascript/);
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    expect(answer.body).toMatch(/export\s*\{[^}]*\bopenOutbox\b/);
  });

  it("[HTTP17] /healthz is 200", async ({ world }) => {
    expect((await world.call("GET", "/healthz")).status).toBe(200);
  });
});
