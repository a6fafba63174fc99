// Topics over HTTP: publishing, history, the retained message, and topics as things.
import { describe, expect } from "vitest";
import { expectProblem, type Message, message, type Receipt, type World, withBroker } from "./harness.ts";

const it = withBroker();

function topicPath(topic: string): string {
  return `/v1/topics/${encodeURIComponent(topic)}`;
}

interface History {
  messages: Message[];
  epoch: number;
  seq: number;
  recovered: boolean;
}

async function publish(
  world: World,
  topic: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Receipt> {
  const answer = await world.call("POST", `${topicPath(topic)}/messages`, JSON.stringify(body), {
    "content-type": "application/json",
    ...headers,
  });
  expect(answer, `publish to ${topic}: ${JSON.stringify(answer.body)}`).toMatchObject({ status: 201 });
  return answer.body as Receipt;
}

async function history(world: World, topic: string, query = ""): Promise<History> {
  const answer = await world.call("GET", `${topicPath(topic)}/messages${query}`);
  expect(answer, `history of ${topic}: ${JSON.stringify(answer.body)}`).toMatchObject({ status: 200 });
  return answer.body as History;
}

const KEEP = { retention: { maxMessages: 100 } };

describe("publishing to a topic", () => {
  it("[HTT1] is answered with seq and epoch, and reaches a subscriber of the JSON framing as it is", async ({
    world,
  }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "topic:news/+" });
    const first = await publish(
      world,
      "news/a",
      { n: 1 },
      { "dunlin-group": "g", "dunlin-header-shop": "north" },
    );
    expect(first).toMatchObject({ seq: 1, duplicate: false, messageId: expect.any(String) });
    const second = await publish(world, "news/a", 2);
    expect(second).toMatchObject({ seq: 2, epoch: first.epoch });
    expect(message(await wire.nextMessage())).toMatchObject({
      ...{ to: "topic:news/a", seq: 1, epoch: first.epoch, messageId: first.messageId },
      ...{ body: { n: 1 }, group: "g", headers: { shop: "north" } },
    });
    expect(message(await wire.nextMessage())).toMatchObject({ seq: 2, body: 2 });
  });

  it("[HTT1] takes text, bytes, batches and CloudEvents", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "topic:t" });
    const post = async (body: unknown, type: string, headers = {}) =>
      world.call("POST", `${topicPath("t")}/messages`, body, { "content-type": type, ...headers });
    expect(await post("hi", "text/plain")).toMatchObject({ status: 201 });
    expect(await post(new Uint8Array([1, 2]), "image/png")).toMatchObject({ status: 201 });
    const batch = { messages: [{ body: 1 }, { base64: "AQI=", contentType: "x/y" }] };
    const answer = await post(JSON.stringify(batch), "application/vnd.dunlin.batch+json");
    expect(answer).toMatchObject({ status: 201, body: [{ seq: 3 }, { seq: 4 }] });
    const event = { specversion: "1.0", id: "1", source: "s", type: "t", data: { a: 1 } };
    expect(await post(JSON.stringify(event), "application/cloudevents+json")).toMatchObject({ status: 201 });
    const got = [];
    while (got.length < 5) got.push(message(await wire.nextMessage()));
    expect(got).toMatchObject([
      { seq: 1, body: "hi", contentType: "text/plain" },
      { seq: 2, base64: "AQI=", contentType: "image/png" },
      { seq: 3, body: 1 },
      { seq: 4, base64: "AQI=", contentType: "x/y" },
      { seq: 5, body: { a: 1 }, messageId: "s 1", headers: { "ce-type": "t" } },
    ]);
  });

  it("[HTT2] a repeated Idempotency-Key is the first one's duplicate", async ({ world }) => {
    const first = await publish(world, "t", 1, { "idempotency-key": "k" });
    expect(await publish(world, "t", 1, { "idempotency-key": "k" })).toEqual({ ...first, duplicate: true });
    expect(await publish(world, "t", 2)).toMatchObject({ seq: 2 });
  });

  it("[HTT3] a delay is refused, alone and in a batch, and nothing is published", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "topic:t" });
    const path = `${topicPath("t")}/messages`;
    const delayed = await world.call("POST", path, "1", { "dunlin-delay-ms": "5000" });
    expectProblem(delayed, 400, 1, "bad-field");
    const batch = { messages: [{ body: 1 }, { body: 2, delayMs: 5_000 }] };
    const answer = await world.call("POST", path, JSON.stringify(batch), {
      "content-type": "application/vnd.dunlin.batch+json",
    });
    expectProblem(answer, 400, 1, "bad-field");
    expect((answer.body as { detail: string }).detail).toContain("messages[1]");
    expect(await publish(world, "t", 3)).toMatchObject({ seq: 1 });
  });

  it("[HTT1] a topic's name may hold what a path may not, but no wildcard", async ({ world }) => {
    for (const name of ["a/b", "a%2Fb", "日本 ?", "$x", "/"]) {
      expect(await publish(world, name, 1)).toMatchObject({ seq: 1 });
    }
    for (const name of ["a/+", "#", "a\0b"]) {
      const answer = await world.call("POST", `${topicPath(name)}/messages`, "1");
      expectProblem(answer, 400, 1, "bad-address");
    }
  });
});

describe("history", () => {
  it("[HTT4] begins where `from` says, oldest first, as far as the limit", async ({ world }) => {
    await world.call("PUT", topicPath("t"), KEEP);
    const receipts: Receipt[] = [];
    for (let n = 1; n <= 5; n += 1) receipts.push(await publish(world, "t", n));
    const seqs = async (query: string) => (await history(world, "t", query)).messages.map(({ seq }) => seq);
    expect(await seqs("")).toEqual([1, 2, 3, 4, 5]);
    expect(await seqs("?from=first&limit=2")).toEqual([1, 2]);
    expect(await seqs("?from=2")).toEqual([3, 4, 5]);
    expect(await seqs("?from=5")).toEqual([]);
    expect(await seqs("?from=last")).toEqual([5]);
    expect(await seqs("?from=last:3")).toEqual([3, 4, 5]);
    expect(await seqs("?from=time:0")).toEqual([1, 2, 3, 4, 5]);
    expect(await seqs("?from=time:9999999999999")).toEqual([]);
    const all = await history(world, "t");
    expect(all).toMatchObject({ seq: 5, epoch: receipts[0]!.epoch, recovered: true });
    expect(all.messages[1]).toMatchObject({
      ...{ to: "topic:t", epoch: all.epoch, messageId: receipts[1]!.messageId },
      ...{ time: expect.any(Number), body: 2 },
    });
    expect(all.messages[1]).not.toHaveProperty("topic");
    expectProblem(await world.call("GET", `${topicPath("t")}/messages?from=x`), 400, 1, "bad-field");
    expectProblem(await world.call("GET", `${topicPath("t")}/messages?limit=0`), 400, 1, "bad-field");
  });

  it("[HTT4] says when what was asked for is not all there", async ({ world }) => {
    await world.call("PUT", topicPath("t"), { retention: { maxMessages: 2 } });
    for (let n = 1; n <= 200; n += 1) await publish(world, "t", n);
    const old = await history(world, "t", "?from=0");
    expect(old.recovered).toBe(false);
    expect(old.messages.at(-1)).toMatchObject({ body: 200 });
    expect(await history(world, "t", "?from=199")).toMatchObject({
      recovered: true,
      messages: [{ body: 200 }],
    });
  });
});

describe("the retained message", () => {
  it("[HTT5] is the last one that was published with Dunlin-Retain", async ({ world }) => {
    expectProblem(await world.call("GET", `${topicPath("t")}/retained`), 404, 4, "not-found");
    const { messageId, epoch } = await publish(world, "t", { on: true }, { "dunlin-retain": "true" });
    await publish(world, "t", "passing");
    const answer = await world.call("GET", `${topicPath("t")}/retained`, undefined, { accept: "*/*" });
    expect(answer).toMatchObject({
      status: 200,
      body: { to: "topic:t", seq: 1, epoch, messageId, body: { on: true }, retained: true },
    });
    expect(answer.headers.get("content-type")).toBe("application/json");
    await publish(world, "t", { on: false }, { "dunlin-retain": "true" });
    expect(await world.call("GET", `${topicPath("t")}/retained`)).toMatchObject({
      body: { body: { on: false } },
    });
  });

  it("[HTT5] goes with an empty payload", async ({ world }) => {
    await publish(world, "t", 1, { "dunlin-retain": "true" });
    const path = `${topicPath("t")}/messages`;
    const answer = await world.call("POST", path, new Uint8Array(0), { "dunlin-retain": "true" });
    expect(answer).toMatchObject({ status: 201 });
    expectProblem(await world.call("GET", `${topicPath("t")}/retained`), 404, 4, "not-found");
  });
});

describe("topics as things", () => {
  it("[HTT6] are declared, changed, described and deleted", async ({ world }) => {
    expectProblem(await world.call("GET", topicPath("t")), 404, 4, "not-found");
    const created = await world.call("PUT", topicPath("t"), { retention: { maxMessages: 10 } });
    expect(created).toMatchObject({
      status: 201,
      body: { name: "t", settings: { retention: { maxMessages: 10, maxAgeMs: null } }, stats: { seq: 0 } },
    });
    await publish(world, "t", 1, { "dunlin-retain": "true" });
    const changed = await world.call("PUT", topicPath("t"), { dedupWindowMs: 0 });
    expect(changed).toMatchObject({
      status: 200,
      body: {
        settings: { retention: { maxMessages: 10 }, dedupWindowMs: 0 },
        stats: { seq: 1, retained: true, stored: 1 },
      },
    });
    expect(await world.call("GET", topicPath("t"))).toMatchObject({ status: 200, body: { name: "t" } });
    expectProblem(await world.call("PUT", topicPath("t"), { retention: 5 }), 400, 1, "bad-field");
    expect(await world.call("DELETE", topicPath("t"))).toMatchObject({ status: 204 });
    expectProblem(await world.call("GET", topicPath("t")), 404, 4, "not-found");
    expectProblem(await world.call("GET", `${topicPath("t")}/retained`), 404, 4, "not-found");
    expectProblem(await world.call("DELETE", topicPath("t")), 404, 4, "not-found");
  });

  it("[HTT7] are listed by name, page by page", async ({ world }) => {
    expect(await world.call("GET", "/v1/topics")).toMatchObject({ status: 200, body: { topics: [] } });
    for (const name of ["b", "a/1", "a"]) await publish(world, name, 1);
    const first = await world.call("GET", "/v1/topics?limit=2");
    expect(first.body).toEqual({
      topics: [
        { name: "a", createdAt: expect.any(Number) },
        { name: "a/1", createdAt: expect.any(Number) },
      ],
      next: "a/1",
    });
    const second = await world.call("GET", "/v1/topics?limit=2&after=a%2F1");
    expect(second.body).toEqual({ topics: [{ name: "b", createdAt: expect.any(Number) }] });
    await world.call("DELETE", topicPath("a/1"));
    const left = (await world.call("GET", "/v1/topics")).body as { topics: { name: string }[] };
    expect(left.topics.map(({ name }) => name)).toEqual(["a", "b"]);
  });

  it("[HTT8] must be declared where the namespace wants it so", async ({ world }) => {
    await publish(world, "old", 1);
    await world.call("PUT", "/v1/namespace", { declareFirst: true });
    const answer = await world.call("POST", `${topicPath("new")}/messages`, "1");
    expectProblem(answer, 404, 4, "not-declared");
    expect(await publish(world, "old", 2)).toMatchObject({ seq: 2 });
    expect(await world.call("PUT", topicPath("new"), {})).toMatchObject({ status: 201 });
    expect(await publish(world, "new", 1)).toMatchObject({ seq: 1 });
  });
});
