// MQTT over WebSocket: the handshake, and packets that do not care for frames.
import { get } from "node:http";
import { describe, expect } from "vitest";
import { bytes, connectBytes, properties, publishBytes } from "../../support/mqtt-bytes.ts";
import { createRandom } from "../../support/random.ts";
import { ALL, BOTH, withMqtt } from "./mqtt-world.ts";

const it = withMqtt();

describe("the handshake", () => {
  it("[MQO1] the server picks mqtt, and mqttv3.1 when only that is offered", async ({ mqtt }) => {
    const picked = async (...protocols: string[]) => (await mqtt.open(5, { protocols })).socket.protocol;
    expect(await picked("mqtt")).toBe("mqtt");
    expect(await picked("mqttv3.1")).toBe("mqttv3.1");
    expect(await picked("other", "mqtt")).toBe("mqtt");
  });

  it("[MQO1] a client that offers neither, or nothing, is answered 400; no handshake at all 426", async ({
    mqtt,
  }) => {
    await expect(mqtt.open(5, { protocols: ["other"] })).rejects.toThrow("400");
    await expect(mqtt.open(5, { protocols: ["dunlin.v1.json"] })).rejects.toThrow("400");
    await expect(mqtt.open(5, { protocols: [] })).rejects.toThrow("400");
    const status = await new Promise((resolve) => {
      get(mqtt.url.replace("ws:", "http:"), (response) => {
        response.resume();
        resolve(response.statusCode);
      });
    });
    expect(status).toBe(426);
  });

  it("[MQO2] in the open broker of one machine, a page of another site is refused", async ({ mqtt }) => {
    const page = await mqtt.open(5, { headers: { origin: "https://example.com" } });
    expect((await page.closed()).code).toBe(4403);
    const wire = await mqtt.open(5, { headers: { origin: "http://localhost:3000" } });
    expect(await wire.hello()).toMatchObject({ reasonCode: 0 });
  });

  it.for(ALL)("[MQO1] version %i speaks over either subprotocol", async (version, { mqtt }) => {
    for (const protocols of [["mqtt"], ["mqttv3.1"]]) {
      const wire = await mqtt.open(version, { protocols });
      const { reasonCode, returnCode } = await wire.hello();
      expect(reasonCode ?? returnCode).toBe(0);
    }
  });
});

describe("silence", () => {
  it("[MQC19] a socket without a whole CONNECT is closed after 10 s", async ({ mqtt }) => {
    const [silent, half] = [await mqtt.open(4), await mqtt.open(5)];
    const since = Date.now();
    half.sendBytes(connectBytes().subarray(0, 9));
    const ends = await Promise.all([silent.closed(20_000), half.closed(20_000)]);
    expect(Date.now() - since).toBeGreaterThan(8_000);
    for (const { code } of ends) expect(code).not.toBe(1000);
  });
});

describe("frames", () => {
  it.for(BOTH)("[MQO3] version %i: a text frame closes the connection", async (version, { mqtt }) => {
    const first = await mqtt.open(version);
    first.socket.send("text");
    await first.closed();
    const second = await mqtt.connect(version);
    second.socket.send("text");
    await second.closed();
    const third = await mqtt.connect(version);
    third.socket.send("\u00c0\u0000");
    await third.closed();
  });

  it.for(ALL)("[MQO4] version %i: many packets in one frame, CONNECT and all", async (version, { mqtt }) => {
    const wire = await mqtt.open(version);
    const some = version === 5 ? { properties: properties() } : {};
    wire.sendBytes(
      bytes(
        connectBytes({ version }),
        wire.encode({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "t", qos: 1 }] }),
        publishBytes("t", "1", { flags: 2, id: 1, ...some }),
        publishBytes("t", "2", { flags: 2, id: 2, ...some }),
        "c0 00 c0 00",
      ),
    );
    await wire.next("connack");
    await wire.take("suback");
    for (const messageId of [1, 2]) expect(await wire.take("puback")).toMatchObject({ messageId });
    for (const payload of ["1", "2"]) {
      expect(await wire.take("publish")).toMatchObject({ payload: Buffer.from(payload) });
    }
    await wire.take("pingresp");
    await wire.take("pingresp");
  });

  it.for(ALL)(
    "[MQO4] version %i: packets byte by byte, each in a frame of its own",
    async (version, { mqtt }) => {
      const wire = await mqtt.open(version);
      const some = version === 5 ? { properties: properties() } : {};
      const stream = bytes(
        connectBytes({ version }),
        wire.encode({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "t", qos: 1 }] }),
        publishBytes("t", "payload", { flags: 2, id: 1, ...some }),
      );
      for (const byte of stream) wire.sendBytes(Buffer.of(byte));
      await wire.next("connack");
      await wire.take("suback");
      await wire.take("puback");
      expect(await wire.take("publish")).toMatchObject({ payload: Buffer.from("payload") });
      await wire.quiet();
    },
  );

  it("[MQO4] empty frames, and frames cut anywhere, are a stream of bytes all the same", async ({ mqtt }) => {
    const random = createRandom(4711);
    const [wire, from] = [await mqtt.connect(5), await mqtt.connect(5)];
    await wire.subscribe("t", { qos: 0 });
    const payloads = Array.from(
      { length: 60 },
      (_, index) => `${index}:${"x".repeat(random.integer(0, 600))}`,
    );
    let stream = Buffer.concat(
      payloads.map((payload) => publishBytes("t", payload, { properties: properties() })),
    );
    while (stream.length > 0) {
      const size = random.chance(0.1) ? 0 : random.integer(1, 400);
      from.sendBytes(stream.subarray(0, size));
      stream = stream.subarray(size);
    }
    expect(await wire.payloads(payloads.length)).toEqual(payloads);
  });

  it("[MQO4] a large packet over many frames, with other packets around it", async ({ mqtt }) => {
    const [to, from] = [await mqtt.connect(5), await mqtt.connect(5)];
    await to.subscribe("t", { qos: 1 });
    const payload = "0123456789".repeat(60_000);
    const stream = bytes(
      "c0 00",
      publishBytes("t", payload, { flags: 2, id: 1, properties: properties() }),
      "c0 00",
    );
    for (let at = 0; at < stream.length; at += 50_000) from.sendBytes(stream.subarray(at, at + 50_000));
    await from.next("pingresp");
    await from.take("puback");
    await from.take("pingresp");
    expect(await to.payloads(1)).toEqual([payload]);
  });

  it("[MQO5] half a packet and then the end of the socket is a lost connection", async ({ mqtt }) => {
    const watcher = await mqtt.connect(5);
    await watcher.subscribe("will");
    const wire = await mqtt.connect(5, { will: { topic: "will", payload: Buffer.from("lost") } });
    wire.sendBytes(publishBytes("will", "half", { properties: properties() }).subarray(0, 8));
    wire.socket.close();
    expect(await watcher.payloads(1)).toEqual(["lost"]);
    await watcher.quiet();
  });
});
