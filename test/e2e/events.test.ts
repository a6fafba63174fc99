// Server-Sent Events: what a stream says, how it goes on after a cut, and what it tells when something is missing.
import { describe, expect } from "vitest";
import { EventStream } from "../support/event-stream.ts";
import { eventually, expectProblem, type Receipt, type World, withBroker } from "./harness.ts";

const it = withBroker();

function topicPath(topic: string): string {
  return `/v1/topics/${encodeURIComponent(topic)}`;
}

async function publish(world: World, topic: string, body: unknown, headers = {}): Promise<Receipt> {
  const answer = await world.call("POST", `${topicPath(topic)}/messages`, JSON.stringify(body), {
    "content-type": "application/json",
    ...headers,
  });
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 201 });
  return answer.body as Receipt;
}

function open(world: World, query: Record<string, string>, headers = {}): Promise<EventStream> {
  const url = new URL("/v1/events", world.broker.url);
  url.search = new URLSearchParams({ ...query, ns: world.ns }).toString();
  return EventStream.open(url, headers);
}

async function interested(world: World, topic: string): Promise<number> {
  const answer = await world.call("GET", topicPath(topic));
  return (answer.body as { stats: { interested: number } }).stats.interested;
}

const KEEP = { retention: { maxMessages: 1_000 } };

describe("a stream", () => {
  it("[SSE1] [SSE2] begins with where it stands, and then has each message with its epoch and seq", async ({
    world,
  }) => {
    const { epoch } = await publish(world, "news", "before");
    const events = await open(world, { topic: "news" });
    expect(events.response.headers.get("content-type")).toBe("text/event-stream");
    expect(events.response.headers.get("cache-control")).toBe("no-store");
    expect(await events.next()).toEqual({
      id: `${epoch}:1`,
      event: "subscribed",
      data: { epoch, seq: 1, recovered: true },
    });
    const { messageId } = await publish(world, "news", { n: 1 }, { "dunlin-header-shop": "north" });
    expect(await events.next("message")).toEqual({
      id: `${epoch}:2`,
      event: "message",
      data: {
        ...{ epoch, to: "topic:news", messageId, seq: 2, time: expect.any(Number) },
        ...{ body: { n: 1 }, headers: { shop: "north" } },
      },
    });
    for (let n = 0; n < 500; n += 50) {
      await world.call(
        "POST",
        `${topicPath("news")}/messages`,
        JSON.stringify({ messages: Array.from({ length: 50 }, (_, i) => ({ body: n + i })) }),
        { "content-type": "application/vnd.dunlin.batch+json" },
      );
    }
    const got = await events.messages(500);
    expect(got.map(({ data }) => data.body)).toEqual(Array.from({ length: 500 }, (_, n) => n));
    events.close();
  });

  it("[SSE1] of a wildcard has what all its topics say", async ({ world }) => {
    const events = await open(world, { topic: "a/+" });
    expect((await events.next("subscribed")).id).toBeUndefined();
    await publish(world, "a/1", 1);
    await publish(world, "b", 0);
    await publish(world, "a/2", 2);
    const got = await events.messages(2);
    expect(got.map(({ data }) => data.to)).toEqual(["topic:a/1", "topic:a/2"]);
    events.close();
  });

  it("[SSE2] shows the retained message first, without an id", async ({ world }) => {
    const { epoch } = await publish(world, "t", "kept", { "dunlin-retain": "true" });
    await publish(world, "t", "passing");
    const events = await open(world, { topic: "t" });
    expect(await events.next("subscribed")).toMatchObject({ id: `${epoch}:2` });
    expect(await events.next("message")).toMatchObject({
      id: undefined,
      data: { body: "kept", retained: true },
    });
    events.close();
  });

  it("[SSE6] ends its interest when the reader goes", async ({ world }) => {
    const events = await open(world, { topic: "t" });
    await events.next("subscribed");
    await publish(world, "t", 1);
    await events.next("message");
    expect(await interested(world, "t")).toBe(1);
    events.close();
    // That it is gone shows at the next thing that is sent to it, a heartbeat if nothing else.
    await eventually(async () => {
      await publish(world, "t", 2);
      expect(await interested(world, "t")).toBe(0);
    });
  });

  it("[SSE8] is cut when its reader does not keep up", async ({ world }) => {
    const url = new URL(`/v1/events?topic=t&ns=${world.ns}`, world.broker.url);
    // Nobody reads its body yet: that waits in the broker once the buffers on the way are full.
    const response = await fetch(url);
    const text = "x".repeat(1_000_000);
    await publish(world, "t", text);
    expect(await interested(world, "t")).toBe(1);
    let published = 1;
    await eventually(async () => {
      await publish(world, "t", text);
      published += 1;
      expect(await interested(world, "t")).toBe(0);
    }, 40_000);
    expect(published).toBeGreaterThan(16);
    let read = 0;
    for await (const chunk of response.body!) read += (chunk as Uint8Array).length;
    expect(read).toBeGreaterThan(16_000_000);
  });

  it("[SSE7] that cannot be is refused before it begins", async ({ world }) => {
    const call = (query: string) => world.call("GET", `/v1/events${query}`);
    expectProblem(await call(""), 400, 1, "bad-field");
    expectProblem(await call("?topic=a%23"), 400, 1, "bad-address");
    expectProblem(await call("?topic=%24share%2Fg%2Fa"), 400, 1, "bad-address");
    expectProblem(await call("?topic=a&lastEventId=x"), 400, 1, "bad-field");
    expectProblem(await call("?topic=a&from=x"), 400, 1, "bad-field");
    expect((await world.call("POST", "/v1/events?topic=a", "1")).status).toBe(405);
  });
});

describe("going on", () => {
  it("[SSE3] with Last-Event-ID a stream has all that came after it, once, from retention", async ({
    world,
  }) => {
    await world.call("PUT", topicPath("t"), KEEP);
    const first = await open(world, { topic: "t" });
    await first.next("subscribed");
    for (let n = 1; n <= 3; n += 1) await publish(world, "t", n);
    const { id } = (await first.messages(2))[1]!;
    first.close();
    for (let n = 4; n <= 6; n += 1) await publish(world, "t", n);
    for (const by of ["header", "query"]) {
      const again =
        by === "header"
          ? await open(world, { topic: "t" }, { "last-event-id": id! })
          : await open(world, { topic: "t", lastEventId: id! });
      expect(await again.next("subscribed"), by).toMatchObject({ id: undefined, data: { recovered: true } });
      expect((await again.messages(4)).map(({ data }) => data.body)).toEqual([3, 4, 5, 6]);
      again.close();
    }
    await publish(world, "t", 7);
    const live = await open(world, { topic: "t" }, { "last-event-id": id! });
    await live.next("subscribed");
    await live.messages(5);
    await publish(world, "t", 8);
    expect((await live.next("message")).data.body).toBe(8);
    live.close();
  });

  it("[SSE3] the first event's id is enough, when no message came before the cut", async ({ world }) => {
    await world.call("PUT", topicPath("t"), KEEP);
    const first = await open(world, { topic: "t" });
    const { id } = await first.next("subscribed");
    first.close();
    await publish(world, "t", 1);
    const again = await open(world, { topic: "t" }, { "last-event-id": id! });
    expect((await again.next("subscribed")).data.recovered).toBe(true);
    expect((await again.next("message")).data.body).toBe(1);
    again.close();
  });

  it("[SSE4] tells when something may be missing", async ({ world }) => {
    const { epoch } = await publish(world, "t", 1);
    await publish(world, "t", 2);
    const gap = await open(world, { topic: "t" }, { "last-event-id": `${epoch}:1` });
    expect((await gap.next("subscribed")).data).toMatchObject({ recovered: false });
    gap.close();
    const nothing = await open(world, { topic: "t" }, { "last-event-id": `${epoch}:2` });
    expect((await nothing.next("subscribed")).data).toMatchObject({ recovered: true });
    nothing.close();
    const elsewhere = await open(world, { topic: "t" }, { "last-event-id": "1:2" });
    expect((await elsewhere.next("subscribed")).data).toMatchObject({ recovered: false });
    elsewhere.close();
    const wildcard = await open(world, { topic: "+" }, { "last-event-id": `${epoch}:2` });
    expect((await wildcard.next("subscribed")).data).toMatchObject({ recovered: false });
    wildcard.close();
  });

  it("[SSE3] [SSE5] over a SIGKILL of the broker the stream ends, and the next one goes on without a gap", async ({
    world,
  }) => {
    await world.call("PUT", topicPath("t"), KEEP);
    const first = await open(world, { topic: "t" });
    await first.next("subscribed");
    await publish(world, "t", 1);
    const { id } = await first.next("message");
    await world.broker.kill();
    await first.ended;
    await world.broker.restart();
    await publish(world, "t", 2);
    const again = await open(world, { topic: "t" }, { "last-event-id": id! });
    expect((await again.next("subscribed")).data).toMatchObject({ recovered: true });
    expect((await again.next("message")).data).toMatchObject({ seq: 2, body: 2 });
    again.close();
  });

  it("[SSE3] `from` begins anywhere in the history", async ({ world }) => {
    await world.call("PUT", topicPath("t"), KEEP);
    for (let n = 1; n <= 4; n += 1) await publish(world, "t", n);
    const bodies = async (from: string, count: number) => {
      const events = await open(world, { topic: "t", from });
      await events.next("subscribed");
      const got = (await events.messages(count)).map(({ data }) => data.body);
      events.close();
      return got;
    };
    expect(await bodies("first", 4)).toEqual([1, 2, 3, 4]);
    expect(await bodies("2", 2)).toEqual([3, 4]);
    expect(await bodies("last:1", 1)).toEqual([4]);
  });
});
