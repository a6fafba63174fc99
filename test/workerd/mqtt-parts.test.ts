// Packets cut into frames with an eviction between the parts, and what a client may have unanswered, over evictions.
import { runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it } from "vitest";
import { encode } from "../../worker/protocol/mqtt/codec/writer.ts";
import { type ConnectFields, MqttWire, publishPacket } from "./support/mqtt.ts";
import { evict, gatewayStub, topicStub } from "./support/objects.ts";

let runs = 0;
const open: MqttWire[] = [];

afterEach(() => {
  for (const wire of open.splice(0)) wire.close();
});

async function connect(clientId: string, fields: ConnectFields = {}): Promise<MqttWire> {
  const [wire] = await MqttWire.connect(clientId, fields);
  open.push(wire);
  return wire;
}

/** A subscriber of a topic, and a publisher. */
async function pair(fields: ConnectFields = {}) {
  const topic = `parts-${++runs}`;
  const to = await connect(`${topic}-to`);
  await to.subscribe(topic);
  return { topic, to, from: await connect(`${topic}-from`, fields) };
}

/** Connections that carry more than fits into their attachments. */
function attachmentRows(): Promise<number> {
  return runInDurableObject(
    gatewayStub(),
    (_, { storage }) => storage.sql.exec("SELECT id FROM attachment").toArray().length,
  );
}

/** Sends bytes in parts, with the gateway evicted between. */
async function sendInParts(wire: MqttWire, bytes: Uint8Array, cuts: number[]): Promise<void> {
  for (const [at, start] of [0, ...cuts].entries()) {
    if (at > 0) {
      // An answer says that the part before has arrived.
      await evict(gatewayStub());
    }
    wire.bytes(bytes.slice(start, cuts[at]));
    await new Promise((sent) => setTimeout(sent, 0));
  }
}

describe("a packet in parts", () => {
  it("[MQV10] goes on after an eviction behind any of its bytes", async () => {
    const { topic, to, from } = await pair();
    const bytes = encode(publishPacket(topic, "whole", { qos: 2, packetId: 7 }), 5);
    const cuts = Array.from({ length: bytes.length - 1 }, (_, at) => at + 1);
    await sendInParts(from, bytes, cuts);
    expect(await from.next("pubrec")).toMatchObject({ packetId: 7, reasonCode: 0 });
    expect(await to.got()).toMatchObject({ body: "whole" });
  });

  it("[MQV10] goes on with whole packets before it and behind it in the same frames", async () => {
    const { topic, to, from } = await pair();
    const packets = [1, 2, 3].map((n) => encode(publishPacket(topic, `${n}`, { qos: 1, packetId: n }), 5));
    const size = packets[0]!.length;
    const bytes = new Uint8Array(3 * size);
    for (const [at, packet] of packets.entries()) bytes.set(packet, at * size);
    await sendInParts(from, bytes, [size + 3]);
    for (const packetId of [1, 2, 3]) expect(await from.next("puback")).toMatchObject({ packetId });
    for (const body of ["1", "2", "3"]) expect((await to.got()).body).toBe(body);
  });

  it("[MQV10] of 300 KB goes on as well, and what it was kept in is free again", async () => {
    const { topic, to, from } = await pair();
    const body = Array.from({ length: 300_000 }, (_, at) => String.fromCharCode(97 + (at % 26))).join("");
    const bytes = encode(publishPacket(topic, body, { qos: 1, packetId: 1 }), 5);
    await sendInParts(from, bytes, [3_000, 200_000]);
    await from.next("puback");
    expect((await to.got()).body === body).toBe(true);
    await evict(gatewayStub());
    await from.publishSure(topic, "next");
    expect((await to.got()).body).toBe("next");
  });

  it("[MQV10] that never goes on ends with its socket", async () => {
    const { topic, to, from } = await pair();
    from.bytes(encode(publishPacket(topic, "x".repeat(20_000), { qos: 1, packetId: 1 }), 5).slice(0, 15_000));
    await evict(gatewayStub());
    expect(await attachmentRows()).toBe(1);
    await evict(gatewayStub());
    await from.drop();
    expect(await to.rest()).toEqual([]);
    await evict(gatewayStub());
    expect(await attachmentRows()).toBe(0);
  });
});

describe("the receive maximum of the broker", () => {
  it("[MQV11] counts what was not released before an eviction", async () => {
    const { topic, from } = await pair();
    const publish = (packetId: number) => publishPacket(topic, "", { qos: 2, packetId });
    const maximum = 1_024;
    from.send(...Array.from({ length: maximum }, (_, n) => publish(n + 1)));
    const answers = await from.take(maximum);
    expect(answers.every(({ type }) => type === "pubrec")).toBe(true);
    await evict(gatewayStub());
    from.answer("pubrel", 1);
    await from.next("pubcomp");
    from.send(publish(maximum + 1));
    expect(await from.next("pubrec")).toMatchObject({ packetId: maximum + 1 });
    await evict(gatewayStub());
    from.send(publish(maximum + 2));
    expect(await from.next("disconnect")).toMatchObject({ reasonCode: 0x93 });
  });

  it("[MQV11] begins anew with each connection, whatever the session brings along [MQTT 5.0, 4.9]", async () => {
    const { topic, from } = await pair({ properties: { sessionExpiryInterval: 100 } });
    const publish = (packetId: number) => publishPacket(topic, "", { qos: 2, packetId });
    const many = (first: number) => Array.from({ length: 1_024 }, (_, n) => publish(first + n));
    from.send(...many(1));
    await from.take(1_024);
    await from.drop();
    const again = await connect(`${topic}-from`, { cleanStart: false });
    again.send(publish(1_024), ...many(2_001).slice(1));
    const answers = await again.take(1_024);
    expect(answers.every(({ type }) => type === "pubrec")).toBe(true);
  });
});

describe("what the broker says of itself", () => {
  it("[MQV12] is told to a subscriber of $SYS after an eviction as before", async () => {
    const watcher = await connect(`sys-${++runs}`);
    await watcher.subscribe("$SYS/brokers/+/clients/#", { qos: 0 });
    for (const evicted of [false, true]) {
      if (evicted) await evict(gatewayStub());
      const client = `sys-client-${++runs}`;
      const wire = await connect(client);
      const base = `$SYS/brokers/gateway-0/clients/${client}`;
      expect(await watcher.got()).toMatchObject({ topic: `${base}/connected` });
      await wire.disconnect();
      expect(await watcher.got()).toMatchObject({ topic: `${base}/disconnected` });
    }
  });

  it("[MQV12] a retained message outlives the eviction of everything", async () => {
    const { topic, to, from } = await pair();
    await from.publishSure(topic, "kept", { retain: true });
    await to.got();
    await evict(topicStub(topic));
    await evict(gatewayStub());
    await to.subscribe(topic, { qos: 1 }, 3);
    expect(await to.got()).toMatchObject({
      ...{ body: "kept", retain: true, qos: 1 },
      properties: { subscriptionIdentifiers: [3] },
    });
  });
});
