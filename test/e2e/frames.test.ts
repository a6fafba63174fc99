// Frames and replies: what a socket does with what it is sent, good and bad.
import { describe, expect } from "vitest";
import type { WireClient, WireFrame } from "../support/wire-client.ts";
import { closeCode, expectAlive, expectError, queuePath, take, type World, withBroker } from "./harness.ts";

const it = withBroker();

/** Collects whole frames as text, to tell one frame with an array from several frames. */
function texts(wire: WireClient): string[] {
  const seen: string[] = [];
  wire.socket.on("message", (data) => seen.push(String(data)));
  return seen;
}

async function openRaw(world: World, protocols?: string[]): Promise<WireClient> {
  return world.connect(false, world.ns, protocols ? { protocols } : {});
}

describe("handshake", () => {
  it("[FRM1] selects dunlin.v1.json among the offered subprotocols", async ({ world }) => {
    const wire = await openRaw(world, ["dunlin.v1.json"]);
    expect(wire.socket.protocol).toBe("dunlin.v1.json");
    const other = await openRaw(world, ["soap", "dunlin.v1.json"]);
    expect(other.socket.protocol).toBe("dunlin.v1.json");
  });

  it("[FRM1] refuses a handshake that does not offer it", async ({ world }) => {
    await expect(openRaw(world, ["soap"])).rejects.toThrow(/400/);
    await expect(openRaw(world, [])).rejects.toThrow(/400/);
  });

  it("[FRM1] answers a request that is no handshake with 426", async ({ world }) => {
    expect((await world.call("GET", "/ws")).status).toBe(426);
  });

  it("[FRM5] answers ping with pong before and after hello", async ({ world }) => {
    const wire = await openRaw(world);
    const seen = texts(wire);
    wire.sendText("ping");
    await expect.poll(() => seen, { timeout: 10_000 }).toEqual(["pong"]);
    await wire.ok({ op: "hello" });
    wire.sendText("ping");
    await expect.poll(() => seen.at(-1), { timeout: 10_000 }).toBe("pong");
  });
});

describe("batches", () => {
  it("[FRM2] [FRM3] [FRM4] [FRM15] an array is processed in order and answered in one frame", async ({
    world,
  }) => {
    const wire = await world.connect();
    const seen = texts(wire);
    const ops = Array.from({ length: 50 }, (_, i) => ({ op: "publish", id: i + 10, to: "queue:q", body: i }));
    wire.send(ops);
    await expect.poll(() => seen.length, { timeout: 10_000 }).toBeGreaterThan(0);
    expect(seen).toHaveLength(1);
    const replies = JSON.parse(seen[0]!) as WireFrame[];
    expect(replies.map((reply) => [reply.op, reply.id, reply.seq])).toEqual(
      ops.map((op, i) => ["ok", op.id, i + 1]),
    );
  });

  it("[FRM3] [FRM13] an error in the middle of an array stands in its place and disturbs nothing", async ({
    world,
  }) => {
    const wire = await world.connect();
    const replies = await Promise.all(
      wire.requestAll([
        { op: "publish", to: "queue:q", body: "a" },
        { op: "publish", to: 7, body: "x" } as WireFrame,
        { op: "launch" },
        { op: "publish", to: "queue:q", body: "b" },
        { op: "publish", to: "topic:t/+", body: "x" },
        { op: "publish", to: "queue:q", body: "c" },
      ]),
    );
    expect(replies.map((reply) => reply.op)).toEqual(["ok", "error", "error", "ok", "error", "ok"]);
    expect([replies[0]!.seq, replies[3]!.seq, replies[5]!.seq]).toEqual([1, 2, 3]);
    expect((await world.peek("q")).map((m) => m.body)).toEqual(["a", "b", "c"]);
  });

  it("[FRM2] hello and what follows it may travel in one array", async ({ world }) => {
    const wire = await openRaw(world);
    const [welcome, ok] = await Promise.all(
      wire.requestAll([{ op: "hello" }, { op: "publish", to: "queue:q", body: 1 }]),
    );
    expect(welcome!.op).toBe("welcome");
    expect(ok).toMatchObject({ op: "ok", seq: 1 });
  });

  it("[FRM2] an empty array does nothing", async ({ world }) => {
    const wire = await world.connect();
    wire.sendText("[]");
    await expectAlive(wire);
  });

  it("[FRM17] a frame of 1,000 objects is processed, one of 1,001 refused as a whole", async ({ world }) => {
    const wire = await world.connect();
    const many = (count: number) =>
      Array.from({ length: count }, () => ({ op: "publish", to: "queue:q", body: 0 }));
    wire.send(many(1_000));
    await expect.poll(() => world.stats("q"), { timeout: 10_000 }).toMatchObject({ accepted: 1_000 });
    wire.send(many(1_001));
    expectError(await wire.next((frame) => frame.op === "error"), 3, "batch-too-large");
    await expectAlive(wire);
    expect(await world.stats("q")).toMatchObject({ accepted: 1_000 });
  });
});

describe("replies", () => {
  it("[FRM6] unknown fields are ignored", async ({ world }) => {
    const wire = await world.connect({ colour: "red" });
    expect(
      await wire.ok({ op: "publish", to: "queue:q", body: 1, colour: "red", nested: { a: [] } }),
    ).toMatchObject({
      seq: 1,
    });
  });

  it("[FRM7] an unknown or missing op is an error with its id, and the socket stays open", async ({
    world,
  }) => {
    const wire = await world.connect();
    const unknown = await wire.error({ op: "launch", id: 4711 });
    expectError(unknown, 1, "unknown-op");
    expect(unknown.id).toBe(4711);
    wire.send({ id: 4712 } as unknown as WireFrame);
    const missing = await wire.next((frame) => frame.id === 4712);
    expectError(missing, 1, "unknown-op");
    for (const op of [
      7,
      null,
      true,
      ["publish"],
      { op: "publish" },
      "__proto__",
      "constructor",
      "toString",
    ]) {
      const id = wire.nextId();
      wire.send({ op, id } as unknown as WireFrame);
      expectError(await wire.next((frame) => frame.id === id), 1);
    }
    await expectAlive(wire);
  });

  it("[FRM14] a missing or wrong id where one is required is an error without id", async ({ world }) => {
    const wire = await world.connect();
    const ids = [undefined, 0, -1, 1.5, "1", null, true, [1], { id: 1 }, 1e300];
    for (const id of ids) {
      wire.send({ op: "subscribe", sub: 1, to: "queue:q", id } as unknown as WireFrame);
      const answer = await wire.next((frame) => frame.op === "error");
      expectError(answer, 1);
      expect(answer, `for id ${JSON.stringify(id)}`).not.toHaveProperty("id");
    }
    await expectAlive(wire);
    expect((await world.call("GET", queuePath("q"))).status, "nothing was subscribed to").toBe(404);
  });

  it("[FRM14] a publish with a wrong id is refused too", async ({ world }) => {
    const wire = await world.connect();
    for (const id of [0, -1, 1.5, "1", true, [1], { id: 1 }]) {
      wire.send({ op: "publish", to: "queue:q", body: 1, id } as unknown as WireFrame);
      const answer = await wire.next((frame) => frame.op === "error");
      expectError(answer, 1);
      expect(answer).not.toHaveProperty("id");
    }
    await expectAlive(wire, "q");
    expect(await world.stats("q")).toMatchObject({ accepted: 1 });
  });

  it("[FRM15] ids may repeat and come in any order, up to the largest safe integer", async ({ world }) => {
    const wire = await world.connect();
    for (const id of [Number.MAX_SAFE_INTEGER, 5, 5, 1]) {
      expect(await wire.ok({ op: "publish", id, to: "queue:q", body: 1 })).toMatchObject({ id });
    }
  });

  it("[FRM16] [PUB9] an op without id is silent when it succeeds and an error without id when it fails", async ({
    world,
  }) => {
    const wire = await world.connect();
    const seen = texts(wire);
    wire.send({ op: "publish", to: "queue:q", body: 1 });
    wire.send({ op: "publish", to: "queue:", body: 1 });
    const failed = await wire.next((frame) => frame.op === "error");
    expectError(failed, 1);
    expect(failed).not.toHaveProperty("id");
    await expectAlive(wire);
    expect(seen).toHaveLength(2);
    expect((await world.peek("q")).map((m) => m.body)).toEqual([1]);
  });

  it("[ERR1] [ERR2] [ERR6] errors carry code, kind, message and retry, one number for a kind", async ({
    world,
  }) => {
    const wire = await world.connect();
    await world.declare("full", { maxMessages: 1 });
    await world.publish("full", 1);
    const errors = [
      await wire.error({ op: "launch" }),
      await wire.error({ op: "publish", to: "queue:q" }),
      await wire.error({ op: "publish", to: "carrier-pigeon:q", body: 1 }),
      await wire.error({ op: "credit", sub: 9, add: 1 }),
      await wire.error({ op: "publish", to: "queue:full", body: 1 }),
      await wire.error({ op: "hello" }),
    ];
    for (const error of errors) {
      expectError(error, Math.floor(error.code! / 100));
      expect(error.message!.length).toBeGreaterThan(8);
      expect("afterMs" in error, JSON.stringify(error)).toBe(error.retry === "after");
    }
    const codes = new Map(errors.map((error) => [error.kind, error.code]));
    expect(new Set(codes.values()).size).toBe(codes.size);
  });
});

describe("frames that end the socket", () => {
  const notJson = ["{", "hello", "PING", "{'op':'hello'}", '{"op":"publish"}}', "", " ", "\u0000", "NaN"];
  it.for(notJson)("[FRM8] text that is not JSON closes with 4400: %j", async (text, { world }) => {
    const witness = await world.connect();
    await witness.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const wire = await world.connect();
    wire.sendText(text);
    expect(await closeCode(wire)).toBe(4400);
    await world.publish("q", "after");
    expect((await take(witness, 1))[0]!.body).toBe("after");
  });

  it("[FRM8] a binary frame closes with 4400", async ({ world }) => {
    const wire = await world.connect();
    wire.socket.send(Buffer.from('{"op":"publish","to":"queue:q","body":1}'), { binary: true });
    expect(await closeCode(wire)).toBe(4400);
    expect((await world.call("GET", queuePath("q"))).status).toBe(404);
  });

  const notObjects = ["5", '"hello"', "null", "true", "[1]", "[[]]", "[null]"];
  it.for(notObjects)("[FRM9] JSON that is no object is an error: %s", async (text, { world }) => {
    const wire = await world.connect();
    wire.sendText(text);
    expectError(await wire.next((frame) => frame.op === "error"), 1, "bad-frame");
    await expectAlive(wire);
  });

  it("[FRM9] [FRM13] the objects beside it are processed", async ({ world }) => {
    const wire = await world.connect();
    wire.sendText('[{"op":"publish","to":"queue:q","body":1},7,{"op":"publish","to":"queue:q","body":2}]');
    expectError(await wire.next((frame) => frame.op === "error"), 1, "bad-frame");
    await expectAlive(wire, "q");
    expect((await world.peek("q")).map((m) => m.body)).toEqual([1, 2, "alive"]);
  });

  it("[FRM8] a bad frame before hello closes with 4400 too", async ({ world }) => {
    const wire = await openRaw(world);
    wire.sendText("}{");
    expect(await closeCode(wire)).toBe(4400);
  });

  it("[FRM10] a frame of more than 4 MiB closes with 4413 and nothing of it takes effect", async ({
    world,
  }) => {
    const witness = await world.connect();
    const wire = await world.connect();
    const part = { op: "publish", to: "queue:q", body: "x".repeat(900_000) };
    wire.send([part, part, part, part, part]);
    expect(await closeCode(wire)).toBe(4413);
    await expectAlive(witness);
    expect((await world.call("GET", queuePath("q"))).status).toBe(404);
  });

  it("[FRM10] a frame just below 4 MiB is processed", async ({ world }) => {
    const wire = await world.connect();
    const part = { op: "publish", to: "queue:q", body: "x".repeat(1_000_000) };
    const replies = await Promise.all(wire.requestAll([part, part, part, part]));
    expect(replies.map((reply) => reply.op)).toEqual(["ok", "ok", "ok", "ok"]);
  });

  it("[FRM11] a message of more than 1 MiB is an error and the socket stays open", async ({ world }) => {
    const wire = await world.connect();
    for (const content of [
      { body: "x".repeat(1_048_577) },
      { base64: Buffer.alloc(1_048_577).toString("base64"), contentType: "image/png" },
      { body: "é".repeat(524_289) },
    ]) {
      expectError(await wire.error({ op: "publish", to: "queue:q", ...content }), 3, "message-too-large");
    }
    await expectAlive(wire);
    expect((await world.call("GET", queuePath("q"))).status).toBe(404);
  });

  it("[FRM11] a body of nearly 1 MiB arrives whole", async ({ world }) => {
    const wire = await world.connect();
    const body = "é".repeat(500_000);
    await wire.ok({ op: "publish", to: "queue:q", body });
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    expect((await take(wire, 1))[0]!.body === body).toBe(true);
  });
});

describe("frames that try to harm", () => {
  it("[FRM13] [PUB5] a body nested 100,000 deep is stored or refused, and disturbs nobody", async ({
    world,
  }) => {
    const witness = await world.connect();
    await witness.ok({ op: "subscribe", sub: 1, to: "queue:w" });
    const wire = await world.connect();
    const depth = 100_000;
    wire.sendText(`{"op":"publish","id":1,"to":"queue:q","body":${"[".repeat(depth)}${"]".repeat(depth)}}`);
    const answer = await wire.next((frame) => frame.id === 1);
    if (answer.op === "error") expectError(answer, 1);
    const posted = await world.call(
      "POST",
      `${queuePath("q")}/messages`,
      `${"[".repeat(depth)}${"]".repeat(depth)}`,
      {
        "content-type": "application/json",
      },
    );
    expect([201, 400]).toContain(posted.status);
    await expectAlive(wire);
    await wire.ok({ op: "publish", to: "queue:w", body: "after" });
    expect((await take(witness, 1))[0]!.body).toBe("after");
  });

  it("[FRM6] [FRM12] names of JavaScript's own objects are names like others", async ({ world }) => {
    const wire = await world.connect();
    wire.sendText(
      '{"op":"publish","id":1,"to":"queue:__proto__","body":{"__proto__":1},"headers":{"__proto__":"a"},"group":"__proto__","messageId":"__proto__","__proto__":{"to":"queue:other"}}',
    );
    expect(await wire.next((frame) => frame.id === 1)).toMatchObject({
      op: "ok",
      seq: 1,
      messageId: "__proto__",
    });
    const [got] = await world.receive("__proto__");
    expect(JSON.stringify(got!.body)).toBe('{"__proto__":1}');
    expect(Object.entries(got!.headers!)).toEqual([["__proto__", "a"]]);
    expect(got).toMatchObject({ group: "__proto__", to: "queue:__proto__" });
  });
});
