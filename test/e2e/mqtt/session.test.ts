// Sessions of MQTT: what outlives a connection, for how long, and how one learns of it.
import { describe, expect } from "vitest";
import type { MqttWire } from "../../support/mqtt-wire.ts";
import { eventually, pass } from "../harness.ts";
import { ALL, BOTH, expectEnd, type MqttWorld, withMqtt } from "./mqtt-world.ts";

const it = withMqtt();

const NEVER = 0xffff_ffff;

/** Connects, looks whether a session was there, and leaves. */
async function wasPresent(mqtt: MqttWorld, clientId: string, version: 4 | 5 = 5): Promise<boolean> {
  const wire = await mqtt.durable(version, clientId);
  await wire.bye();
  return wire.connack!.sessionPresent!;
}

function expiring(mqtt: MqttWorld, clientId: string, sessionExpiryInterval: number): Promise<MqttWire> {
  return mqtt.connect(5, { clientId, clean: false, properties: { sessionExpiryInterval } });
}

describe("clean and not", () => {
  it.for(ALL)(
    "[MQC20] version %i: a session keeps subscriptions and what came at QoS 1 and 2 meanwhile",
    async (version, { mqtt }) => {
      const before = await mqtt.durable(version, "a");
      expect(before.connack!.sessionPresent).toBe(false);
      await before.subscribe(["one", "two"], { qos: 2 });
      await before.bye();
      const from = await mqtt.connect(version);
      await from.publish("one", "1", { qos: 1 });
      await from.publish("one", "2", { qos: 2 });
      await from.publish("two", "3", { qos: 2 });
      const after = await mqtt.durable(version, "a");
      // MQTT 3.1 knows no such flag; a server may set it all the same.
      if (version > 3) expect(after.connack!.sessionPresent).toBe(true);
      expect((await after.payloads(3)).toSorted()).toEqual(["1", "2", "3"]);
      await from.publish("two", "live", { qos: 1 });
      expect(await after.payloads(1)).toEqual(["live"]);
      await after.quiet();
    },
  );

  it.for(ALL)(
    "[MQC21] version %i: a clean start drops the session and says so",
    async (version, { mqtt }) => {
      const before = await mqtt.durable(version, "a");
      await before.subscribe("t", { qos: 1 });
      await before.bye();
      const from = await mqtt.connect(version);
      await from.publish("t", "lost", { qos: 1 });
      const clean = await mqtt.connect(version, { clientId: "a", clean: true });
      expect(clean.connack!.sessionPresent).toBe(false);
      await from.publish("t", "not for it", { qos: 1 });
      await clean.quiet();
      await clean.bye();
      const after = await mqtt.durable(version, "a");
      expect(after.connack!.sessionPresent).toBe(false);
      await after.quiet();
    },
  );

  it.for(BOTH)("[MQC21] version %i: what was retained outlives every session", async (version, { mqtt }) => {
    const wire = await mqtt.connect(version, { clientId: "a", clean: true });
    await wire.publish("kept", "x", { qos: 1, retain: true });
    await wire.bye();
    const next = await mqtt.connect(version, { clientId: "a", clean: true });
    await next.subscribe("kept");
    expect(await next.payloads(1)).toEqual(["x"]);
  });

  it("[MQC22] a refused CONNECT does not say that a session is present", async ({ mqtt }) => {
    await (await mqtt.durable(5, "a")).bye();
    const wire = await mqtt.open(5);
    const connack = await wire
      .hello({ clientId: "a", clean: false, properties: { authenticationMethod: "no-such" } })
      .catch(() => undefined);
    if (connack) expect(connack).toMatchObject({ sessionPresent: false, reasonCode: 0x8c });
    expect(await wasPresent(mqtt, "a")).toBe(true);
  });
});

describe("expiry", () => {
  it("[MQC23] without an expiry the session ends with its connection", async ({ mqtt }) => {
    const wire = await mqtt.connect(5, { clientId: "a", clean: false });
    await wire.subscribe("t", { qos: 1 });
    await wire.bye();
    expect(await wasPresent(mqtt, "a")).toBe(false);
    // The will tells when the server has seen that the connection is lost.
    const watcher = await mqtt.connect(5);
    await watcher.subscribe("lost");
    const will = { topic: "lost", payload: Buffer.from("b") };
    const cut = await mqtt.connect(5, { clientId: "b", clean: false, will });
    cut.cut();
    await watcher.message();
    expect(await wasPresent(mqtt, "b")).toBe(false);
  });

  it("[MQC23] a session lives for its expiry and ends after it", async ({ mqtt }) => {
    const soon = await expiring(mqtt, "soon", 1);
    await soon.subscribe("t", { qos: 1 });
    await soon.bye();
    await (await expiring(mqtt, "never", NEVER)).bye();
    const again = await expiring(mqtt, "soon", 1);
    expect(again.connack!.sessionPresent).toBe(true);
    await again.bye();
    // Looking at it gives it another second.
    await eventually(async () => {
      await pass(1_500);
      const wire = await expiring(mqtt, "soon", 1);
      await wire.bye();
      expect(wire.connack!.sessionPresent).toBe(false);
    });
    expect(await wasPresent(mqtt, "never")).toBe(true);
  });

  it("[MQC24] DISCONNECT changes the expiry", async ({ mqtt }) => {
    const ending = await expiring(mqtt, "ending", 300);
    await ending.bye({ reasonCode: 0, properties: { sessionExpiryInterval: 0 } });
    expect(await wasPresent(mqtt, "ending")).toBe(false);
    const lasting = await expiring(mqtt, "lasting", 1);
    await lasting.bye({ reasonCode: 0, properties: { sessionExpiryInterval: 300 } });
    await pass(1_300);
    expect(await wasPresent(mqtt, "lasting")).toBe(true);
  });

  it("[MQC24] DISCONNECT may not give an expiry to a session that had none", async ({ mqtt }) => {
    const wire = await mqtt.connect(5, { clientId: "a" });
    wire.send({ cmd: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 9 } });
    await expectEnd(wire, 0x82);
    expect(await wasPresent(mqtt, "a")).toBe(false);
  });

  it.for(BOTH)(
    "[MQC25] version %i: a taken over session goes on with the newer connection",
    async (version, { mqtt }) => {
      const first = await mqtt.durable(version, "a");
      await first.subscribe("t", { qos: 1 });
      const second = await mqtt.durable(version, "a");
      expect(second.connack!.sessionPresent).toBe(true);
      await expectEnd(first, 0x8e);
      await second.publish("t", "x", { qos: 1 });
      expect(await second.payloads(1)).toEqual(["x"]);
    },
  );
});

describe("what is in flight", () => {
  it.for(ALL)(
    "[MQD10] version %i: an unacknowledged PUBLISH comes again with its identifier and DUP, in order, on resume alone",
    async (version, { mqtt }) => {
      const before = await mqtt.durable(version, "a");
      await before.subscribe("t", { qos: 2 });
      const from = await mqtt.connect(version);
      await from.publish("t", "1", { qos: 1 });
      await from.publish("t", "2", { qos: 2 });
      await from.publish("t", "3", { qos: 1 });
      const sent = [await before.next("publish"), await before.next("publish"), await before.next("publish")];
      expect(sent.map(({ dup }) => dup)).toEqual([false, false, false]);
      await before.quiet();
      before.cut();
      const after = await mqtt.durable(version, "a");
      const again = [await after.message(), await after.message(), await after.message()];
      expect(again.map(({ messageId, qos, dup, payload }) => [messageId, qos, dup, String(payload)])).toEqual(
        sent.map(({ messageId, qos, payload }) => [messageId, qos, true, String(payload)]),
      );
      await after.quiet();
      await after.bye();
      const done = await mqtt.durable(version, "a");
      await done.quiet();
    },
  );

  it.for(ALL)(
    "[MQD11] version %i: after PUBREC the PUBREL comes again on resume, and never the PUBLISH",
    async (version, { mqtt }) => {
      const before = await mqtt.durable(version, "a");
      await before.subscribe("t", { qos: 2 });
      const from = await mqtt.connect(version);
      await from.publish("t", "1", { qos: 2 });
      const { messageId } = await before.next("publish");
      before.send({ cmd: "pubrec", messageId: messageId! });
      await before.next("pubrel");
      before.cut();
      const after = await mqtt.durable(version, "a");
      expect(await after.next()).toMatchObject({ cmd: "pubrel", messageId });
      await after.quiet();
      after.send({ cmd: "pubcomp", messageId: messageId! });
      await after.quiet();
      after.cut();
      const done = await mqtt.durable(version, "a");
      await done.quiet();
    },
  );

  it.for(ALL)(
    "[MQD12] version %i: a QoS 2 identifier is remembered over a reconnect: the repeated PUBLISH is not delivered again",
    async (version, { mqtt }) => {
      const to = await mqtt.connect(version);
      await to.subscribe("t", { qos: 1 });
      const before = await mqtt.durable(version, "a");
      before.sendPublish("t", "once", { qos: 2, messageId: 9 });
      await before.next("pubrec");
      before.cut();
      const after = await mqtt.durable(version, "a");
      after.sendPublish("t", "once", { qos: 2, messageId: 9, dup: true });
      expect(await after.next()).toMatchObject({ cmd: "pubrec", messageId: 9 });
      after.send({ cmd: "pubrel", messageId: 9 });
      expect(await after.next()).toMatchObject({ cmd: "pubcomp", messageId: 9 });
      await after.publish("t", "next", { qos: 2, messageId: 9 });
      expect(await to.payloads(2)).toEqual(["once", "next"]);
      await to.quiet();
    },
  );

  it("[MQD8] a PUBREL that was answered before the connection was lost is answered again, as a success", async ({
    mqtt,
  }) => {
    // Stock clients resend PUBREL when its PUBCOMP was lost, and take a reason of 0x80 or more for a failed publish.
    const before = await mqtt.durable(5, "a");
    await before.publish("t", "x", { qos: 2, messageId: 3 });
    before.cut();
    const after = await mqtt.durable(5, "a");
    after.send({ cmd: "pubrel", messageId: 3 });
    expect(await after.next("pubcomp")).toMatchObject({ messageId: 3, reasonCode: 0 });
  });
});
