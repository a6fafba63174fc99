// Addresses and namespaces: which names there are, and what they keep apart.
import { describe, expect } from "vitest";
import { WireClient } from "../support/wire-client.ts";
import { expectAlive, expectError, queuePath, take, withBroker } from "./harness.ts";

const it = withBroker();

describe("addresses", () => {
  it("[ADR1] a name is everything after the first colon, taken literally", async ({ world }) => {
    const wire = await world.connect();
    const names = [
      "a:b",
      "queue:a",
      " a",
      "a/b/../c",
      "日本語",
      "a%2Fb",
      "é",
      "e\u0301",
      "constructor",
      "😀",
      "$sys",
    ];
    for (const name of names) await wire.ok({ op: "publish", to: `queue:${name}`, body: name });
    for (const name of names) {
      expect(await world.peek(name), name).toMatchObject([{ body: name, to: `queue:${name}`, seq: 1 }]);
    }
  });

  it("[ADR2] a name of 512 bytes is accepted", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "publish", to: `queue:${"n".repeat(512)}`, body: 1 });
    await wire.ok({ op: "publish", to: `queue:${"é".repeat(256)}`, body: 1 });
  });

  const wrong = ["", "n".repeat(513), "é".repeat(257), "a\u0000b", "a/+", "#", "a#b", "\ud800"];
  it.for(wrong)("[ADR2] a wrong name is an error and creates nothing: %j", async (name, { world }) => {
    const wire = await world.connect();
    expectError(await wire.error({ op: "publish", to: `queue:${name}`, body: 1 }), 1, "bad-address");
    expectError(await wire.error({ op: "subscribe", sub: 1, to: `queue:${name}` }), 1, "bad-address");
    if (name !== "" && name.isWellFormed()) {
      const answer = await world.call("POST", `${queuePath(name)}/messages`, { a: 1 });
      expect(answer, JSON.stringify(answer.body)).toMatchObject({
        status: 400,
        body: { kind: "bad-address" },
      });
    }
    expect((await world.call("GET", "/v1/queues")).body).toEqual({ queues: [] });
  });

  it("[ADR3] an address of another kind is an error", async ({ world }) => {
    const wire = await world.connect();
    for (const to of ["q", "", ":q", "Queue:q", "queues:q", "exchange:q", "queue", "QUEUE:q"]) {
      expectError(await wire.error({ op: "publish", to, body: 1 }), 1, "bad-address");
      expectError(await wire.error({ op: "subscribe", sub: 1, to }), 1, "bad-address");
    }
  });

  it("[ADR4] topic:NAME is a topic, and another thing than the queue of the same name", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:a:b" });
    await wire.ok({ op: "subscribe", sub: 2, to: "topic:a:b" });
    await wire.ok({ op: "publish", to: "topic:a:b", body: 1 });
    expect(await wire.nextMessage(2)).toMatchObject({ sub: 2, to: "topic:a:b", body: 1 });
    await expectAlive(wire);
  });

  it("[ADR5] [ADR6] the namespace comes from ?ns= on sockets and HTTP alike, else it is default", async ({
    world,
  }) => {
    const queue = `q-${world.ns}`;
    const here = await world.connect();
    expect(here.welcome!.namespace).toBe(world.ns);
    await here.ok({ op: "publish", to: `queue:${queue}`, body: "here" });
    expect((await world.peek(queue)).map((m) => m.body)).toEqual(["here"]);
    expect((await world.call("GET", queuePath(queue), undefined, {}, `${world.ns}-other`)).status).toBe(404);

    const nowhere = await WireClient.connect(world.broker.wsUrl);
    expect(nowhere.welcome!.namespace).toBe("default");
    await nowhere.ok({ op: "publish", to: `queue:${queue}`, body: "default" });
    nowhere.cut();
    const named = await world.call("GET", `${queuePath(queue)}/messages`, undefined, {}, "default");
    expect(named.body).toMatchObject({ messages: [{ body: "default", seq: 1 }] });
    const bare = await world.call("GET", `${queuePath(queue)}/messages`, undefined, {}, "");
    expect(bare.body).toEqual(named.body);
  });

  it("[ADR6] [ADR7] the same queue, message id and client id in two namespaces have nothing in common", async ({
    world,
  }) => {
    const a = await world.connect({ client: "c" });
    const b = await world.connect({ client: "c" }, `${world.ns}.b`);
    for (const wire of [a, b]) {
      const frame = { op: "publish", to: "queue:q", messageId: "m", body: wire === a ? "a" : "b" };
      expect(await wire.ok(frame)).toMatchObject({ seq: 1, duplicate: false });
      await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    }
    expect((await take(a, 1))[0]!.body).toBe("a");
    expect((await take(b, 1))[0]!.body).toBe("b");
    const lists = [world.ns, `${world.ns}.b`].map((ns) => world.call("GET", "/v1/queues", undefined, {}, ns));
    for (const answer of await Promise.all(lists))
      expect(answer.body).toMatchObject({ queues: [{ name: "q" }] });
  });

  it("[ADR7] a malformed namespace is refused", async ({ world }) => {
    for (const ns of ["a b", "-a", "a:b", "n".repeat(65), "é"]) {
      const answer = await world.call("GET", "/v1/queues", undefined, {}, ns);
      expect(answer, ns).toMatchObject({ status: 400, body: { kind: "bad-address" } });
    }
  });

  it("[ADR8] a queue comes into being on first publish, subscribe or receive", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "publish", to: "queue:a", body: 1 });
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:b" });
    expect(await world.receive("c")).toEqual([]);
    await world.publish("d", 1);
    const { queues } = (await world.call("GET", "/v1/queues")).body as { queues: { name: string }[] };
    expect(queues.map((queue) => queue.name)).toEqual(["a", "b", "c", "d"]);
  });
});
