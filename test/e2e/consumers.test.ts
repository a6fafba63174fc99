// One active consumer, consumers with filters, delivery to all devices, and the list of who consumes: over the wire.
import { describe, expect } from "vitest";
import type { WireClient } from "../support/wire-client.ts";
import {
  eventually,
  expectError,
  expectProblem,
  noMessage,
  queuePath,
  take,
  type World,
  withBroker,
} from "./harness.ts";

const it = withBroker();

async function publish(world: World, ...messages: Record<string, unknown>[]): Promise<void> {
  const wire = await world.connect();
  await Promise.all(
    wire.requestAll(messages.map((message) => ({ op: "publish", to: "queue:q", ...message }))),
  );
}

function numbers(count: number, first = 1): { body: number }[] {
  return Array.from({ length: count }, (_, i) => ({ body: first + i }));
}

async function bodies(wire: WireClient, count: number): Promise<unknown[]> {
  return (await take(wire, count)).map(({ body }) => body);
}

function isEvent(kind: string): (frame: { op?: unknown; kind?: unknown }) => boolean {
  return (frame) => frame.op === "event" && frame.kind === kind;
}

async function subscribed(
  world: World,
  fields: Record<string, unknown> = {},
  hello = {},
): Promise<WireClient> {
  const wire = await world.connect(hello);
  await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", ...fields });
  return wire;
}

describe("a single active consumer", () => {
  it("[SAC1] [SAC2] [SAC4] the next takes over with what the first held, in order, and is told before", async ({
    world,
  }) => {
    await world.declare("q", { singleActiveConsumer: true });
    const first = await subscribed(world);
    expect(await first.next(isEvent("active"))).toMatchObject({ sub: 1, active: true });
    const second = await subscribed(world);
    expect(await second.next(isEvent("active"))).toMatchObject({ sub: 1, active: false });
    await publish(world, ...numbers(5));
    expect(await bodies(first, 5)).toEqual([1, 2, 3, 4, 5]);
    await noMessage(second);
    first.cut();
    expect(await second.next(isEvent("active"))).toMatchObject({ sub: 1, active: true });
    expect(await bodies(second, 5)).toEqual([1, 2, 3, 4, 5]);
  });

  it("[SAC3] one whose connection is lost keeps its turn while its session and leases last", async ({
    world,
  }) => {
    await world.declare("q", { singleActiveConsumer: true });
    const session = { client: "first", session: { expirySeconds: 600 } };
    const first = await subscribed(world, { leaseMs: 2_000 }, session);
    const second = await subscribed(world);
    await publish(world, ...numbers(2));
    expect(await bodies(first, 2)).toEqual([1, 2]);
    first.cut();
    await noMessage(second, 1, 500);
    expect(await bodies(second, 2)).toEqual([1, 2]);
  });

  it("[SAC5] [SAC6] HTTP waits for the subscriptions to go, and the list tells who is active", async ({
    world,
  }) => {
    await world.declare("q", { singleActiveConsumer: true });
    const first = await subscribed(world, { credit: 2 }, { client: "first" });
    await subscribed(world, { leaseMs: 5_000 }, { client: "second" });
    await publish(world, ...numbers(3));
    expect(await bodies(first, 2)).toEqual([1, 2]);
    expect(await world.receive("q", { max: 5 })).toEqual([]);
    const path = `${queuePath("q")}/consumers`;
    const common = { kind: "subscription", paused: false };
    const one = { ...common, client: "first", credit: 2, unsettled: 2, active: true };
    const other = { ...common, client: "second", credit: 64, unsettled: 0, leaseMs: 5_000, active: false };
    expect((await world.call("GET", path)).body).toEqual({ consumers: [one, other] });
    expect((await world.call("GET", `${path}?limit=1`)).body).toEqual({ consumers: [one], next: 1 });
    expect((await world.call("GET", `${path}?limit=1&after=1`)).body).toEqual({ consumers: [other] });
    expectProblem(await world.call("GET", `${path}?limit=0`), 400, 1, "bad-field");
    expectProblem(await world.call("GET", `${path}?after=-1`), 400, 1, "bad-field");
    expectProblem(await world.call("GET", `${queuePath("none")}/consumers`), 404, 4, "not-found");
  });

  it("[SAC7] [DUR1] a SIGKILL changes nothing in who is active", async ({ world }) => {
    await world.declare("q", { singleActiveConsumer: true });
    const session = (client: string) => ({ client, session: { expirySeconds: 600 } });
    const second = await subscribed(world, {}, session("second"));
    await subscribed(world, {}, session("first"));
    await publish(world, ...numbers(3));
    expect(await bodies(second, 3)).toEqual([1, 2, 3]);
    await world.broker.kill();
    await world.broker.restart();
    const later = await world.connect(session("first"));
    const again = await world.connect(session("second"));
    expect(await bodies(again, 3)).toEqual([1, 2, 3]);
    await publish(world, ...numbers(2, 4));
    expect(await bodies(again, 2)).toEqual([4, 5]);
    await noMessage(later);
  });
});

describe("filters", () => {
  const red = { headers: { colour: "red" } };
  const blue = { headers: { colour: "blue" } };

  it("[QSL1] [QSL2] [QSL4] each consumer gets what matches, and what is left stays for the next", async ({
    world,
  }) => {
    const reds = await subscribed(world, { filter: "colour = 'red'" });
    await publish(world, { body: 1, ...blue }, { body: 2, ...red }, { body: 3 }, { body: 4, ...red });
    expect(await bodies(reds, 2)).toEqual([2, 4]);
    await noMessage(reds);
    const blues = await subscribed(world, { filter: { colour: "blue" } });
    expect(await bodies(blues, 1)).toEqual([1]);
    await blues.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    expect(await bodies(blues, 1)).toEqual([3]);
    expect((await world.call("GET", `${queuePath("q")}/consumers`)).body).toMatchObject({
      consumers: [{ filter: "colour = 'red'" }, { unsettled: 2 }],
    });
  });

  it("[QSL3] what a consumer leaves is there for others", async ({ world }) => {
    const first = await subscribed(world, { filter: "colour = 'red'" });
    await publish(world, { body: 1, ...red }, { body: 2, ...red });
    expect(await bodies(first, 2)).toEqual([1, 2]);
    const second = await subscribed(world, { filter: "attempt > 1" });
    first.cut();
    expect(await bodies(second, 2)).toEqual([1, 2]);
  });

  it("[QSL6] [QSL10] over HTTP, at once and while it waits; what is no selector is refused everywhere", async ({
    world,
  }) => {
    await publish(world, { body: 1, ...blue }, { body: 2, ...red });
    const filter = "colour = 'red'";
    expect((await world.receive("q", { max: 5, filter })).map(({ body }) => body)).toEqual([2]);
    const waiting = world.receive("q", { max: 5, filter, waitMs: 20_000 });
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ consumers: 1 }));
    await publish(world, { body: 3, ...blue }, { body: 4, ...red });
    expect((await waiting).map(({ body }) => body)).toEqual([4]);
    const receive = `${queuePath("q")}/receive`;
    for (const wrong of ["colour =", 5, { colour: [] }, ["red"]]) {
      expectProblem(await world.call("POST", receive, { filter: wrong }), 400, 1, "bad-field");
      const wire = await world.connect();
      expectError(
        await wire.error({ op: "subscribe", sub: 1, to: "queue:q", filter: wrong }),
        1,
        "bad-field",
      );
    }
    expect(await world.stats("q")).toMatchObject({ ready: 2, consumers: 0 });
  });

  it("[QSL1] [DUR1] hold over a SIGKILL", async ({ world }) => {
    const session = { client: "reds", session: { expirySeconds: 600 } };
    const reds = await subscribed(world, { filter: "colour = 'red'" }, session);
    await publish(world, { body: 1, ...blue }, { body: 2, ...red });
    expect(await bodies(reds, 1)).toEqual([2]);
    await world.broker.kill();
    await world.broker.restart();
    const again = await world.connect(session);
    expect(await bodies(again, 1)).toEqual([2]);
    await publish(world, { body: 3, ...blue }, { body: 4, ...red });
    expect(await bodies(again, 1)).toEqual([4]);
    await noMessage(again);
    expect(await world.stats("q")).toMatchObject({ ready: 2, leased: 2 });
  });
});

describe("delivery to all", () => {
  it("[DEV1] [DEV2] [DEV3] every device gets it, and the first settle ends it on the others", async ({
    world,
  }) => {
    await world.declare("q", { delivery: "all" });
    const devices = await Promise.all(
      ["phone", "desk", "tv"].map((client) => subscribed(world, {}, { client })),
    );
    await publish(world, ...numbers(2));
    const got = await Promise.all(devices.map((device) => take(device, 2)));
    const handles = got[0]!.map(({ delivery }) => delivery);
    for (const messages of got) expect(messages.map(({ delivery }) => delivery)).toEqual(handles);
    const [phone, desk, tv] = devices as [WireClient, WireClient, WireClient];
    expect(await phone.ok({ op: "settle", sub: 1, ack: [handles[0]] })).toMatchObject({
      settled: 1,
      lost: [],
    });
    for (const other of [desk, tv]) {
      expect(await other.next(isEvent("settled"))).toMatchObject({ sub: 1, deliveries: [handles[0]] });
    }
    expect(await desk.ok({ op: "settle", sub: 1, fail: [{ delivery: handles[0] }] })).toMatchObject({
      settled: 1,
      lost: [],
    });
    await phone.none(isEvent("settled"), 200);
    await world.settle("q", { ack: [handles[1]] });
    for (const device of devices) {
      expect(await device.next(isEvent("settled"))).toMatchObject({ deliveries: [handles[1]] });
    }
    expect(await world.stats("q")).toMatchObject({ settled: 2, leased: 0, ready: 0 });
  });

  it("[DEV4] [DEV7] a lease that runs out is one failure for all; a device that goes leaves it to the others", async ({
    world,
  }) => {
    await world.declare("q", { delivery: "all", leaseMs: 1_000, maxFailures: 2 });
    const phone = await subscribed(world);
    const desk = await subscribed(world);
    await publish(world, ...numbers(1));
    const [first] = await take(phone, 1);
    await take(desk, 1);
    const [again] = await take(phone, 1);
    expect(again).toMatchObject({ body: 1, attempt: 2, redelivered: true });
    expect(again!.delivery).not.toBe(first!.delivery);
    phone.cut();
    const [left] = await take(desk, 1);
    expect(left!.delivery).toBe(again!.delivery);
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ deadLettered: 1 }));
  });

  it("[DEV5] [DEV6] [DEV9] a device that comes later gets what is out, up to its credit; so does a receive", async ({
    world,
  }) => {
    await world.declare("q", { delivery: "all" });
    const phone = await subscribed(world, { credit: 3 });
    await publish(world, ...numbers(5));
    const held = await take(phone, 3);
    const desk = await subscribed(world, { credit: 2 });
    expect(await bodies(desk, 2)).toEqual([1, 2]);
    expect((await world.receive("q", { max: 2 })).map(({ delivery }) => delivery)).toEqual(
      held.slice(0, 2).map(({ delivery }) => delivery),
    );
    await phone.ok({ op: "settle", sub: 1, ack: [held[0]!.delivery, held[1]!.delivery] });
    expect(await bodies(desk, 2)).toEqual([3, 4]);
    expect(await bodies(phone, 1)).toEqual([4]);
    expect(await world.stats("q")).toMatchObject({ leased: 2, ready: 1 });
  });

  it("[DEV8] [SAC7] what does not go together is refused, and nothing is changed", async ({ world }) => {
    await world.declare("q", { delivery: "all" });
    expectProblem(
      await world.call("PUT", queuePath("q"), { singleActiveConsumer: true }),
      400,
      1,
      "bad-field",
    );
    const both = { delivery: "all", singleActiveConsumer: true };
    expectProblem(await world.call("PUT", queuePath("new"), both), 400, 1, "bad-field");
    expect((await world.call("GET", queuePath("new"))).status).toBe(404);
    expectProblem(await world.call("PUT", queuePath("q"), { delivery: "some" }), 400, 1, "bad-field");
    const wire = await world.connect();
    const subscribe = { op: "subscribe", sub: 1, to: "queue:q", filter: "a = 'b'" };
    expectError(await wire.error(subscribe), 1, "bad-field");
    expectProblem(
      await world.call("POST", `${queuePath("q")}/receive`, { filter: "a = 'b'" }),
      400,
      1,
      "bad-field",
    );
    await world.declare("q", { delivery: "one" });
    await wire.ok(subscribe);
    expectProblem(await world.call("PUT", queuePath("q"), { delivery: "all" }), 409, 4, "conflict");
    expect((await world.call("GET", queuePath("q"))).body).toMatchObject({
      settings: { delivery: "one", singleActiveConsumer: false },
    });
  });

  it("[DEV10] [DUR1] a SIGKILL leaves out what was out, and the settle by one still ends it for all", async ({
    world,
  }) => {
    await world.declare("q", { delivery: "all" });
    const session = (client: string) => ({ client, session: { expirySeconds: 600 } });
    for (const client of ["phone", "desk"]) await subscribed(world, {}, session(client));
    await publish(world, ...numbers(2));
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ leased: 2 }));
    await world.broker.kill();
    await world.broker.restart();
    const phone = await world.connect(session("phone"));
    const desk = await world.connect(session("desk"));
    const held = await take(phone, 2);
    expect((await take(desk, 2)).map(({ delivery }) => delivery)).toEqual(
      held.map(({ delivery }) => delivery),
    );
    await desk.ok({ op: "settle", sub: 1, ack: [held[0]!.delivery] });
    expect(await phone.next(isEvent("settled"))).toMatchObject({ deliveries: [held[0]!.delivery] });
    expect(await world.stats("q")).toMatchObject({ leased: 1, settled: 1 });
  });
});
