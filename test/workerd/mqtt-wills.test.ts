// Wills, keep alives and the ends of sessions, over evictions of the gateway. The clock is the test's.
import { runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type ConnectFields, MqttWire } from "./support/mqtt.ts";
import { lazyByHand } from "./support/mqtt-script.ts";
import { evict, gatewayStub } from "./support/objects.ts";

let runs = 0;
const open: MqttWire[] = [];

lazyByHand();

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
});

afterEach(() => {
  for (const wire of open.splice(0)) wire.close();
  vi.useRealTimers();
});

async function connect(clientId: string, fields: ConnectFields = {}): Promise<MqttWire> {
  const [wire] = await MqttWire.connect(clientId, fields);
  open.push(wire);
  return wire;
}

/** Whether a client's session is still there: a new connection finds out, and ends it. */
async function present(clientId: string): Promise<boolean> {
  const [wire, { sessionPresent }] = await MqttWire.connect(clientId, { cleanStart: false });
  await wire.disconnect();
  return sessionPresent;
}

/** Lets time pass, and the gateway act on it. */
async function pass(ms: number): Promise<void> {
  vi.setSystemTime(Date.now() + ms);
  await runDurableObjectAlarm(gatewayStub());
}

/** A watcher of wills, and a client with one. */
async function mortal(delaySeconds: number, expirySeconds: number, fields: ConnectFields = {}) {
  const topic = `will-${++runs}`;
  const watcher = await connect(`${topic}-watcher`);
  await watcher.subscribe(topic, { qos: 1 });
  const client = `${topic}-client`;
  const wire = await connect(client, {
    properties: { sessionExpiryInterval: expirySeconds },
    will: {
      ...{ topic, payload: new TextEncoder().encode("gone"), qos: 1, retain: false },
      properties: { willDelayInterval: delaySeconds, messageExpiryInterval: 60 },
    },
    ...fields,
  });
  return { topic, watcher, client, wire };
}

describe("a will", () => {
  it.each([0, 600])(
    "[MQV8] is published after an eviction when the socket is lost, expiry %i",
    async (expiry) => {
      const { topic, watcher, wire } = await mortal(0, expiry);
      await evict(gatewayStub());
      await wire.drop();
      expect(await watcher.got()).toMatchObject({ topic, body: "gone", qos: 1, retain: false });
      expect(await watcher.rest()).toEqual([]);
    },
  );

  it.each([0, 600])(
    "[MQV8] is published once when its socket went while the gateway slept, expiry %i",
    async (expiry) => {
      const { watcher, wire } = await mortal(0, expiry);
      await evict(gatewayStub());
      wire.close();
      expect(await watcher.got()).toMatchObject({ body: "gone" });
      await evict(gatewayStub());
      expect(await watcher.rest()).toEqual([]);
    },
  );

  it("[MQV8] waits out its delay over evictions", async () => {
    const { watcher, wire, client } = await mortal(30, 600);
    await evict(gatewayStub());
    await wire.drop();
    await watcher.rest();
    await evict(gatewayStub());
    await pass(29_000);
    expect(await watcher.rest()).toEqual([]);
    await evict(gatewayStub());
    await pass(2_000);
    expect(await watcher.got()).toMatchObject({ body: "gone", properties: { messageExpiryInterval: 60 } });
    await evict(gatewayStub());
    await pass(60_000);
    expect(await watcher.rest()).toEqual([]);
    expect(await present(client)).toBe(true);
  });

  it("[MQV8] does not come when the client is back before its delay is over", async () => {
    const { watcher, wire, client } = await mortal(30, 600);
    await wire.drop();
    await evict(gatewayStub());
    await pass(10_000);
    const properties = { sessionExpiryInterval: 600 };
    await connect(client, { cleanStart: false, properties });
    await evict(gatewayStub());
    await pass(60_000);
    expect(await watcher.rest()).toEqual([]);
  });

  it("[MQV8] comes at the session's end when that is before its delay", async () => {
    const { watcher, wire, client } = await mortal(600, 20);
    await wire.drop();
    await evict(gatewayStub());
    await pass(21_000);
    expect(await watcher.got()).toMatchObject({ body: "gone" });
    expect(await present(client)).toBe(false);
  });

  it.each([
    ["expiry 0", 0, undefined],
    ["an expiry", 600, undefined],
    ["an expiry that the DISCONNECT sets to 0", 600, { sessionExpiryInterval: 0 }],
  ])(
    "[SSN2] is forgotten with a DISCONNECT, over an eviction as well, with %s",
    async (_, expiry, properties) => {
      const { watcher, wire, client } = await mortal(0, expiry, {});
      await wire.disconnect(0, properties);
      await watcher.rest();
      await evict(gatewayStub());
      await pass(1_000);
      expect(await watcher.rest()).toEqual([]);
      expect(await present(client)).toBe(expiry > 0 && properties === undefined);
    },
  );

  it("[SSN2] a session that a DISCONNECT ended stays ended", async () => {
    const client = `ended-${++runs}`;
    const properties = { sessionExpiryInterval: 600 };
    const wire = await connect(client, { properties });
    await wire.disconnect(0, { sessionExpiryInterval: 0 });
    await evict(gatewayStub());
    expect(await present(client)).toBe(false);
  });

  it("[SSN2] a will that a clean start has replaced stays away after an eviction", async () => {
    const { watcher, client } = await mortal(0, 0);
    await connect(client);
    expect(await watcher.got()).toMatchObject({ body: "gone" });
    await evict(gatewayStub());
    expect(await watcher.rest()).toEqual([]);
  });
});

describe("a keep alive", () => {
  it("[MQV9] runs out one and a half times its length after the client was heard, evicted or not", async () => {
    const { watcher, wire, client } = await mortal(0, 600, { keepAlive: 100 });
    await evict(gatewayStub());
    await pass(100_000);
    wire.send({ type: "pingreq" });
    await wire.next("pingresp");
    await evict(gatewayStub());
    await pass(140_000);
    expect(wire.closed).toBeUndefined();
    expect(await watcher.rest()).toEqual([]);
    await evict(gatewayStub());
    // What is written down of when it was heard may be a quarter of the keep alive old.
    await pass(35_001);
    expect(await wire.next("disconnect")).toMatchObject({ reasonCode: 0x8d });
    expect(await watcher.got()).toMatchObject({ body: "gone" });
    await wire.end();
    await evict(gatewayStub());
    expect(await present(client)).toBe(true);
  });

  it("[MQV9] without one a connection never runs out", async () => {
    const { watcher, wire } = await mortal(0, 600);
    await evict(gatewayStub());
    await pass(10_000_000);
    expect(await wire.rest()).toEqual([]);
    expect(await watcher.rest()).toEqual([]);
  });
});

describe("a session's end", () => {
  it("[MQV9] comes when its expiry is over, evicted or not, and with it its subscriptions end", async () => {
    const client = `expiry-${++runs}`;
    const wire = await connect(client, { properties: { sessionExpiryInterval: 100 } });
    await wire.subscribe(client, { qos: 1 });
    await wire.drop();
    await evict(gatewayStub());
    const from = await connect(`${client}-from`);
    await pass(99_000);
    await from.publishSure(client, "kept");
    await pass(2_000);
    expect(await present(client)).toBe(false);
  });

  it("[SSN3] a kept session that goes on with expiry 0 gets its messages, and ends with its socket", async () => {
    const client = `shorter-${++runs}`;
    const first = await connect(client, { properties: { sessionExpiryInterval: 100 } });
    await first.subscribe(client, { qos: 2 });
    await first.drop();
    const from = await connect(`${client}-from`);
    await from.publishSure(client, "while away");
    const second = await connect(client, { cleanStart: false });
    expect(await second.got()).toMatchObject({ body: "while away", packetId: 1 });
    await from.publishSure(client, "while here");
    expect(await second.got()).toMatchObject({ body: "while here", packetId: 2 });
    await evict(gatewayStub());
    await from.publishSure(client, "after an eviction");
    expect(await second.got()).toMatchObject({ body: "after an eviction", packetId: 3 });
    await second.drop();
    expect(await present(client)).toBe(false);
  });
});
