// PUBLISH and its handshakes: QoS 0, 1 and 2 in both directions, order, flow control.
import { describe, expect } from "vitest";
import { bytes, packet, properties, publishBytes, TYPE, u16 } from "../../support/mqtt-bytes.ts";
import type { MqttWire, Received } from "../../support/mqtt-wire.ts";
import { ALL, BOTH, expectEnd, withMqtt } from "./mqtt-world.ts";

const it = withMqtt();

const NOTHING = properties();

/** Sends several packets in one frame. */
function together(wire: MqttWire, ...frames: Uint8Array[]): void {
  wire.sendBytes(bytes(...frames));
}

/** Plays the handshakes of some PUBLISH packets whose QoS went 0, 1, 2, 0, 1, 2 … */
async function acknowledge(from: MqttWire, count: number): Promise<void> {
  // One PUBACK, one PUBREC and one PUBCOMP for every three.
  for (let left = count; left > 0; left--) {
    const { cmd, messageId } = await from.next();
    if (cmd === "pubrec") from.send({ cmd: "pubrel", messageId: messageId! });
  }
}

describe("what may be published", () => {
  it.for(ALL)("[MQD1] version %i: QoS 3 ends the connection", async (version, { mqtt }) => {
    const frame = publishBytes("t", "x", {
      flags: 6,
      id: 1,
      ...(version === 5 ? { properties: NOTHING } : {}),
    });
    await mqtt.provoke(version, frame, 0x81);
  });

  it.for(ALL)(
    "[MQD2] version %i: a topic with a wildcard, or none, is refused",
    async (version, { mqtt }) => {
      for (const topic of ["a/+", "#", "a/b#", ""]) {
        await mqtt.provoke(
          version,
          publishBytes(topic, "x", version === 5 ? { properties: NOTHING } : {}),
          0x90,
          0x81,
          0x82,
        );
      }
    },
  );

  it("[MQD3] a subscription identifier from a client is a protocol error", async ({ mqtt }) => {
    await mqtt.provoke(5, publishBytes("t", "x", { properties: properties("0b 01") }), 0x82, 0x81);
  });

  it.for(ALL)(
    "[MQD4] version %i: an empty payload is a message like any other",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      await wire.subscribe("t", { qos: 2 });
      for (const qos of [0, 1, 2] as const) {
        await wire.publish("t", "", { qos });
        expect(await wire.message()).toMatchObject({ qos, topic: "t", payload: Buffer.alloc(0) });
      }
    },
  );

  it.for(ALL)("[MQD4] version %i: a payload is any bytes, up to a megabyte", async (version, { mqtt }) => {
    const wire = await mqtt.connect(version);
    await wire.subscribe("t", { qos: 1 });
    const all = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    const large = Buffer.alloc(1024 * 1024 - 1024, all);
    for (const payload of [all, large]) {
      await wire.publish("t", payload, { qos: 1 });
      expect((await wire.message()).payload!.equals(payload)).toBe(true);
    }
  });
});

describe("QoS", () => {
  const pairs = ALL.flatMap((version) =>
    ([0, 1, 2] as const).flatMap((sent) => ([0, 1, 2] as const).map((wish) => ({ version, sent, wish }))),
  );
  it.for(pairs)(
    "[MQD5] version $version: published at $sent, subscribed at $wish: the lesser of the two",
    async ({ version, sent, wish }, { mqtt }) => {
      const [from, to] = [await mqtt.connect(version), await mqtt.connect(version)];
      expect(await to.subscribe("t", { qos: wish })).toEqual([wish]);
      await from.publish("t", "x", { qos: sent, dup: false });
      expect(await to.message()).toMatchObject({ qos: Math.min(sent, wish), dup: false, retain: false });
      await to.quiet();
    },
  );

  it.for(BOTH)("[MQD6] version %i: DUP of what comes in is not handed on", async (version, { mqtt }) => {
    const wire = await mqtt.connect(version);
    await wire.subscribe("t", { qos: 2 });
    for (const qos of [1, 2] as const) {
      await wire.publish("t", "x", { qos, dup: true });
      expect(await wire.message()).toMatchObject({ qos, dup: false });
    }
  });

  it.for(ALL)(
    "[MQD7] version %i: after PUBACK the same identifier is a new message",
    async (version, { mqtt }) => {
      const [from, to] = [await mqtt.connect(version), await mqtt.connect(version)];
      await to.subscribe("t", { qos: 1 });
      for (const payload of ["1", "2", "3"])
        await from.publish("t", payload, { qos: 1, messageId: 7, dup: payload === "2" });
      expect(await to.payloads(3)).toEqual(["1", "2", "3"]);
    },
  );

  it.for(ALL)(
    "[MQD8] version %i: a QoS 2 PUBLISH repeated before PUBREL is delivered once; after PUBCOMP it is new",
    async (version, { mqtt }) => {
      const [from, to] = [await mqtt.connect(version), await mqtt.connect(version)];
      await to.subscribe("t", { qos: 2 });
      for (const payload of ["1", "2"]) {
        for (const dup of [false, true, true]) {
          from.sendPublish("t", payload, { qos: 2, messageId: 5, dup });
          expect(await from.next()).toMatchObject({ cmd: "pubrec", messageId: 5 });
        }
        from.send({ cmd: "pubrel", messageId: 5 });
        expect(await from.next()).toMatchObject({ cmd: "pubcomp", messageId: 5 });
      }
      expect(await to.payloads(2)).toEqual(["1", "2"]);
      await to.quiet();
    },
  );

  it("[MQD8] PUBREL of an unknown identifier is answered PUBCOMP 0x92", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    wire.send({ cmd: "pubrel", messageId: 77 });
    expect(await wire.next("pubcomp")).toMatchObject({ messageId: 77, reasonCode: 0x92 });
    await wire.quiet();
    const older = await mqtt.connect(4);
    older.send({ cmd: "pubrel", messageId: 77 });
    expect(await older.next("pubcomp")).toMatchObject({ messageId: 77 });
  });

  it.for(ALL)(
    "[MQD9] version %i: out at QoS 2: PUBLISH, PUBREC, PUBREL, PUBCOMP, each once and with one identifier",
    async (version, { mqtt }) => {
      const [from, to] = [await mqtt.connect(version), await mqtt.connect(version)];
      await to.subscribe("t", { qos: 2 });
      await from.publish("t", "x", { qos: 2 });
      const { messageId } = await to.next("publish");
      await to.quiet();
      to.send({ cmd: "pubrec", messageId: messageId! });
      expect(await to.next()).toMatchObject({ cmd: "pubrel", messageId });
      await to.quiet();
      to.send({ cmd: "pubcomp", messageId: messageId! });
      await to.quiet();
    },
  );

  it("[MQD9] a PUBREC of 0x80 or more ends the delivery and frees the identifier", async ({ mqtt }) => {
    const wire = await mqtt.durable(5, "a", { properties: { receiveMaximum: 1 } });
    await wire.subscribe("t", { qos: 2 });
    await wire.publish("t", "refused", { qos: 2 });
    const refused = await wire.next("publish");
    wire.send({ cmd: "pubrec", messageId: refused.messageId!, reasonCode: 0x83 });
    await wire.publish("t", "next", { qos: 2 });
    expect(await wire.payloads(1)).toEqual(["next"]);
    await wire.quiet();
    wire.cut();
    await (await mqtt.durable(5, "a")).quiet();
  });

  it("[MQD9] a PUBACK of 0x80 or more acknowledges", async ({ mqtt }) => {
    const wire = await mqtt.durable(5, "a");
    await wire.subscribe("t", { qos: 1 });
    await wire.publish("t", "refused", { qos: 1 });
    const { messageId } = await wire.next("publish");
    wire.send({ cmd: "puback", messageId: messageId!, reasonCode: 0x97 });
    await wire.quiet();
    wire.cut();
    await (await mqtt.durable(5, "a")).quiet();
  });

  it("[MQD9] a PUBREC of what was not sent is answered PUBREL 0x92", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    wire.send({ cmd: "pubrec", messageId: 99 });
    expect(await wire.next("pubrel")).toMatchObject({ messageId: 99, reasonCode: 0x92 });
  });
});

describe("order", () => {
  it.for(ALL)(
    "[MQD13] version %i: in the order of publishing, per publisher, topic and QoS, to every subscriber",
    async (version, { mqtt }) => {
      const count = 60;
      const publishers = [
        await mqtt.connect(version),
        await mqtt.connect(version),
        await mqtt.connect(version),
      ];
      const subscribers = [
        await mqtt.connect(version),
        await mqtt.connect(version),
        await mqtt.connect(version),
      ];
      for (const [qos, to] of subscribers.entries()) await to.subscribe("t/+", { qos: qos as 0 | 1 | 2 });
      const publish = async (from: MqttWire, who: number) => {
        for (let number = 0; number < count; number++) {
          const qos = (number % 3) as 0 | 1 | 2;
          from.sendPublish(`t/${number % 2}`, `${who}:${qos}:${number}`, { qos });
          // One packet at a time would be in order by itself: answers are looked at now and then.
          if (number % 12 === 11) await acknowledge(from, 12);
        }
      };
      await Promise.all(publishers.map(publish));
      for (const to of subscribers) {
        const seen = new Map<string, number[]>();
        for (let total = 0; total < count * 3; total++) {
          const { topic, payload } = await to.message();
          const [who, qos, number] = String(payload).split(":").map(Number);
          const key = `publisher ${who}, ${topic}, QoS ${qos}`;
          seen.set(key, [...(seen.get(key) ?? []), number!]);
        }
        expect(seen.size).toBe(18);
        for (const [key, numbers] of seen) expect(numbers, key).toEqual(numbers.toSorted((a, b) => a - b));
      }
    },
  );

  it.for(BOTH)(
    "[MQD14] version %i: acknowledgements come in the order of the packets",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      const publish = (messageId: number, qos: 1 | 2) =>
        wire.encode({
          cmd: "publish",
          topic: `t/${messageId}`,
          payload: "x",
          qos,
          messageId,
          dup: false,
          retain: false,
        });
      together(wire, ...[1, 2, 3, 4].map((id) => publish(id, 1)), ...[5, 6, 7].map((id) => publish(id, 2)));
      const answers: Received[] = [];
      for (let count = 0; count < 7; count++) answers.push(await wire.next());
      const ids = (cmd: string) => answers.filter((one) => one.cmd === cmd).map(({ messageId }) => messageId);
      expect(ids("puback")).toEqual([1, 2, 3, 4]);
      expect(ids("pubrec")).toEqual([5, 6, 7]);
      together(wire, ...[5, 6, 7].map((id) => packet(TYPE.pubrel, u16(id))));
      for (const messageId of [5, 6, 7]) expect(await wire.next("pubcomp")).toMatchObject({ messageId });
    },
  );
});

describe("flow", () => {
  it("[MQD15] no more than receive maximum is unacknowledged, QoS 0 and other packets pass", async ({
    mqtt,
  }) => {
    const to = await mqtt.connect(5, { properties: { receiveMaximum: 2 } });
    const from = await mqtt.connect(5);
    await to.subscribe(["t", "zero"], { qos: 2 });
    for (const payload of ["1", "2", "3", "4"]) await from.publish("t", payload, { qos: 2 });
    const first = await to.next("publish");
    const second = await to.next("publish");
    await to.quiet();
    await from.publish("zero", "0");
    expect(await to.next("publish")).toMatchObject({ topic: "zero" });
    to.send({ cmd: "pubrec", messageId: first.messageId! });
    await to.next("pubrel");
    await to.quiet();
    to.send({ cmd: "pubcomp", messageId: first.messageId! });
    const third = await to.next("publish");
    expect([first, second, third].map(({ payload }) => String(payload))).toEqual(["1", "2", "3"]);
    await to.quiet();
    to.send({ cmd: "pubrec", messageId: second.messageId!, reasonCode: 0x80 });
    expect(await to.next("publish")).toMatchObject({ payload: Buffer.from("4") });
  });

  it("[MQD15] receive maximum holds for what waited while the session was away", async ({ mqtt }) => {
    const before = await mqtt.durable(5, "a");
    await before.subscribe("t", { qos: 1 });
    await before.bye();
    const from = await mqtt.connect(5);
    for (let number = 0; number < 5; number++) await from.publish("t", `${number}`, { qos: 1 });
    const after = await mqtt.durable(5, "a", { properties: { receiveMaximum: 1 } });
    for (let number = 0; number < 5; number++) {
      const { payload, messageId } = await after.next("publish");
      expect(String(payload)).toBe(`${number}`);
      await after.quiet();
      after.send({ cmd: "puback", messageId: messageId! });
    }
    await after.quiet();
  });

  it("[MQD16] more than the server's receive maximum ends the connection with 0x93", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    const receiveMaximum = wire.connack!.properties?.receiveMaximum ?? 65535;
    const publish = (id: number) => publishBytes("t", "x", { flags: 4, id, properties: NOTHING });
    const frames = Array.from({ length: receiveMaximum }, (_, index) => publish(index + 1));
    together(wire, ...frames);
    for (let count = 0; count < receiveMaximum; count++) await wire.next("pubrec");
    await wire.quiet();
    wire.sendBytes(publish(receiveMaximum + 1));
    const { reason } = await wire.closed();
    expect(reason).toBe(0x93);
  });

  it("[MQD16] what was refused or completed does not count", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    const receiveMaximum = Math.min(wire.connack!.properties?.receiveMaximum ?? 65535, 2000);
    for (let round = 0; round < 3; round++) {
      const frames = Array.from({ length: receiveMaximum }, (_, index) =>
        publishBytes("t", "x", { flags: 2, id: index + 1, properties: NOTHING }),
      );
      together(wire, ...frames);
      for (let count = 0; count < receiveMaximum; count++) await wire.next("puback");
    }
    await wire.quiet();
  });

  it("[MQD17] a packet larger than the client allows is not sent, and counts as done", async ({ mqtt }) => {
    const to = await mqtt.durable(5, "a", { properties: { maximumPacketSize: 200 } });
    const all = await mqtt.connect(5);
    await to.subscribe("t", { qos: 1 });
    await all.subscribe("t", { qos: 1 });
    await all.publish("t", "x".repeat(300), { qos: 1 });
    await all.publish("t", "small", { qos: 1 });
    expect(await to.payloads(1)).toEqual(["small"]);
    expect((await all.payloads(2))[0]).toHaveLength(300);
    await to.quiet();
    to.cut();
    await (await mqtt.durable(5, "a")).quiet();
  });

  it("[MQD17] a packet larger than the server allows ends the connection with 0x95", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    const limit = wire.connack!.properties?.maximumPacketSize;
    expect(limit).toBeGreaterThan(0);
    wire.sendBytes(publishBytes("t", "x".repeat(limit!), { properties: NOTHING }));
    await expectEnd(wire, 0x95);
  });
});
