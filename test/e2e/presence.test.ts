// Presence over real sockets: who is in a room, as watchers over JSON, MQTT, HTTP and events see it, and after the broker was killed.
import { describe, expect } from "vitest";
import { EventStream } from "../support/event-stream.ts";
import { MqttWire } from "../support/mqtt-wire.ts";
import { listen } from "../support/topic-wire.ts";
import type { WireClient, WireFrame } from "../support/wire-client.ts";
import {
  eventually,
  expectError,
  expectProblem,
  noMessage,
  pass,
  type World,
  withBroker,
} from "./harness.ts";
import { mqttUrl } from "./mqtt/mqtt-world.ts";

const it = withBroker({ env: { DUNLIN_MAX_PRESENCE_MEMBERS: "3" } });

/** Enters a room over JSON. */
function enter(wire: WireClient, room: string, data?: unknown, action = "enter"): Promise<WireFrame> {
  return wire.ok({ op: "presence", to: `topic:${room}`, action, ...(data === undefined ? {} : { data }) });
}

/** Says something to a room over HTTP. */
function say(world: World, room: string, body: unknown, headers: Record<string, string> = {}) {
  return world.call("POST", `/v1/topics/${encodeURIComponent(`$presence/${room}`)}/messages`, body, headers);
}

/** Who is in a room, as HTTP tells it. */
async function members(world: World, room: string): Promise<string[]> {
  const answer = await world.call("GET", `/v1/topics/${encodeURIComponent(`$presence/${room}`)}/retained`);
  expect(answer.status).toBe(200);
  const { body } = answer.body as { body: { count: number; members: { client: string }[] } };
  expect(body.count).toBe(body.members.length);
  return body.members.map(({ client }) => client).sort();
}

async function mqtt(world: World, clientId: string, fields: object = {}): Promise<MqttWire> {
  return MqttWire.connect(mqttUrl(world), 5, { clientId, ...fields });
}

describe("watching", () => {
  it("[PRS1] [PRS3] [PRS14] JSON: the snapshot first, then every change, numbered without a gap", async ({
    world,
  }) => {
    const [ann, bob, watcher] = [
      await world.connect({ client: "ann" }),
      await world.connect({ client: "bob" }),
      await world.connect({ client: "eve" }),
    ];
    const { seq } = await enter(ann, "hall", { name: "Ann" });
    await listen(watcher, 1, "$presence/hall");
    const snapshot = await watcher.nextMessage(1);
    expect(snapshot).toMatchObject({
      ...{ seq, retained: true, to: "topic:$presence/hall" },
      body: {
        kind: "snapshot",
        count: 1,
        members: [{ client: "ann", data: { name: "Ann" }, since: expect.any(Number) }],
      },
    });
    await bob.ok({ op: "publish", to: "topic:$presence/hall", body: { action: "enter", data: 7 } });
    await enter(ann, "hall", { name: "Anna" }, "update");
    await enter(bob, "hall", undefined, "leave");
    const bodies: unknown[] = [];
    for (let next = seq! + 1; next <= seq! + 3; next++) {
      const frame = await watcher.nextMessage(1);
      expect(frame).toMatchObject({ seq: next, epoch: snapshot.epoch });
      bodies.push(frame.body);
    }
    expect(bodies).toEqual([
      { kind: "change", action: "enter", client: "bob", data: 7, count: 2 },
      { kind: "change", action: "update", client: "ann", data: { name: "Anna" }, count: 2 },
      { kind: "change", action: "leave", client: "bob", count: 1 },
    ]);
  });

  it("[PRS3] who watches while others come and go misses nothing and gets nothing twice", async ({
    world,
  }) => {
    const [ann, eve] = [await world.connect({ client: "ann" }), await world.connect()];
    const frames = Array.from({ length: 400 }, (_, i) => ({
      op: "presence",
      to: "topic:hall",
      action: i % 3 === 2 ? "leave" : "enter",
      data: i,
    }));
    const done = Promise.all(ann.requestAll(frames));
    for (let sub = 1; sub <= 20; sub++) await listen(eve, sub, "$presence/hall");
    const answers = await done;
    const last = answers.at(-1)!.seq!;
    for (let sub = 1; sub <= 20; sub++) {
      const first = await eve.nextMessage(sub);
      expect(first.body).toMatchObject({ kind: "snapshot" });
      for (let seq = first.seq! + 1; seq <= last; seq++) {
        expect((await eve.nextMessage(sub)).seq).toBe(seq);
      }
    }
    await noMessage(eve);
  });

  it("[PRS14] MQTT and events: the same, and + for every room", async ({ world }) => {
    const ann = await mqtt(world, "ann");
    await ann.publish("$presence/a/b", JSON.stringify({ action: "enter", data: 1 }), { qos: 1 });
    const eve = await mqtt(world, "eve");
    await eve.subscribe("$presence/#", { qos: 1 });
    const got = await eve.message();
    expect(got).toMatchObject({ topic: "$presence/a/b", retain: true });
    expect(JSON.parse(String(got.payload))).toMatchObject({ kind: "snapshot", count: 1 });
    const url = new URL("/v1/events", world.broker.url);
    url.search = new URLSearchParams({ topic: "$presence/a/+", ns: world.ns }).toString();
    const stream = await EventStream.open(url);
    await stream.next("subscribed");
    expect((await stream.next("message")).data.body).toMatchObject({ kind: "snapshot", count: 1 });
    await ann.publish("$presence/a/b", JSON.stringify({ action: "update", data: 2 }), { qos: 2 });
    const change = { kind: "change", action: "update", client: "ann", data: 2, count: 1 };
    expect(JSON.parse(String((await eve.message()).payload))).toEqual(change);
    expect((await stream.next("message")).data.body).toEqual(change);
    ann.cut();
    expect(JSON.parse(String((await eve.message()).payload))).toMatchObject({
      action: "leave",
      client: "ann",
    });
    stream.close();
    eve.cut();
  });

  it("[PRS5] a stream that comes again goes on, or gets the snapshot", async ({ world }) => {
    const ann = await world.connect({ client: "ann" });
    await enter(ann, "hall", 1);
    const url = new URL("/v1/events", world.broker.url);
    url.search = new URLSearchParams({ topic: "$presence/hall", ns: world.ns }).toString();
    const first = await EventStream.open(url);
    await first.next("subscribed");
    await first.next("message");
    await enter(ann, "hall", 2, "update");
    const { id } = await first.next("message");
    first.close();
    const here = await EventStream.open(url, { "last-event-id": id! });
    expect((await here.next("subscribed")).data).toMatchObject({ recovered: true });
    await enter(ann, "hall", 3, "update");
    expect((await here.next("message")).data.body).toMatchObject({ kind: "change", data: 3 });
    here.close();
    const late = await EventStream.open(url, { "last-event-id": id! });
    expect((await late.next("subscribed")).data).toMatchObject({ recovered: true });
    expect((await late.next("message")).data.body).toMatchObject({
      kind: "snapshot",
      members: [{ data: 3 }],
    });
    late.close();
  });

  it("[PRS6] above the limit counts only, and members again below it", async ({ world }) => {
    const eve = await world.connect();
    await listen(eve, 1, "$presence/hall");
    const wires: WireClient[] = [];
    for (let i = 0; i < 5; i++) {
      wires.push(await world.connect({ client: `c${i}` }));
      await enter(wires[i]!, "hall");
    }
    const kinds = new Set<unknown>();
    const until = async (wanted: object) => {
      for (;;) {
        const { body } = await eve.nextMessage(1);
        kinds.add((body as { kind: string }).kind);
        if (JSON.stringify(body).startsWith(JSON.stringify(wanted).slice(0, -1))) return;
      }
    };
    await until({ kind: "count", count: 5 });
    for (const wire of wires.slice(2)) await wire.close();
    await until({ kind: "snapshot", count: 2 });
    expect([...kinds]).toEqual(["snapshot", "change", "count"]);
    expect(await members(world, "hall")).toEqual(["c0", "c1"]);
  });
});

describe("leaving", () => {
  it("[PRS12] a socket that is gone, a bye, and a takeover without a session", async ({ world }) => {
    const eve = await world.connect();
    await listen(eve, 1, "$presence/hall");
    const told = async () => {
      const { action, client } = (await eve.nextMessage(1)).body as { action: string; client: string };
      return `${action} ${client}`;
    };
    await eve.nextMessage(1);
    const ann = await world.connect({ client: "ann" });
    const bob = await world.connect({ client: "bob", session: { expirySeconds: 300 } });
    const cleo = await world.connect({ client: "cleo" });
    for (const wire of [ann, bob, cleo]) {
      await enter(wire, "hall");
      await told();
    }
    ann.cut();
    expect(await told()).toBe("leave ann");
    await bob.ok({ op: "bye" });
    expect(await told()).toBe("leave bob");
    await world.connect({ client: "cleo" });
    expect(await told()).toBe("leave cleo");
  });

  it("[PRS12] a session that is resumed stays without a word, one that is not leaves when it ends", async ({
    world,
  }) => {
    const eve = await world.connect();
    const ann = await world.connect({ client: "ann", session: { expirySeconds: 300 } });
    await enter(ann, "hall", 1);
    await listen(eve, 1, "$presence/hall");
    await eve.nextMessage(1);
    ann.cut();
    await pass(200);
    const again = await world.connect({ client: "ann", session: { expirySeconds: 1 } });
    expect(again.welcome).toMatchObject({ resumed: true });
    await noMessage(eve, 1);
    again.cut();
    expect((await eve.nextMessage(1)).body).toMatchObject({ action: "leave", client: "ann", count: 0 });
  });

  it("[PRS12] MQTT: DISCONNECT leaves, whatever the session's expiry", async ({ world }) => {
    const ann = await mqtt(world, "ann", { clean: false, properties: { sessionExpiryInterval: 300 } });
    await ann.publish("$presence/hall", '{"action":"enter"}', { qos: 2 });
    expect(await members(world, "hall")).toEqual(["ann"]);
    await ann.bye();
    await eventually(async () => expect(await members(world, "hall")).toEqual([]));
  });

  it("[PRS8] [PRS10] HTTP: a member needs a time to live, and speaks for nobody with a session", async ({
    world,
  }) => {
    const named = { "dunlin-client": "web" };
    expectProblem(await say(world, "hall", { action: "enter" }, named), 400, 1, "bad-field");
    const ttl = { ...named, "dunlin-ttl-ms": "1500" };
    expect(await say(world, "hall", { action: "enter", data: { page: 1 } }, ttl)).toMatchObject({
      status: 201,
    });
    expect(await members(world, "hall")).toEqual(["web"]);
    const ann = await world.connect({ client: "ann" });
    await enter(ann, "hall");
    const asAnn = { "dunlin-client": "ann", "dunlin-ttl-ms": "1500" };
    expectProblem(await say(world, "hall", { action: "leave" }, asAnn), 409, 4, "conflict");
    await eventually(async () => expect(await members(world, "hall")).toEqual(["ann"]));
  });
});

describe("SIGKILL", () => {
  it("[PRS13] nobody is a ghost afterwards, and nobody is missing", async ({ world }) => {
    const gone = await world.connect({ client: "gone" });
    const kept = await world.connect({ client: "kept", session: { expirySeconds: 300 } });
    const device = await mqtt(world, "device");
    await enter(gone, "hall");
    await enter(gone, "attic");
    await enter(kept, "hall", { still: "here" });
    await device.publish("$presence/hall", '{"action":"enter"}', { qos: 1 });
    await say(world, "hall", { action: "enter" }, { "dunlin-client": "web", "dunlin-ttl-ms": "300000" });
    await world.broker.kill();
    await world.broker.restart();
    // The gateway would wake by itself in half a minute; any client wakes it sooner.
    await world.connect();
    await eventually(async () => expect(await members(world, "hall")).toEqual(["kept", "web"]));
    await eventually(async () => expect(await members(world, "attic")).toEqual([]));
    const back = await world.connect({ client: "kept", session: { expirySeconds: 0 } });
    expect(back.welcome).toMatchObject({ resumed: true });
    expect(await members(world, "hall")).toEqual(["kept", "web"]);
    back.cut();
    await eventually(async () => expect(await members(world, "hall")).toEqual(["web"]));
  });
});

describe("what is refused", () => {
  it("[PRS7] [PRS15] what is no action, too much data, a will, settings, a room without a name", async ({
    world,
  }) => {
    const wire = await world.connect({ client: "ann" });
    const to = "topic:$presence/hall";
    expectError(await wire.error({ op: "publish", to, body: { action: "dance" } }), 1, "bad-field");
    expectError(await wire.error({ op: "publish", to, base64: "//8=" }), 1, "bad-body");
    expectError(await wire.error({ op: "presence", to: "queue:a", action: "enter" }), 1, "bad-address");
    expectError(await wire.error({ op: "presence", to: "topic:", action: "enter" }), 1, "bad-address");
    const large = { op: "presence", to: "topic:hall", action: "enter", data: "x".repeat(8_192) };
    expectError(await wire.error(large), 3, "message-too-large");
    expectError(
      await wire.error({ op: "publish", to, body: { action: "enter" }, delayMs: 5 }),
      1,
      "bad-field",
    );
    expectError(
      await wire.error({ op: "publish", to, body: { action: "enter" }, expectSeq: 0 }),
      5,
      "not-supported",
    );
    const other = await world.connect(false as never);
    expectError(await other.error({ op: "hello", will: { to, body: { action: "leave" } } }), 2, "forbidden");
    const path = `/v1/topics/${encodeURIComponent("$presence/hall")}`;
    expectProblem(await world.call("PUT", path, { retention: { maxMessages: 5 } }), 501, 5, "not-supported");
    expectProblem(await world.call("DELETE", path), 501, 5, "not-supported");
  });

  it("[PRS7] a session is in 100 rooms at most", async ({ world }) => {
    const wire = await world.connect({ client: "ann" });
    for (let i = 0; i < 100; i++) await enter(wire, `r${i}`);
    expectError(await wire.error({ op: "presence", to: "topic:more", action: "enter" }), 3, "too-many");
    await enter(wire, "r0", undefined, "leave");
    await enter(wire, "more");
  });

  it("[PRS15] a namespace whose topics are declared first has rooms all the same", async ({ world }) => {
    await world.call("PUT", "/v1/namespace", { declareFirst: true });
    await enter(await world.connect({ client: "ann" }), "hall");
    expect(await members(world, "hall")).toEqual(["ann"]);
  });
});
