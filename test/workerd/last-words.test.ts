// What a client sends right before it closes its socket: it counts, whatever the socket's state says by then.
import { afterEach, describe, expect, it } from "vitest";
import { eventually, stats, Wire } from "./support/client.ts";
import { MqttWire } from "./support/mqtt.ts";

const open: { close(): void }[] = [];

afterEach(() => {
  for (const wire of open.splice(0)) wire.close();
});

describe("the last words of a client", () => {
  it("[SSN1] count in MQTT: no message is lost, no will is left", async () => {
    const [to] = await MqttWire.connect("last-to");
    open.push(to);
    await to.subscribe("last/#");
    const will = { topic: "last/will", payload: new Uint8Array(0), qos: 0 as const, retain: false };
    for (let n = 0; n < 20; n++) {
      const [from] = await MqttWire.connect("last-from", { will });
      from.publish("last/word", `${n}`);
      from.send({ type: "disconnect", reasonCode: 0 });
      from.close();
      await from.end();
    }
    const bodies: string[] = [];
    for (let n = 0; n < 20; n++) bodies.push((await to.got()).body);
    expect(bodies).toEqual(Array.from({ length: 20 }, (_, n) => `${n}`));
    expect(await to.rest()).toEqual([]);
  });

  it("[SSN1] count in the JSON framing: what is acknowledged does not come again", async () => {
    const queue = "last-words";
    const to = `queue:${queue}`;
    for (let n = 0; n < 10; n++) {
      const wire = await Wire.connect();
      open.push(wire);
      await wire.ask({ op: "subscribe", sub: 1, to, credit: 1 });
      await wire.ask({ op: "publish", to, body: n });
      const [message] = await wire.take(1);
      expect(message).toMatchObject({ body: n, attempt: 1 });
      wire.send({ op: "settle", sub: 1, ack: [message!.delivery] });
      wire.close();
      await eventually("the socket's end", () => wire.closed);
    }
    expect(await stats(queue)).toMatchObject({ accepted: 10, settled: 10, ready: 0 });
  });
});
