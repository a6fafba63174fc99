// Priorities over the wire: order, settings, and what a SIGKILL leaves of them.
import { describe, expect } from "vitest";
import { expectProblem, queuePath, take, type World, withBroker } from "./harness.ts";

const it = withBroker();

async function publish(world: World, priorities: number[], queue = "q"): Promise<void> {
  const wire = await world.connect();
  await Promise.all(
    wire.requestAll(
      priorities.map((priority, i) => ({ op: "publish", to: `queue:${queue}`, body: i, priority })),
    ),
  );
}

describe("priorities", () => {
  it("[PRI1] [PRI6] the highest first over JSON and HTTP, in the order of publishing within one", async ({
    world,
  }) => {
    await publish(world, [0, 5, 9, 5, 0, 9]);
    await world.publish("q", "http", { "dunlin-priority": "7" });
    expect((await world.peek("q")).map(({ body }) => body)).toEqual([2, 5, "http", 1, 3, 0, 4]);
    expect((await world.receive("q", { max: 2 })).map(({ body }) => body)).toEqual([2, 5]);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const rest = await take(wire, 5);
    expect(rest.map(({ body }) => body)).toEqual(["http", 1, 3, 0, 4]);
    expect(rest.map(({ priority }) => priority)).toEqual([7, 5, 5, undefined, undefined]);
  });

  it("[PRI2] [QUE2] [QUE3] the setting is shown as it was given, and refused when it is neither", async ({
    world,
  }) => {
    const declared = await world.declare("q");
    expect(declared.body).toMatchObject({ settings: { priorities: true } });
    for (const priorities of [3, false, true, 1, 10]) {
      expect((await world.declare("q", { priorities })).body).toMatchObject({ settings: { priorities } });
    }
    for (const priorities of [0, 11, 2.5, "3", null]) {
      expectProblem(await world.call("PUT", queuePath("q"), { priorities }), 400, 1, "bad-field");
    }
    expect((await world.call("GET", queuePath("q"))).body).toMatchObject({ settings: { priorities: 10 } });
    await world.declare("off", { priorities: false });
    await publish(world, [0, 9, 5], "off");
    expect((await world.receive("off", { max: 3 })).map(({ body }) => body)).toEqual([0, 1, 2]);
  });

  it("[PRI5] [LIM3] a full queue drops the oldest of the lowest priority", async ({ world }) => {
    await world.declare("q", { maxMessages: 3, overflow: "drop-oldest" });
    await publish(world, [9, 1, 1, 5, 9]);
    expect((await world.peek("q")).map(({ body }) => body)).toEqual([0, 4, 3]);
  });
});

describe("SIGKILL", () => {
  it("[PRI1] [DUR1] changes nothing in the order", async ({ world }) => {
    const count = 200;
    await publish(
      world,
      Array.from({ length: count }, (_, i) => i % 10),
    );
    const [first] = await world.receive("q", { max: 1 });
    expect(first!.body).toBe(9);
    await world.broker.kill();
    await world.broker.restart();
    await world.settle("q", { release: [first!.delivery] });
    const order = Array.from({ length: count }, (_, i) => i).sort((a, b) => (b % 10) - (a % 10) || a - b);
    expect((await world.receive("q", { max: count })).map(({ body }) => body)).toEqual(order);
  });
});
