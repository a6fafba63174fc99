// Filters by header over the wire: on topic subscriptions, in streams of events and histories, and on bindings.
import { describe, expect } from "vitest";
import { EventStream } from "../support/event-stream.ts";
import { hear, listen, tell } from "../support/topic-wire.ts";
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

const it = withBroker({ env: { TOPIC_OWN: "own/#" } });

const bodies = (frames: WireFrame[]) => frames.map(({ body }) => body);
const BLUE = { headers: { color: "blue", weight: "2600" } };
const RED = { headers: { color: "red", weight: "2600" } };

function topicPath(topic: string): string {
  return `/v1/topics/${encodeURIComponent(topic)}`;
}

async function keep(world: World, topic: string): Promise<void> {
  await world.call("PUT", topicPath(topic), { retention: { maxMessages: 100_000 } });
}

function bind(world: World, queue: string, filter: string, body?: unknown) {
  return world.call("PUT", `${queuePath(queue)}/bindings/${encodeURIComponent(filter)}`, body);
}

async function accepted(world: World, queue: string, count: number): Promise<void> {
  await eventually(async () => expect((await world.stats(queue)).accepted).toBe(count));
}

describe("a subscription to topics with a filter", () => {
  it("[SEL10] gets what the selector lets through, and the rest uses no credit and is no lag", async ({
    world,
  }) => {
    const wire = await world.connect();
    await listen(wire, 1, "cars/+", { filter: "color = 'blue' AND weight > 2500", credit: 2 });
    await listen(wire, 2, "cars/+");
    for (let n = 0; n < 20; n++) await tell(wire, "cars/a", `red ${n}`, RED);
    await tell(wire, "cars/b", "first", BLUE);
    await tell(wire, "cars/b", "light", { headers: { color: "blue", weight: "100" } });
    await tell(wire, "cars/a", "second", BLUE);
    expect(bodies(await hear(wire, 1, 2))).toEqual(["first", "second"]);
    await hear(wire, 2, 23);
    await tell(wire, "cars/a", "third", RED);
    await hear(wire, 2, 1);
    await tell(wire, "cars/a", "fourth", BLUE);
    await hear(wire, 2, 1);
    wire.send({ op: "credit", sub: 1, add: 1 });
    expect(await wire.next((frame) => frame.op === "event")).toMatchObject({
      kind: "lag",
      sub: 1,
      skipped: 1,
    });
    await noMessage(wire);
  });

  it("[SEL9] takes an object of headers that must be equal", async ({ world }) => {
    const wire = await world.connect();
    await listen(wire, 1, "t", { filter: { color: "blue", weight: 2600 } });
    await tell(wire, "t", 1, RED);
    await tell(wire, "t", 2, BLUE);
    expect(bodies(await hear(wire, 1, 1))).toEqual([2]);
    await noMessage(wire);
  });

  it("[SEL10] begins with what it lets through of the retained messages and the history", async ({
    world,
  }) => {
    const wire = await world.connect();
    await tell(wire, "lamps/a", "blue lamp", { ...BLUE, retain: true });
    await tell(wire, "lamps/b", "red lamp", { ...RED, retain: true });
    await listen(wire, 1, "lamps/+", { filter: "color = 'blue'" });
    expect(await hear(wire, 1, 1)).toMatchObject([{ body: "blue lamp", retained: true }]);
    await keep(world, "log");
    for (let n = 1; n <= 10; n++) await tell(wire, "log", n, n % 3 === 0 ? BLUE : RED);
    const answer = await listen(wire, 2, "log", { filter: "color = 'blue'", from: "first", credit: 3 });
    expect(answer).toMatchObject({ seq: 10, recovered: true });
    expect(bodies(await hear(wire, 2, 3))).toEqual([3, 6, 9]);
    await tell(wire, "log", 11, RED);
    await noMessage(wire);
  });

  it("[SEL12] changes with another subscribe of the same sub, and a refused one changes nothing", async ({
    world,
  }) => {
    const wire = await world.connect();
    await listen(wire, 1, "t", { filter: "color = 'blue'" });
    const again = { op: "subscribe", sub: 1, to: "topic:t" };
    expectError(await wire.error({ ...again, filter: "color =" }), 1, "bad-field");
    await tell(wire, "t", 1, RED);
    await tell(wire, "t", 2, BLUE);
    expect(bodies(await hear(wire, 1, 1))).toEqual([2]);
    await wire.ok({ ...again, filter: "color = 'red'" });
    await tell(wire, "t", 3, BLUE);
    await tell(wire, "t", 4, RED);
    expect(bodies(await hear(wire, 1, 1))).toEqual([4]);
    await wire.ok(again);
    await tell(wire, "t", 5, BLUE);
    expect(bodies(await hear(wire, 1, 1))).toEqual([5]);
    await noMessage(wire);
  });

  it("[SEL11] a resumed session goes on with the known filter, or with the one that the entry names", async ({
    world,
  }) => {
    const hello = { client: "ann", session: { expirySeconds: 60 } };
    const publisher = await world.connect();
    await keep(world, "t");
    const first = await world.connect(hello);
    const { epoch } = await listen(first, 1, "t", { filter: "color = 'blue'" });
    await tell(publisher, "t", 1, BLUE);
    const [seen] = await hear(first, 1, 1);
    first.cut();
    await tell(publisher, "t", 2, RED);
    await tell(publisher, "t", 3, BLUE);
    const entry = { sub: 1, to: "topic:t", epoch, seq: seen!.seq };
    const second = await world.connect({ ...hello, resume: [entry] });
    expect(bodies(await hear(second, 1, 1))).toEqual([3]);
    await noMessage(second);
    second.cut();
    const third = await world.connect({ ...hello, resume: [{ ...entry, filter: "color = 'red'" }] });
    expect(bodies(await hear(third, 1, 1))).toEqual([2]);
    third.cut();
    const fourth = await world.connect({
      ...hello,
      resume: [
        { ...entry, filter: "color" },
        { ...entry, sub: 2, filter: "=" },
      ],
    });
    expect(await fourth.next((frame) => frame.kind === "gone")).toMatchObject({
      sub: 2,
      reason: expect.stringContaining("bad-field: filter: expected a value"),
    });
    await noMessage(fourth);
  });

  it("[SEL7] [SEL8] is refused with what is wrong, and nothing takes effect", async ({ world }) => {
    const wire = await world.connect();
    const frame = { op: "subscribe", sub: 1, to: "topic:t" };
    for (const filter of [
      "color >",
      5,
      null,
      ["a"],
      { a: { b: 1 } },
      "a".repeat(4_097),
      `${"(".repeat(200)}a`,
    ]) {
      expectError(await wire.error({ ...frame, filter }), 1, "bad-field");
    }
    expect(await wire.error({ ...frame, filter: "color = 'a" })).toMatchObject({
      message: "filter: a text has no closing ', at character 9",
    });
    expectError(await wire.error({ ...frame, to: "queue:q", filter: "color >" }), 1, "bad-field");
    await tell(wire, "t", 1);
    await noMessage(wire);
    const long = `color = '${"x".repeat(4_000)}'`;
    for (let sub = 1; sub <= 16; sub++) await wire.ok({ ...frame, sub, filter: long });
    expectError(await wire.error({ ...frame, sub: 17, filter: long }), 3, "too-many");
    await wire.ok({ ...frame, sub: 16, filter: "color = 'blue'" });
    await wire.ok({ ...frame, sub: 17, filter: "color = 'blue'" });
    await expectAlive(wire);
  });
});

describe("over HTTP", () => {
  it("[SEL13] a stream of events has only what the filter lets through", async ({ world }) => {
    const wire: WireClient = await world.connect();
    const url = new URL("/v1/events", world.broker.url);
    url.search = new URLSearchParams({ topic: "t", filter: "color = 'blue'", ns: world.ns }).toString();
    const events = await EventStream.open(url, {});
    await events.next("subscribed");
    await tell(wire, "t", 1, RED);
    await tell(wire, "t", 2, BLUE);
    expect(await events.next("message")).toMatchObject({ data: { body: 2 } });
    events.close();
    expectProblem(await world.call("GET", "/v1/events?topic=t&filter=color%20%3D"), 400, 1, "bad-field");
  });

  it("[SEL13] one call looks at ten thousand messages, and the next goes on behind them", async ({
    world,
  }) => {
    await keep(world, "long");
    const messages = Array.from({ length: 1_000 }, (_, n) => ({ body: n, headers: { color: "red" } }));
    for (let batch = 0; batch < 12; batch++) {
      const type = { "content-type": "application/vnd.dunlin.batch+json" };
      await world.call("POST", `${topicPath("long")}/messages`, JSON.stringify({ messages }), type);
    }
    const filter = `filter=${encodeURIComponent("color = 'blue'")}`;
    const first = await world.call("GET", `${topicPath("long")}/messages?${filter}`);
    expect(first.body).toMatchObject({ messages: [], seq: 10_000 + 2_000, next: 10_000 });
    const rest = await world.call("GET", `${topicPath("long")}/messages?${filter}&from=10000`);
    expect(rest.body).toMatchObject({ messages: [], next: 12_000 });
  });

  it("[SEL13] a history shows what the filter lets through, and where the next call goes on", async ({
    world,
  }) => {
    await keep(world, "t");
    const messages = Array.from({ length: 2_500 }, (_, n) => ({
      body: n + 1,
      headers: { color: (n + 1) % 500 === 0 ? "blue" : "red" },
    }));
    for (const from of [0, 1_000, 2_000]) {
      const answer = await world.call(
        "POST",
        `${topicPath("t")}/messages`,
        JSON.stringify({ messages: messages.slice(from, from + 1_000) }),
        { "content-type": "application/vnd.dunlin.batch+json" },
      );
      expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    }
    const read = async (query: string) => {
      const answer = await world.call("GET", `${topicPath("t")}/messages?${query}`);
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
      const { messages: found, ...rest } = answer.body as { messages: { body: number }[] };
      return { bodies: found.map(({ body }) => body), ...rest };
    };
    const filter = `filter=${encodeURIComponent("color = 'blue'")}`;
    expect(await read(filter)).toMatchObject({
      ...{ bodies: [500, 1_000, 1_500, 2_000, 2_500], seq: 2_500, next: 2_500, recovered: true },
    });
    expect(await read(`${filter}&limit=2`)).toMatchObject({ bodies: [500, 1_000], next: 1_000 });
    expect(await read(`${filter}&limit=2&from=1000`)).toMatchObject({ bodies: [1_500, 2_000], next: 2_000 });
    expect(await read(`${filter}&from=2000`)).toMatchObject({ bodies: [2_500], next: 2_500 });
    expect(await read(`${filter}&from=last:10`)).toMatchObject({ bodies: [2_500], next: 2_500 });
    expect(await read(`${filter}&from=2500`)).toMatchObject({ bodies: [], next: 2_500 });
    expect(await read("limit=1")).not.toHaveProperty("next");
    expectProblem(await world.call("GET", `${topicPath("t")}/messages?filter=1`), 400, 1, "bad-field");
  });
});

describe("bindings with a filter", () => {
  it("[SEL14] [SEL15] carry what it lets through, once, and are shown with it", async ({ world }) => {
    const wire = await world.connect();
    const filter = "color = 'blue' AND weight > 2500";
    expect(await bind(world, "q", "cars/#", { filter })).toMatchObject({
      status: 201,
      body: { queue: "q", filter: "cars/#", selector: filter },
    });
    expect((await bind(world, "q", "cars/+", { filter: { color: "blue" } })).status).toBe(201);
    for (const [n, fields] of [RED, BLUE, {}, BLUE].entries()) await tell(wire, "cars/a", n, fields);
    await accepted(world, "q", 2);
    expect((await world.peek("q")).map(({ body }) => body)).toEqual([1, 3]);
    const shown = await world.call("GET", `${queuePath("q")}/bindings`);
    expect(shown.body).toEqual({
      bindings: [
        { filter: "cars/#", selector: filter },
        { filter: "cars/+", selector: `"color" = 'blue'` },
      ],
    });
  });

  for (const topic of ["cars", "own/cars"])
    it(`[SEL15] PUT again changes the selector: ${topic}`, async ({ world }) => {
      const wire = await world.connect();
      expect((await bind(world, "q", topic, { filter: "color = 'blue'" })).status).toBe(201);
      await tell(wire, topic, 1, RED);
      expect((await bind(world, "q", topic, { filter: "color = 'red'" })).status).toBe(200);
      await tell(wire, topic, 2, RED);
      await tell(wire, topic, 3, BLUE);
      const all = await bind(world, "q", topic);
      expect(all).toMatchObject({ status: 200, body: { queue: "q", filter: topic } });
      expect(all.body).not.toHaveProperty("selector");
      await tell(wire, topic, 4, BLUE);
      await accepted(world, "q", 2);
      expect((await world.peek("q")).map(({ body }) => body)).toEqual([2, 4]);
    });

  it("[SEL7] [SEL14] a wrong filter is refused, and makes neither binding nor queue", async ({ world }) => {
    for (const body of [{ filter: "color =" }, { filter: 5 }, { filter: "x".repeat(5_000) }]) {
      expectProblem(await bind(world, "q", "t", body), 400, 1, "bad-field");
    }
    expect((await world.call("GET", queuePath("q"))).status).toBe(404);
  });

  it("[SEL16] go on after a restart, also for topics that come later", async ({ world }) => {
    await bind(world, "q", "cars/+", { filter: "color = 'blue'" });
    await bind(world, "q", "own/+", { filter: "color = 'blue'" });
    const before = await world.connect();
    await tell(before, "cars/a", 1, BLUE);
    await tell(before, "own/a", 2, RED);
    await accepted(world, "q", 1);
    await world.broker.kill();
    await world.broker.restart();
    const wire = await world.connect();
    for (const topic of ["cars/a", "own/a", "cars/new", "own/new"]) {
      await tell(wire, topic, `red ${topic}`, RED);
      await tell(wire, topic, `blue ${topic}`, BLUE);
    }
    await accepted(world, "q", 5);
    const got = (await world.peek("q")).map(({ body }) => body);
    expect(got.slice(1).sort()).toEqual(["blue cars/a", "blue cars/new", "blue own/a", "blue own/new"]);
  });
});
