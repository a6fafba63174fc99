// What once went wrong between MQTT clients that come, go and fall silent at the wrong moment.
import type { Socket } from "node:net";
import { describe, expect } from "vitest";
import type { MqttWire, Received } from "../../support/mqtt-wire.ts";
import { listen } from "../../support/topic-wire.ts";
import { eventually, pass, type World } from "../harness.ts";
import { BOTH, type MqttWorld, withMqtt } from "./mqtt-world.ts";

const it = withMqtt();

const QUOTA_EXCEEDED = 0x97;
const FILTER_INVALID = 0x8f;

/** A will that a queue keeps, so that it is seen whenever it is published. */
function willOf(payload: string) {
  return { topic: "$queue/wills", payload: Buffer.from(payload), qos: 1 as const, retain: false };
}

async function queues(world: World): Promise<string[]> {
  const { body } = await world.call("GET", "/v1/queues");
  return (body as { queues: { name: string }[] }).queues.map(({ name }) => name);
}

describe("sessions and wills", () => {
  it("[MQW2] [MQC23] [MQC24] after a restart no session that its DISCONNECT ended is there, and no will that it removed is published", async ({
    mqtt,
  }) => {
    for (const version of BOTH) {
      const clean = await mqtt.connect(version, { clientId: `clean${version}`, will: willOf("clean") });
      await clean.bye({ reasonCode: 0 });
    }
    const properties = { sessionExpiryInterval: 0 };
    const ended = await mqtt.durable(5, "ended", { will: willOf("ended") });
    await ended.subscribe("t", { qos: 1 });
    await ended.bye({ reasonCode: 0, properties });
    await mqtt.connect(5, { clientId: "lost", will: willOf("lost") });
    await mqtt.world.broker.restart();
    for (const clientId of ["clean4", "clean5", "ended"]) {
      const back = await mqtt.durable(clientId === "clean4" ? 4 : 5, clientId);
      expect(back.connack).toMatchObject({ sessionPresent: false });
    }
    await eventually(async () => expect((await mqtt.world.stats("wills")).accepted).toBeGreaterThan(0));
    const wills = await mqtt.world.peek("wills");
    expect(wills.map(({ base64 }) => Buffer.from(base64!, "base64").toString())).toEqual(["lost"]);
  });

  it("[MQC20] [MQC23] a session that is to end with its new connection gets QoS 1 and 2 to its end, and others lose nothing by it", async ({
    mqtt,
  }) => {
    const [ending, lasting, from] = [
      await mqtt.durable(5, "ending"),
      await mqtt.durable(5, "lasting"),
      await mqtt.connect(5),
    ];
    for (const wire of [ending, lasting]) await wire.subscribe("t", { qos: 2 });
    ending.cut();
    const back = await mqtt.connect(5, { clientId: "ending", clean: false });
    expect(back.connack).toMatchObject({ sessionPresent: true });
    await from.publish("t", "1", { qos: 1 });
    await from.publish("t", "2", { qos: 2 });
    for (const wire of [back, lasting]) {
      expect(await wire.message()).toMatchObject({ qos: 1, payload: Buffer.from("1") });
      expect(await wire.message()).toMatchObject({ qos: 2, payload: Buffer.from("2") });
    }
    await lasting.bye();
    await from.publish("t", "3", { qos: 2 });
    expect(await back.payloads(1)).toEqual(["3"]);
    await back.bye();
    await from.publish("t", "4", { qos: 1 });
    const again = await mqtt.durable(5, "lasting");
    expect(await again.payloads(2)).toEqual(["3", "4"]);
    const gone = await mqtt.connect(5, { clientId: "ending", clean: false });
    expect(gone.connack).toMatchObject({ sessionPresent: false });
    await gone.quiet();
  });

  it.concurrent.for(BOTH)(
    "[MQC16] [MQW1] version %i: a peer that falls silent and leaves its connection open is lost after 1.5 times its keep alive",
    async (version, { mqtt }) => {
      const watcher = await mqtt.connect(version);
      await watcher.subscribe("wills", { qos: 1 });
      const will = { topic: "wills", payload: Buffer.from("gone"), qos: 1 as const, retain: false };
      const began = Date.now();
      const dead = await mqtt.connect(version, { keepalive: 1, will });
      // What arrives stays unread, so that not even the server's closing is answered.
      (dead.socket as unknown as { _socket: Socket })._socket.pause();
      expect(await watcher.payloads(1)).toEqual(["gone"]);
      expect(Date.now() - began).toBeGreaterThan(1_400);
      expect(Date.now() - began).toBeLessThan(6_000);
    },
  );
});

describe("subscriptions", () => {
  it.for(["t", "+"])(
    "[MQS5] [MQS10] a filter that one client repeats and then gives up goes on for another: %s",
    async (filter, { mqtt }) => {
      const [one, two, from] = [await mqtt.connect(5), await mqtt.connect(4), await mqtt.connect(5)];
      for (const qos of [0, 1, 1, 0] as const) expect(await one.subscribe(filter, { qos })).toEqual([qos]);
      expect(await two.subscribe(filter, { qos: 1 })).toEqual([1]);
      expect(await one.subscribe(filter, { qos: 2 })).toEqual([2]);
      expect(await one.unsubscribe(filter)).toEqual([0]);
      for (const payload of ["1", "2", "3"]) await from.publish("t", payload, { qos: 1 });
      expect(await two.payloads(3)).toEqual(["1", "2", "3"]);
      await one.quiet();
      await two.unsubscribe(filter);
      await one.subscribe(filter, { qos: 1 });
      await from.publish("t", "4", { qos: 1 });
      expect(await one.payloads(1)).toEqual(["4"]);
      await two.quiet();
    },
  );

  it.for(BOTH)(
    "[REG1] version %i: retained messages of several filters follow the SUBACK and precede what is newer",
    async (version, { mqtt }) => {
      const topics = ["r/1", "r/2", "s/1", "s/2"];
      const from = await mqtt.connect(5);
      for (const topic of topics) await from.publish(topic, "kept", { qos: 1, retain: true });
      const wire = await mqtt.connect(version);
      const subscriptions = ["r/1", "r/2", "s/+"].map((topic) => ({ topic, qos: 1 as const }));
      for (let round = 0; round < 20; round++) {
        for (const topic of topics) from.sendPublish(topic, `${round}`, { qos: 1 });
        if (round === 3) wire.send({ cmd: "subscribe", messageId: 1, subscriptions });
        // What was sent so far is under way before the next round is.
        await pass(1);
      }
      const received = [await wire.next("suback")];
      const isLast = ({ payload }: Received) => String(payload) === "19";
      while (received.filter(isLast).length < topics.length) received.push(await wire.message());
      for (const topic of topics) {
        const ofTopic = received.filter((packet) => packet.topic === topic);
        expect(ofTopic.map(({ retain }) => retain)).toEqual(ofTopic.map((_, index) => index === 0));
        const rounds = ofTopic.slice(1).map(({ payload }) => Number(payload));
        expect(rounds).toEqual(rounds.map((_, index) => 20 - rounds.length + index));
      }
    },
  );
});

describe("what packets may hold", () => {
  it.for([1, 2] as const)(
    "[REG2] QoS %i: a message that is too large for its queue is refused with a code that the answer may carry",
    async (qos, { mqtt }) => {
      await mqtt.world.declare("small", { maxBytes: 300 });
      const wire = await mqtt.connect(5);
      const refused = await wire.publish("$queue/small", "x".repeat(1_000), { qos });
      expect(refused).toMatchObject({ cmd: qos === 1 ? "puback" : "pubrec", reasonCode: QUOTA_EXCEEDED });
      expect((await wire.publish("$queue/small", "x", { qos }))?.reasonCode ?? 0).toBe(0);
    },
  );

  it("[REG2] a filter of a queue that can have no such name is refused with a code of SUBACK", async ({
    mqtt,
  }) => {
    const wire = await mqtt.connect(5);
    const wrong = ["$queue/", "$queue/a+", `$queue/${"x".repeat(513)}`, `$share/g/${"x".repeat(510)}`];
    expect(await wire.subscribe(wrong, { qos: 1 })).toEqual(wrong.map(() => FILTER_INVALID));
  });

  it("[MQP19] U+0000 of other protocols reaches MQTT 5 as U+FFFD", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    await wire.subscribe("t", { qos: 1 });
    const json = await mqtt.world.connect();
    const headers = { "a\0": "x\0y", plain: "z" };
    await json.ok({ op: "publish", to: "topic:t", body: 1, headers, correlationId: "c\0" });
    expect((await wire.message()).properties).toMatchObject({
      userProperties: { "a\ufffd": "x\ufffdy", plain: "z" },
      correlationData: Buffer.from("c\0"),
    });
    await wire.quiet();
  });

  it.for([
    ["topic:a\0b", "a\ufffdb"],
    ["topic:a/+", undefined],
    ["queue:$share/g/#", undefined],
    ["topic:", undefined],
    ["topic:a/b", "a/b"],
  ] as const)(
    "[REG6] what other protocols want answers at is a response topic only where it can be one: %j",
    async ([replyTo, expected], { mqtt }) => {
      const wire = await mqtt.connect(5);
      await wire.subscribe("t", { qos: 1 });
      const json = await mqtt.world.connect();
      await json.ok({ op: "publish", to: "topic:t", body: 1, replyTo });
      expect((await wire.message()).properties?.responseTopic).toBe(expected);
    },
  );
});

describe("shared subscriptions", () => {
  it("[REG3] a member that is cut while its SUBSCRIBE is under way leaves no queue behind", async ({
    mqtt,
  }) => {
    const cutAfter = async (index: number) => {
      const wire = await mqtt.connect(index % 2 === 0 ? 5 : 4);
      wire.send({
        cmd: "subscribe",
        messageId: 1,
        subscriptions: [{ topic: `$share/g${index >> 1}/t/+`, qos: 1 }],
      });
      await pass(Math.floor(index / 2));
      wire.cut();
    };
    await Promise.all(Array.from({ length: 24 }, (_, index) => cutAfter(index)));
    await expectNoQueues(mqtt);
    const from = await mqtt.connect(5);
    await from.publish("t/x", "nobody's", { qos: 1 });
    await expectNoQueues(mqtt);
  });

  it("[REG4] [MQX1] a member that joins while the last one leaves gets what is published from then on", async ({
    mqtt,
  }) => {
    const from = await mqtt.connect(5);
    let last = await member(mqtt);
    for (let round = 0; round < 40; round++) {
      const leaves = round % 3;
      const next = await mqtt.connect(5);
      if (leaves === 0) last.send({ cmd: "unsubscribe", messageId: 999, unsubscriptions: ["$share/g/t"] });
      const gone = leaves === 1 ? last.bye() : undefined;
      if (leaves === 2) last.cut();
      if (round % 2 === 0) await pass(round % 5);
      expect(await next.subscribe("$share/g/t", { qos: 1 })).toEqual([1]);
      await gone;
      if (leaves === 0) await last.take("unsuback");
      const payloads = [`${round}a`, `${round}b`];
      for (const payload of payloads) await from.publish("t", payload, { qos: 1 });
      expect((await next.payloads(2)).toSorted()).toEqual(payloads);
      last = next;
    }
    last.cut();
    await expectNoQueues(mqtt);
  });

  it("[REG4] durable and shared groups of one filter end by themselves alone", async ({ mqtt }) => {
    const json = await mqtt.world.connect();
    await listen(json, 1, "t", { durable: "g" });
    const shared = await member(mqtt);
    await shared.bye();
    await eventually(async () => expect(await queues(mqtt.world)).toEqual(["$durable/g/t"]));
    const from = await mqtt.connect(5);
    await from.publish("t", "1", { qos: 1 });
    expect(await json.nextMessage(1)).toMatchObject({ sub: 1, to: "topic:t", delivery: expect.any(String) });
  });
});

async function member(mqtt: MqttWorld): Promise<MqttWire> {
  const wire = await mqtt.connect(5);
  expect(await wire.subscribe("$share/g/t", { qos: 1 })).toEqual([1]);
  return wire;
}

/** Nothing is there, and nothing of it comes back. */
async function expectNoQueues({ world }: MqttWorld): Promise<void> {
  await eventually(async () => expect(await queues(world)).toEqual([]));
  await pass(300);
  expect(await queues(world)).toEqual([]);
}
