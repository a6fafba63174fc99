// CloudEvents over HTTP: structured, batched and binary events as messages.
import { describe, expect } from "vitest";
import {
  type Answer,
  eventually,
  expectProblem,
  type Message,
  queuePath,
  type Receipt,
  take,
  type World,
  withBroker,
} from "./harness.ts";

const it = withBroker();

function post(world: World, body: unknown, headers: Record<string, string>, queue = "q"): Promise<Answer> {
  return world.call("POST", `${queuePath(queue)}/messages`, body, headers);
}

async function receiveOne(world: World, queue = "q"): Promise<Message> {
  const [got] = await world.receive(queue);
  expect(got, "a message").toBeDefined();
  return got!;
}

describe("CloudEvents", () => {
  const event = {
    specversion: "1.0",
    id: "e-1",
    source: "/orders",
    type: "order.created",
    subject: "o/1",
    time: "2026-01-02T03:04:05Z",
    tenant: "acme",
  };
  const attributes = {
    "ce-specversion": "1.0",
    "ce-id": "e-1",
    "ce-source": "/orders",
    "ce-type": "order.created",
    "ce-subject": "o/1",
    "ce-time": "2026-01-02T03:04:05Z",
    "ce-tenant": "acme",
  };

  it("[CEV1] [CEV2] [CEV3] a structured event", async ({ world }) => {
    const body = JSON.stringify({ ...event, datacontenttype: "application/json", data: { total: 7 } });
    const answer = await post(world, body, { "content-type": "application/cloudevents+json; charset=utf-8" });
    expect(answer).toMatchObject({
      status: 201,
      body: { messageId: "/orders e-1", seq: 1, duplicate: false },
    });
    expect((await post(world, body, { "content-type": "application/cloudevents+json" })).body).toMatchObject({
      seq: 1,
      duplicate: true,
    });
    const got = await receiveOne(world);
    expect(got.body).toEqual({ total: 7 });
    expect(got.headers).toEqual(attributes);
  });

  it("[CEV3] Idempotency-Key comes first", async ({ world }) => {
    const answer = await post(world, JSON.stringify({ ...event, data: 1 }), {
      "content-type": "application/cloudevents+json",
      "idempotency-key": "mine",
    });
    expect(answer.body).toMatchObject({ messageId: "mine" });
  });

  it("[CEV2] [CEV4] data_base64 and other content types", async ({ world }) => {
    const type = { "content-type": "application/cloudevents+json" };
    await post(world, JSON.stringify({ ...event, datacontenttype: "image/png", data_base64: "AP8=" }), type);
    expect(await receiveOne(world)).toMatchObject({ base64: "AP8=", contentType: "image/png" });
    await post(world, JSON.stringify({ ...event, id: "2", datacontenttype: "text/plain", data: "hi" }), type);
    expect(await receiveOne(world)).toMatchObject({ body: "hi", contentType: "text/plain" });
  });

  it("[CEV1] [CEV2] a batch of events", async ({ world }) => {
    const events = [1, 2, 3].map((n) => ({ ...event, id: `e-${n}`, data: n }));
    const answer = await post(world, JSON.stringify(events), {
      "content-type": "application/cloudevents-batch+json",
    });
    expect(answer.status).toBe(201);
    expect((answer.body as Receipt[]).map((receipt) => receipt.messageId)).toEqual([
      "/orders e-1",
      "/orders e-2",
      "/orders e-3",
    ]);
    const got = await world.receive("q", { max: 10 });
    expect(got.map((m) => [m.body, m.headers!["ce-id"]])).toEqual([
      [1, "e-1"],
      [2, "e-2"],
      [3, "e-3"],
    ]);
  });

  it("[CEV1] [CEV2] a binary event", async ({ world }) => {
    const answer = await post(world, '{"total":7}', { "content-type": "application/json", ...attributes });
    expect(answer.body).toMatchObject({ messageId: "/orders e-1" });
    const got = await receiveOne(world);
    expect(got.body).toEqual({ total: 7 });
    expect(got.headers).toEqual(attributes);
  });

  it("[CEV5] an event without what it must have is refused", async ({ world }) => {
    const type = { "content-type": "application/cloudevents+json" };
    for (const name of ["id", "source", "type", "specversion"]) {
      expectProblem(
        await post(world, JSON.stringify({ ...event, [name]: undefined, data: 1 }), type),
        400,
        1,
      );
      expectProblem(await post(world, JSON.stringify({ ...event, [name]: 7, data: 1 }), type), 400, 1);
    }
    expectProblem(await post(world, JSON.stringify({ ...event, specversion: "0.3", data: 1 }), type), 400, 1);
    expectProblem(await post(world, "[]", type), 400, 1);
    const { "ce-id": _, ...rest } = attributes;
    expectProblem(await post(world, "{}", { "content-type": "application/json", ...rest }), 400, 1);
    const batch = { "content-type": "application/cloudevents-batch+json" };
    expectProblem(await post(world, JSON.stringify([{ ...event, data: 1 }, {}]), batch), 400, 1);
    expectProblem(await post(world, JSON.stringify(event), batch), 400, 1);
    await eventually(async () => expect((await world.call("GET", queuePath("q"))).status).toBe(404));
  });

  it("[CEV1] [HTTP16] events reach JSON consumers with their attributes as headers", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    await post(world, JSON.stringify({ ...event, data: [1] }), {
      "content-type": "application/cloudevents+json",
    });
    const [got] = await take(wire, 1);
    expect(got).toMatchObject({ body: [1], headers: attributes, messageId: "/orders e-1" });
  });
});
