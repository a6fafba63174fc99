// Reads the bodies of all packets but CONNECT.
import type { Cursor } from "./cursor.ts";
import type { PacketType, Role } from "./kinds.ts";
import type {
  Auth,
  Connack,
  Disconnect,
  Packet,
  Properties,
  Publish,
  PublishAnswer,
  Qos,
  RetainHandling,
  Suback,
  Subscribe,
  SubscribeFilter,
  Unsuback,
  Unsubscribe,
  Version,
} from "./packets.ts";
import { Place } from "./properties.ts";
import { readProperties } from "./property-reader.ts";
import { ReasonCode } from "./reason.ts";
import { answerCodes, authCodes, disconnectCodes, subackCodes, unsubackCodes } from "./reason-sets.ts";

const { MalformedPacket, ProtocolError } = ReasonCode;

/** What a body is read with besides its bytes. */
export interface Context {
  version: Version;
  role: Role;
  /** The low four bits of the first byte. */
  flags: number;
}

/** Reads the rest of a packet whose kind is known; a fault is left in the cursor. */
export function readBody(type: Exclude<PacketType, "connect">, cursor: Cursor, context: Context): Packet {
  switch (type) {
    case "publish":
      return readPublish(cursor, context);
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp":
      return readAnswer(type, cursor, context.version);
    case "subscribe":
      return readSubscribe(cursor, context.version);
    case "unsubscribe":
      return readUnsubscribe(cursor, context.version);
    case "connack":
      return readConnack(cursor, context.version);
    case "suback":
    case "unsuback":
      return readSuback(type, cursor, context.version);
    case "disconnect":
      return readDisconnect(cursor, context);
    case "auth":
      return readAuth(cursor, context);
    case "pingreq":
    case "pingresp":
      return { type };
  }
}

function withProperties<P extends Packet>(packet: P, properties: Properties | undefined): P {
  if (properties !== undefined) (packet as { properties?: Properties }).properties = properties;
  return packet;
}

function checkReason(cursor: Cursor, reasonCode: number, allowed: ReadonlySet<number>, clause: string): void {
  if (cursor.fault === undefined && !allowed.has(reasonCode)) {
    cursor.fail(ProtocolError, `reason code ${reasonCode} does not belong into this packet`, clause);
  }
}

function readPublish(cursor: Cursor, { version, role, flags }: Context): Publish {
  const qos = (flags >> 1) & 3;
  const dup = (flags & 8) !== 0;
  // [MQTT-3.3.1-4]
  if (qos === 3) cursor.fail(MalformedPacket, "QoS 3 does not exist", "MQTT-3.3.1-4");
  // [MQTT-3.3.1-2]
  if (qos === 0 && dup) cursor.fail(MalformedPacket, "DUP with QoS 0", "MQTT-3.3.1-2");
  const topic = cursor.topicName("topic name");
  // [MQTT-2.2.1-2]
  const packetId = qos === 0 ? 0 : cursor.packetId();
  const properties = version === 5 ? readProperties(cursor, Place.publish) : undefined;
  if (topic === "" && properties?.topicAlias === undefined) {
    const why = version === 5 ? " and there is no topic alias" : "";
    cursor.fail(ProtocolError, `topic name is empty${why}`, "MQTT-4.7.3-1");
  }
  // [MQTT-3.3.4-6]
  if (role === "server" && properties?.subscriptionIdentifiers !== undefined) {
    cursor.fail(ProtocolError, "a client may not send subscription identifiers", "MQTT-3.3.4-6");
  }
  const payload = cursor.rest();
  const retain = (flags & 1) !== 0;
  return withProperties(
    { type: "publish", topic, payload, qos: qos as Qos, retain, dup, packetId },
    properties,
  );
}

/**
 * ```
 * | packet id (2) | reason (5.0, may be left out when 0) | properties (5.0, may be left out when none)
 * ```
 */
function readAnswer(type: PublishAnswer["type"], cursor: Cursor, version: Version): PublishAnswer {
  const packetId = cursor.packetId();
  if (version !== 5 || cursor.done) return { type, packetId, reasonCode: 0 };
  const reasonCode = cursor.u8("reason code");
  checkReason(cursor, reasonCode, answerCodes(type), ANSWER_CLAUSE[type]);
  const properties = cursor.done ? undefined : readProperties(cursor, Place.answer);
  return withProperties({ type, packetId, reasonCode }, properties);
}

const ANSWER_CLAUSE = {
  puback: "MQTT-3.4.2-1",
  pubrec: "MQTT-3.5.2-1",
  pubrel: "MQTT-3.6.2-1",
  pubcomp: "MQTT-3.7.2-1",
};

function readSubscribe(cursor: Cursor, version: Version): Subscribe {
  const packetId = cursor.packetId();
  const properties = version === 5 ? readProperties(cursor, Place.subscribe) : undefined;
  const filters: SubscribeFilter[] = [];
  while (!cursor.done) {
    const filter = cursor.text("topic filter");
    filters.push(readOptions(cursor, filter, version));
  }
  // [MQTT-3.8.3-2]
  if (filters.length === 0) cursor.fail(ProtocolError, "SUBSCRIBE without a topic filter", "MQTT-3.8.3-2");
  return withProperties({ type: "subscribe", packetId, filters }, properties);
}

/**
 * ```
 * | 7 6 reserved | 5 4 retain handling | 3 retain as published | 2 no local | 1 0 QoS |   (before 5.0: QoS alone)
 * ```
 */
function readOptions(cursor: Cursor, filter: string, version: Version): SubscribeFilter {
  const options = cursor.u8("subscription options");
  const reserved = version === 5 ? 0xc0 : 0xfc;
  // [MQTT-3.8.3-5]
  if ((options & reserved) !== 0) {
    cursor.fail(MalformedPacket, "reserved bits of the subscription options are set", "MQTT-3.8.3-5");
  }
  const qos = options & 3;
  const retainHandling = (options >> 4) & 3;
  if (qos === 3) cursor.fail(ProtocolError, "QoS 3 does not exist");
  if (retainHandling === 3) cursor.fail(ProtocolError, "retain handling 3 does not exist");
  return {
    filter,
    qos: qos as Qos,
    noLocal: (options & 4) !== 0,
    retainAsPublished: (options & 8) !== 0,
    retainHandling: retainHandling as RetainHandling,
  };
}

function readUnsubscribe(cursor: Cursor, version: Version): Unsubscribe {
  const packetId = cursor.packetId();
  const properties = version === 5 ? readProperties(cursor, Place.unsubscribe) : undefined;
  const filters: string[] = [];
  while (!cursor.done) filters.push(cursor.text("topic filter"));
  // [MQTT-3.10.3-2]
  if (filters.length === 0) cursor.fail(ProtocolError, "UNSUBSCRIBE without a topic filter", "MQTT-3.10.3-2");
  return withProperties({ type: "unsubscribe", packetId, filters }, properties);
}

function readConnack(cursor: Cursor, version: Version): Connack {
  const flags = cursor.u8("acknowledge flags");
  // [MQTT-3.2.2-1]
  if (flags > 1) cursor.fail(MalformedPacket, "reserved acknowledge flags are set", "MQTT-3.2.2-1");
  const reasonCode = cursor.u8("reason code");
  const sessionPresent = flags === 1;
  // [MQTT-3.2.2-6]
  if (sessionPresent && reasonCode !== 0) {
    cursor.fail(ProtocolError, "a session is present in a refusal", "MQTT-3.2.2-6");
  }
  const properties = version === 5 ? readProperties(cursor, Place.connack) : undefined;
  return withProperties({ type: "connack", sessionPresent, reasonCode }, properties);
}

function readSuback(type: "suback" | "unsuback", cursor: Cursor, version: Version): Suback | Unsuback {
  const packetId = cursor.packetId();
  const properties = version === 5 ? readProperties(cursor, Place[type]) : undefined;
  const allowed = type === "suback" ? subackCodes(version) : unsubackCodes;
  const clause = type === "suback" ? "MQTT-3.9.3-2" : "MQTT-3.11.3-2";
  const reasonCodes = type === "unsuback" && version !== 5 ? [] : [...cursor.rest()];
  for (const code of reasonCodes) checkReason(cursor, code, allowed, clause);
  return withProperties({ type, packetId, reasonCodes }, properties);
}

function readDisconnect(cursor: Cursor, { version, role }: Context): Disconnect {
  if (version !== 5 || cursor.done) return { type: "disconnect", reasonCode: 0 };
  const reasonCode = cursor.u8("reason code");
  checkReason(cursor, reasonCode, disconnectCodes(role), "MQTT-3.14.2-1");
  const properties = cursor.done ? undefined : readProperties(cursor, Place.disconnect);
  // [MQTT-3.14.2-2]
  if (role === "client" && properties?.sessionExpiryInterval !== undefined) {
    cursor.fail(ProtocolError, "a server may not send a session expiry interval", "MQTT-3.14.2-2");
  }
  return withProperties({ type: "disconnect", reasonCode }, properties);
}

function readAuth(cursor: Cursor, { role }: Context): Auth {
  const short = cursor.done;
  const reasonCode = short ? 0 : cursor.u8("reason code");
  checkReason(cursor, reasonCode, authCodes(role), "MQTT-3.15.2-1");
  const properties = cursor.done ? undefined : readProperties(cursor, Place.auth);
  // 3.15.2.2.2; the short form of a success carries no properties at all.
  if (!short && properties?.authenticationMethod === undefined) {
    cursor.fail(ProtocolError, "AUTH without an authentication method");
  }
  return withProperties({ type: "auth", reasonCode }, properties);
}
