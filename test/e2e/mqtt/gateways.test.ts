// MQTT over several gateways, with an object for every topic: clients meet whatever gateway they are at.
import { describe, expect } from "vitest";
import { MqttWire } from "../../support/mqtt-wire.ts";
import { eventually } from "../harness.ts";
import { BOTH, expectEnd, withMqtt } from "./mqtt-world.ts";

const it = withMqtt({ env: { GATEWAYS: "3", TOPIC_BUCKETS: "0" } });

/** Enough client ids that every gateway has some. */
const CLIENTS = ["a", "b", "c", "d", "e", "f", "g", "h"];

describe("several gateways", () => {
  it.for(BOTH)(
    "[MQD5] [MQR5] [MQS7] version %i: every client gets what it subscribed to, live and retained",
    async (version, { mqtt }) => {
      const wires = await Promise.all(CLIENTS.map((clientId) => mqtt.connect(version, { clientId })));
      for (const wire of wires) await wire.subscribe(["t/+", "t/#"], { qos: 2 });
      const expected: string[] = [];
      for (const [index, wire] of wires.entries()) {
        await wire.publish(`t/${index}`, `${index}`, { qos: (index % 3) as 0 | 1 | 2, retain: true });
        expected.push(`${index}`);
      }
      for (const wire of wires) expect((await wire.payloads(CLIENTS.length)).toSorted()).toEqual(expected);
      const late = await mqtt.connect(version);
      await late.subscribe("t/#", { qos: 1 });
      expect((await late.payloads(CLIENTS.length)).toSorted()).toEqual(expected);
    },
  );

  it.for(BOTH)(
    "[MQC15] [MQC20] version %i: a client id is taken over, and its session found again",
    async (version, { mqtt }) => {
      const from = await mqtt.connect(version);
      for (const clientId of CLIENTS) {
        const first = await mqtt.durable(version, clientId);
        await first.subscribe("t", { qos: 1 });
        const second = await mqtt.durable(version, clientId);
        expect(second.connack!.sessionPresent).toBe(true);
        await expectEnd(first, 0x8e);
        await second.bye();
      }
      await from.publish("t", "x", { qos: 1 });
      for (const clientId of CLIENTS) {
        const back = await mqtt.durable(version, clientId);
        expect(await back.payloads(1)).toEqual(["x"]);
      }
    },
  );

  it("[MQX1] a shared subscription has members at every gateway", async ({ mqtt }) => {
    const seen: string[] = [];
    const members = await Promise.all(CLIENTS.map((clientId) => mqtt.connect(5, { clientId })));
    for (const member of members) {
      await member.subscribe("$share/g/t", { qos: 1 });
      void (async () => {
        for (;;) seen.push(String((await member.message(30_000)).payload));
      })().catch(() => {});
    }
    const from = await mqtt.connect(4);
    for (let number = 0; number < 40; number++) await from.publish("t", `${number}`, { qos: 1 });
    await eventually(() => expect(seen.length).toBe(40));
    expect(new Set(seen).size).toBe(40);
  });

  it("[MQO4] CONNECT in pieces, or with packets behind it, finds its gateway; so does a client named in the URL", async ({
    mqtt,
  }) => {
    for (const clientId of CLIENTS) {
      const wire = await mqtt.open(4);
      const connect = wire.encode({
        cmd: "connect",
        clientId,
        protocolId: "MQTT",
        protocolVersion: 4,
        clean: true,
        keepalive: 0,
      });
      const stream = Buffer.concat([connect, Buffer.of(0xc0, 0)]);
      for (const byte of stream.subarray(0, 9)) wire.sendBytes(Buffer.of(byte));
      wire.sendBytes(stream.subarray(9));
      await wire.next("connack");
      await wire.next("pingresp");
      const named = await MqttWire.connect(`${mqtt.url}&client=${clientId}`, 5, { clientId });
      await expectEnd(wire);
      await named.quiet();
      named.cut();
    }
  });
});
