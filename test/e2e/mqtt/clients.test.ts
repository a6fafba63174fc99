// Stock JavaScript clients: MQTT.js with both versions, and the Paho client.
import { createRequire } from "node:module";
import mqttJs, { type IClientOptions, type MqttClient } from "mqtt";
import { describe, expect } from "vitest";
import { BOTH, withMqtt } from "./mqtt-world.ts";

const base = withMqtt();

type Open = (version: 4 | 5, options?: IClientOptions) => Promise<MqttClient>;

/** MQTT.js clients that end with their test. */
const it = base.extend<{ open: Open }>({
  open: async ({ mqtt }, use) => {
    const clients: MqttClient[] = [];
    await use(async (version, options = {}) => {
      const client = await mqttJs.connectAsync(mqtt.url, {
        protocolVersion: version,
        reconnectPeriod: 100,
        ...options,
      });
      clients.push(client);
      return client;
    });
    for (const client of clients) client.end(true);
  },
});

interface Seen {
  topic: string;
  payload: string;
  qos: number;
  retain: boolean;
}

/** Writes down what a client gets. */
function record(client: MqttClient): Seen[] {
  const seen: Seen[] = [];
  client.on("message", (topic, payload, { qos, retain }) => {
    seen.push({ topic, payload: String(payload), qos, retain });
  });
  return seen;
}

const until = (seen: unknown[], count: number) =>
  expect.poll(() => seen.length, { timeout: 10_000 }).toBeGreaterThanOrEqual(count);

describe("MQTT.js", () => {
  it.for(BOTH as (4 | 5)[])(
    "[MQO7] version %i: every QoS, and what is retained",
    async (version, { open }) => {
      const [from, to] = [await open(version), await open(version)];
      await from.publishAsync("kept", "0", { qos: 1, retain: true });
      const seen = record(to);
      await to.subscribeAsync(["kept", "t/#"], { qos: 2 });
      for (const qos of [0, 1, 2] as const) await from.publishAsync("t/x", `${qos}`, { qos });
      await until(seen, 4);
      const sorted = seen.toSorted(
        (a, b) => a.payload.localeCompare(b.payload) || a.topic.localeCompare(b.topic),
      );
      expect(sorted).toEqual([
        { topic: "kept", payload: "0", qos: 1, retain: true },
        { topic: "t/x", payload: "0", qos: 0, retain: false },
        { topic: "t/x", payload: "1", qos: 1, retain: false },
        { topic: "t/x", payload: "2", qos: 2, retain: false },
      ]);
    },
  );

  it.for(BOTH as (4 | 5)[])(
    "[MQO7] version %i: a lost connection comes back with its session, in order, without loss or doubles",
    async (version, { open }) => {
      const properties = version === 5 ? { properties: { sessionExpiryInterval: 300 } } : {};
      const to = await open(version, { clientId: "to", clean: false, ...properties });
      const from = await open(version, { clientId: "from", clean: false, ...properties });
      const seen = record(to);
      await to.subscribeAsync("t", { qos: 2 });
      // Not more at once than any server's receive maximum: MQTT.js does not look at it when it resends.
      const count = 15;
      const work = Array.from({ length: count }, (_, number) =>
        from.publishAsync("t", `${number}`, { qos: 2 }),
      );
      await until(seen, 3);
      // As a lost network does it: MQTT.js reconnects and resumes by itself.
      to.stream.destroy();
      from.stream.destroy();
      await Promise.all(work);
      await until(seen, count);
      expect(seen.map(({ payload }) => Number(payload)).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: count }, (_, number) => number),
      );
    },
  );

  it("[MQO7] version 5: properties both ways, and a will", async ({ open }) => {
    const to = await open(5);
    await to.subscribeAsync(["t", "will"], { qos: 1 });
    const properties = {
      contentType: "text/plain",
      responseTopic: "r",
      userProperties: { a: ["1", "2"], b: "3" },
    };
    const dying = await open(5, {
      will: { topic: "will", payload: Buffer.from("gone"), qos: 1, properties },
    });
    const got = new Promise<unknown>((resolve) => {
      to.once("message", (_topic, _payload, packet) => resolve(packet.properties));
    });
    await dying.publishAsync("t", "x", { qos: 1, properties });
    expect(await got).toMatchObject({ contentType: "text/plain", responseTopic: "r" });
    const will = new Promise<unknown>((resolve) => {
      to.once("message", (_topic, payload, packet) =>
        resolve([String(payload), packet.properties?.userProperties]),
      );
    });
    dying.options.reconnectPeriod = 0;
    dying.stream.destroy();
    expect(await will).toMatchObject(["gone", { a: ["1", "2"], b: "3" }]);
  });
});

interface PahoMessage {
  destinationName: string;
  payloadString: string;
  qos: number;
  retained: boolean;
}

interface PahoClient {
  onMessageArrived: (message: PahoMessage) => void;
  connect(options: Record<string, unknown>): void;
  subscribe(filter: string, options: Record<string, unknown>): void;
  publish(topic: string, payload: string, qos: number, retained: boolean): void;
  disconnect(): void;
}

const paho = createRequire(import.meta.url)("paho-mqtt") as {
  Client: new (url: string, clientId: string) => PahoClient;
};

/** A connected Paho client, and what it gets. */
async function pahoClient(url: string, clientId: string, options: Record<string, unknown> = {}) {
  const client = new paho.Client(url, clientId);
  const seen: Seen[] = [];
  client.onMessageArrived = ({ destinationName, payloadString, qos, retained }) => {
    seen.push({ topic: destinationName, payload: payloadString, qos, retain: retained });
  };
  await new Promise((onSuccess, onFailure) => {
    client.connect({ timeout: 10, ...options, onSuccess, onFailure });
  });
  const subscribe = (filter: string, qos: number) =>
    new Promise((onSuccess, onFailure) => client.subscribe(filter, { qos, onSuccess, onFailure }));
  return { client, seen, subscribe };
}

describe("Paho", () => {
  it.for([3, 4])(
    "[MQO8] mqttVersion %i: every QoS, what is retained, a persistent session",
    async (mqttVersion, { mqtt }) => {
      const options = { mqttVersion, mqttVersionExplicit: true };
      const from = await pahoClient(mqtt.url, "from", options);
      const before = await pahoClient(mqtt.url, "to", { ...options, cleanSession: false });
      from.client.publish("kept", "k", 1, true);
      await before.subscribe("t/#", 2);
      before.client.disconnect();
      for (const qos of [1, 2]) from.client.publish("t/away", `${qos}`, qos, false);
      const after = await pahoClient(mqtt.url, "to", { ...options, cleanSession: false });
      await until(after.seen, 2);
      for (const qos of [0, 1, 2]) from.client.publish(`t/${qos}`, "é", qos, false);
      await until(after.seen, 5);
      await after.subscribe("kept", 1);
      await until(after.seen, 6);
      const text = after.seen.map(
        ({ topic, payload, qos, retain }) => `${topic} ${payload} ${qos} ${retain}`,
      );
      expect(text.toSorted()).toEqual([
        "kept k 1 true",
        "t/0 é 0 false",
        "t/1 é 1 false",
        "t/2 é 2 false",
        "t/away 1 1 false",
        "t/away 2 2 false",
      ]);
      from.client.disconnect();
      after.client.disconnect();
    },
  );
});
