// Tokens over MQTT: as password, in the URL, by enhanced authentication; what they allow, and their end.
import { SignJWT } from "jose";
import { describe, expect } from "vitest";
import type { Version } from "../../support/mqtt-bytes.ts";
import { MqttWire } from "../../support/mqtt-wire.ts";
import { BOTH, expectEnd, type MqttWorld, withMqtt } from "./mqtt-world.ts";

const SECRET = "a secret that only the tests know, of more than 32 bytes";
const it = withMqtt({ env: { DUNLIN_AUTH_SECRET: SECRET } });

const BAD_USER = 0x86;
const NOT_AUTHORIZED = 0x87;
const BAD_METHOD = 0x8c;
const CONTINUE = 0x18;
const AGAIN = 0x19;

interface Claims {
  sub?: string;
  ns?: string;
  allow?: { do: string[]; on: string }[];
  expiresInSeconds?: number;
}

function sign(claims: Claims = {}, secret = SECRET): Promise<string> {
  const { sub = "ann", ns, expiresInSeconds = 3_600 } = claims;
  const allow = claims.allow ?? [{ do: ["publish", "subscribe", "consume", "manage"], on: "*" }];
  return new SignJWT({ dunlin: { allow }, ...(ns === undefined ? {} : { ns }) })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(sub)
    .setExpirationTime(Math.floor(Date.now() / 1_000) + expiresInSeconds)
    .sign(new TextEncoder().encode(secret));
}

/** A connection with a token as its password. */
async function signedIn(mqtt: MqttWorld, version: Version, claims: Claims = {}): Promise<MqttWire> {
  return mqtt.connect(version, { username: "any", password: Buffer.from(await sign(claims)) });
}

/** The properties of a CONNECT that authenticates by a method. */
const by = (authenticationMethod: string, token?: string) => ({
  properties: { authenticationMethod, ...(token ? { authenticationData: Buffer.from(token) } : {}) },
});

/** An AUTH packet. */
const auth = (reasonCode: number, token?: string, method = "jwt") => ({
  cmd: "auth" as const,
  reasonCode,
  ...by(method, token),
});

describe("tokens", () => {
  it.for(BOTH)(
    "[MQX20] version %i: a token is taken as password, whatever the user name, and from the URL",
    async (version, { mqtt }) => {
      const wire = await signedIn(mqtt, version);
      await wire.subscribe("t", { qos: 1 });
      const token = await sign();
      const other = await MqttWire.connect(`${mqtt.url}&token=${token}`, version);
      await other.publish("t", "x", { qos: 1 });
      expect(await wire.payloads(1)).toEqual(["x"]);
      other.cut();
    },
  );

  it.for(BOTH)(
    "[MQX20] version %i: without a token, or with a wrong one, CONNECT is refused",
    async (version, { mqtt }) => {
      const codes = version === 5 ? [BAD_USER, NOT_AUTHORIZED] : [4, 5];
      for (const password of [
        undefined,
        "wrong",
        await sign({}, "another secret, just as long as the first one is"),
        await sign({ expiresInSeconds: -60 }),
      ]) {
        const wire = await mqtt.open(version).catch(() => undefined);
        if (!wire) continue;
        wire.send({
          cmd: "connect",
          clientId: "eve",
          protocolId: "MQTT",
          protocolVersion: version as 4 | 5,
          clean: true,
          keepalive: 0,
          ...(password ? { username: "u", password: Buffer.from(password) } : {}),
        });
        expect(codes).toContain((await wire.closed()).refusal);
      }
    },
  );

  it("[MQX21] the namespace is the token's", async ({ mqtt }) => {
    const [inside, outside] = [await signedIn(mqtt, 5), await signedIn(mqtt, 5)];
    await outside.subscribe("t", { qos: 1 });
    await inside.publish("t", "x", { qos: 1 });
    expect(await outside.payloads(1)).toEqual(["x"]);
    const token = await sign({ ns: "another" });
    const refused = await mqtt.open(5);
    const connack = await refused.hello({ username: "u", password: Buffer.from(token) });
    expect([BAD_USER, NOT_AUTHORIZED]).toContain(connack.reasonCode);
    await refused.closed();
  });

  it("[MQX22] what a token does not allow is refused, packet by packet", async ({ mqtt }) => {
    const wire = await signedIn(mqtt, 5, {
      allow: [
        { do: ["publish"], on: "topic:out/#" },
        { do: ["subscribe"], on: "topic:in/#" },
      ],
    });
    expect(await wire.subscribe(["in/+", "out/x", "#", "$share/g/in/a"], { qos: 1 })).toEqual([
      1,
      NOT_AUTHORIZED,
      NOT_AUTHORIZED,
      expect.toBeOneOf([1, NOT_AUTHORIZED]),
    ]);
    expect(await wire.publish("out/x", "x", { qos: 1 })).toMatchObject({ cmd: "puback" });
    expect(await wire.publish("in/x", "x", { qos: 1 })).toMatchObject({ reasonCode: NOT_AUTHORIZED });
    expect(await wire.publish("in/x", "x", { qos: 2 })).toMatchObject({
      cmd: "pubrec",
      reasonCode: NOT_AUTHORIZED,
    });
    await wire.publish("in/x", "x");
    await wire.quiet();
  });

  it("[MQX22] before MQTT 5 a forbidden publish is acknowledged and dropped, a forbidden subscribe gets 0x80", async ({
    mqtt,
  }) => {
    const watcher = await signedIn(mqtt, 4);
    await watcher.subscribe("#", { qos: 1 });
    const wire = await signedIn(mqtt, 4, { allow: [{ do: ["publish"], on: "topic:out" }] });
    expect(await wire.subscribe("in", { qos: 1 })).toEqual([0x80]);
    await wire.publish("in", "forbidden", { qos: 1 });
    await wire.publish("in", "forbidden", { qos: 2 });
    await wire.publish("out", "allowed", { qos: 1 });
    expect(await watcher.payloads(1)).toEqual(["allowed"]);
    await watcher.quiet();
  });

  it("[MQX22] a will that the token does not allow is refused, or not published", async ({ mqtt }) => {
    const watcher = await signedIn(mqtt, 5);
    await watcher.subscribe("#", { qos: 1 });
    const password = Buffer.from(await sign({ allow: [{ do: ["publish"], on: "topic:out" }] }));
    const wire = await mqtt.open(5);
    const will = { topic: "in", payload: Buffer.from("forbidden") };
    const connack = await wire.hello({ username: "u", password, will });
    if (connack.reasonCode !== 0) expect(connack.reasonCode).toBe(NOT_AUTHORIZED);
    wire.cut();
    await watcher.publish("in", "next", { qos: 1 });
    expect(await watcher.payloads(1)).toEqual(["next"]);
    await watcher.quiet();
  });

  it.for(BOTH)("[MQX23] version %i: a connection ends with its token", async (version, { mqtt }) => {
    const wire = await signedIn(mqtt, version, { expiresInSeconds: 2 });
    await expectEnd(wire, 0xa0, NOT_AUTHORIZED);
  });
});

describe("enhanced authentication", () => {
  it("[MQX24] the method jwt takes the token from CONNECT", async ({ mqtt }) => {
    const wire = await mqtt.connect(5, by("jwt", await sign()));
    expect(wire.connack!.properties?.authenticationMethod).toBe("jwt");
    await wire.publish("t", "x", { qos: 1 });
  });

  it("[MQX24] without data the server asks for it by AUTH 0x18", async ({ mqtt }) => {
    const wire = await mqtt.open(5);
    wire.send({
      cmd: "connect",
      clientId: "a",
      protocolId: "MQTT",
      protocolVersion: 5,
      clean: true,
      keepalive: 0,
      ...by("jwt"),
    });
    expect(await wire.next("auth")).toMatchObject({
      reasonCode: CONTINUE,
      properties: { authenticationMethod: "jwt" },
    });
    wire.send(auth(CONTINUE, await sign()));
    expect(await wire.next("connack")).toMatchObject({
      reasonCode: 0,
      properties: { authenticationMethod: "jwt" },
    });
    await wire.quiet();
  });

  it("[MQX24] while it is asked for, only AUTH and DISCONNECT may be sent; a wrong token is refused", async ({
    mqtt,
  }) => {
    const begin = async () => {
      const wire = await mqtt.open(5);
      wire.send({
        cmd: "connect",
        clientId: "a",
        protocolId: "MQTT",
        protocolVersion: 5,
        clean: true,
        keepalive: 0,
        ...by("jwt"),
      });
      await wire.next("auth");
      return wire;
    };
    const early = await begin();
    early.sendPublish("t", "x", { qos: 1 });
    await early.closed();
    const wrong = await begin();
    wrong.send(auth(CONTINUE, "wrong"));
    expect([BAD_USER, NOT_AUTHORIZED]).toContain((await wrong.closed()).refusal);
    const changed = await begin();
    changed.send(auth(CONTINUE, await sign(), "other"));
    await changed.closed();
  });

  it("[MQX25] another method is refused with 0x8C", async ({ mqtt }) => {
    const wire = await mqtt.open(5);
    const connack = await wire.hello(by("SCRAM-SHA-1", "x"));
    expect(connack.reasonCode).toBe(BAD_METHOD);
    await wire.closed();
  });

  it("[MQX26] AUTH 0x19 renews the token, and the connection lives on with it", async ({ mqtt }) => {
    const wire = await mqtt.connect(5, by("jwt", await sign({ expiresInSeconds: 3 })));
    wire.send(auth(AGAIN, await sign()));
    expect(await wire.next("auth")).toMatchObject({
      reasonCode: 0,
      properties: { authenticationMethod: "jwt" },
    });
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    await wire.publish("t", "x", { qos: 1 });
  });

  it("[MQX26] a wrong token, or another method, ends the connection", async ({ mqtt }) => {
    const first = await mqtt.connect(5, by("jwt", await sign()));
    first.send(auth(AGAIN, "wrong"));
    await expectEnd(first, NOT_AUTHORIZED, BAD_USER);
    const second = await mqtt.connect(5, by("jwt", await sign()));
    second.send(auth(AGAIN, await sign(), "other"));
    await expectEnd(second, 0x82, BAD_METHOD);
    const third = await mqtt.connect(5, by("jwt", await sign({ sub: "ann" })));
    third.send(auth(AGAIN, await sign({ sub: "eve" })));
    await expectEnd(third, NOT_AUTHORIZED, BAD_USER);
  });

  it("[MQX27] without a method in CONNECT there is no AUTH", async ({ mqtt }) => {
    const wire = await signedIn(mqtt, 5);
    wire.send(auth(AGAIN, await sign()));
    await expectEnd(wire, 0x82);
    expect(wire.history.filter(({ cmd }) => cmd === "auth")).toEqual([]);
  });
});

describe("a fresh token that does not allow a subscription any more", () => {
  const NEWS = [{ do: ["subscribe"], on: "topic:news/#" }];
  const FILTERS = ["news/a", "weather/+", "$share/g/t", "$queue/jobs"];
  const AFTER = [1, NOT_AUTHORIZED, NOT_AUTHORIZED, NOT_AUTHORIZED];

  /** Publishes what a client may not get any more, and then what it may. */
  async function publishAll(mqtt: MqttWorld): Promise<void> {
    const from = await signedIn(mqtt, 5);
    for (const topic of ["weather/x", "t", "$queue/jobs", "news/a"])
      await from.publish(topic, topic, { qos: 1 });
  }

  it.for([NEWS, []])(
    "[REG8] ends the connection with 0x87 after AUTH, and the subscription is refused from then on: %j",
    async (allow, { mqtt }) => {
      const properties = { ...by("jwt", await sign()).properties, sessionExpiryInterval: 300 };
      const wire = await mqtt.connect(5, { clientId: "a", clean: false, properties });
      expect(await wire.subscribe(FILTERS, { qos: 1 })).toEqual([1, 1, 1, 1]);
      wire.send(auth(AGAIN, await sign({ allow })));
      expect(await wire.next("auth")).toMatchObject({ reasonCode: 0 });
      await expectEnd(wire, NOT_AUTHORIZED);
      await publishAll(mqtt);
      const fields = { ...by("jwt", await sign({ allow })).properties, sessionExpiryInterval: 300 };
      const back = await mqtt.connect(5, { clientId: "a", clean: false, properties: fields });
      expect(back.connack).toMatchObject({ sessionPresent: true });
      if (allow.length > 0) expect(await back.payloads(1)).toEqual(["news/a"]);
      const codes = allow.length > 0 ? AFTER : FILTERS.map(() => NOT_AUTHORIZED);
      expect(await back.subscribe(FILTERS, { qos: 1 })).toEqual(codes);
      await back.quiet();
    },
  );

  it("[REG8] leaves a connection alone whose subscriptions it all allows", async ({ mqtt }) => {
    const wire = await mqtt.connect(5, by("jwt", await sign()));
    expect(await wire.subscribe("news/a", { qos: 1 })).toEqual([1]);
    wire.send(auth(AGAIN, await sign({ allow: NEWS })));
    expect(await wire.next("auth")).toMatchObject({ reasonCode: 0 });
    await publishAll(mqtt);
    expect(await wire.payloads(1)).toEqual(["news/a"]);
    expect(await wire.subscribe(FILTERS, { qos: 1 })).toEqual(AFTER);
  });

  it.for(BOTH)(
    "[REG8] version %i: a session that is resumed with it gets nothing more of the subscription",
    async (version, { mqtt }) => {
      const password = async (claims: Claims) => ({
        username: "u",
        password: Buffer.from(await sign(claims)),
      });
      const first = await mqtt.durable(version, "a", await password({}));
      await first.subscribe(FILTERS, { qos: 1 });
      first.cut();
      const wire = await mqtt.durable(version, "a", await password({ allow: NEWS }));
      expect(wire.connack).toMatchObject({ sessionPresent: true });
      await publishAll(mqtt);
      expect(await wire.payloads(1)).toEqual(["news/a"]);
      const codes = version === 5 ? AFTER : AFTER.map((code) => (code === 1 ? 1 : 0x80));
      expect(await wire.subscribe(FILTERS, { qos: 1 })).toEqual(codes);
      await wire.quiet();
    },
  );
});
