// SUBSCRIBE, UNSUBSCRIBE and what their filters match.
import { describe, expect } from "vitest";
import { bytes, packet, properties, TYPE, text, u16, type Version } from "../../support/mqtt-bytes.ts";
import type { MqttWire } from "../../support/mqtt-wire.ts";
import { ALL, BOTH, withMqtt } from "./mqtt-world.ts";

const it = withMqtt();

const list = (version: Version) => (version === 5 ? properties() : bytes());

describe("SUBSCRIBE", () => {
  it.for(ALL)(
    "[MQS1] version %i: without a filter it ends the connection, and so does UNSUBSCRIBE",
    async (version, { mqtt }) => {
      await mqtt.provoke(version, packet(TYPE.subscribe, u16(1), list(version)), 0x82, 0x81);
      await mqtt.provoke(version, packet(TYPE.unsubscribe, u16(1), list(version)), 0x82, 0x81);
    },
  );

  const wrongOptions = [
    { version: 4, options: 3 },
    { version: 4, options: 4 },
    { version: 4, options: 0x80 },
    { version: 5, options: 3 },
    { version: 5, options: 0x40 },
    { version: 5, options: 0x80 },
    { version: 5, options: 0x30 },
  ] as const;
  it.for(wrongOptions)(
    "[MQS2] version $version: options $options end the connection",
    async ({ version, options }, { mqtt }) => {
      await mqtt.provoke(
        version,
        packet(TYPE.subscribe, u16(1), list(version), text("t"), options),
        0x81,
        0x82,
      );
    },
  );

  it.for(ALL)(
    "[MQS3] version %i: one code per filter, in their order; a wrong filter fails alone",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      wire.send({
        cmd: "subscribe",
        messageId: 300,
        subscriptions: [
          { topic: "a", qos: 2 },
          { topic: "b", qos: 0 },
          { topic: "c/#", qos: 1 },
        ],
      });
      expect(await wire.next()).toMatchObject({ cmd: "suback", messageId: 300, granted: [2, 0, 1] });
      const bad = version === 5 ? 0x8f : 0x80;
      expect(await wire.subscribe(["d", "e/#/f", "f"], { qos: 1 })).toEqual([1, bad, 1]);
      await wire.publish("f", "x", { qos: 1 });
      expect(await wire.payloads(1)).toEqual(["x"]);
    },
  );

  const wrongFilters = ["a#", "a/#/b", "#/a", "a+", "+a/b", "a/b+/c", "##", "++", "a/#b", "x".repeat(600)];
  it.for(wrongFilters.map((filter) => ({ filter, name: filter.slice(0, 9) })))(
    "[MQS4] a wrong filter is refused in SUBACK: $name",
    async ({ filter }, { mqtt }) => {
      const [four, five] = [await mqtt.connect(4), await mqtt.connect(5)];
      expect(await four.subscribe(filter, { qos: 1 })).toEqual([0x80]);
      expect(await five.subscribe(filter, { qos: 1 })).toEqual([0x8f]);
      await five.quiet();
    },
  );

  it("[MQS4] an empty filter is refused", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    wire.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "", qos: 0 }] });
    const answer = await wire.next().catch(() => undefined);
    if (answer?.cmd === "suback") expect(answer.granted).toEqual([0x8f]);
    else if (answer) expect(answer.cmd).toBe("disconnect");
  });

  it.for(BOTH)(
    "[MQS5] version %i: the same filter again replaces the subscription, without a copy or a loss",
    async (version, { mqtt }) => {
      const [wire, from] = [await mqtt.connect(version), await mqtt.connect(version)];
      await wire.subscribe("t", { qos: 2 });
      const sending = (async () => {
        for (let number = 0; number < 20; number++) await from.publish("t", `${number}`, { qos: 1 });
      })();
      for (let count = 0; count < 5; count++) await wire.subscribe("t", { qos: 1 });
      await sending;
      expect(await wire.payloads(20)).toEqual(Array.from({ length: 20 }, (_, number) => `${number}`));
      await wire.subscribe("t", { qos: 0 });
      await from.publish("t", "last", { qos: 2 });
      expect(await wire.message()).toMatchObject({ qos: 0 });
      await wire.quiet();
    },
  );

  it.for(BOTH)(
    "[MQS6] version %i: many filters in one packet are as many subscriptions",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      const filters = Array.from({ length: 50 }, (_, index) => `many/${index}`);
      expect(await wire.subscribe(filters, { qos: 1 })).toEqual(filters.map(() => 1));
      await wire.publish("many/49", "x", { qos: 1 });
      await wire.publish("many/0", "y", { qos: 1 });
      expect((await wire.payloads(2)).toSorted()).toEqual(["x", "y"]);
    },
  );
});

describe("overlapping subscriptions", () => {
  it.for(BOTH)(
    "[MQS7] version %i: one copy, at the highest QoS of all that match",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      await wire.subscribe("a/#", { qos: 0 });
      await wire.subscribe("a/b", { qos: 2 });
      await wire.subscribe("+/b", { qos: 1 });
      await wire.publish("a/b", "x", { qos: 2 });
      expect(await wire.message()).toMatchObject({ qos: 2, payload: Buffer.from("x") });
      await wire.publish("c/b", "y", { qos: 2 });
      expect(await wire.message()).toMatchObject({ qos: 1, payload: Buffer.from("y") });
      await wire.quiet();
    },
  );

  it("[MQS7] the copy carries the identifiers of all that match", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    await wire.subscribe("a/#", { qos: 1, properties: { subscriptionIdentifier: 3 } });
    await wire.subscribe("a/b", { qos: 0, properties: { subscriptionIdentifier: 268_435_455 } });
    await wire.subscribe("+/b", { qos: 0 });
    await wire.publish("a/b", "x", { qos: 1 });
    const ids = (await wire.message()).properties!.subscriptionIdentifier;
    expect([ids].flat().toSorted()).toEqual([268_435_455, 3]);
    await wire.publish("a/c", "x", { qos: 1 });
    expect((await wire.message()).properties!.subscriptionIdentifier).toBe(3);
    await wire.publish("c/b", "x", { qos: 1 });
    expect((await wire.message()).properties?.subscriptionIdentifier).toBeUndefined();
    await wire.quiet();
  });

  it("[MQS8] an identifier is that of the last SUBSCRIBE of the filter, also after a resume", async ({
    mqtt,
  }) => {
    const before = await mqtt.durable(5, "a");
    await before.subscribe("t", { qos: 1, properties: { subscriptionIdentifier: 1 } });
    await before.subscribe("t", { qos: 1, properties: { subscriptionIdentifier: 2 } });
    await before.bye();
    const from = await mqtt.connect(5);
    await from.publish("t", "away", { qos: 1 });
    const after = await mqtt.durable(5, "a");
    await from.publish("t", "back", { qos: 1 });
    for (let count = 0; count < 2; count++) {
      expect((await after.message()).properties!.subscriptionIdentifier).toBe(2);
    }
    await after.subscribe("t", { qos: 1 });
    await from.publish("t", "without", { qos: 1 });
    expect((await after.message()).properties?.subscriptionIdentifier).toBeUndefined();
  });

  it("[MQS8] an identifier of 0, or two, are a protocol error", async ({ mqtt }) => {
    for (const property of ["0b 00", "0b 01 0b 02"]) {
      const frame = packet(TYPE.subscribe, u16(1), properties(property), text("t"), 0);
      await mqtt.provoke(5, frame, 0x82, 0x81);
    }
  });

  it("[MQS9] no local keeps one's own messages away, and no one else's", async ({ mqtt }) => {
    const [wire, other] = [await mqtt.connect(5), await mqtt.connect(5)];
    await wire.subscribe("t", { qos: 1, nl: true });
    await wire.publish("t", "own", { qos: 1 });
    await other.publish("t", "other's", { qos: 1 });
    expect(await wire.payloads(1)).toEqual(["other's"]);
    await wire.quiet();
    await wire.subscribe("+", { qos: 1 });
    await wire.publish("t", "own, by another subscription", { qos: 1 });
    expect(await wire.payloads(1)).toEqual(["own, by another subscription"]);
  });
});

describe("UNSUBSCRIBE", () => {
  it.for(ALL)(
    "[MQS10] version %i: it ends exactly the filters it names, and is always answered",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      await wire.subscribe(["a/+", "a/b", "c"], { qos: 1 });
      const codes = await wire.unsubscribe(["a/+", "never", "A/B", "a/#"]);
      expect(codes).toEqual(version === 5 ? [0, 0x11, 0x11, 0x11] : []);
      await wire.publish("a/x", "not any more", { qos: 1 });
      await wire.publish("a/b", "still", { qos: 1 });
      expect(await wire.payloads(1)).toEqual(["still"]);
      expect(await wire.unsubscribe(["a/b", "c"])).toEqual(version === 5 ? [0, 0] : []);
      await wire.publish("a/b", "gone", { qos: 1 });
      await wire.quiet();
    },
  );

  it.for(BOTH)("[MQS11] version %i: what is in flight is finished", async (version, { mqtt }) => {
    const wire = await mqtt.durable(version, "a");
    await wire.subscribe("t", { qos: 2 });
    await wire.publish("t", "x", { qos: 2 });
    const { messageId } = await wire.next("publish");
    await wire.unsubscribe("t");
    wire.cut();
    const back = await mqtt.durable(version, "a");
    expect(await back.next("publish")).toMatchObject({ messageId, dup: true });
    back.send({ cmd: "pubrec", messageId: messageId! });
    await back.next("pubrel");
    back.send({ cmd: "pubcomp", messageId: messageId! });
    await back.publish("t", "y", { qos: 1 });
    await back.quiet();
  });
});

describe("filters", () => {
  const TOPICS = ["a", "a/", "/a", "a/b", "a/b/c", "a//c", "/", "A", "A/b", " ", "b/$x", "é", "e\u0301"];
  const matching: [string, string[]][] = [
    ["#", ["a", "a/", "/a", "a/b", "a/b/c", "a//c", "/", "A", "A/b", " ", "b/$x", "é", "e\u0301"]],
    ["+", ["a", "A", " ", "é", "e\u0301"]],
    ["a/#", ["a", "a/", "a/b", "a/b/c", "a//c"]],
    ["a/+", ["a/", "a/b"]],
    ["+/+", ["a/", "/a", "a/b", "/", "A/b", "b/$x"]],
    ["/+", ["/a", "/"]],
    ["+/b/#", ["a/b", "a/b/c", "A/b"]],
    ["a/+/c", ["a/b/c", "a//c"]],
    ["+/$x", ["b/$x"]],
    ["é", ["é"]],
    ["/#", ["/a", "/"]],
  ];
  it.for(matching)(
    "[MQS12] %s matches what it should and nothing else",
    async ([filter, expected], { mqtt }) => {
      const wire = await mqtt.connect(5);
      await wire.subscribe(filter, { qos: 1 });
      for (const topic of TOPICS) await wire.publish(topic, topic, { qos: 1 });
      expect((await wire.payloads(expected.length)).toSorted()).toEqual(expected.toSorted());
      await wire.quiet();
    },
  );

  it("[MQS13] topics and filters may have 512 bytes; a longer topic is refused with 0x90", async ({
    mqtt,
  }) => {
    const wire: MqttWire = await mqtt.connect(5);
    const longest = "x".repeat(512);
    expect(await wire.subscribe(longest, { qos: 1 })).toEqual([1]);
    await wire.publish(longest, "x", { qos: 1 });
    expect(await wire.message()).toMatchObject({ topic: longest });
    wire.sendPublish("x".repeat(513), "x", { qos: 1 });
    const answer = await wire.next();
    expect(answer.reasonCode).toBe(0x90);
    expect(["puback", "disconnect"]).toContain(answer.cmd);
  });
});
