// Reason codes that come of the broker's own limits and acts, and what `$SYS` tells of clients.
import { describe, expect } from "vitest";
import { queuePath } from "../harness.ts";
import { expectEnd, withMqtt } from "./mqtt-world.ts";

const it = withMqtt();

describe("reason codes of the broker's own", () => {
  it("[MQX28] a queue that is full answers 0x97, and takes the next when there is room", async ({ mqtt }) => {
    const settings = { maxMessages: 1, overflow: "reject" };
    expect((await mqtt.world.call("PUT", queuePath("full"), settings)).status).toBe(201);
    const wire = await mqtt.connect(5);
    wire.sendPublish("$queue/full", "first", { qos: 1, messageId: 1 });
    expect(await wire.next("puback")).toMatchObject({ messageId: 1, reasonCode: 0 });
    wire.sendPublish("$queue/full", "second", { qos: 1, messageId: 2 });
    expect(await wire.next("puback")).toMatchObject({ messageId: 2, reasonCode: 0x97 });
    wire.sendPublish("$queue/full", "third", { qos: 2, messageId: 3 });
    expect(await wire.next("pubrec")).toMatchObject({ messageId: 3, reasonCode: 0x97 });
    expect((await mqtt.world.call("POST", `${queuePath("full")}/purge`)).status).toBe(200);
    wire.sendPublish("$queue/full", "third", { qos: 2, messageId: 3 });
    expect(await wire.next("pubrec")).toMatchObject({ messageId: 3, reasonCode: 0 });
  });

  it("[MQX28] before MQTT 5 what may be taken the next time is not acknowledged: the connection ends", async ({
    mqtt,
  }) => {
    await mqtt.world.call("PUT", queuePath("full"), { maxMessages: 1, overflow: "reject" });
    const wire = await mqtt.connect(4);
    await wire.publish("$queue/full", "first", { qos: 1 });
    wire.sendPublish("$queue/full", "second", { qos: 1, messageId: 2 });
    await wire.closed();
    expect(wire.history.filter(({ cmd }) => cmd === "puback")).toHaveLength(1);
  });

  it("[MQX28] deleting a queue ends its consumers' connections with 0x98", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    await wire.subscribe("$queue/gone", { qos: 1 });
    expect((await mqtt.world.call("DELETE", queuePath("gone"))).status).toBe(204);
    await expectEnd(wire, 0x98);
  });
});

describe("$SYS", () => {
  it("[MQX29] tells when clients come and go, and only their own namespace", async ({ mqtt }) => {
    const watcher = await mqtt.connect(5);
    await watcher.subscribe("$SYS/brokers/+/clients/#");
    const guest = await mqtt.connect(5, { clientId: "guest" });
    const came = await watcher.message();
    expect(came.topic).toMatch(/^\$SYS\/brokers\/gateway-\d+\/clients\/guest\/connected$/);
    expect(JSON.parse(String(came.payload))).toMatchObject({ clientid: "guest" });
    await guest.bye();
    const went = await watcher.message();
    expect(went.topic).toMatch(/\/clients\/guest\/disconnected$/);
  });

  it("[MQX29] has counts and loads", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    await wire.publish("kept", "x", { qos: 1, retain: true });
    await wire.subscribe("$SYS/broker/#");
    const seen = new Map<string, string>();
    while (!seen.has("$SYS/broker/load/bytes/sent/15min")) {
      const { topic, payload, retain } = await wire.message();
      expect(retain).toBe(true);
      seen.set(topic!, String(payload));
    }
    expect(seen.get("$SYS/broker/clients/connected")).toBe("1");
    expect(seen.get("$SYS/broker/subscriptions/count")).toBe("1");
    expect(seen.get("$SYS/broker/retained messages/count")).toBe("1");
    expect(Number(seen.get("$SYS/broker/bytes/received"))).toBeGreaterThan(0);
    expect(seen.get("$SYS/broker/load/messages/received/1min")).toMatch(/^\d+\.\d\d$/);
  });
});
