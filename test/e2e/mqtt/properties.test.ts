// What PUBLISH of MQTT 5 carries: properties that are handed on unaltered, expiry, topic aliases.
import { describe, expect } from "vitest";
import {
  bytes,
  PROPERTY,
  packet,
  properties,
  publishBytes,
  rawPublish,
  TYPE,
  text,
  u16,
  userProperty,
} from "../../support/mqtt-bytes.ts";
import { pass } from "../harness.ts";
import { expectEnd, withMqtt } from "./mqtt-world.ts";

const it = withMqtt();

const NOTHING = properties();
const alias = (value: number) => properties(PROPERTY.topicAlias, u16(value));

describe("properties", () => {
  const PAIRS: [string, string][] = [
    ["b", "1"],
    ["a", "2"],
    ["b", "3"],
    ["", ""],
    ["a", "2"],
    ["é", "😀"],
    ["__proto__", "x"],
  ];

  it.for([0, 1, 2] as const)(
    "[MQD18] at QoS %i all of them arrive as sent, user properties in order",
    async (qos, { mqtt }) => {
      const [from, to] = [await mqtt.connect(5), await mqtt.connect(5)];
      await to.subscribe("t", { qos: 2 });
      const list = properties(
        bytes(PROPERTY.payloadFormat, 1),
        bytes(PROPERTY.contentType, text("text/x; charset=utf-8")),
        bytes(PROPERTY.responseTopic, text("answers/1")),
        bytes(PROPERTY.correlationData, text(bytes("00 ff 80 61"))),
        ...PAIRS.map(([name, value]) => userProperty(name, value)),
      );
      from.sendBytes(publishBytes("t", "x", { flags: qos * 2, ...(qos ? { id: 1 } : {}), properties: list }));
      if (qos === 2) from.send({ cmd: "pubrel", messageId: (await from.next("pubrec")).messageId! });
      const message = await to.message();
      expect(message.properties).toMatchObject({
        payloadFormatIndicator: true,
        contentType: "text/x; charset=utf-8",
        responseTopic: "answers/1",
        correlationData: bytes("00 ff 80 61"),
      });
      expect(rawPublish(message.raw).userProperties).toEqual(PAIRS);
    },
  );

  it("[MQD18] they are kept with a retained message and with what waits for a session", async ({ mqtt }) => {
    const away = await mqtt.durable(5, "away");
    await away.subscribe("t", { qos: 1 });
    await away.bye();
    const from = await mqtt.connect(5);
    const list = properties(
      ...PAIRS.map(([name, value]) => userProperty(name, value)),
      bytes(PROPERTY.responseTopic, text("r")),
      bytes(PROPERTY.correlationData, text(bytes("ff"))),
      bytes(PROPERTY.payloadFormat, 0),
    );
    from.sendBytes(publishBytes("t", "x", { flags: 3, id: 1, properties: list }));
    await from.next("puback");
    const late = await mqtt.connect(5);
    await late.subscribe("t");
    for (const wire of [late, await mqtt.durable(5, "away")]) {
      const message = await wire.message();
      expect(rawPublish(message.raw).userProperties).toEqual(PAIRS);
      expect(message.properties).toMatchObject({ responseTopic: "r", correlationData: bytes("ff") });
      expect(message.properties?.payloadFormatIndicator ?? false).toBe(false);
    }
  });

  it("[MQD18] what was not sent does not arrive: properties of MQTT 5 are not made up for messages of 3.1.1", async ({
    mqtt,
  }) => {
    const [from, to] = [await mqtt.connect(4), await mqtt.connect(5)];
    await to.subscribe("t");
    await from.publish("t", "x");
    expect(rawPublish((await to.message()).raw).ids).toEqual([]);
    const older = await mqtt.connect(4);
    await older.subscribe("t");
    await to.publish("t", "y", { properties: { contentType: "a/b", userProperties: { a: "1" } } });
    expect((await older.message()).raw.toString("hex")).toBe(bytes("30 04 00 01 74 79").toString("hex"));
  });

  it("[MQD19] a response topic with wildcards is a protocol error", async ({ mqtt }) => {
    for (const topic of ["a/+", "#"]) {
      const list = properties(PROPERTY.responseTopic, text(topic));
      await mqtt.provoke(5, publishBytes("t", "x", { properties: list }), 0x82, 0x81, 0x90);
    }
  });

  it("[MQD19] request and response meet through response topic and correlation data", async ({ mqtt }) => {
    const [asking, answering] = [await mqtt.connect(5), await mqtt.connect(5)];
    await asking.subscribe("answers/me", { qos: 1 });
    await answering.subscribe("questions", { qos: 1 });
    const correlationData = Buffer.from([0, 200, 7]);
    await asking.publish("questions", "?", {
      qos: 1,
      properties: { responseTopic: "answers/me", correlationData },
    });
    const question = await answering.message();
    const asked = question.properties!;
    await answering.publish(asked.responseTopic as string, "!", {
      qos: 1,
      properties: { correlationData: asked.correlationData },
    });
    expect(await asking.message()).toMatchObject({
      properties: { correlationData },
      payload: Buffer.from("!"),
    });
  });
});

describe("expiry", () => {
  it("[MQD20] what waited is sent with what is left of its time", async ({ mqtt }) => {
    const away = await mqtt.durable(5, "away");
    await away.subscribe("t", { qos: 1 });
    await away.bye();
    const from = await mqtt.connect(5);
    await from.publish("t", "x", { qos: 1, properties: { messageExpiryInterval: 100 } });
    await from.publish("kept", "y", { qos: 1, retain: true, properties: { messageExpiryInterval: 100 } });
    await pass(1_200);
    const back = await mqtt.durable(5, "away");
    const { messageExpiryInterval } = (await back.message()).properties!;
    expect(messageExpiryInterval).toBeLessThan(100);
    expect(messageExpiryInterval).toBeGreaterThan(80);
    await back.subscribe("kept");
    expect((await back.message()).properties!.messageExpiryInterval).toBeLessThan(100);
  });

  it("[MQD20] what was sent at once has its whole time, what has none gets none", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    await wire.subscribe("t");
    await wire.publish("t", "x", { properties: { messageExpiryInterval: 1_000 } });
    expect((await wire.message()).properties!.messageExpiryInterval).toBeGreaterThan(990);
    await wire.publish("t", "x");
    expect((await wire.message()).properties?.messageExpiryInterval).toBeUndefined();
  });

  it("[MQD21] what waited for longer than its time is not delivered", async ({ mqtt }) => {
    const away = await mqtt.durable(5, "away");
    await away.subscribe("t", { qos: 2 });
    await away.bye();
    const from = await mqtt.connect(5);
    for (const qos of [1, 2] as const) {
      await from.publish("t", "late", { qos, properties: { messageExpiryInterval: 1 } });
    }
    await from.publish("t", "in time", { qos: 1, properties: { messageExpiryInterval: 600 } });
    await from.publish("kept", "late", { qos: 1, retain: true, properties: { messageExpiryInterval: 1 } });
    await pass(2_100);
    const back = await mqtt.durable(5, "away");
    expect(await back.payloads(1)).toEqual(["in time"]);
    await back.subscribe("kept");
    await back.quiet();
  });

  it("[MQD21] what has been sent does not expire: it comes again after the reconnect", async ({ mqtt }) => {
    const wire = await mqtt.durable(5, "a");
    await wire.subscribe("t", { qos: 2 });
    await wire.publish("t", "x", { qos: 2, properties: { messageExpiryInterval: 1 } });
    const { messageId } = await wire.next("publish");
    wire.send({ cmd: "pubrec", messageId: messageId! });
    await wire.next("pubrel");
    wire.cut();
    await pass(2_100);
    const back = await mqtt.durable(5, "a");
    expect(await back.next()).toMatchObject({ cmd: "pubrel", messageId });
    back.send({ cmd: "pubcomp", messageId: messageId! });
    await back.quiet();
  });
});

describe("topic alias", () => {
  it("[MQD22] an alias stands for its topic, until it is given another, on one connection", async ({
    mqtt,
  }) => {
    const [from, to] = [await mqtt.connect(5), await mqtt.connect(5)];
    await to.subscribe("#");
    from.sendBytes(
      bytes(
        publishBytes("a", "1", { properties: alias(1) }),
        publishBytes("b", "2", { properties: alias(16) }),
        publishBytes("", "3", { properties: alias(1) }),
        publishBytes("", "4", { properties: alias(16) }),
        publishBytes("c", "5", { properties: alias(1) }),
        publishBytes("", "6", { properties: alias(1) }),
      ),
    );
    const seen = [];
    for (let count = 0; count < 6; count++) {
      const { topic, payload, properties: list } = await to.message();
      seen.push(`${topic}${payload}`);
      expect(list?.topicAlias).toBeUndefined();
    }
    // Six topics may come in any order but per topic.
    expect(seen.toSorted()).toEqual(["a1", "a3", "b2", "b4", "c5", "c6"]);
  });

  it("[MQD22] an alias of an earlier connection, or never given, is a protocol error", async ({ mqtt }) => {
    const first = await mqtt.durable(5, "a");
    first.sendBytes(publishBytes("t", "1", { flags: 2, id: 1, properties: alias(1) }));
    await first.next("puback");
    first.cut();
    const second = await mqtt.durable(5, "a");
    second.sendBytes(publishBytes("", "2", { properties: alias(1) }));
    await expectEnd(second, 0x82, 0x94);
  });

  it("[MQD23] an alias of 0, or above the server's maximum, ends the connection with 0x94", async ({
    mqtt,
  }) => {
    await mqtt.provoke(5, publishBytes("t", "x", { properties: alias(0) }), 0x94, 0x82, 0x81);
    await mqtt.provoke(5, publishBytes("t", "x", { properties: alias(17) }), 0x94);
    await mqtt.provoke(5, publishBytes("t", "x", { properties: alias(65535) }), 0x94);
  });

  it("[MQD24] the server uses no alias unless the client allows it, and none above what it allows", async ({
    mqtt,
  }) => {
    const plain = await mqtt.connect(5);
    const allowing = await mqtt.connect(5, { properties: { topicAliasMaximum: 2 } });
    const from = await mqtt.connect(5);
    for (const to of [plain, allowing]) await to.subscribe("t/+", { qos: 1 });
    const aliases = new Map<number, string>();
    for (let round = 0; round < 3; round++) {
      for (const topic of ["t/1", "t/2", "t/3", "t/4"]) {
        await from.publish(topic, topic, { qos: 1 });
        expect(await plain.message()).toMatchObject({ topic, payload: Buffer.from(topic) });
        const message = await allowing.message();
        const used = message.properties?.topicAlias;
        if (used !== undefined) {
          expect(used).toBeGreaterThan(0);
          expect(used).toBeLessThanOrEqual(2);
          if (message.topic !== "") aliases.set(used, message.topic!);
        }
        expect(message.topic || aliases.get(used!)).toBe(topic);
      }
    }
    for (const { properties: list } of plain.history) expect(list?.topicAlias).toBeUndefined();
  });

  it("[MQD22] a QoS 2 PUBLISH repeated with an alias is known by its identifier", async ({ mqtt }) => {
    const [from, to] = [await mqtt.connect(5), await mqtt.connect(5)];
    await to.subscribe("t", { qos: 1 });
    from.sendBytes(publishBytes("t", "x", { flags: 4, id: 3, properties: alias(2) }));
    await from.next("pubrec");
    from.sendBytes(publishBytes("", "x", { flags: 12, id: 3, properties: alias(2) }));
    await from.next("pubrec");
    from.sendBytes(packet(TYPE.pubrel, u16(3), 0, NOTHING));
    await from.next("pubcomp");
    expect(await to.payloads(1)).toEqual(["x"]);
    await to.quiet();
  });
});
