// How packets are written and read: strings, numbers, flags, packet identifiers, properties.
import { describe, expect } from "vitest";
import {
  bytes,
  connectBytes,
  PROPERTY,
  packet,
  properties,
  publishBytes,
  TYPE,
  text,
  u16,
  u32,
  userProperty,
  type Version,
  varint,
} from "../../support/mqtt-bytes.ts";
import { ALL, BOTH, expectEnd, withMqtt } from "./mqtt-world.ts";

const it = withMqtt();

const MALFORMED = 0x81;
const PROTOCOL_ERROR = 0x82;
const NOTHING = properties();

/** Bytes that are no string of MQTT. */
const NO_TEXT: [string, string][] = [
  ["a surrogate", "61 ed a0 80"],
  ["a pair of surrogates", "ed a0 bd ed b8 80"],
  ["U+0000", "61 00"],
  ["an overlong form", "c0 80"],
  ["a byte that never stands in UTF-8", "ff"],
  ["a character cut short", "e2 82"],
  ["a character past the last", "f4 90 80 80"],
];

/** A PUBLISH in either form. */
function publish(version: Version, topic: string | Uint8Array, list: Uint8Array = NOTHING): Buffer {
  return publishBytes(topic, "x", version === 5 ? { properties: list } : {});
}

function subscribe(version: Version, filter: string | Uint8Array, options = 0, id = 7): Buffer {
  return packet(TYPE.subscribe, u16(id), version === 5 ? NOTHING : "", text(filter), options);
}

/** Every case in every version, as `{ version, what, given }`. */
const each = <T>(versions: readonly Version[], cases: [string, T][]) =>
  cases.flatMap(([what, given]) => versions.map((version) => ({ version, what, given })));

describe("strings", () => {
  it.for(each(BOTH, NO_TEXT))(
    "[MQE1] version $version: a topic with $what ends the connection",
    async ({ version, given: hex }, { mqtt }) => {
      await mqtt.provoke(version, publish(version, bytes(hex)), MALFORMED, PROTOCOL_ERROR, 0x90);
    },
  );

  it.for(each(BOTH, NO_TEXT.slice(0, 3)))(
    "[MQE1] version $version: a filter with $what ends the connection",
    async ({ version, given: hex }, { mqtt }) => {
      await mqtt.provoke(version, subscribe(version, bytes(hex)), MALFORMED, PROTOCOL_ERROR, 0x8f);
    },
  );

  it.for(each(ALL, NO_TEXT.slice(0, 3)))(
    "[MQE1] version $version: a client id with $what is refused",
    async ({ version, given: hex }, { mqtt }) => {
      await mqtt.refuse(version, connectBytes({ version, payload: text(bytes(hex)) }), MALFORMED, 0x85, 2);
    },
  );

  it.for(BOTH)(
    "[MQE1] version %i: a user name and a will topic with U+0000 are refused",
    async (version, { mqtt }) => {
      const user = bytes(text("a"), text("u\0"));
      await mqtt.refuse(version, connectBytes({ version, flags: 0x82, payload: user }), MALFORMED, 4);
      const will = bytes(text("a"), version === 5 ? NOTHING : "", text("w\0"), text(""));
      await mqtt.refuse(version, connectBytes({ version, flags: 0x06, payload: will }), MALFORMED, 0x90);
    },
  );

  it("[MQE1] [MQE4] ill-formed text in properties ends the connection", async ({ mqtt }) => {
    const surrogate = bytes("ed a0 80");
    for (const list of [
      properties(PROPERTY.contentType, text(surrogate)),
      properties(PROPERTY.responseTopic, text("a\0")),
      properties(userProperty(surrogate, "v")),
      properties(userProperty("n", "v\0")),
    ]) {
      await mqtt.provoke(5, publish(5, "t", list), MALFORMED, PROTOCOL_ERROR);
    }
  });

  it.for(BOTH)(
    "[MQE2] version %i: U+FEFF and every other character arrive as they were sent",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      const topics = ["\ufeffa/\ufeff", "日本/é/e\u0301", "😀", " a ", "A", "a"];
      await wire.subscribe(topics);
      for (const topic of topics) {
        await wire.publish(topic, topic);
        const message = await wire.message();
        expect([message.topic, String(message.payload)]).toEqual([topic, topic]);
      }
    },
  );
});

describe("numbers", () => {
  it("[MQE3] a length of more than four bytes ends the connection", async ({ mqtt }) => {
    await mqtt.provoke(5, bytes("30 ff ff ff ff 01"), MALFORMED);
    await mqtt.provoke(4, bytes("30 80 80 80 80 00"), MALFORMED);
  });

  it("[MQE3] a property length in more bytes than it needs ends the connection", async ({ mqtt }) => {
    const list = bytes(varint(0, 2));
    await mqtt.provoke(5, publish(5, "t", list), MALFORMED);
  });

  it("[MQE3] a property list that ends in the middle of a property, or past its packet, is malformed", async ({
    mqtt,
  }) => {
    await mqtt.provoke(5, publish(5, "t", bytes(3, PROPERTY.messageExpiry, u16(1))), MALFORMED);
    await mqtt.provoke(5, publish(5, "t", bytes(100, PROPERTY.messageExpiry, u32(1))), MALFORMED);
    await mqtt.provoke(5, packet(TYPE.publish, u16(100), "61"), MALFORMED);
  });
});

describe("the first byte", () => {
  const wrongFlags: [string, (version: Version) => Buffer][] = [
    ["PUBREL", () => packet(0x60, u16(1))],
    ["SUBSCRIBE", (version) => bytes(0x80, subscribe(version, "a").subarray(1))],
    ["UNSUBSCRIBE", (version) => packet(0xa0, u16(1), version === 5 ? NOTHING : "", text("a"))],
    ["PINGREQ", () => bytes("c1 00")],
    ["DISCONNECT", () => bytes("e1 00")],
    ["PUBACK", () => packet(0x42, u16(1))],
  ];
  it.for(each(BOTH, wrongFlags))(
    "[MQE5] version $version: wrong reserved flags end the connection: $what",
    async ({ version, given: frame }, { mqtt }) => {
      await mqtt.provoke(version, frame(version), MALFORMED);
    },
  );

  it("[MQE5] [MQX10] an AUTH with wrong flags ends the connection", async ({ mqtt }) => {
    await mqtt.provoke(5, bytes("f1 00"), MALFORMED);
  });

  it.for(BOTH)("[MQE5] version %i: a CONNECT with wrong flags is refused", async (version, { mqtt }) => {
    const good = connectBytes({ version });
    await mqtt.refuse(version, bytes(0x11, good.subarray(1)), MALFORMED);
  });

  it.for(BOTH)(
    "[MQE6] version %i: a type that a client may not send ends the connection",
    async (version, { mqtt }) => {
      for (const frame of ["00 00", "20 02 00 00", "90 03 00 01 00", "b0 02 00 01", "d0 00"]) {
        await mqtt.provoke(version, bytes(frame), MALFORMED, PROTOCOL_ERROR);
      }
    },
  );

  it("[MQE6] AUTH does not exist before MQTT 5", async ({ mqtt }) => {
    await mqtt.provoke(4, bytes("f0 00"));
  });
});

describe("packet identifiers", () => {
  it.for(ALL)("[MQE7] version %i: an identifier of 0 ends the connection", async (version, { mqtt }) => {
    const list = version === 5 ? { properties: NOTHING } : {};
    const wrong = [
      publishBytes("t", "x", { flags: 2, id: 0, ...list }),
      publishBytes("t", "x", { flags: 4, id: 0, ...list }),
      subscribe(version, "a", 0, 0),
      packet(TYPE.unsubscribe, u16(0), version === 5 ? NOTHING : "", text("a")),
    ];
    for (const frame of wrong) await mqtt.provoke(version, frame, MALFORMED, PROTOCOL_ERROR);
  });

  it.for(ALL)(
    "[MQE8] version %i: every acknowledgement echoes the identifier of what it acknowledges",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      for (const messageId of [1, 255, 256, 65535]) {
        wire.send({ cmd: "subscribe", messageId, subscriptions: [{ topic: "other", qos: 1 }] });
        expect(await wire.next()).toMatchObject({ cmd: "suback", messageId, granted: [1] });
        wire.sendPublish("t", "x", { qos: 1, messageId });
        expect(await wire.next()).toMatchObject({ cmd: "puback", messageId });
        wire.sendPublish("t", "x", { qos: 2, messageId });
        expect(await wire.next()).toMatchObject({ cmd: "pubrec", messageId });
        wire.send({ cmd: "pubrel", messageId });
        expect(await wire.next()).toMatchObject({ cmd: "pubcomp", messageId });
        wire.send({ cmd: "unsubscribe", messageId, unsubscriptions: ["other"] });
        expect(await wire.next()).toMatchObject({ cmd: "unsuback", messageId });
      }
    },
  );

  it.for(ALL)(
    "[MQE9] version %i: messages sent at QoS > 0 have identifiers that differ, at QoS 0 none",
    async (version, { mqtt }) => {
      const [from, to] = [await mqtt.connect(version), await mqtt.connect(version)];
      await to.subscribe("t", { qos: 2 });
      for (const qos of [1, 2, 0, 1, 2, 0] as const) await from.publish("t", `${qos}`, { qos });
      const seen = [];
      for (let count = 0; count < 6; count++) seen.push(await to.next("publish"));
      expect(seen.map(({ qos }) => qos)).toEqual([1, 2, 0, 1, 2, 0]);
      const ids = seen.filter(({ qos }) => qos).map(({ messageId }) => messageId);
      expect(new Set(ids).size).toBe(4);
      for (const { qos, raw } of seen) {
        const propertyLength = version === 5 ? 1 : 0;
        expect(raw.length).toBe(2 + 3 + (qos ? 2 : 0) + propertyLength + 1);
      }
    },
  );
});

describe("properties", () => {
  it("[MQE10] a packet without properties says so with a length of 0, and so is read", async ({ mqtt }) => {
    const wire = await mqtt.connect(5);
    await wire.subscribe("t", { qos: 1 });
    wire.sendBytes(publishBytes("t", "x", { properties: NOTHING }));
    const { raw } = await wire.next("publish");
    expect(raw.toString("hex")).toBe(bytes("30 05 00 01 74 00 78").toString("hex"));
  });

  it("[MQE10] an acknowledgement without reason and properties may leave both out", async ({ mqtt }) => {
    const [from, to] = [await mqtt.connect(5), await mqtt.connect(5)];
    await to.subscribe("t", { qos: 2 });
    await from.publish("t", "1", { qos: 1 });
    const first = await to.next("publish");
    to.sendBytes(packet(TYPE.puback, u16(first.messageId!)));
    await from.publish("t", "2", { qos: 1 });
    const second = await to.next("publish");
    to.sendBytes(packet(TYPE.puback, u16(second.messageId!), 0));
    await from.publish("t", "3", { qos: 2 });
    const third = await to.next("publish");
    to.sendBytes(packet(TYPE.pubrec, u16(third.messageId!), 0, NOTHING));
    expect(await to.next()).toMatchObject({ cmd: "pubrel", messageId: third.messageId });
    to.sendBytes(packet(TYPE.pubcomp, u16(third.messageId!)));
    await to.quiet();
  });

  const twice: [string, Uint8Array][] = [
    ["payload format", bytes(PROPERTY.payloadFormat, 1)],
    ["message expiry", bytes(PROPERTY.messageExpiry, u32(9))],
    ["content type", bytes(PROPERTY.contentType, text("a"))],
    ["response topic", bytes(PROPERTY.responseTopic, text("a"))],
    ["correlation data", bytes(PROPERTY.correlationData, text("a"))],
    ["topic alias", bytes(PROPERTY.topicAlias, u16(1))],
  ];
  it.for(twice)("[MQE11] a property that may stand once stands twice: %s", async ([, property], { mqtt }) => {
    await mqtt.provoke(5, publish(5, "t", properties(property, property)), PROTOCOL_ERROR);
  });

  const twiceConnect: [string, Uint8Array][] = [
    ["session expiry", bytes(PROPERTY.sessionExpiry, u32(9))],
    ["receive maximum", bytes(PROPERTY.receiveMaximum, u16(9))],
    ["maximum packet size", bytes(PROPERTY.maximumPacketSize, u32(999))],
    ["topic alias maximum", bytes(PROPERTY.topicAliasMaximum, u16(9))],
    ["request problem information", bytes(PROPERTY.requestProblem, 1)],
    ["request response information", bytes(PROPERTY.requestResponse, 0)],
  ];
  it.for(twiceConnect)("[MQE11] CONNECT with %s twice is refused", async ([, property], { mqtt }) => {
    await mqtt.refuse(5, connectBytes({ properties: properties(property, property) }), PROTOCOL_ERROR);
  });

  it("[MQE11] a property of another packet, or of none, is malformed", async ({ mqtt }) => {
    for (const property of [
      bytes(PROPERTY.sessionExpiry, u32(1)),
      bytes(0x7f, 0),
      bytes(PROPERTY.willDelay, u32(1)),
    ]) {
      await mqtt.provoke(5, publish(5, "t", properties(property)), MALFORMED, PROTOCOL_ERROR);
    }
    const list = properties(PROPERTY.topicAlias, u16(1));
    await mqtt.refuse(5, connectBytes({ properties: list }), MALFORMED, PROTOCOL_ERROR);
  });

  it("[MQE12] a value out of its range is a protocol error", async ({ mqtt }) => {
    await mqtt.provoke(
      5,
      publish(5, "t", properties(PROPERTY.payloadFormat, 2)),
      MALFORMED,
      PROTOCOL_ERROR,
      0x99,
    );
    for (const list of [
      bytes(PROPERTY.receiveMaximum, u16(0)),
      bytes(PROPERTY.maximumPacketSize, u32(0)),
      bytes(PROPERTY.requestProblem, 2),
      bytes(PROPERTY.requestResponse, 2),
    ]) {
      await mqtt.refuse(5, connectBytes({ properties: properties(list) }), PROTOCOL_ERROR, MALFORMED);
    }
  });
});

describe("what is left over", () => {
  it.for(BOTH)(
    "[MQE13] version %i: bytes after the end of a packet's content end the connection",
    async (version, { mqtt }) => {
      const wire = await mqtt.connect(version);
      wire.sendBytes(packet(TYPE.puback, u16(1), "00 00 00 00"));
      await expectEnd(wire, MALFORMED, PROTOCOL_ERROR);
      await mqtt.provoke(version, bytes("c0 01 00"), MALFORMED, PROTOCOL_ERROR);
    },
  );
});
