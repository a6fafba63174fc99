// Shared subscriptions and queues over MQTT, and messages of QoS 2 that the gateway took over, while objects come and go.
import { runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it } from "vitest";
import { eventually } from "./support/client.ts";
import { type ConnectFields, MqttWire } from "./support/mqtt.ts";
import { lazyByHand, writeLazy } from "./support/mqtt-script.ts";
import { directoryStub, evict, gatewayStub, queueStub, topicStub } from "./support/objects.ts";

let runs = 0;
const open: MqttWire[] = [];
const undo: (() => void)[] = [];

lazyByHand();

afterEach(() => {
  for (const wire of open.splice(0)) wire.close();
  for (const each of undo.splice(0)) each();
});

async function connect(clientId: string, fields: ConnectFields = {}): Promise<MqttWire> {
  const [wire] = await MqttWire.connect(clientId, fields);
  open.push(wire);
  return wire;
}

function newTopic(): { topic: string; shared: string } {
  const topic = `shared-${++runs}`;
  return { topic, shared: `$share/g/${topic}` };
}

/** Evicts everything that has a part in a shared subscription. */
async function evictAll(topic: string, shared: string): Promise<void> {
  await evict(gatewayStub());
  await evict(queueStub(shared));
  await evict(topicStub(topic));
}

describe("a shared subscription", () => {
  it("[MQV13] what was sent before an eviction is acknowledged after it, and comes to nobody else", async () => {
    const { topic, shared } = newTopic();
    const a = await connect(`${topic}-a`);
    await a.subscribe(shared, { qos: 1 });
    const from = await connect(`${topic}-from`);
    await from.publishSure(topic, "1");
    const first = await a.got();
    await evictAll(topic, shared);
    a.answer("puback", first.packetId);
    await a.rest();
    const b = await connect(`${topic}-b`);
    await b.subscribe(shared, { qos: 1 });
    await a.drop();
    await from.publishSure(topic, "2");
    expect(await b.got()).toMatchObject({ body: "2" });
    expect(await b.rest()).toEqual([]);
  });

  it("[MQV13] what was sent before an eviction goes to another member when the socket ends", async () => {
    const { topic, shared } = newTopic();
    const a = await connect(`${topic}-a`);
    await a.subscribe(shared, { qos: 1 });
    const from = await connect(`${topic}-from`);
    await from.publishSure(topic, "1");
    await a.got();
    await evictAll(topic, shared);
    const b = await connect(`${topic}-b`);
    await b.subscribe(shared, { qos: 1 });
    expect(await b.rest()).toEqual([]);
    await a.drop();
    expect(await b.got()).toMatchObject({ topic, body: "1", qos: 1 });
  });

  it.each([1, 2] as const)(
    "[MQV13] what waits for the window when the gateway is evicted comes when it opens, QoS %i",
    async (qos) => {
      const { topic, shared } = newTopic();
      const a = await connect(`${topic}-a`, { properties: { receiveMaximum: 1 } });
      await a.subscribe(`${topic}/own`, { qos: 1 });
      await a.subscribe(shared, { qos });
      const from = await connect(`${topic}-from`);
      await from.publishSure(`${topic}/own`, "fills the window");
      const first = await a.got();
      from.publish(topic, "waits", { qos: 2, packetId: 9 });
      await from.next("pubrec");
      await evict(gatewayStub());
      expect(await a.rest()).toEqual([]);
      a.answer("puback", first.packetId);
      expect(await a.got()).toMatchObject({ body: "waits", qos });
      expect(await a.rest()).toEqual([]);
    },
  );

  it("[MQV13] keeps what comes while all its members sleep without a socket", async () => {
    const { topic, shared } = newTopic();
    const properties = { sessionExpiryInterval: 100 };
    const a = await connect(`${topic}-a`, { properties });
    await a.subscribe(shared, { qos: 2 });
    await a.drop();
    await writeLazy();
    await evictAll(topic, shared);
    const from = await connect(`${topic}-from`);
    await from.publishSure(topic, "1");
    from.publish(topic, "2", { qos: 2, packetId: 2 });
    await from.next("pubrec");
    await evictAll(topic, shared);
    const again = await connect(`${topic}-a`, { cleanStart: false, properties });
    expect([await again.got(), await again.got()]).toMatchObject([
      { body: "1", qos: 1 },
      { body: "2", qos: 2 },
    ]);
  });
});

type Method = (...given: unknown[]) => unknown;

/** Makes the calls of gateways on Topic objects fail, before they did anything or after. */
async function breakTopics(how: "before" | "after"): Promise<() => void> {
  let mend: () => void = () => undefined;
  await runInDurableObject(topicStub("any"), (instance) => {
    const prototype = Object.getPrototypeOf(instance) as Record<string, Method>;
    const original = prototype.apply!;
    prototype.apply = async function (this: unknown, ...given: unknown[]) {
      if (how === "after") await original.apply(this, given);
      throw new Error("the test has cut this topic off");
    };
    mend = () => {
      prototype.apply = original;
    };
  });
  undo.push(mend);
  return mend;
}

describe("a message of QoS 2 from a kept session", () => {
  it.each(["before", "after"] as const)(
    "[MQV14] comes exactly once when its topic cannot be reached, the call being lost %s it took effect",
    async (how) => {
      const { topic } = newTopic();
      const to = await connect(`${topic}-to`, { properties: { sessionExpiryInterval: 100 } });
      await to.subscribe(topic);
      const from = await connect(`${topic}-from`, { properties: { sessionExpiryInterval: 100 } });
      const mend = await breakTopics(how);
      from.publish(topic, "once", { qos: 2, packetId: 1 });
      expect(await from.next("pubrec")).toMatchObject({ packetId: 1, reasonCode: 0 });
      from.answer("pubrel", 1);
      expect(await from.next("pubcomp")).toMatchObject({ packetId: 1, reasonCode: 0 });
      await evict(gatewayStub());
      await from.rest();
      mend();
      await evict(gatewayStub());
      await from.rest();
      expect(await to.got()).toMatchObject({ body: "once", qos: 2, packetId: 1 });
      await evict(gatewayStub());
      await from.publishSure(topic, "next");
      expect(await to.got()).toMatchObject({ body: "next" });
      expect(await to.rest()).toEqual([]);
    },
  );

  it("[MQV14] comes exactly once when its PUBREC is lost with the socket and it is sent again", async () => {
    const { topic } = newTopic();
    const to = await connect(`${topic}-to`);
    await to.subscribe(topic);
    const properties = { sessionExpiryInterval: 100 };
    const from = await connect(`${topic}-from`, { properties });
    from.publish(topic, "once", { qos: 2, packetId: 1 });
    from.close();
    await from.end();
    await evict(gatewayStub());
    const again = await connect(`${topic}-from`, { cleanStart: false, properties });
    again.publish(topic, "once", { qos: 2, packetId: 1, dup: true });
    await again.next("pubrec");
    again.answer("pubrel", 1);
    await again.next("pubcomp");
    expect(await to.got()).toMatchObject({ body: "once" });
    expect(await to.rest()).toEqual([]);
  });
});

describe("a message of QoS 2 from a session that ends with its socket", () => {
  it("[MQV15] its id is free when it was refused, after an eviction as well", async () => {
    const { topic } = newTopic();
    const to = await connect(`${topic}-to`);
    await to.subscribe(topic);
    const from = await connect(`${topic}-from`);
    const mend = await breakTopics("before");
    from.publish(topic, "refused", { qos: 2, packetId: 1 });
    const { reasonCode } = await from.next("pubrec");
    expect(reasonCode).toBeGreaterThanOrEqual(0x80);
    mend();
    await evict(gatewayStub());
    from.publish(topic, "taken", { qos: 2, packetId: 1 });
    expect(await from.next("pubrec")).toMatchObject({ packetId: 1, reasonCode: 0 });
    expect(await to.got()).toMatchObject({ body: "taken" });
  });
});

describe("a session that is no more", () => {
  it("[SSN4] whose socket went while its gateway slept leaves no filter behind", async () => {
    const { topic } = newTopic();
    const wire = await connect(topic);
    await wire.subscribe(`${topic}/+`, { qos: 1 });
    const directory = () =>
      runInDurableObject(directoryStub(), (_, state) =>
        state.storage.sql.exec("SELECT 1 FROM filter WHERE filter = ?", `${topic}/+`).toArray(),
      );
    expect(await directory()).toHaveLength(1);
    await evict(gatewayStub());
    wire.close();
    await eventually("the filter's end", async () => ((await directory()).length === 0 ? true : undefined));
  });
});
