// Shared subscriptions: one of many gets each message, and what it does not finish goes to another.
import { describe, expect } from "vitest";
import { packet, properties, TYPE, text, u16 } from "../../support/mqtt-bytes.ts";
import type { MqttWire } from "../../support/mqtt-wire.ts";
import { eventually } from "../harness.ts";
import { BOTH, withMqtt } from "./mqtt-world.ts";

const it = withMqtt();

/** Acknowledges all that comes, and writes the payloads down. */
function collect(wire: MqttWire, into: string[]): void {
  void (async () => {
    for (;;) into.push(String((await wire.message(60_000)).payload));
  })().catch(() => {});
}

describe("shared subscriptions", () => {
  it.for(BOTH)(
    "[MQX1] version %i: each message goes to one member, and all members get some",
    async (version, { mqtt }) => {
      const seen: string[][] = [[], [], []];
      for (const [index, got] of seen.entries()) {
        const member = await mqtt.connect(version, { clientId: `m${index}` });
        expect(await member.subscribe("$share/g/t/+", { qos: 1 })).toEqual([1]);
        collect(member, got);
      }
      const from = await mqtt.connect(version);
      const all = Array.from({ length: 90 }, (_, index) => `${index}`);
      for (const payload of all) await from.publish(`t/${payload}`, payload, { qos: 1 });
      await eventually(() => expect(seen.flat().length).toBe(90));
      expect(seen.flat().toSorted()).toEqual(all.toSorted());
      for (const got of seen) expect(got.length).toBeGreaterThan(0);
    },
  );

  it("[MQX1] groups, and subscriptions of the same filter that are not shared, each get everything", async ({
    mqtt,
  }) => {
    const [one, two, plain, from] = [
      await mqtt.connect(5),
      await mqtt.connect(5),
      await mqtt.connect(5),
      await mqtt.connect(5),
    ];
    await one.subscribe("$share/one/t", { qos: 1 });
    await two.subscribe("$share/two/t", { qos: 1 });
    await plain.subscribe("t", { qos: 1 });
    for (const payload of ["1", "2", "3"]) await from.publish("t", payload, { qos: 1 });
    for (const wire of [one, two, plain]) expect(await wire.payloads(3)).toEqual(["1", "2", "3"]);
  });

  it("[MQX1] a client with a shared and a plain subscription gets a copy of each", async ({ mqtt }) => {
    const [wire, from] = [await mqtt.connect(5), await mqtt.connect(5)];
    await wire.subscribe("$share/g/t", { qos: 1, properties: { subscriptionIdentifier: 7 } });
    await wire.subscribe("t", { qos: 1, properties: { subscriptionIdentifier: 8 } });
    await from.publish("t", "x", { qos: 1 });
    const copies = [await wire.message(), await wire.message()];
    const ids = copies.map((copy) => copy.properties?.subscriptionIdentifier);
    expect(ids.toSorted()).toEqual([7, 8]);
    await wire.quiet();
  });

  const wrong = [
    "$share/",
    "$share/g",
    "$share/g/",
    "$share//t",
    "$share/g+/t",
    "$share/g#/t",
    "$share/+/t",
    "$share/g/a#",
  ];
  it.for(wrong)("[MQX2] a wrong shared filter is refused: %s", async (filter, { mqtt }) => {
    const wire = await mqtt.connect(5);
    wire.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: filter, qos: 1 }] });
    const answer = await wire.next();
    if (answer.cmd === "suback") expect(answer.granted).toEqual([0x8f]);
    else
      expect(answer).toMatchObject({ cmd: "disconnect", reasonCode: expect.toBeOneOf([0x81, 0x82, 0x8f]) });
  });

  it("[MQX2] no local on a shared subscription is a protocol error", async ({ mqtt }) => {
    const frame = packet(TYPE.subscribe, u16(1), properties(), text("$share/g/t"), 0x05);
    await mqtt.provoke(5, frame, 0x82);
  });

  it("[MQX3] a member gets what its QoS grants", async ({ mqtt }) => {
    const from = await mqtt.connect(5);
    for (const qos of [0, 1, 2] as const) {
      const member = await mqtt.connect(5);
      expect(await member.subscribe(`$share/g${qos}/t${qos}`, { qos })).toEqual([qos]);
      await from.publish(`t${qos}`, "x", { qos: 2 });
      expect(await member.message()).toMatchObject({ qos, topic: `t${qos}` });
    }
  });

  it("[MQX4] what a member has not acknowledged at QoS 1 goes to another when its connection ends", async ({
    mqtt,
  }) => {
    const [first, from] = [await mqtt.connect(5, { clientId: "first" }), await mqtt.connect(5)];
    await first.subscribe("$share/g/t", { qos: 1 });
    await from.publish("t", "acknowledged", { qos: 1 });
    await first.message();
    for (const payload of ["1", "2"]) await from.publish("t", payload, { qos: 1 });
    await first.next("publish");
    await first.next("publish");
    const second = await mqtt.connect(5, { clientId: "second" });
    await second.subscribe("$share/g/t", { qos: 1 });
    first.cut();
    expect((await second.payloads(2)).toSorted()).toEqual(["1", "2"]);
    await second.quiet();
  });

  it("[MQX5] a QoS 2 message in flight is finished by its own client after a resume, and given to no one else", async ({
    mqtt,
  }) => {
    const first = await mqtt.durable(5, "first");
    await first.subscribe("$share/g/t", { qos: 2 });
    const from = await mqtt.connect(5);
    await from.publish("t", "x", { qos: 2 });
    const { messageId } = await first.next("publish");
    first.send({ cmd: "pubrec", messageId: messageId! });
    await first.next("pubrel");
    const second = await mqtt.connect(5, { clientId: "second" });
    await second.subscribe("$share/g/t", { qos: 2 });
    first.cut();
    const back = await mqtt.durable(5, "first");
    expect(await back.next()).toMatchObject({ cmd: "pubrel", messageId });
    back.send({ cmd: "pubcomp", messageId: messageId! });
    await back.quiet();
    await second.quiet();
  });

  it("[MQX6] a negative acknowledgement discards: no other member gets it", async ({ mqtt }) => {
    const [one, from] = [await mqtt.connect(5), await mqtt.connect(5)];
    await one.subscribe("$share/g/t", { qos: 2 });
    await from.publish("t", "refused", { qos: 1 });
    const { messageId } = await one.next("publish");
    const two = await mqtt.connect(5);
    await two.subscribe("$share/g/t", { qos: 2 });
    one.send({ cmd: "puback", messageId: messageId!, reasonCode: 0x83 });
    await one.quiet();
    await one.unsubscribe("$share/g/t");
    await from.publish("t", "next", { qos: 1 });
    expect(await two.payloads(1)).toEqual(["next"]);
    await two.quiet();
  });

  it("[MQX7] the group keeps its backlog while all members are away", async ({ mqtt }) => {
    const member = await mqtt.durable(5, "m");
    await member.subscribe("$share/g/t/#", { qos: 1 });
    await member.bye();
    const from = await mqtt.connect(5);
    for (const payload of ["1", "2", "3"]) await from.publish("t/x", payload, { qos: 1 });
    const back = await mqtt.durable(5, "m");
    expect(await back.payloads(3)).toEqual(["1", "2", "3"]);
    await back.quiet();
  });

  it.for(BOTH)(
    "[MQX8] version %i: a member that unsubscribes gets nothing more",
    async (version, { mqtt }) => {
      const [one, two, from] = [
        await mqtt.connect(version),
        await mqtt.connect(version),
        await mqtt.connect(version),
      ];
      for (const wire of [one, two]) await wire.subscribe("$share/g/t", { qos: 1 });
      expect(await one.unsubscribe("$share/g/t")).toEqual(version === 5 ? [0] : []);
      for (const payload of ["1", "2", "3", "4"]) await from.publish("t", payload, { qos: 1 });
      expect(await two.payloads(4)).toEqual(["1", "2", "3", "4"]);
      await one.quiet();
    },
  );
});
