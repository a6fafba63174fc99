// Wills: when they are published, when not, and what they look like.
import { describe, expect } from "vitest";
import { PROPERTY, rawPublish } from "../../support/mqtt-bytes.ts";
import type { MqttWire } from "../../support/mqtt-wire.ts";
import { ALL, BOTH, expectEnd, type MqttWorld, withMqtt } from "./mqtt-world.ts";

const it = withMqtt();

const WILL = { topic: "will/t", payload: Buffer.from("gone") };

async function watch(mqtt: MqttWorld, version: 3 | 4 | 5 = 5): Promise<MqttWire> {
  const watcher = await mqtt.connect(version);
  await watcher.subscribe("will/#", { qos: 2, rap: true });
  return watcher;
}

/** Asserts that no will came: what the watcher publishes itself comes next. */
async function expectNone(watcher: MqttWire): Promise<void> {
  await watcher.publish(WILL.topic, "next", { qos: 1 });
  expect(await watcher.payloads(1)).toEqual(["next"]);
}

describe("when", () => {
  it.for(ALL)("[MQW1] version %i: a lost connection publishes the will, once", async (version, { mqtt }) => {
    const watcher = await watch(mqtt, version);
    const wire = await mqtt.connect(version, { clientId: "a", will: { ...WILL, qos: 1 } });
    wire.cut();
    expect(await watcher.message()).toMatchObject({ topic: WILL.topic, qos: 1, payload: WILL.payload });
    const again = await mqtt.connect(version, { clientId: "a" });
    await again.bye();
    await expectNone(watcher);
  });

  it.for(ALL)(
    "[MQW2] version %i: DISCONNECT ends the connection without the will, and nothing after it is read",
    async (version, { mqtt }) => {
      const watcher = await watch(mqtt, version);
      const wire = await mqtt.connect(version, { will: WILL });
      const publish = wire.encode({
        cmd: "publish",
        topic: "will/x",
        payload: "x",
        qos: 0,
        dup: false,
        retain: false,
      });
      wire.sendBytes(Buffer.concat([wire.encode({ cmd: "disconnect" }), publish]));
      await expectEnd(wire);
      await expectNone(watcher);
    },
  );

  it("[MQW2] DISCONNECT 0x04 ends the connection with the will", async ({ mqtt }) => {
    const watcher = await watch(mqtt);
    const wire = await mqtt.connect(5, { will: WILL });
    await wire.bye({ reasonCode: 0x04 });
    expect(await watcher.payloads(1)).toEqual(["gone"]);
  });

  it.for(BOTH)(
    "[MQW3] version %i: an error that the server ends the connection for publishes the will",
    async (version, { mqtt }) => {
      const watcher = await watch(mqtt, version);
      const wire = await mqtt.connect(version, { will: WILL });
      wire.sendBytes(Buffer.of(0x36, 0));
      await expectEnd(wire, 0x81);
      expect(await watcher.payloads(1)).toEqual(["gone"]);
    },
  );

  it.for(BOTH)(
    "[MQW3] version %i: a takeover publishes the will of the older connection",
    async (version, { mqtt }) => {
      const watcher = await watch(mqtt, version);
      const first = await mqtt.connect(version, { clientId: "a", will: WILL });
      await mqtt.connect(version, { clientId: "a" });
      await expectEnd(first, 0x8e);
      expect(await watcher.payloads(1)).toEqual(["gone"]);
    },
  );

  it("[MQW4] it waits for its delay, and a reconnect before that prevents it", async ({ mqtt }) => {
    const watcher = await watch(mqtt);
    const delayed = (clientId: string, willDelayInterval: number) =>
      mqtt.durable(5, clientId, {
        will: { ...WILL, payload: Buffer.from(clientId), properties: { willDelayInterval } },
      });
    const back = await delayed("back", 2);
    const away = await delayed("away", 1);
    back.cut();
    away.cut();
    const since = Date.now();
    const again = await mqtt.durable(5, "back");
    expect(again.connack!.sessionPresent).toBe(true);
    expect(await watcher.payloads(1)).toEqual(["away"]);
    expect(Date.now() - since).toBeGreaterThan(900);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await expectNone(watcher);
  });

  it("[MQW5] a delay longer than the session ends with the session", async ({ mqtt }) => {
    const watcher = await watch(mqtt);
    const will = { ...WILL, properties: { willDelayInterval: 1_000 } };
    const one = await mqtt.connect(5, { clientId: "a", will, properties: { sessionExpiryInterval: 1 } });
    one.cut();
    expect(await watcher.payloads(1)).toEqual(["gone"]);
  });

  it("[MQW5] a clean start ends the session, and with it the delay", async ({ mqtt }) => {
    const watcher = await watch(mqtt);
    const will = { ...WILL, properties: { willDelayInterval: 1_000 } };
    const one = await mqtt.durable(5, "b", { will });
    one.cut();
    const clean = await mqtt.connect(5, { clientId: "b", clean: true });
    expect(await watcher.payloads(1)).toEqual(["gone"]);
    await clean.quiet();
  });

  it("[MQW6] a session that is resumed without a will has none", async ({ mqtt }) => {
    const watcher = await watch(mqtt);
    await (await mqtt.durable(5, "a", { will: WILL })).bye();
    const second = await mqtt.durable(5, "a");
    second.cut();
    const third = await mqtt.durable(5, "a", { will: { ...WILL, payload: Buffer.from("third") } });
    third.cut();
    expect(await watcher.payloads(1)).toEqual(["third"]);
    await expectNone(watcher);
  });
});

describe("what", () => {
  it.for(ALL)(
    "[MQW7] version %i: its QoS is as asked, and it is retained if flagged so",
    async (version, { mqtt }) => {
      for (const qos of [0, 1, 2] as const) {
        const [kept, plain] = [`will/${qos}/kept`, `will/${qos}/plain`];
        const watcher = await mqtt.connect(version);
        await watcher.subscribe(`will/${qos}/+`, { qos: 2, rap: true });
        const one = await mqtt.connect(version, { will: { ...WILL, topic: kept, qos, retain: true } });
        const two = await mqtt.connect(version, { will: { ...WILL, topic: plain, qos } });
        two.cut();
        expect(await watcher.message()).toMatchObject({ topic: plain, qos, retain: false });
        one.cut();
        expect(await watcher.message()).toMatchObject({ topic: kept, qos, retain: version === 5 });
        const late = await mqtt.connect(version);
        await late.subscribe(`will/${qos}/+`, { qos: 2 });
        expect(await late.message()).toMatchObject({ topic: kept, qos, retain: true });
        await late.quiet();
      }
    },
  );

  it("[MQW7] a delayed will is retained as well", async ({ mqtt }) => {
    const watcher = await watch(mqtt);
    const will = { ...WILL, retain: true, qos: 1 as const, properties: { willDelayInterval: 1 } };
    (await mqtt.durable(5, "a", { will })).cut();
    expect(await watcher.message()).toMatchObject({ retain: true, payload: WILL.payload });
    const late = await mqtt.connect(5);
    await late.subscribe(WILL.topic);
    expect(await late.message()).toMatchObject({ retain: true, payload: WILL.payload });
  });

  it("[MQW9] its properties are published with it, user properties in their order, the delay not", async ({
    mqtt,
  }) => {
    const watcher = await watch(mqtt);
    const properties = {
      willDelayInterval: 0,
      payloadFormatIndicator: true,
      messageExpiryInterval: 60,
      contentType: "text/plain",
      responseTopic: "answers",
      correlationData: Buffer.from([1, 255]),
      userProperties: { z: ["1", "2"], a: "3" },
    };
    (await mqtt.connect(5, { will: { ...WILL, properties } })).cut();
    const message = await watcher.message();
    const { willDelayInterval: _, messageExpiryInterval, ...rest } = properties;
    expect({
      ...message.properties,
      userProperties: { ...message.properties?.userProperties },
    }).toMatchObject(rest);
    expect(message.properties?.messageExpiryInterval).toBeLessThanOrEqual(messageExpiryInterval);
    const raw = rawPublish(message.raw);
    expect(raw.userProperties).toEqual([
      ["z", "1"],
      ["z", "2"],
      ["a", "3"],
    ]);
    expect(raw.ids).not.toContain(PROPERTY.willDelay);
  });

  it.for(BOTH)(
    "[MQW10] version %i: an empty will is published, and deletes what is retained",
    async (version, { mqtt }) => {
      const watcher = await watch(mqtt, version);
      await watcher.publish(WILL.topic, "kept", { qos: 1, retain: true });
      expect(await watcher.payloads(1)).toEqual(["kept"]);
      const will = { topic: WILL.topic, payload: Buffer.alloc(0), retain: true };
      (await mqtt.connect(version, { will })).cut();
      expect(await watcher.payloads(1)).toEqual([""]);
      const late = await mqtt.connect(version);
      await late.subscribe("will/#");
      await late.quiet();
    },
  );

  it.for(BOTH)(
    "[MQW8] version %i: a will to a topic with wildcards is refused",
    async (version, { mqtt }) => {
      const wire = await mqtt.open(version);
      wire.send({
        cmd: "connect",
        clientId: "a",
        protocolId: "MQTT",
        protocolVersion: version as 4 | 5,
        clean: true,
        keepalive: 0,
        will: { ...WILL, topic: "will/#" },
      });
      const { refusal } = await wire.closed();
      if (version === 5 && refusal !== undefined) expect([0x90, 0x81, 0x82]).toContain(refusal);
    },
  );
});
