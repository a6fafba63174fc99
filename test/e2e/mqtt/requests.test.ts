// Requests between every pair of protocols, with several gateways: whoever asks, whoever answers, the reply finds its way back.
import { randomUUID } from "node:crypto";
import { describe, expect } from "vitest";
import { eventually, expectProblem } from "../harness.ts";
import { type MqttWorld, withMqtt } from "./mqtt-world.ts";

const it = withMqtt({ env: { GATEWAYS: "2" } });

const JSON_TYPE = { "content-type": "application/json" };
const KINDS = ["queue:jobs", "topic:jobs"] as const;

/** A topic or queue as MQTT names it. */
function mqttName(address: string): string {
  return address.startsWith("queue:")
    ? `$queue/${address.slice("queue:".length)}`
    : address.slice("topic:".length);
}

/** Path of the messages of a topic or queue. */
function httpPath(address: string, call: "messages" | "request"): string {
  const colon = address.indexOf(":");
  return `/v1/${address.slice(0, colon)}s/${encodeURIComponent(address.slice(colon + 1))}/${call}`;
}

/** Who answers one request with `{ answered: its body }`; ready when this is resolved. */
const RESPONDERS: Record<string, (mqtt: MqttWorld, to: string) => Promise<void>> = {
  json: async ({ world }, to) => {
    const wire = await world.connect({ client: randomUUID() });
    await wire.ok({ op: "subscribe", sub: 1, to });
    void wire.nextMessage().then(({ body, replyTo, correlationId, delivery }) => {
      wire.send({ op: "publish", to: replyTo as string, body: { answered: body }, correlationId });
      if (delivery !== undefined) wire.send({ op: "settle", sub: 1, ack: [delivery] });
    });
  },
  mqtt: async (mqtt, to) => {
    const wire = await mqtt.connect(5, { clientId: randomUUID() });
    await wire.subscribe(mqttName(to), { qos: 1 });
    void wire.message().then(({ payload, properties }) => {
      const answered = { answered: JSON.parse(String(payload)) as unknown };
      const { responseTopic, correlationData } = properties!;
      const fields = {
        contentType: "application/json",
        ...(correlationData === undefined ? {} : { correlationData }),
      };
      wire.sendPublish(String(responseTopic), JSON.stringify(answered), { qos: 1, properties: fields });
    });
  },
  http: async ({ world }, to) => {
    const queue = to.slice("queue:".length);
    void world.receive(queue, { waitMs: 20_000 }).then(async ([message]) => {
      const { body, replyTo, correlationId, delivery } = message!;
      const headers = {
        ...JSON_TYPE,
        ...(correlationId ? { "dunlin-correlation-id": String(correlationId) } : {}),
      };
      await world.call(
        "POST",
        httpPath(String(replyTo), "messages"),
        JSON.stringify({ answered: body }),
        headers,
      );
      await world.settle(queue, { ack: [delivery] });
    });
    await eventually(async () => expect(await world.stats(queue)).toMatchObject({ consumers: 1 }));
  },
};

/** Who asks `{ n: 1 }`, under the correlation `c-1`, and returns the body and the correlation of the reply. */
const ASKERS: Record<string, (mqtt: MqttWorld, to: string) => Promise<unknown>> = {
  json: async ({ world }, to) => {
    const wire = await world.connect({ client: randomUUID() });
    const { body, correlationId } = await wire.ok({
      op: "request",
      to,
      body: { n: 1 },
      correlationId: "c-1",
    });
    return { body, correlationId };
  },
  http: async ({ world }, to) => {
    const headers = { ...JSON_TYPE, "dunlin-correlation-id": "c-1" };
    const answer = await world.call("POST", httpPath(to, "request"), '{"n":1}', headers);
    expect(answer.status).toBe(200);
    return { body: answer.body, correlationId: answer.headers.get("dunlin-correlation-id") };
  },
  mqtt: async (mqtt, to) => {
    const clientId = randomUUID();
    const wire = await mqtt.connect(5, { clientId });
    const responseTopic = `answers/${clientId}`;
    await wire.subscribe(responseTopic, { qos: 1 });
    const properties = {
      contentType: "application/json",
      responseTopic,
      correlationData: Buffer.from("c-1"),
    };
    await wire.publish(mqttName(to), '{"n":1}', { qos: 1, properties });
    const reply = await wire.message();
    const correlationId = String(reply.properties?.correlationData);
    return { body: JSON.parse(String(reply.payload)) as unknown, correlationId };
  },
};

describe("every pair of protocols", () => {
  for (const [asker, ask] of Object.entries(ASKERS)) {
    for (const [responder, respond] of Object.entries(RESPONDERS)) {
      for (const to of KINDS) {
        if (responder === "http" && to.startsWith("topic:")) continue;
        it(`[REQ1] [REQ17] ${asker} asks ${to}, ${responder} answers, at any gateway`, async ({ mqtt }) => {
          // Client ids are random: over the rounds, both sides meet both gateways.
          for (let round = 0; round < 3; round++) {
            await respond(mqtt, to);
            expect(await ask(mqtt, to)).toEqual({ body: { answered: { n: 1 } }, correlationId: "c-1" });
            mqtt.end();
            await eventually(async () => {
              const nobody = await mqtt.world.call("POST", httpPath(to, "request"), "1", {
                "dunlin-timeout-ms": "20",
              });
              expectProblem(nobody, 404, 4, "no-responders");
            });
          }
        });
      }
    }
  }
});

describe("MQTT", () => {
  it("[REQ7] publishes replies at every QoS; QoS 2 in a durable session too", async ({ mqtt }) => {
    const responder = await mqtt.durable(5, randomUUID());
    await responder.subscribe("jobs", { qos: 1 });
    const asker = await mqtt.world.connect();
    for (const qos of [0, 1, 2] as const) {
      const reply = asker.ok({ op: "request", to: "topic:jobs", body: qos });
      const { properties } = await responder.message();
      await responder.publish(String(properties!.responseTopic), `${qos}`, {
        qos,
        properties: { payloadFormatIndicator: true, userProperties: { by: "mqtt" } },
      });
      expect(await reply).toMatchObject({ op: "reply", body: `${qos}`, headers: { by: "mqtt" } });
    }
  });

  it("[REQ6] a reply that nobody waits for is answered 0x90 at QoS 1, and the connection goes on", async ({
    mqtt,
  }) => {
    const wire = await mqtt.connect(5);
    const answer = await wire
      .publish("$reply/gateway-1/nobody", "x", { qos: 1 })
      .catch((error: unknown) => error);
    expect(answer).toMatchObject({ reasonCode: 0x90 });
    const old = await mqtt.connect(4);
    await old.publish("$reply/gateway-1/nobody", "x", { qos: 1 });
    await old.publish("t", "x", { qos: 1 });
  });

  it("[REQ18] a subscription to replies is refused", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    expect(await wire.subscribe("$reply/#", { qos: 1 })).toEqual([0x87]);
    expect(await wire.subscribe("$share/g/$reply/#", { qos: 1 })).toEqual([0x87]);
  });
});

describe("several gateways", () => {
  it("[REQ17] an answer is published at another gateway than the asker's", async ({ mqtt }) => {
    const askers = await Promise.all(
      Array.from({ length: 8 }, (_, i) => mqtt.world.connect({ client: `a-${i}` })),
    );
    const responder = await mqtt.world.connect({ client: "r" });
    await responder.ok({ op: "subscribe", sub: 1, to: "queue:jobs" });
    const gateways = new Set<string>();
    const replies = askers.map((asker, n) => asker.ok({ op: "request", to: "queue:jobs", body: n }));
    for (const _ of askers) {
      const { body, replyTo } = await responder.nextMessage();
      gateways.add(String(replyTo).split("/")[1]!);
      await responder.ok({ op: "publish", to: replyTo as string, body });
    }
    for (const [n, reply] of replies.entries()) expect(await reply).toMatchObject({ op: "reply", body: n });
    expect([...gateways].toSorted()).toEqual(["gateway-0", "gateway-1"]);
  });
});
