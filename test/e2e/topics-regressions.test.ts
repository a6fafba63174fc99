// What once went wrong with topics over JSON frames and HTTP: filters that are shared, credit while history is read, names with slashes.
import { describe, expect } from "vitest";
import { hear, listen, tell } from "../support/topic-wire.ts";
import {
  eventually,
  expectError,
  expectProblem,
  noMessage,
  queuePath,
  type World,
  withBroker,
} from "./harness.ts";

/** Topics below `own/` have an object each, the others share some. */
const it = withBroker({ env: { TOPIC_OWN: "own/#" } });

async function names(world: World): Promise<string[]> {
  const { body } = await world.call("GET", "/v1/queues");
  return (body as { queues: { name: string }[] }).queues.map(({ name }) => name);
}

describe("a filter that several have", () => {
  it.for(["t", "own/t", "own/+", "#"])(
    "[TJS13] [TJS14] is not ended for others by one that repeats and then ends it: %s",
    async (filter, { world }) => {
      const topic = filter.startsWith("own") ? "own/t" : "t";
      const [one, two, from] = [await world.connect(), await world.connect(), await world.connect()];
      for (const credit of [5, 6, 7]) await listen(one, 1, filter, { credit });
      await listen(two, 1, filter);
      await listen(one, 1, filter, { credit: 8 });
      await one.ok({ op: "unsubscribe", sub: 1 });
      for (const body of [1, 2]) await tell(from, topic, body);
      expect((await hear(two, 1, 2)).map(({ body }) => body)).toEqual([1, 2]);
      await noMessage(one);
      await two.ok({ op: "unsubscribe", sub: 1 });
      await listen(one, 1, filter);
      await tell(from, topic, 3);
      expect(await hear(one, 1, 1)).toMatchObject([{ body: 3 }]);
    },
  );

  it("[TJS14] a refused subscribe leaves the subscription of its number as it was", async ({ world }) => {
    const wire = await world.connect();
    await listen(wire, 1, "t", { credit: 3 });
    const refused = [
      { to: "topic:other" },
      { to: `topic:${"x".repeat(513)}` },
      { to: "topic:t/#/u" },
      { to: "queue:t" },
      { to: "topic:t", credit: -1 },
      { to: "topic:t", from: "nowhere" },
    ];
    for (const fields of refused) {
      expect(await wire.error({ op: "subscribe", sub: 1, ...fields })).toMatchObject({
        kind: expect.stringMatching(/^(conflict|bad-address|bad-field)$/),
      });
    }
    for (const body of [1, 2, 3]) await tell(wire, "t", body);
    expect((await hear(wire, 1, 3)).map(({ body }) => body)).toEqual([1, 2, 3]);
    await tell(wire, "other", 4);
    await noMessage(wire);
  });
});

describe("credit", () => {
  it("[TJS23] [TJS31] of a filter whose topics have different owners, all that was kept comes as credit is added", async ({
    world,
  }) => {
    const topics = ["own/a", "own/b", "own/c", "own/d"];
    const from = await world.connect();
    for (const topic of topics) {
      const retention = { maxMessages: 100 };
      await world.call("PUT", `/v1/topics/${encodeURIComponent(topic)}`, { retention });
      for (const body of [1, 2, 3]) await tell(from, topic, body);
    }
    const wire = await world.connect();
    await listen(wire, 1, "own/+", { from: "first", credit: 1 });
    const heard = await hear(wire, 1, 1);
    await noMessage(wire);
    for (const add of [1, 1, 2, 1, 3, 1, 1, 1]) {
      await wire.ok({ op: "credit", sub: 1, add });
      heard.push(...(await hear(wire, 1, add)));
    }
    for (const topic of topics) {
      const bodies = heard.filter(({ to }) => to === `topic:${topic}`).map(({ body }) => body);
      expect(bodies, topic).toEqual([1, 2, 3]);
    }
    await wire.ok({ op: "credit", sub: 1, add: 5 });
    await tell(from, "own/a", "live");
    expect(await hear(wire, 1, 1)).toMatchObject([{ body: "live" }]);
  });

  it("[TJS13] a subscription that ends while what was kept waits for credit ends", async ({ world }) => {
    const from = await world.connect();
    for (const topic of ["own/a", "own/b"]) await tell(from, topic, "kept", { retain: true });
    const wire = await world.connect();
    await listen(wire, 1, "own/+", { credit: 1 });
    await hear(wire, 1, 1);
    await wire.ok({ op: "unsubscribe", sub: 1 });
    await listen(wire, 1, "own/a");
    expect(await hear(wire, 1, 1)).toMatchObject([{ to: "topic:own/a", retained: true }]);
    await tell(from, "own/b", "live");
    await noMessage(wire);
  });
});

describe("names of the broker's own", () => {
  it("[ADR9] [QUE7] [BNDH6] a durable subscription's queue is looked at and deleted by its name, and stays away", async ({
    world,
  }) => {
    const wire = await world.connect();
    for (const filter of ["a/+", "b/#", "c"]) {
      await listen(wire, 1, filter, { durable: "NAME" });
      const topic = filter.replace(/[+#]/, "x");
      await tell(wire, topic, "first");
      await wire.nextMessage(1);
      const path = queuePath(`$durable/NAME/${filter}`);
      expect(await world.call("GET", path), filter).toMatchObject({
        status: 200,
        body: { name: `$durable/NAME/${filter}`, stats: { leased: 1 } },
      });
      expect(await world.call("GET", `${path}/bindings`)).toMatchObject({ body: { bindings: [{ filter }] } });
      expect(await world.call("DELETE", path)).toMatchObject({ status: 204 });
      await wire.next(({ op, kind, sub }) => op === "event" && kind === "gone" && sub === 1);
      await tell(wire, topic, "second");
      await noMessage(wire);
      expectProblem(await world.call("GET", path), 404, 4, "not-found");
      expect(await names(world)).toEqual([]);
    }
  });

  it("[REG5] a topic under $SYS/ takes no publish from a client", async ({ world }) => {
    const wire = await world.connect();
    await listen(wire, 1, "$SYS/x");
    const path = `/v1/topics/${encodeURIComponent("$SYS/x")}/messages`;
    expectProblem(await world.call("POST", path, "1"), 403, 2, "forbidden");
    const batch = { messages: [{ to: "topic:t", body: 1 }] };
    const type = { "content-type": "application/vnd.dunlin.batch+json" };
    expectProblem(await world.call("POST", path, batch, type), 403, 2, "forbidden");
    expectError(await wire.error({ op: "publish", to: "topic:$SYS/x", body: 1 }), 2, "forbidden");
    await noMessage(wire);
    const will = { to: "topic:$SYS/x", body: 1 };
    const other = await world.connect(false);
    expectError(await other.error({ op: "hello", will }), 2, "forbidden");
    await eventually(async () =>
      expect((await world.call("GET", "/v1/topics")).body).toEqual({ topics: [] }),
    );
  });
});
