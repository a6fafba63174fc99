// Requests and their replies: who gets which, what ends a request, and what may not be done with the address of a reply.
import { describe, expect } from "vitest";
import type { WireClient, WireFrame } from "../support/wire-client.ts";
import {
  eventually,
  expectAlive,
  expectError,
  expectProblem,
  noMessage,
  queuePath,
  type World,
  withBroker,
} from "./harness.ts";

const it = withBroker();

/** Replies to everything that comes to a subscription, and settles it. */
async function respond(
  world: World,
  to: string,
  reply: (message: WireFrame) => Record<string, unknown> = ({ body }) => ({ body: { seen: body } }),
): Promise<WireClient> {
  const wire = await world.connect({}, world.ns, {
    onFrame: (frame) => {
      if (frame.op !== "message") return false;
      wire.send({ op: "publish", to: frame.replyTo as string, ...reply(frame) });
      if (frame.delivery !== undefined) wire.send({ op: "settle", sub: 1, ack: [frame.delivery] });
      return true;
    },
  });
  await wire.ok({ op: "subscribe", sub: 1, to });
  return wire;
}

/** Asks, and takes the request as its only consumer gets it. */
async function asked(
  world: World,
  fields: Record<string, unknown> = {},
): Promise<{
  asker: WireClient;
  responder: WireClient;
  message: WireFrame;
  reply: Promise<WireFrame>;
  replyTo: string;
}> {
  const responder = await world.connect();
  await responder.ok({ op: "subscribe", sub: 1, to: "queue:jobs" });
  const asker = await world.connect();
  const reply = asker.request({ op: "request", to: "queue:jobs", body: "?", ...fields });
  const message = await responder.nextMessage();
  return { asker, responder, message, reply, replyTo: message.replyTo as string };
}

describe("a reply", () => {
  it.for(["queue:jobs", "topic:jobs/7"])(
    "[REQ1] to a request to %s comes to who asked",
    async (to, { world }) => {
      await respond(world, to, ({ body }) => ({
        body: { seen: body },
        headers: { by: "test" },
        messageId: "r-1",
      }));
      const asker = await world.connect();
      const reply = await asker.ok({ op: "request", to, body: { sum: [1, 2] } });
      expect(reply).toEqual({
        ...{ op: "reply", id: reply.id, messageId: "r-1", time: expect.any(Number) },
        ...{ body: { seen: { sum: [1, 2] } }, headers: { by: "test" } },
      });
    },
  );

  it("[REQ1] carries bytes and their content type", async ({ world }) => {
    await respond(world, "queue:jobs", () => ({ base64: "AP+A", contentType: "image/x" }));
    const asker = await world.connect();
    const reply = await asker.ok({ op: "request", to: "queue:jobs", base64: "AA==" });
    expect(reply).toMatchObject({ op: "reply", base64: "AP+A", contentType: "image/x" });
  });

  it("[REQ1] the queue's message is an ordinary one: leased, settled, counted", async ({ world }) => {
    const { responder, message, reply, replyTo } = await asked(world, { headers: { a: "1" } });
    expect(message).toMatchObject({ body: "?", headers: { a: "1" }, attempt: 1, redelivered: false });
    expect(await world.stats("jobs")).toMatchObject({ leased: 1 });
    await responder.ok({ op: "settle", sub: 1, ack: [message.delivery] });
    expect(await responder.ok({ op: "publish", to: replyTo, body: 1 })).toMatchObject({
      seq: 1,
      duplicate: false,
    });
    expect(await reply).toMatchObject({ op: "reply", body: 1 });
    expect(await world.stats("jobs")).toMatchObject({ leased: 0, settled: 1 });
  });

  it("[REQ2] holds up nothing that was asked for in the same frame", async ({ world }) => {
    const responder = await world.connect();
    await responder.ok({ op: "subscribe", sub: 1, to: "queue:jobs" });
    const asker = await world.connect();
    const [first, second, third] = asker.requestAll([
      { op: "request", to: "queue:jobs", body: 1 },
      { op: "publish", to: "queue:other", body: 2 },
      { op: "request", to: "queue:jobs", body: 3 },
    ]);
    expect(await second).toMatchObject({ op: "ok" });
    const messages = [await responder.nextMessage(), await responder.nextMessage()];
    await responder.ok({ op: "publish", to: messages[1]!.replyTo as string, body: "three" });
    expect(await third).toMatchObject({ op: "reply", body: "three" });
    await responder.ok({ op: "publish", to: messages[0]!.replyTo as string, body: "one" });
    expect(await first).toMatchObject({ op: "reply", body: "one" });
  });

  it("[REQ3] has the asker's correlation, or none", async ({ world }) => {
    const seen: unknown[] = [];
    await respond(world, "queue:jobs", ({ correlationId }) => {
      seen.push(correlationId);
      return { body: 1, correlationId: "the responder's" };
    });
    const asker = await world.connect();
    const mine = await asker.ok({ op: "request", to: "queue:jobs", body: 1, correlationId: "mine" });
    expect(mine).toMatchObject({ correlationId: "mine" });
    expect(await asker.ok({ op: "request", to: "queue:jobs", body: 1 })).not.toHaveProperty("correlationId");
    expect(seen).toEqual(["mine", expect.stringMatching(/./)]);
  });

  it("[REQ1] may ask back: its replyTo is the responder's own request", async ({ world }) => {
    const { responder, reply, replyTo } = await asked(world);
    const back = responder.request({ op: "request", to: replyTo, body: "which?" });
    const question = await reply.then((frame) => frame);
    expect(question).toMatchObject({ op: "reply", body: "which?" });
    const asker = await world.connect();
    await asker.ok({ op: "publish", to: question.replyTo as string, body: "this" });
    expect(await back).toMatchObject({ op: "reply", body: "this" });
  });
});

describe("nobody to ask", () => {
  /** Far below the time that a request waits. */
  const AT_ONCE_MS = 100;

  it.for(["queue:jobs", "topic:jobs"])(
    "[REQ4] %s without anyone there answers no-responders at once, and keeps nothing",
    async (to, { world }) => {
      const asker = await world.connect();
      await asker.error({ op: "request", to, body: "warm" });
      const tookMs: number[] = [];
      for (let tries = 0; tries < 5; tries++) {
        const started = performance.now();
        expectError(await asker.error({ op: "request", to, body: 1 }), 4, "no-responders");
        tookMs.push(performance.now() - started);
      }
      expectProblem(
        await world.call("POST", `/v1/${to.replace(":", "s/")}/request`, "x"),
        404,
        4,
        "no-responders",
      );
      expect(Math.min(...tookMs)).toBeLessThan(AT_ONCE_MS);
      const late = await world.connect();
      await late.ok({ op: "subscribe", sub: 1, to });
      await noMessage(late);
    },
  );

  it("[REQ4] who has left is nobody, be its session kept or not", async ({ world }) => {
    const asker = await world.connect();
    const responder = await world.connect({ client: "r", session: { expirySeconds: 60 } });
    await responder.ok({ op: "subscribe", sub: 1, to: "queue:jobs" });
    responder.cut();
    await eventually(async () => {
      const reply = await asker.request({ op: "request", to: "queue:jobs", body: 1, timeoutMs: 50 });
      expectError(reply, 4, "no-responders");
    });
    const other = await world.connect();
    await other.ok({ op: "subscribe", sub: 1, to: "topic:jobs" });
    await other.ok({ op: "unsubscribe", sub: 1 });
    await eventually(async () => {
      const reply = await asker.request({ op: "request", to: "topic:jobs", body: 1, timeoutMs: 50 });
      expectError(reply, 4, "no-responders");
    });
  });

  it("[REQ4] an HTTP call that waits for messages is somebody", async ({ world }) => {
    const asker = await world.connect();
    const received = world.receive("jobs", { waitMs: 10_000 });
    await eventually(async () => expect(await world.stats("jobs")).toMatchObject({ consumers: 1 }));
    const reply = asker.request({ op: "request", to: "queue:jobs", body: "?" });
    const [message] = await received;
    await asker.ok({ op: "publish", to: message!.replyTo as string, body: "!" });
    expect(await reply).toMatchObject({ op: "reply", body: "!" });
  });
});

describe("no reply", () => {
  it("[REQ5] in time is answered timeout, and a reply after it not-found", async ({ world }) => {
    const started = Date.now();
    const { asker, responder, reply, replyTo } = await asked(world, { timeoutMs: 300 });
    expectError(await reply, 5, "timeout");
    expect(Date.now() - started).toBeGreaterThanOrEqual(300);
    expectError(await responder.error({ op: "publish", to: replyTo, body: "late" }), 4, "not-found");
    await asker.none(() => true, 100);
    await expectAlive(asker);
  });

  it("[REQ9] and its time over, the message is handed to nobody", async ({ world }) => {
    const busy = await world.connect();
    await busy.ok({ op: "subscribe", sub: 1, to: "queue:jobs", credit: 0 });
    const asker = await world.connect();
    expectError(
      await asker.request({ op: "request", to: "queue:jobs", body: 1, timeoutMs: 200 }),
      5,
      "timeout",
    );
    await busy.ok({ op: "credit", sub: 1, add: 5 });
    await noMessage(busy);
    await eventually(async () => expect(await world.stats("jobs")).toMatchObject({ ready: 0, expired: 1 }));
  });

  it("[REQ8] is for who has gone: the connection's end ends what it cannot ask again", async ({ world }) => {
    const { asker, responder, reply, replyTo } = await asked(world);
    reply.catch(() => undefined);
    await asker.close();
    await eventually(async () => {
      expectError(await responder.error({ op: "publish", to: replyTo, body: "late" }), 4, "not-found");
    });
  });

  it("[REQ12] of a responder that goes away: another gets the message, and its reply counts", async ({
    world,
  }) => {
    const { responder, message, reply } = await asked(world);
    await respond(world, "queue:jobs", ({ attempt }) => ({ body: { attempt } }));
    expect(message.attempt).toBe(1);
    responder.cut();
    expect(await reply).toMatchObject({ op: "reply", body: { attempt: 2 } });
  });
});

describe("the address of a reply", () => {
  it("[REQ6] takes one reply: the second is not-found, and the asker sees the first", async ({ world }) => {
    const { asker, responder, reply, replyTo } = await asked(world);
    const answers = responder.requestAll([
      { op: "publish", to: replyTo, body: "first" },
      { op: "publish", to: replyTo, body: "second" },
    ]);
    expect(await answers[0]).toMatchObject({ op: "ok" });
    expectError(await answers[1], 4, "not-found");
    expect(await reply).toMatchObject({ body: "first" });
    await asker.none(() => true, 100);
  });

  it("[REQ6] is not guessed: a forged token, another gateway, no token are not-found", async ({ world }) => {
    const { responder, reply, replyTo } = await asked(world);
    for (const to of [
      `${replyTo}x`,
      "topic:$reply/gateway-0/x",
      "topic:$reply/gateway-9/x",
      "topic:$reply/x",
    ]) {
      expectError(await responder.error({ op: "publish", to, body: "forged" }), 4, "not-found");
    }
    await responder.ok({ op: "publish", to: replyTo, body: "true" });
    expect(await reply).toMatchObject({ body: "true" });
  });

  it("[REQ6] is of one namespace: from another it is not-found", async ({ world }) => {
    const { responder, reply, replyTo } = await asked(world);
    const stranger = await world.connect({}, `${world.ns}-other`);
    expectError(await stranger.error({ op: "publish", to: replyTo, body: "forged" }), 4, "not-found");
    await responder.ok({ op: "publish", to: replyTo, body: "true" });
    expect(await reply).toMatchObject({ body: "true" });
  });

  it("[REQ18] is no topic: it cannot be subscribed to, declared, read or bound, and is listed nowhere", async ({
    world,
  }) => {
    const { asker, responder, reply, replyTo } = await asked(world);
    for (const to of [replyTo, "topic:$reply/#", "topic:$reply/+/+"]) {
      expectError(await asker.error({ op: "subscribe", sub: 1, to }), 2, "forbidden");
      expectError(await asker.error({ op: "subscribe", sub: 1, to, durable: "d" }), 2, "forbidden");
    }
    const path = `/v1/topics/${encodeURIComponent(replyTo.slice("topic:".length))}`;
    expectProblem(await world.call("PUT", path, {}), 403, 2, "forbidden");
    expectProblem(await world.call("GET", path), 403, 2, "forbidden");
    expectProblem(await world.call("GET", `${path}/retained`), 403, 2, "forbidden");
    const binding = `${queuePath("jobs")}/bindings/${encodeURIComponent("$reply/#")}`;
    expectProblem(await world.call("PUT", binding), 403, 2, "forbidden");
    await responder.ok({ op: "publish", to: replyTo, body: 1, retain: true });
    await reply;
    expect((await world.call("GET", "/v1/topics")).body).toMatchObject({ topics: [] });
  });
});

describe("what a queue sends", () => {
  it("[REQ19] to the address of a reply is the reply: who asks hears how another message ended", async ({
    world,
  }) => {
    const { responder, reply, replyTo } = await asked(world);
    await responder.ok({ op: "subscribe", sub: 2, to: "queue:work" });
    for (const messageId of ["w-1", "w-2"]) {
      await responder.ok({ op: "publish", to: "queue:work", body: 1, messageId, receiptTo: replyTo });
    }
    const [first, second] = [await responder.nextMessage(2), await responder.nextMessage(2)];
    await responder.ok({ op: "settle", sub: 2, ack: [first.delivery] });
    expect(await reply).toMatchObject({
      op: "reply",
      body: { queue: "work", messageId: "w-1", outcome: "ack" },
    });
    // The second one finds nobody, and the outbox goes on.
    await responder.ok({ op: "settle", sub: 2, ack: [second.delivery] });
    const third = { op: "publish", to: "queue:work", body: 1, messageId: "w-3", receiptTo: "queue:receipts" };
    await responder.ok(third);
    await responder.ok({ op: "settle", sub: 2, ack: [(await responder.nextMessage(2)).delivery] });
    expect(await world.receive("receipts", { waitMs: 10_000 })).toMatchObject([
      { body: { messageId: "w-3" } },
    ]);
  });
});

describe("a request that is not one", () => {
  it("[REQ10] is refused, and nothing is sent", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:jobs" });
    for (const [wrong, kind] of [
      [{ replyTo: "queue:mine" }, "bad-field"],
      [{ retain: true }, "bad-field"],
      [{ timeoutMs: 0 }, "bad-field"],
      [{ timeoutMs: 300_001 }, "bad-field"],
      [{ body: undefined }, "bad-field"],
      [{ to: "nowhere" }, "bad-address"],
      [{ to: "topic:t", delayMs: 5 }, "bad-field"],
      [{ to: "topic:$SYS/x" }, "forbidden"],
    ] as const) {
      const frame = { op: "request", to: "queue:jobs", body: 1, ...wrong };
      expect(await wire.error(frame), JSON.stringify(wrong)).toMatchObject({ kind });
    }
    wire.send({ op: "request", to: "queue:jobs", body: 1 });
    expectError(await wire.next(({ op }) => op === "error"), 1, "bad-field");
    await noMessage(wire);
  });
});

describe("a request that is sent again", () => {
  const hello = { client: "asker" };

  it("[REQ11] after a lost connection waits for the same reply, and nobody gets it twice", async ({
    world,
  }) => {
    const responder = await world.connect();
    await responder.ok({ op: "subscribe", sub: 1, to: "queue:jobs" });
    for (const early of [true, false]) {
      const request = { op: "request", to: "queue:jobs", body: "?", messageId: `q-${early}` };
      const first = await world.connect(hello);
      first.request(request).catch(() => undefined);
      const { replyTo } = await responder.nextMessage();
      first.cut();
      if (early) await responder.ok({ op: "publish", to: replyTo as string, body: "!" });
      const second = await world.connect(hello);
      const reply = second.request(request);
      await second.ok({ op: "publish", to: "queue:other", body: 1 });
      if (!early) await responder.ok({ op: "publish", to: replyTo as string, body: "!" });
      expect(await reply).toMatchObject({ op: "reply", body: "!" });
      second.cut();
    }
    await noMessage(responder);
  });

  it("[REQ11] on a live connection answers the one before with conflict", async ({ world }) => {
    const { asker, responder, reply, replyTo } = await asked(world, { messageId: "q-1" });
    const again = asker.request({ op: "request", to: "queue:jobs", body: "?", messageId: "q-1" });
    expectError(await reply, 4, "conflict");
    await responder.ok({ op: "publish", to: replyTo, body: "one" });
    expect(await again).toMatchObject({ op: "reply", body: "one" });
  });

  it("[REQ11] when its reply has come, or by another client, is a conflict", async ({ world }) => {
    const { asker, responder, reply, replyTo } = await asked(world, { messageId: "q-1" });
    const again = { op: "request", to: "queue:jobs", body: "?", messageId: "q-1" };
    expectError(await responder.error(again), 4, "conflict");
    await responder.ok({ op: "publish", to: replyTo, body: "one" });
    expect(await reply).toMatchObject({ body: "one" });
    expectError(await asker.error(again), 4, "conflict");
  });

  it("[REQ11] over HTTP, under one Idempotency-Key, is answered as well", async ({ world }) => {
    const responder = await world.connect();
    await responder.ok({ op: "subscribe", sub: 1, to: "queue:jobs" });
    const call = () => world.call("POST", `${queuePath("jobs")}/request`, "?", { "idempotency-key": "k" });
    const first = call();
    const { replyTo } = await responder.nextMessage();
    const second = call();
    expectProblem(await first, 409, 4, "conflict");
    await responder.ok({ op: "publish", to: replyTo as string, body: "!" });
    expect(await second).toMatchObject({ status: 200, body: "!" });
    await noMessage(responder);
  });
});

describe("over HTTP", () => {
  const path = `${queuePath("jobs")}/request`;

  it.for(["queue:jobs", "topic:jobs"])(
    "[REQ13] the reply from %s is the response: body, content type, headers",
    async (to, { world }) => {
      await respond(world, to, ({ body, headers }) => ({
        ...{ body: { seen: body }, messageId: "r-1", correlationId: "x" },
        headers: {
          shop: String((headers as Record<string, string>).shop),
          "with space": "no",
          line: "a\nb",
          umlaut: "grün",
        },
      }));
      const asking = {
        "content-type": "application/json",
        "dunlin-header-shop": "north",
        "dunlin-correlation-id": "c-1",
      };
      const answer = await world.call("POST", `/v1/${to.replace(":", "s/")}/request`, '{"n":1}', asking);
      expect(answer).toMatchObject({ status: 200, body: { seen: { n: 1 } } });
      expect(answer.headers.get("content-type")).toBe("application/json");
      expect(Object.fromEntries(answer.headers)).toMatchObject({
        ...{ "dunlin-message-id": "r-1", "dunlin-correlation-id": "c-1", "dunlin-header-shop": "north" },
        ...{ "dunlin-time": expect.stringMatching(/^\d+$/), "x-content-type-options": "nosniff" },
      });
      expect(answer.headers.get("dunlin-header-line")).toBeNull();
      const umlaut = answer.headers.get("dunlin-header-umlaut")!;
      expect(Buffer.from(umlaut, "latin1").toString()).toBe("grün");
    },
  );

  it("[REQ13] text and bytes come back as they are", async ({ world }) => {
    const replies = [
      { body: "<b>hi</b>", contentType: "text/html" },
      { base64: "AP+A" },
      { base64: "AP+A", contentType: "image/x" },
    ];
    await respond(world, "queue:jobs", () => replies.shift()!);
    const html = await world.call("POST", path, "x");
    expect(html).toMatchObject({ status: 200, body: "<b>hi</b>" });
    expect(html.headers.get("content-type")).toBe("text/html");
    expect(html.headers.get("content-security-policy")).toBe("sandbox");
    const url = new URL(`${path}?ns=${world.ns}`, world.broker.url);
    for (const type of ["application/octet-stream", "image/x"]) {
      const response = await fetch(url, { method: "POST", body: "x" });
      expect(response.headers.get("content-type")).toBe(type);
      expect(new Uint8Array(await response.arrayBuffer())).toEqual(new Uint8Array([0, 255, 128]));
    }
  });

  it("[REQ13] [REQ14] no reply in time is 504, set by header or query", async ({ world }) => {
    const busy = await world.connect();
    await busy.ok({ op: "subscribe", sub: 1, to: "queue:jobs", credit: 0 });
    const started = Date.now();
    expectProblem(await world.call("POST", `${path}?timeoutMs=150`, "x"), 504, 5, "timeout");
    expectProblem(await world.call("POST", path, "x", { "dunlin-timeout-ms": "150" }), 504, 5, "timeout");
    expect(Date.now() - started).toBeGreaterThanOrEqual(300);
  });

  it("[REQ14] one message, and a time within its limits", async ({ world }) => {
    const json = { "content-type": "application/json" };
    const batch = { "content-type": "application/vnd.dunlin.batch+json" };
    expectProblem(await world.call("POST", path, '{"messages":[{"body":1}]}', batch), 400, 1, "bad-field");
    for (const wrong of ["0", "300001", "soon", ""]) {
      expectProblem(await world.call("POST", `${path}?timeoutMs=${wrong}`, "1", json), 400, 1, "bad-field");
      if (wrong === "") continue;
      expectProblem(
        await world.call("POST", path, "1", { ...json, "dunlin-timeout-ms": wrong }),
        400,
        1,
        "bad-field",
      );
    }
    expectProblem(
      await world.call("POST", path, "1", { ...json, "dunlin-reply-to": "queue:a" }),
      400,
      1,
      "bad-field",
    );
    expectProblem(await world.call("POST", path, "{", json), 400, 1, "bad-body");
    expectProblem(await world.call("GET", path), 405, 1);
  });

  it("[REQ7] a reply is published as to any topic, and a second one is 404", async ({ world }) => {
    const asker = await world.connect();
    await (await world.connect()).ok({ op: "subscribe", sub: 1, to: "queue:jobs", credit: 0 });
    const reply = asker.request({ op: "request", to: "queue:jobs", body: "?" });
    const [message] = await world.receive("jobs", { waitMs: 10_000 });
    const to = `/v1/topics/${encodeURIComponent(String(message!.replyTo).slice("topic:".length))}/messages`;
    const headers = { "content-type": "application/json", "dunlin-header-by": "http" };
    const answer = await world.call("POST", to, '{"by":"http"}', headers);
    expect(answer).toMatchObject({ status: 201, body: { seq: 1, duplicate: false } });
    expect(await reply).toMatchObject({ op: "reply", body: { by: "http" }, headers: { by: "http" } });
    expectProblem(await world.call("POST", to, "{}", headers), 404, 4, "not-found");
  });
});
