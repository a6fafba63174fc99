// Publishing over both protocols: receipts, what reaches the consumer, and dedup by message id.
import { describe, expect } from "vitest";
import { eventually, expectAlive, pass, queuePath, type Receipt, take, withBroker } from "./harness.ts";

const it = withBroker();

const BODIES: unknown[] = [
  null,
  false,
  true,
  0,
  -0.5,
  1e21,
  "",
  "text",
  'line\nbreak \u2028 \u0000 \u001f "quoted" \\',
  "日本語 😀 é",
  [],
  {},
  [[[[[[1]]]]]],
  { "": 1, "a b": [null, { c: "d" }], op: "publish", id: 7, __proto__x: 1 },
  JSON.parse('{"__proto__": {"polluted": true}}'),
  Array.from({ length: 1_000 }, (_, i) => ({ i })),
];

describe("receipts", () => {
  it("[PUB1] [PUB2] [PUB3] [PUB4] seq begins at 1 and is contiguous over both protocols", async ({
    world,
  }) => {
    const wire = await world.connect();
    const receipts: Receipt[] = [];
    for (let i = 0; i < 5; i += 1) {
      receipts.push((await wire.ok({ op: "publish", to: "queue:q", body: i })) as unknown as Receipt);
      receipts.push(await world.publish("q", i));
    }
    expect(receipts.map((receipt) => receipt.seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(new Set(receipts.map((receipt) => receipt.epoch)).size).toBe(1);
    expect(Number.isInteger(receipts[0]!.epoch)).toBe(true);
    expect(receipts.every((receipt) => receipt.duplicate === false)).toBe(true);
    expect(new Set(receipts.map((receipt) => receipt.messageId)).size).toBe(10);
    expect(receipts.every((receipt) => receipt.messageId.length > 0)).toBe(true);
  });

  it("[PUB2] a refused publish takes no seq", async ({ world }) => {
    const wire = await world.connect();
    await world.declare("q", { maxMessages: 1 });
    await wire.ok({ op: "publish", to: "queue:q", body: 1 });
    await wire.error({ op: "publish", to: "queue:q", body: 2 });
    await wire.error({ op: "publish", to: "queue:q" });
    await wire.ok({ op: "publish", to: "queue:q", body: 1, delayMs: 60_000 });
    await world.call("POST", `${queuePath("q")}/purge`);
    expect(await wire.ok({ op: "publish", to: "queue:q", body: 3 })).toMatchObject({ seq: 3 });
  });

  it("[PUB13] publishes of one frame and frames of one socket are accepted in their order", async ({
    world,
  }) => {
    const wire = await world.connect();
    const replies = [
      ...wire.requestAll(Array.from({ length: 100 }, (_, i) => ({ op: "publish", to: "queue:q", body: i }))),
      ...Array.from({ length: 100 }, (_, i) => wire.ok({ op: "publish", to: "queue:q", body: 100 + i })),
    ];
    const seqs = (await Promise.all(replies)).map((reply) => reply.seq);
    expect(seqs).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    expect((await world.peek("q", "ready", 200)).map((m) => m.body)).toEqual(seqs.map((seq) => seq! - 1));
  });
});

describe("content", () => {
  it("[PUB5] every JSON value reaches consumers of both protocols equal", async ({ world }) => {
    const wire = await world.connect();
    await Promise.all(wire.requestAll(BODIES.map((body) => ({ op: "publish", to: "queue:a", body }))));
    await Promise.all(wire.requestAll(BODIES.map((body) => ({ op: "publish", to: "queue:b", body }))));
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:a" });
    const pushed = await take(wire, BODIES.length);
    const pulled = await world.receive("b", { max: 100 });
    for (const got of [pushed, pulled]) {
      expect(JSON.stringify(got.map((m) => m.body))).toBe(JSON.stringify(BODIES));
      expect(got.every((m) => "body" in m && !("base64" in m))).toBe(true);
    }
  });

  it("[PUB6] base64 bytes and their content type arrive identical", async ({ world }) => {
    const wire = await world.connect();
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    for (const length of [0, 1, 2, 3, 256]) {
      const base64 = bytes.subarray(0, length).toString("base64");
      await wire.ok({ op: "publish", to: "queue:q", base64, contentType: "image/png" });
      expect(await world.receive("q")).toMatchObject([{ base64, contentType: "image/png" }]);
    }
    await wire.ok({ op: "publish", to: "queue:q", base64: "/+8=" });
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const [last] = await take(wire, 1);
    expect(last).toMatchObject({ base64: "/+8=", contentType: "application/octet-stream" });
    expect(last).not.toHaveProperty("body");
  });

  it("[PUB8] [PUB10] headers, group, replyTo and correlationId arrive unchanged", async ({ world }) => {
    const wire = await world.connect();
    const fields = {
      headers: { plain: "a", "X-Upper": "B", ключ: "значение 😀", empty: "", constructor: "c" },
      group: "käse",
      replyTo: "queue:answers",
      correlationId: "c-1",
    };
    await wire.ok({ op: "publish", to: "queue:q", body: 1, ...fields });
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 1 });
    expect((await take(wire, 1))[0]).toMatchObject(fields);
    await wire.ok({ op: "unsubscribe", sub: 1 });
    expect((await world.receive("q"))[0]).toMatchObject(fields);
  });

  it("[LIM7] headers beyond 65,536 bytes are refused", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "publish", to: "queue:q", body: 1, headers: { h: "x".repeat(65_000) } });
    const frame = {
      op: "publish",
      to: "queue:q",
      body: 2,
      headers: { a: "x".repeat(40_000), b: "x".repeat(30_000) },
    };
    expect(await wire.error(frame)).toMatchObject({ op: "error" });
    expect((await world.peek("q")).map((m) => m.headers!.h!.length)).toEqual([65_000]);
  });

  it("[PUB11] time is when the broker accepted it", async ({ world }) => {
    const before = Date.now();
    await world.publish("q", 1);
    const after = Date.now();
    const [got] = await world.receive("q");
    expect(got!.time).toBeGreaterThanOrEqual(before - 5);
    expect(got!.time).toBeLessThanOrEqual(after + 5);
  });

  it("[PUB12] every priority from 0 to 9 is accepted", async ({ world }) => {
    const wire = await world.connect();
    for (let priority = 0; priority <= 9; priority += 1) {
      await wire.ok({ op: "publish", to: "queue:q", body: priority, priority });
    }
    expect(await world.stats("q")).toMatchObject({ ready: 10 });
  });
});

describe("what is not served", () => {
  it("[PUB14] [SUB11] retain changes nothing", async ({ world }) => {
    const wire = await world.connect();
    for (const body of [0, 9, 5]) await wire.ok({ op: "publish", to: "queue:q", body, retain: true });
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    expect((await take(wire, 3)).map((m) => m.body)).toEqual([0, 9, 5]);
  });
});

describe("dedup", () => {
  it("[DED1] [DED2] the same message id over either protocol is stored once", async ({ world }) => {
    const wire = await world.connect();
    const first = await wire.ok({ op: "publish", to: "queue:q", body: "first", messageId: "m" });
    expect(first).toMatchObject({ messageId: "m", seq: 1, duplicate: false });
    const again = { messageId: "m", seq: 1, epoch: first.epoch, duplicate: true };
    expect(await wire.ok({ op: "publish", to: "queue:q", body: "other", messageId: "m" })).toMatchObject(
      again,
    );
    expect(await world.publish("q", "third", { "idempotency-key": "m" })).toEqual(again);
    await world.publish("q", "h", { "idempotency-key": "h" });
    expect(await wire.ok({ op: "publish", to: "queue:q", body: "x", messageId: "h" })).toMatchObject({
      seq: 2,
      duplicate: true,
    });
    expect((await world.peek("q")).map((m) => m.body)).toEqual(["first", "h"]);
  });

  it("[DED5] equal ids in one frame or batch are one message", async ({ world }) => {
    const wire = await world.connect();
    const ids = ["a", "b", "a", "a", "c", "b"];
    const replies = await Promise.all(
      wire.requestAll(ids.map((messageId) => ({ op: "publish", to: "queue:q", body: 1, messageId }))),
    );
    const expected = [
      [1, false],
      [2, false],
      [1, true],
      [1, true],
      [3, false],
      [2, true],
    ];
    expect(replies.map((reply) => [reply.seq, reply.duplicate])).toEqual(expected);
    const batch = await world.call(
      "POST",
      `${queuePath("b")}/messages`,
      JSON.stringify({ messages: ids.map((messageId) => ({ body: 1, messageId })) }),
      { "content-type": "application/vnd.dunlin.batch+json" },
    );
    expect((batch.body as Receipt[]).map((receipt) => [receipt.seq, receipt.duplicate])).toEqual(expected);
  });

  it("[DED1] many publishers racing with one id store it once", async ({ world }) => {
    const wires = await Promise.all([1, 2, 3, 4].map(() => world.connect()));
    const frames = Array.from({ length: 25 }, (_, i) => ({
      op: "publish",
      to: "queue:q",
      body: i,
      messageId: `m${i}`,
    }));
    const replies = await Promise.all([
      ...wires.flatMap((wire) => wire.requestAll(frames)),
      ...frames.map((frame) => world.publish("q", frame.body, { "idempotency-key": frame.messageId })),
    ]);
    expect(await world.stats("q")).toMatchObject({ accepted: 25, ready: 25 });
    expect(replies.filter((reply) => reply.duplicate === false)).toHaveLength(25);
    const seqOf = new Map<string, Set<number>>();
    for (const { messageId, seq } of replies as unknown as Receipt[]) {
      seqOf.set(messageId, (seqOf.get(messageId) ?? new Set()).add(seq));
    }
    expect([...seqOf.values()].every((seqs) => seqs.size === 1)).toBe(true);
  });

  it("[DED6] an id stays in the window when its message was settled or purged", async ({ world }) => {
    await world.publish("q", 1, { "idempotency-key": "settled" });
    const [got] = await world.receive("q");
    await world.settle("q", { ack: [got!.delivery] });
    await world.publish("q", 1, { "idempotency-key": "purged" });
    await world.call("POST", `${queuePath("q")}/purge`);
    expect(await world.publish("q", 2, { "idempotency-key": "settled" })).toMatchObject({
      seq: 1,
      duplicate: true,
    });
    expect(await world.publish("q", 2, { "idempotency-key": "purged" })).toMatchObject({
      seq: 2,
      duplicate: true,
    });
    expect(await world.stats("q")).toMatchObject({ ready: 0, accepted: 2 });
  });

  it("[DED4] after the queue's window the same id is a new message", async ({ world }) => {
    await world.declare("q", { dedupWindowMs: 1_000 });
    expect(await world.publish("q", 1, { "idempotency-key": "m" })).toMatchObject({
      seq: 1,
      duplicate: false,
    });
    expect(await world.publish("q", 1, { "idempotency-key": "m" })).toMatchObject({
      seq: 1,
      duplicate: true,
    });
    // A window may be kept in steps, and then ends somewhat later than its length.
    await eventually(async () => {
      expect(await world.publish("q", 1, { "idempotency-key": "m" })).toMatchObject({
        seq: 2,
        duplicate: false,
      });
    }, 15_000);
  });

  it("[DED7] a refused publish does not enter the window", async ({ world }) => {
    await world.declare("q", { maxMessages: 1 });
    const wire = await world.connect();
    await world.publish("q", 1);
    await wire.error({ op: "publish", to: "queue:q", body: "m", messageId: "m" });
    const [got] = await world.receive("q");
    await world.settle("q", { ack: [got!.delivery] });
    expect(await wire.ok({ op: "publish", to: "queue:q", body: "m", messageId: "m" })).toMatchObject({
      seq: 2,
      duplicate: false,
    });
  });

  it("[DED8] the window is per queue", async ({ world }) => {
    expect(await world.publish("a", 1, { "idempotency-key": "m" })).toMatchObject({
      seq: 1,
      duplicate: false,
    });
    expect(await world.publish("b", 1, { "idempotency-key": "m" })).toMatchObject({
      seq: 1,
      duplicate: false,
    });
  });

  it("[DED8] the window holds the last 100,000 ids", async ({ world }) => {
    const wire = await world.connect();
    const ids = Array.from({ length: 100_001 }, (_, i) => `id-${i}`);
    const publish = (messageId: string) => ({ op: "publish", to: "queue:q", body: 0, messageId });
    for (let at = 0; at < ids.length; at += 1_000) {
      await Promise.all(wire.requestAll(ids.slice(at, at + 1_000).map(publish)));
    }
    expect(await wire.ok(publish("id-1"))).toMatchObject({ duplicate: true, seq: 2 });
    expect(await wire.ok(publish("id-100000"))).toMatchObject({ duplicate: true, seq: 100_001 });
    expect(await wire.ok(publish("id-0"))).toMatchObject({ duplicate: false, seq: 100_002 });
  });

  it("[DED9] ids of 1 and 1,024 characters, of any alphabet, are kept apart", async ({ world }) => {
    const wire = await world.connect();
    const ids = [
      "a",
      "A",
      " ",
      "a ",
      "m".repeat(1_024),
      `${"m".repeat(1_023)}n`,
      "é",
      "e\u0301",
      "日",
      "1",
      "constructor",
    ];
    for (const messageId of ids) {
      expect(await wire.ok({ op: "publish", to: "queue:q", body: 1, messageId })).toMatchObject({
        duplicate: false,
        messageId,
      });
    }
    expect((await world.peek("q")).map((m) => m.messageId)).toEqual(ids);
  });

  it("[DED1] a duplicate of a delayed message does not bring it forward", async ({ world }) => {
    await world.publish("q", 1, { "idempotency-key": "m", "dunlin-delay-ms": "60000" });
    expect(await world.publish("q", 1, { "idempotency-key": "m" })).toMatchObject({
      seq: 1,
      duplicate: true,
    });
    await pass(50);
    expect(await world.receive("q")).toEqual([]);
    const wire = await world.connect();
    await expectAlive(wire);
  });
});
