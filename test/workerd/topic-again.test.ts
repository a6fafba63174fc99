// What a Topic object sends again after it has woken meets a subscription that has read it meanwhile.
import { expect, it } from "vitest";
import { Writer } from "../../worker/bytes/writer.ts";
import { TopicPacketWriter } from "../../worker/link/topic-packet.ts";
import { writeMessage } from "../../worker/message/record.ts";
import { message } from "../support/message.ts";
import { call, Wire } from "./support/client.ts";
import { gatewayStub } from "./support/objects.ts";

interface Gateway {
  topicDeliver(topicObject: string, packet: Uint8Array): Promise<{ unwanted: string[] }>;
}

it("[TJS12] [TJS24] what a subscription has read does not come again when its Topic object wakes and sends it anew", async () => {
  const body = JSON.stringify({ retention: { maxMessages: 100 } });
  await call("/v1/topics/again", { method: "PUT", body, headers: { "content-type": "application/json" } });
  const publisher = await Wire.connect();
  const to = "topic:again";
  for (const text of ["a", "b"]) await publisher.ask({ op: "publish", to, body: text });
  const reader = await Wire.connect();
  const { epoch } = await reader.ask({ op: "subscribe", sub: 1, to, from: "first" });
  expect((await reader.take(2)).map(({ seq }) => seq)).toEqual([1, 2]);
  const packet = new TopicPacketWriter();
  for (const seq of [1, 2, 3]) {
    const record = new Writer();
    writeMessage(record, message({ topic: "again", body: `"${seq}"`, epoch: epoch as number, seq }));
    packet.add(record.take());
  }
  const life = { stream: Date.now() + 1_000, number: 1, id: Date.now() * 1_024 };
  const gateway = gatewayStub() as unknown as Gateway;
  await gateway.topicDeliver("default:again", packet.take(life));
  expect(await reader.take(1)).toMatchObject([{ op: "message", seq: 3 }]);
  expect(reader.frames).toEqual([]);
});

it("[TJS12] what was lost on its way from the topic is told as lag, and not what nobody subscribed for", async () => {
  const publisher = await Wire.connect();
  const to = "topic:lost";
  const first = await publisher.ask({ op: "publish", to, body: 1, retain: true });
  await publisher.ask({ op: "publish", to, body: 2 });
  const reader = await Wire.connect();
  await reader.ask({ op: "subscribe", sub: 1, to });
  expect(await reader.take(1)).toMatchObject([{ seq: 1, retained: true }]);
  await publisher.ask({ op: "publish", to, body: 3 });
  expect(await reader.take(1)).toMatchObject([{ seq: 3 }]);
  const packet = new TopicPacketWriter();
  const record = new Writer();
  writeMessage(record, message({ topic: "lost", body: `"6"`, epoch: first.epoch as number, seq: 6 }));
  packet.add(record.take());
  const gateway = gatewayStub() as unknown as Gateway;
  await gateway.topicDeliver("default:lost", packet.take({ stream: Date.now() + 1_000, number: 1, id: 0 }));
  expect(await reader.take(2)).toMatchObject([
    { op: "event", kind: "lag", sub: 1, skipped: 2 },
    { op: "message", seq: 6 },
  ]);
});
