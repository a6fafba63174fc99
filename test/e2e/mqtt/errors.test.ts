// DISCONNECT, reason codes, $SYS and what else a server says of itself.
import { describe, expect } from "vitest";
import { bytes, packet, properties, publishBytes, TYPE, u16 } from "../../support/mqtt-bytes.ts";
import { ALL, BOTH, expectEnd, withMqtt } from "./mqtt-world.ts";

const it = withMqtt();

describe("DISCONNECT", () => {
  it("[MQX9] the server closes after its DISCONNECT, sends nothing after it, and never a session expiry", async ({
    mqtt,
  }) => {
    const wire = await mqtt.connect(5);
    await wire.subscribe("t");
    wire.sendBytes(
      bytes(
        publishBytes("t/+", "x", { properties: properties() }),
        publishBytes("t", "after the error", { properties: properties() }),
        "c0 00",
      ),
    );
    await expectEnd(wire, 0x90, 0x81, 0x82);
    const last = wire.history.at(-1)!;
    expect(last.properties?.sessionExpiryInterval).toBeUndefined();
    expect(wire.history.map(({ cmd }) => cmd)).toEqual(["connack", "suback", "disconnect"]);
  });

  it("[MQX9] what follows an error in the same frame has no effect", async ({ mqtt }) => {
    const [watcher, wire] = [await mqtt.connect(5), await mqtt.connect(5)];
    await watcher.subscribe("t", { qos: 1 });
    const none = properties();
    wire.sendBytes(
      bytes(
        publishBytes("t", "before", { properties: none }),
        "00 00",
        publishBytes("t", "x", { properties: none }),
      ),
    );
    await expectEnd(wire, 0x81, 0x82);
    await watcher.publish("t", "next", { qos: 1 });
    expect((await watcher.payloads(2)).toSorted()).toEqual(["before", "next"]);
    await watcher.quiet();
  });

  it.for(ALL)(
    "[MQX9] version %i: after a client's DISCONNECT the server closes",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      const { code } = await wire.bye().then(() => wire.closed());
      expect([1000, 1005]).toContain(code);
      expect(wire.history.map(({ cmd }) => cmd)).toEqual(["connack"]);
    },
  );

  it("[MQX9] a DISCONNECT with a reason and properties is read; a wrong one ends the connection", async ({
    mqtt,
  }) => {
    const wire = await mqtt.connect(5);
    await wire.bye({ reasonCode: 0x80, properties: { reasonString: "why not", userProperties: { a: "1" } } });
    await mqtt.provoke(5, packet(TYPE.disconnect, 0x55), 0x82, 0x81);
    await mqtt.provoke(4, packet(TYPE.disconnect, 0x00));
  });

  it.for(BOTH)("[MQX11] version %i: an error ends this connection alone", async (version, { mqtt }) => {
    const other = await mqtt.connect(version);
    await other.subscribe("t", { qos: 1 });
    const wire = await mqtt.connect(version);
    wire.sendBytes(bytes("00 00"));
    const { code } = await expectEnd(wire, 0x81, 0x82);
    expect(code).not.toBe(1006);
    await other.publish("t", "x", { qos: 1 });
    expect(await other.payloads(1)).toEqual(["x"]);
  });

  it("[MQX11] reason strings and user properties are left out where the packet would exceed the client's maximum", async ({
    mqtt,
  }) => {
    const wire = await mqtt.connect(5, { properties: { maximumPacketSize: 40 } });
    await wire.subscribe(["bad/#/x"], { qos: 1 });
    await wire.publish("$SYS/x", "x", { qos: 1 });
    wire.sendBytes(bytes("00 00"));
    await expectEnd(wire, 0x81, 0x82);
    for (const { raw } of wire.history) expect(raw.length).toBeLessThanOrEqual(40);
  });
});

describe("reason codes", () => {
  it("[MQX12] an identifier that is in use is refused with 0x91, or the message it belongs to goes on", async ({
    mqtt,
  }) => {
    const wire = await mqtt.connect(5);
    wire.sendPublish("t", "x", { qos: 2, messageId: 4 });
    await wire.next("pubrec");
    wire.sendPublish("t", "y", { qos: 1, messageId: 4 });
    const answer = await wire.next();
    if (answer.cmd === "puback") expect([0, 0x10, 0x91]).toContain(answer.reasonCode);
    else expect(answer).toMatchObject({ cmd: "disconnect", reasonCode: 0x82 });
  });

  it("[MQX12] nobody listening is success", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    const answer = await wire.publish("nobody", "x", { qos: 1 });
    expect([0, 0x10]).toContain(answer!.reasonCode);
    const received = await wire.publish("nobody", "x", { qos: 2 });
    expect(received!.cmd).toBe("pubcomp");
  });
});

describe("$SYS", () => {
  it("[MQX13] $SYS/broker says what the broker is and does, retained", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    for (const name of [
      "version",
      "uptime",
      "clients/connected",
      "messages/received",
      "messages/sent",
      "subscriptions/count",
    ]) {
      await wire.subscribe(`$SYS/broker/${name}`, { qos: 0 });
      const message = await wire.message();
      expect(message).toMatchObject({ topic: `$SYS/broker/${name}`, retain: true });
      expect(String(message.payload)).not.toBe("");
      await wire.unsubscribe(`$SYS/broker/${name}`);
    }
  });

  it("[MQX14] it cannot be written to: 0x87 in MQTT 5, an acknowledgement without effect before", async ({
    mqtt,
  }) => {
    const [five, four] = [await mqtt.connect(5), await mqtt.connect(4)];
    const watcher = await mqtt.connect(5);
    await watcher.subscribe("$SYS/mine/#", { qos: 1 });
    expect(await five.publish("$SYS/mine/x", "x", { qos: 1 })).toMatchObject({ reasonCode: 0x87 });
    expect(await five.publish("$SYS/mine/x", "x", { qos: 2 })).toMatchObject({
      cmd: "pubrec",
      reasonCode: 0x87,
    });
    await five.publish("$SYS/mine/x", "x", { retain: true });
    await four.publish("$SYS/mine/x", "x", { qos: 1, retain: true });
    await four.publish("$SYS/mine/x", "x", { qos: 2 });
    await watcher.quiet();
    const late = await mqtt.connect(5);
    await late.subscribe("$SYS/mine/#");
    await late.quiet();
  });

  it("[MQX13] # does not include it", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    await wire.subscribe(["#", "+/broker/uptime"], { qos: 1 });
    await wire.quiet();
    await wire.publish("t", "x", { qos: 1 });
    expect(await wire.message()).toMatchObject({ topic: "t" });
  });
});

describe("many packets", () => {
  it("[MQX12] acknowledging packets that nobody waits for are ignored", async ({ mqtt }) => {
    for (const version of BOTH) {
      const wire = await mqtt.connect(version);
      wire.sendBytes(bytes(packet(TYPE.puback, u16(9)), packet(TYPE.pubcomp, u16(9))));
      await wire.quiet();
    }
  });
});
