// One message over several protocols: MQTT, JSON over WebSocket and HTTP, topics and queues.
import { describe, expect } from "vitest";
import { rawPublish } from "../../support/mqtt-bytes.ts";
import { eventually, queuePath, take } from "../harness.ts";
import { withMqtt } from "./mqtt-world.ts";

const it = withMqtt();

const HEADERS = { "x-first": "1", "X-Second": "zwei" };

describe("topics", () => {
  it("[MQO9] from MQTT 5 to JSON and HTTP: body, headers, content type, reply address, correlation, time to live", async ({
    mqtt,
  }) => {
    const json = await mqtt.world.connect();
    await json.ok({ op: "subscribe", sub: 1, to: "topic:orders/+" });
    const wire = await mqtt.connect(5, { clientId: "till" });
    await wire.publish("orders/1", JSON.stringify({ total: 12.5, lines: ["é"] }), {
      qos: 1,
      retain: true,
      properties: {
        contentType: "application/json",
        responseTopic: "answers/till",
        correlationData: Buffer.from("42"),
        messageExpiryInterval: 600,
        userProperties: HEADERS,
      },
    });
    const expected = {
      to: "topic:orders/1",
      body: { total: 12.5, lines: ["é"] },
      headers: HEADERS,
      replyTo: "topic:answers/till",
      correlationId: "42",
    };
    const [live] = await take(json, 1);
    expect(live).toMatchObject(expected);
    const kept = await mqtt.world.call("GET", "/v1/topics/orders%2F1/retained");
    expect(kept).toMatchObject({ status: 200, body: expected });
  });

  it("[MQO9] from JSON to MQTT 5 and 3.1.1: the JSON text, headers as user properties", async ({ mqtt }) => {
    const [five, four] = [await mqtt.connect(5), await mqtt.connect(4)];
    for (const wire of [five, four]) await wire.subscribe("orders/+", { qos: 2 });
    const json = await mqtt.world.connect();
    await json.ok({
      op: "publish",
      to: "topic:orders/2",
      body: { total: 1 },
      headers: HEADERS,
      replyTo: "topic:answers/json",
      correlationId: "c-1",
      ttlMs: 600_000,
    });
    const message = await five.message();
    expect(message).toMatchObject({ topic: "orders/2", payload: Buffer.from('{"total":1}') });
    expect(message.properties).toMatchObject({
      contentType: "application/json",
      responseTopic: "answers/json",
      correlationData: Buffer.from("c-1"),
    });
    expect(message.properties!.messageExpiryInterval).toBeLessThanOrEqual(600);
    expect(message.properties!.messageExpiryInterval).toBeGreaterThan(590);
    expect(rawPublish(message.raw).userProperties).toEqual(Object.entries(HEADERS));
    expect(await four.message()).toMatchObject({ payload: Buffer.from('{"total":1}') });
  });

  it("[MQO9] bytes stay bytes, text with a payload format becomes text, over HTTP and JSON and back", async ({
    mqtt,
  }) => {
    const json = await mqtt.world.connect();
    await json.ok({ op: "subscribe", sub: 1, to: "topic:t" });
    const wire = await mqtt.connect(5);
    await wire.subscribe("t", { qos: 1, nl: true });
    const some = Buffer.from([0, 255, 128, 10]);
    await wire.publish("t", some, { qos: 1 });
    await wire.publish("t", "grüße", { qos: 1, properties: { payloadFormatIndicator: true } });
    const [first, second] = await take(json, 2);
    expect(first).toMatchObject({ base64: some.toString("base64") });
    expect(second).toMatchObject({ body: "grüße" });
    await json.ok({ op: "publish", to: "topic:t", base64: some.toString("base64"), contentType: "image/x" });
    expect(await wire.message()).toMatchObject({ payload: some, properties: { contentType: "image/x" } });
    const posted = await mqtt.world.call("POST", "/v1/topics/t/messages", some, {
      "content-type": "image/y",
    });
    expect(posted.status).toBe(201);
    expect(await wire.message()).toMatchObject({ payload: some, properties: { contentType: "image/y" } });
  });

  it("[MQO9] what HTTP retains, MQTT gets; what MQTT deletes, HTTP has no more", async ({ mqtt }) => {
    const headers = { "content-type": "application/json", "dunlin-retain": "true" };
    await mqtt.world.call("POST", "/v1/topics/lamp/messages", '{"on":true}', headers);
    const wire = await mqtt.connect(5);
    await wire.subscribe("lamp", { qos: 1 });
    expect(await wire.message()).toMatchObject({ retain: true, payload: Buffer.from('{"on":true}') });
    await wire.publish("lamp", "", { qos: 1, retain: true });
    expect((await mqtt.world.call("GET", "/v1/topics/lamp/retained")).status).toBe(404);
  });

  it("[MQO9] order per publisher and topic, from MQTT to JSON", async ({ mqtt }) => {
    const json = await mqtt.world.connect();
    await json.ok({ op: "subscribe", sub: 1, to: "topic:t/#", credit: 1_000 });
    const publishers = [await mqtt.connect(4), await mqtt.connect(5), await mqtt.connect(3)];
    const count = 60;
    for (let number = 0; number < count; number++) {
      for (const [who, wire] of publishers.entries()) {
        wire.sendPublish("t/x", `${who}:${number}`, { qos: (number % 2) as 0 | 1 });
      }
    }
    const seen = (await take(json, count * 3)).map((one) =>
      Buffer.from(String(one.base64), "base64").toString(),
    );
    for (const who of publishers.keys()) {
      const own = seen.filter((text) => text.startsWith(`${who}:`)).map((text) => Number(text.split(":")[1]));
      expect(own).toEqual(Array.from({ length: count }, (_, number) => number));
    }
  });
});

describe("queues", () => {
  it("[MQO10] $queue/NAME: a publish enqueues, and any protocol receives it", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    for (const qos of [1, 2] as const) {
      const properties = { contentType: "application/json", userProperties: HEADERS };
      await wire.publish("$queue/jobs", JSON.stringify({ qos }), { qos, properties });
    }
    expect(await mqtt.world.receive("jobs", { max: 10 })).toMatchObject([
      { body: { qos: 1 }, headers: HEADERS, attempt: 1 },
      { body: { qos: 2 }, headers: HEADERS, attempt: 1 },
    ]);
  });

  it("[MQO10] a subscriber of $queue/NAME leases; PUBACK settles, and nobody else gets it", async ({
    mqtt,
  }) => {
    const consumer = await mqtt.connect(5);
    expect(await consumer.subscribe("$queue/jobs", { qos: 1 })).toEqual([1]);
    await mqtt.world.publish("jobs", { job: 1 }, { "dunlin-header-a": "1" });
    const message = await consumer.next("publish");
    expect(message).toMatchObject({ topic: "$queue/jobs", qos: 1, payload: Buffer.from('{"job":1}') });
    expect(await mqtt.world.stats("jobs")).toMatchObject({ ready: 0, leased: 1, settled: 0 });
    consumer.send({ cmd: "puback", messageId: message.messageId! });
    await eventually(async () => {
      expect(await mqtt.world.stats("jobs")).toMatchObject({ leased: 0, settled: 1 });
    });
  });

  it("[MQO10] a reason of 0x80 or more fails the message: it comes again, as a further attempt", async ({
    mqtt,
  }) => {
    await mqtt.world.declare("jobs", { maxFailures: 2, backoff: { kind: "fixed", baseMs: 1 } });
    const consumer = await mqtt.connect(5);
    await consumer.subscribe("$queue/jobs", { qos: 1 });
    await mqtt.world.publish("jobs", { job: 1 });
    for (let attempt = 0; attempt < 2; attempt++) {
      const { messageId } = await consumer.next("publish");
      consumer.send({ cmd: "puback", messageId: messageId!, reasonCode: 0x83 });
    }
    await eventually(async () => {
      expect(await mqtt.world.stats("jobs")).toMatchObject({ ready: 0, leased: 0, deadLettered: 1 });
    });
  });

  it("[MQO10] consumers compete, over MQTT 3.1.1, MQTT 5 and JSON", async ({ mqtt }) => {
    const [four, five] = [await mqtt.connect(4), await mqtt.connect(5)];
    for (const wire of [four, five]) await wire.subscribe("$queue/jobs", { qos: 1 });
    const json = await mqtt.world.connect();
    await json.ok({ op: "subscribe", sub: 1, to: "queue:jobs", credit: 4 });
    const seen: number[] = [];
    const read = async (wire: typeof four) => {
      for (;;) seen.push(JSON.parse(String((await wire.message(30_000)).payload)) as number);
    };
    const readJson = async () => {
      for (;;) {
        const { body, delivery } = await json.nextMessage(1, 30_000);
        seen.push(body as number);
        await json.ok({ op: "settle", sub: 1, ack: [delivery!] });
      }
    };
    for (const work of [read(four), read(five), readJson()]) work.catch(() => {});
    const count = 90;
    for (let job = 0; job < count; job++) await mqtt.world.publish("jobs", job);
    await eventually(() => expect(seen.length).toBe(count));
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, job) => job));
    await eventually(async () => {
      expect(await mqtt.world.stats("jobs")).toMatchObject({ settled: count, leased: 0, ready: 0 });
    });
  });

  it("[MQO10] an MQTT publish reaches a queue that is bound to its topic", async ({ mqtt }) => {
    const bound = await mqtt.world.call(
      "PUT",
      `${queuePath("audit")}/bindings/${encodeURIComponent("orders/#")}`,
    );
    expect([200, 201, 204]).toContain(bound.status);
    const wire = await mqtt.connect(5);
    await wire.publish("orders/7", "paid", {
      qos: 1,
      properties: { payloadFormatIndicator: true, userProperties: HEADERS },
    });
    const [message] = await mqtt.world.receive("audit", { waitMs: 10_000 });
    expect(message).toMatchObject({ body: "paid", headers: HEADERS });
  });
});
