// Retained messages: what is kept, who gets it and with which flags.
import { describe, expect } from "vitest";
import type { MqttWire } from "../../support/mqtt-wire.ts";
import { ALL, BOTH, withMqtt } from "./mqtt-world.ts";

const it = withMqtt();

const keep = (wire: MqttWire, topic: string, payload: string, qos: 0 | 1 | 2 = 1) =>
  wire.publish(topic, payload, { qos, retain: true });

describe("keeping", () => {
  it.for(ALL)(
    "[MQR1] version %i: the last retained message of a topic reaches every new subscription, flagged",
    async (version, { mqtt }) => {
      const from = await mqtt.connect(version);
      await keep(from, "t", "1");
      await keep(from, "t", "2");
      for (let count = 0; count < 2; count++) {
        const to = await mqtt.connect(version);
        await to.subscribe("t", { qos: 1 });
        expect(await to.message()).toMatchObject({
          topic: "t",
          retain: true,
          dup: false,
          payload: Buffer.from("2"),
        });
        await to.quiet();
      }
    },
  );

  const qualities = BOTH.flatMap((version) =>
    ([0, 1, 2] as const).flatMap((kept) => ([0, 1, 2] as const).map((wish) => ({ version, kept, wish }))),
  );
  it.for(qualities)(
    "[MQR1] version $version: kept at QoS $kept, asked for at $wish: the lesser",
    async ({ version, kept, wish }, { mqtt }) => {
      const wire = await mqtt.connect(version);
      await keep(wire, "t", "x", kept);
      // At QoS 0 nothing says when it is kept; a later packet to the same topic does.
      if (kept === 0) await wire.publish("t", "later", { qos: 1 });
      await wire.subscribe("t", { qos: wish });
      expect(await wire.message()).toMatchObject({
        retain: true,
        qos: Math.min(kept, wish),
        payload: Buffer.from("x"),
      });
    },
  );

  it.for(ALL)(
    "[MQR2] version %i: an empty payload deletes, is delivered to those who listen, and is not kept",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      await keep(wire, "t", "x");
      const listening = await mqtt.connect(version);
      await listening.subscribe("t");
      await listening.message();
      await keep(wire, "t", "");
      expect(await listening.message()).toMatchObject({ payload: Buffer.alloc(0), retain: false });
      const late = await mqtt.connect(version);
      await late.subscribe("t");
      await late.quiet();
    },
  );

  it.for(BOTH)(
    "[MQR3] version %i: a message without the flag leaves what is kept alone",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      await keep(wire, "t", "kept");
      await wire.publish("t", "passing", { qos: 1 });
      await wire.publish("t", "", { qos: 1 });
      await wire.subscribe("t");
      expect(await wire.payloads(1)).toEqual(["kept"]);
      await wire.quiet();
    },
  );

  it.for(ALL)(
    "[MQR4] version %i: a live subscription gets it without the flag",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      await wire.subscribe("t", { qos: 1 });
      await keep(wire, "t", "x");
      expect(await wire.message()).toMatchObject({ retain: false });
    },
  );

  it.for(BOTH)("[MQR5] version %i: wildcard filters get all that match", async (version, { mqtt }) => {
    const wire = await mqtt.connect(version);
    const topics = ["a", "a/b", "a/b/c", "a//c", "b", "/"];
    for (const topic of topics) await keep(wire, topic, topic);
    const expected: [string, string[]][] = [
      ["#", ["a", "a/b", "a/b/c", "a//c", "b", "/"]],
      ["a/#", ["a", "a/b", "a/b/c", "a//c"]],
      ["a/+", ["a/b"]],
      ["+/+/c", ["a/b/c", "a//c"]],
      ["+/+", ["a/b", "/"]],
      ["+", ["a", "b"]],
    ];
    for (const [filter, matching] of expected) {
      const to = await mqtt.connect(version);
      await to.subscribe(filter, { qos: 1 });
      expect((await to.payloads(matching.length)).toSorted(), filter).toEqual(matching.toSorted());
      await to.quiet();
    }
  });
});

describe("retain handling and retain as published", () => {
  it("[MQR6] 0 sends at every subscribe, 1 only at a new subscription, 2 never", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    await keep(wire, "t", "kept");
    await wire.subscribe("t", { rh: 2 });
    await wire.quiet();
    await wire.subscribe("t", { rh: 1 });
    await wire.quiet();
    await wire.subscribe("t", { rh: 0 });
    expect(await wire.payloads(1)).toEqual(["kept"]);
    await wire.subscribe("t", { rh: 0 });
    expect(await wire.payloads(1)).toEqual(["kept"]);
    await wire.unsubscribe("t");
    await wire.subscribe("t", { rh: 1 });
    expect(await wire.payloads(1)).toEqual(["kept"]);
    await wire.quiet();
  });

  it("[MQR6] a subscription of a resumed session is not new", async ({ mqtt }) => {
    const before = await mqtt.durable(5, "a");
    await keep(before, "t", "kept");
    await before.subscribe("t", { rh: 1 });
    await before.message();
    await before.bye();
    const after = await mqtt.durable(5, "a");
    await after.quiet();
    await after.subscribe("t", { rh: 1 });
    await after.quiet();
  });

  it.for(ALL.filter((version) => version < 5))(
    "[MQR6] version %i: every subscribe sends again",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      await keep(wire, "t", "kept");
      for (let count = 0; count < 2; count++) {
        await wire.subscribe("t");
        expect(await wire.message()).toMatchObject({ retain: true });
      }
    },
  );

  it("[MQR7] retain as published keeps the flag of live messages as it was", async ({ mqtt }) => {
    const [as, plain, from] = [await mqtt.connect(5), await mqtt.connect(5), await mqtt.connect(4)];
    await as.subscribe("t", { qos: 1, rap: true });
    await plain.subscribe("t", { qos: 1, rap: false });
    await keep(from, "t", "kept");
    await from.publish("t", "passing", { qos: 1 });
    const flags = async (wire: MqttWire) => [(await wire.message()).retain, (await wire.message()).retain];
    expect(await flags(as)).toEqual([true, false]);
    expect(await flags(plain)).toEqual([false, false]);
    const late = await mqtt.connect(5);
    await late.subscribe("t", { rap: false });
    expect(await late.message()).toMatchObject({ retain: true });
  });

  it("[MQR8] a shared subscription gets nothing that was kept", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    await keep(wire, "t", "kept");
    await wire.subscribe("$share/g/t", { qos: 1 });
    await wire.quiet();
    await wire.publish("t", "live", { qos: 1 });
    expect(await wire.payloads(1)).toEqual(["live"]);
  });

  it("[MQR9] what is kept is delivered with the subscription's identifier", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    await keep(wire, "t", "kept");
    await wire.subscribe("t", { properties: { subscriptionIdentifier: 5 } });
    expect((await wire.message()).properties?.subscriptionIdentifier).toBe(5);
  });

  it.for(BOTH)(
    "[MQR10] version %i: a large number of kept messages comes whole",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      const count = 300;
      await Promise.all(
        Array.from({ length: count }, (_, index) =>
          wire.sendPublish(`many/${index}`, `${index}`, { qos: 1, retain: true }),
        ),
      );
      for (let left = count; left > 0; left--) await wire.next("puback");
      const to = await mqtt.connect(version);
      await to.subscribe("many/+", { qos: 1 });
      expect(new Set(await to.payloads(count)).size).toBe(count);
      await to.quiet();
    },
  );
});
