// CONNECT and CONNACK: what is accepted, what is refused and how, and what the server says about itself.
import { describe, expect } from "vitest";
import {
  bytes,
  connectBytes,
  PROPERTY,
  properties,
  publishBytes,
  text,
  u16,
  type Version,
} from "../../support/mqtt-bytes.ts";
import { ALL, BOTH, expectEnd, IS_REFERENCE, withMqtt } from "./mqtt-world.ts";

const it = withMqtt();

const NOTHING = properties();
const WILL = 0x04;
const WILL_QOS_3 = 0x18;
const WILL_RETAIN = 0x20;
const PASSWORD = 0x40;
const USER = 0x80;
const CLEAN = 0x02;

describe("the first packet", () => {
  it.for(ALL)(
    "[MQC1] version %i: anything but CONNECT first ends the connection",
    async (version, { mqtt }) => {
      await mqtt.refuse(version, bytes("c0 00"));
      await mqtt.refuse(version, publishBytes("t", "x", version === 5 ? { properties: NOTHING } : {}));
    },
  );

  it.for(ALL)("[MQC2] version %i: a second CONNECT ends the connection", async (version, { mqtt }) => {
    await mqtt.provoke(version, connectBytes({ version }), 0x82);
  });

  it("[MQC3] an unknown protocol name ends the connection", async ({ mqtt }) => {
    for (const name of ["MQTt", "mqtt", "MQTTX", ""]) {
      for (const version of BOTH) await mqtt.refuse(version, connectBytes({ version, name }), 0x84, 1);
    }
    await mqtt.refuse(4, connectBytes({ version: 4, name: "MQIsdp" }), 1);
  });

  it.for([0, 2, 6, 255])("[MQC3] version byte %i is refused with 0x01 or 0x84", async (version, { mqtt }) => {
    // What follows the version byte means nothing to a server that does not know the version: both forms of refusal are read.
    const wire = await mqtt.open(version > 4 ? 5 : 4);
    wire.sendBytes(connectBytes({ version }));
    const { refusal } = await wire.closed();
    expect([1, 0x84, IS_REFERENCE ? undefined : 1]).toContain(refusal);
  });

  it("[MQC3] a name in the wrong place refuses nothing that is right: MQIsdp 3, MQTT 4 and MQTT 5 connect", async ({
    mqtt,
  }) => {
    for (const version of ALL) {
      const wire = await mqtt.open(version);
      wire.sendBytes(connectBytes({ version }));
      const connack = await wire.next("connack");
      expect(connack.reasonCode ?? connack.returnCode).toBe(0);
    }
  });

  it.for(BOTH)("[MQC4] version %i: a set reserved flag is refused", async (version, { mqtt }) => {
    await mqtt.refuse(version, connectBytes({ version, flags: CLEAN | 1 }), 0x81, 0x82);
  });

  const will = (version: Version) => bytes(version === 5 ? NOTHING : "", text("w"), text("x"));
  const contradictions: [string, number, (version: Version) => Uint8Array][] = [
    ["will QoS 3", CLEAN | WILL | WILL_QOS_3, will],
    ["will QoS without a will", CLEAN | 0x08, () => bytes()],
    ["will retain without a will", CLEAN | WILL_RETAIN, () => bytes()],
    ["a user flag without a user", CLEAN | USER, () => bytes()],
    ["a password flag without a password", CLEAN | USER | PASSWORD, () => text("u")],
    ["a user without its flag", CLEAN, () => text("u")],
    ["a will without its flag", CLEAN, will],
    ["a will flag without a will", CLEAN | WILL, () => bytes()],
  ];
  const cases = contradictions.flatMap(([what, flags, rest]) =>
    BOTH.map((version) => ({ what, flags, rest, version })),
  );
  it.for(cases)(
    "[MQC5] [MQW8] version $version: $what is refused",
    async ({ version, flags, rest }, { mqtt }) => {
      const payload = bytes(text("a"), rest(version));
      await mqtt.refuse(version, connectBytes({ version, flags, payload }), 0x81, 0x82, 0x9a, 0x9b);
    },
  );

  it("[MQC5] a password without a user is refused by 3.1.1 and accepted by 5.0", async ({ mqtt }) => {
    const payload = bytes(text("a"), text("secret"));
    await mqtt.refuse(4, connectBytes({ version: 4, flags: CLEAN | PASSWORD, payload }), 4);
    const wire = await mqtt.open(5);
    wire.sendBytes(connectBytes({ flags: CLEAN | PASSWORD, payload }));
    expect(await wire.next("connack")).toMatchObject({ reasonCode: 0 });
  });

  it.for(ALL)(
    "[MQC6] version %i: client id, will, user and password are read in their order",
    async (version, { mqtt }) => {
      const [watcher, wire] = [
        await mqtt.connect(version),
        await mqtt.connect(version, {
          clientId: "all",
          will: { topic: "will/all", payload: Buffer.from("gone"), qos: 1 },
          username: "u",
          password: Buffer.from("p"),
        }),
      ];
      await watcher.subscribe("will/all", { qos: 1 });
      wire.cut();
      expect(await watcher.message()).toMatchObject({ topic: "will/all", payload: Buffer.from("gone") });
    },
  );

  it.for(BOTH)(
    "[MQC6] version %i: a CONNECT that is cut short within its length is refused",
    async (version, { mqtt }) => {
      await mqtt.refuse(version, connectBytes({ version, payload: bytes(u16(20), "61") }), 0x81);
      await mqtt.refuse(version, connectBytes({ version, payload: bytes() }), 0x81, 2, 0x85);
    },
  );
});

describe("CONNACK", () => {
  it.for(ALL)("[MQC7] version %i: it is the first packet, and comes once", async (version, { mqtt }) => {
    const wire = await mqtt.open(version);
    const connect = connectBytes({ version });
    const subscribe = wire.encode({
      cmd: "subscribe",
      messageId: 1,
      subscriptions: [{ topic: "t", qos: 0 }],
    });
    const publish = wire.encode({
      cmd: "publish",
      topic: "t",
      payload: "x",
      qos: 0,
      dup: false,
      retain: false,
    });
    wire.sendBytes(bytes(connect, subscribe, publish, "c0 00"));
    expect((await wire.next()).cmd).toBe("connack");
    const rest = [await wire.next(), await wire.next(), await wire.next()].map(({ cmd }) => cmd);
    expect(rest.toSorted()).toEqual(["pingresp", "publish", "suback"]);
  });

  it("[MQC8] it says what the server can do, and the server can do what it says", async ({ mqtt }) => {
    const { connack } = await mqtt.connect(5);
    const said = connack!.properties ?? {};
    for (const feature of [
      "retainAvailable",
      "wildcardSubscriptionAvailable",
      "subscriptionIdentifiersAvailable",
      "sharedSubscriptionAvailable",
    ]) {
      expect(said[feature] ?? true, feature).toBe(true);
    }
    expect(said.maximumQoS ?? 2).toBe(2);
    expect(said.topicAliasMaximum).toBe(16);
    expect(said.receiveMaximum ?? 65535).toBeGreaterThan(0);
    expect(said.maximumPacketSize ?? 2 ** 28).toBeGreaterThan(1024 * 1024);
  });

  it("[MQC9] response information comes only to those who ask", async ({ mqtt }) => {
    const plain = await mqtt.connect(5, { properties: { requestResponseInformation: false } });
    expect(plain.connack!.properties?.responseInformation).toBeUndefined();
    expect((await mqtt.connect(5)).connack!.properties?.responseInformation).toBeUndefined();
  });

  it("[MQC9] those who ask for response information get a prefix that they can subscribe to", async ({
    mqtt,
  }) => {
    const asking = await mqtt.connect(5, { properties: { requestResponseInformation: true } });
    const prefix = asking.connack!.properties?.responseInformation;
    if (prefix === undefined) return;
    expect(await asking.subscribe(`${String(prefix).replace(/\/$/, "")}/#`, { qos: 1 })).toEqual([1]);
  });

  it("[MQC10] it is no larger than the client's maximum packet size", async ({ mqtt }) => {
    const wire = await mqtt.open(5);
    const connack = await wire
      .hello({ properties: { maximumPacketSize: 30 } })
      .catch((error: Error) => expect(error.message).toContain("closed"));
    if (connack) expect(connack.raw.length).toBeLessThanOrEqual(30);
  });

  it("[MQC11] after a refusal nothing that follows is processed", async ({ mqtt }) => {
    const watcher = await mqtt.connect(5);
    await watcher.subscribe("t");
    const wire = await mqtt.open(5);
    const refused = connectBytes({ flags: CLEAN | 1 });
    wire.sendBytes(bytes(refused, publishBytes("t", "from the refused", { properties: NOTHING })));
    await wire.closed();
    await watcher.publish("t", "after");
    expect(await watcher.payloads(1)).toEqual(["after"]);
    await watcher.quiet();
  });
});

describe("client ids", () => {
  it.for(ALL)(
    "[MQC12] version %i: 1 to 23 letters and digits are accepted, and longer ones",
    async (version, { mqtt }) => {
      const all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
      for (const clientId of ["a", all.slice(0, 23), all.slice(23, 46), all.slice(39), all]) {
        await mqtt.connect(version, { clientId });
      }
    },
  );

  it("[MQC13] MQTT 5: an empty one is replaced by a unique one, which is told and works", async ({
    mqtt,
  }) => {
    const [one, two] = [await mqtt.connect(5, { clientId: "" }), await mqtt.connect(5, { clientId: "" })];
    const ids = [one, two].map(({ connack }) => connack!.properties?.assignedClientIdentifier);
    expect(ids[0]).toEqual(expect.any(String));
    expect(ids[1]).not.toBe(ids[0]);
    expect(ids[0]).not.toBe("");
    const again = await mqtt.connect(5, { clientId: ids[0]! });
    expect(again.connack!.properties?.assignedClientIdentifier).toBeUndefined();
    await expectEnd(one, 0x8e);
    await two.quiet();
  });

  it("[MQC14] 3.1.1: an empty one connects with a clean session, and is refused with 0x02 without", async ({
    mqtt,
  }) => {
    const [one, two] = [await mqtt.connect(4, { clientId: "" }), await mqtt.connect(4, { clientId: "" })];
    await one.quiet();
    await two.quiet();
    const refused = await mqtt.refuse(4, connectBytes({ version: 4, flags: 0, payload: text("") }), 2);
    expect(refused.refusal).toBe(2);
  });

  it("[MQC14] 3.1: an empty one is refused with 0x02", async ({ mqtt }) => {
    const refused = await mqtt.refuse(3, connectBytes({ version: 3, payload: text("") }), 2);
    expect(refused.refusal).toBe(2);
  });

  it.for(ALL)(
    "[MQC15] version %i: a second connection of a client id takes over from the first",
    async (version, { mqtt }) => {
      const first = await mqtt.connect(version, { clientId: "same" });
      await first.subscribe("t");
      const second = await mqtt.connect(version, { clientId: "same" });
      await expectEnd(first, 0x8e);
      await second.publish("t", "x");
      await second.quiet();
    },
  );

  it("[MQC15] a client id is taken over between versions, and not between namespaces", async ({ mqtt }) => {
    const first = await mqtt.connect(4, { clientId: "same" });
    const second = await mqtt.connect(5, { clientId: "same" });
    await expectEnd(first);
    await second.quiet();
  });
});

describe("keep alive", () => {
  it.for(BOTH)(
    "[MQC16] version %i: silence for 1.5 times the keep alive ends the connection and sends the will",
    async (version, { mqtt }) => {
      const watcher = await mqtt.connect(version);
      await watcher.subscribe("will");
      const wire = await mqtt.connect(version, {
        keepalive: 1,
        will: { topic: "will", payload: Buffer.from("silent") },
      });
      const since = Date.now();
      const { code } = await expectEnd(wire, 0x8d);
      expect(code).not.toBe(1000);
      // The timer began a moment before this side read the CONNACK.
      expect(Date.now() - since).toBeGreaterThan(1_400);
      expect(await watcher.payloads(1)).toEqual(["silent"]);
    },
  );

  it("[MQC16] any packet keeps the connection alive, PINGREQ is answered by PINGRESP", async ({ mqtt }) => {
    const wire = await mqtt.connect(5, { keepalive: 1 });
    for (let sent = 0; sent < 4; sent++) {
      await new Promise((resolve) => setTimeout(resolve, 700));
      if (sent % 2) await wire.quiet();
      else await wire.publish("t", "x", { qos: 1 });
    }
    await wire.quiet();
  });

  it("[MQC17] a keep alive that the server does not allow is replaced by its own, which is told", async ({
    mqtt,
  }) => {
    const { connack } = await mqtt.connect(5, { keepalive: 65535 });
    const said = connack!.properties?.serverKeepAlive;
    if (said !== undefined) expect(said).toBeLessThan(65535);
    const small = await mqtt.connect(5, { keepalive: 30 });
    expect(small.connack!.properties?.serverKeepAlive ?? 30).toBe(30);
  });
});

describe("problem information", () => {
  it("[MQC18] those who want none get no reason string and no user properties but in PUBLISH, CONNACK and DISCONNECT", async ({
    mqtt,
  }) => {
    const wire = await mqtt.connect(5, { properties: { requestProblemInformation: false } });
    await wire.subscribe(["bad/#/filter", "a"], { qos: 1 });
    await wire.publish("$SYS/broker/version", "x", { qos: 1 });
    await wire.unsubscribe(["none"]);
    for (const { cmd, properties: list } of wire.history.slice(1)) {
      expect([cmd, list?.reasonString, list?.userProperties]).toEqual([cmd, undefined, undefined]);
    }
  });

  it("[MQC18] CONNECT takes user properties", async ({ mqtt }) => {
    const list = properties(
      PROPERTY.userProperty,
      text("a"),
      text("1"),
      PROPERTY.userProperty,
      text("a"),
      text("2"),
    );
    const wire = await mqtt.open(5);
    wire.sendBytes(connectBytes({ properties: list }));
    expect(await wire.next("connack")).toMatchObject({ reasonCode: 0 });
  });
});
