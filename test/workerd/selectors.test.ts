// Filters by header with every object evicted between any two steps: on a subscription, on a binding, in the directory's books.
import { afterEach, describe, expect, it } from "vitest";
import { call, eventually, type Frame, stats, Wire } from "./support/client.ts";
import { directoryStub, evict, gatewayStub, queueStub, topicStub } from "./support/objects.ts";

const open: Wire[] = [];

afterEach(() => {
  for (const wire of open.splice(0)) if (wire.closed === undefined) wire.close();
});

async function connect(hello: Record<string, unknown> = {}): Promise<Wire> {
  const wire = await Wire.connect(hello);
  open.push(wire);
  return wire;
}

function car(topic: string, body: string, color: string): Frame {
  return { op: "publish", to: `topic:${topic}`, body, headers: { color } };
}

describe("a subscription with a filter", () => {
  it("[SEL11] goes on as it was when the gateway and the topic have slept", async () => {
    const hearer = await connect();
    const publisher = await connect();
    await hearer.ask({ op: "subscribe", sub: 1, to: "topic:sleepy", filter: "color = 'blue'", credit: 3 });
    for (const [step, body] of ["a", "b", "c"].entries()) {
      await evict(gatewayStub());
      if (step === 1) await evict(topicStub("sleepy"));
      await publisher.askAll(car("sleepy", `red ${body}`, "red"), car("sleepy", `blue ${body}`, "blue"));
      expect(await hearer.take(1)).toMatchObject([{ op: "message", sub: 1, body: `blue ${body}` }]);
    }
    expect(hearer.frames).toEqual([]);
  });

  it("[SEL11] [SEL12] a session that outlives its socket keeps it, and the one that took its place", async () => {
    const hello = { client: "selector-ann", session: { expirySeconds: 60 } };
    const first = await connect(hello);
    const publisher = await connect();
    const subscribe = { op: "subscribe", sub: 1, to: "topic:kept/+" };
    await first.ask({ ...subscribe, filter: "color = 'blue'" });
    await first.ask({ ...subscribe, filter: { color: "red" } });
    first.close();
    await evict(gatewayStub());
    const second = await connect(hello);
    await evict(gatewayStub());
    await publisher.askAll(car("kept/1", "blue", "blue"), car("kept/2", "red", "red"));
    expect(await second.take(1)).toMatchObject([{ op: "message", sub: 1, body: "red" }]);
    expect(second.frames).toEqual([]);
  });
});

describe("a binding with a filter", () => {
  it("[SEL16] goes on as it was when directory, topic and queue have slept", async () => {
    const bind = async (filter: string, body: object) => {
      const path = `/v1/queues/selected/bindings/${encodeURIComponent(filter)}`;
      const answer = await call(path, { method: "PUT", body: JSON.stringify(body) });
      expect(answer.ok, await answer.clone().text()).toBe(true);
    };
    const sleep = async () => {
      for (const stub of [directoryStub(), topicStub("sold/a"), queueStub("selected")]) await evict(stub);
    };
    await bind("sold/+", { filter: "color = 'blue'" });
    const publisher = await connect();
    for (const color of ["blue", "red", "blue"]) {
      await sleep();
      await publisher.ask(car("sold/a", color, color));
    }
    await sleep();
    await publisher.askAll(car("sold/new", "red", "red"), car("sold/new", "blue", "blue"));
    await eventually("three messages", async () =>
      (await stats("selected")).accepted === 3 ? true : undefined,
    );
    await bind("sold/+", { filter: "color = 'red'" });
    await sleep();
    await publisher.askAll(car("sold/a", "blue", "blue"), car("sold/a", "red", "red"));
    await eventually("another", async () => ((await stats("selected")).accepted === 4 ? true : undefined));
  });
});
