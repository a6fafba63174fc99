// Reads the body of CONNECT.
import type { Cursor } from "./cursor.ts";
import type { Connect, Qos, Version, Will } from "./packets.ts";
import { Place } from "./properties.ts";
import { readProperties } from "./property-reader.ts";
import { ReasonCode } from "./reason.ts";

const { MalformedPacket, ProtocolError, UnsupportedProtocolVersion } = ReasonCode;

const RESERVED = 0x01;
const CLEAN_START = 0x02;
const WILL = 0x04;
const WILL_RETAIN = 0x20;
const PASSWORD = 0x40;
const USERNAME = 0x80;

/** The level that a CONNECT asks for and whether it is spoken here. */
interface Protocol {
  /** The spoken version nearest to the one asked for: what a refusal is written in. */
  version: Version;
  known: boolean;
}

/**
 * Reads the protocol name and level. With an unknown one the cursor holds the fault 0x84.
 *
 * ```
 * | 00 04 'M' 'Q' 'T' 'T' | level | flags | keep alive (2) | properties (5.0) | payload …
 * ```
 */
export function readProtocol(cursor: Cursor): Protocol {
  const name = cursor.text("protocol name");
  const level = cursor.u8("protocol level");
  if (cursor.fault !== undefined) return { version: 4, known: false };
  if (name === "MQTT" && (level === 4 || level === 5)) return { version: level, known: true };
  if (name === "MQIsdp" && level === 3) return { version: 3, known: true };
  // [MQTT-3.1.2-1] [MQTT-3.1.2-2]
  const clause = name === "MQTT" || name === "MQIsdp" ? "MQTT-3.1.2-2" : "MQTT-3.1.2-1";
  cursor.fail(
    UnsupportedProtocolVersion,
    `protocol ${JSON.stringify(name)} level ${level} is not spoken here`,
    clause,
  );
  return { version: name === "MQTT" && level > 5 && level < 0x80 ? 5 : 4, known: false };
}

/** Reads what follows the level; a fault is left in the cursor. */
export function readConnect(cursor: Cursor, version: Version): Connect {
  const flags = cursor.u8("connect flags");
  checkFlags(cursor, flags, version);
  const keepAlive = cursor.u16("keep alive");
  const properties = version === 5 ? readProperties(cursor, Place.connect) : undefined;
  if (properties?.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    cursor.fail(ProtocolError, "authentication data without an authentication method");
  }
  // [MQTT-3.1.3-1] the order of what follows.
  const connect: Connect = {
    type: "connect",
    version,
    clientId: cursor.text("client identifier"),
    cleanStart: (flags & CLEAN_START) !== 0,
    keepAlive,
  };
  if (properties !== undefined) connect.properties = properties;
  if ((flags & WILL) !== 0) connect.will = readWill(cursor, flags, version);
  // MQTT 3.1 lets the packet end before what the flags announce.
  const follows = () => version !== 3 || !cursor.done;
  if ((flags & USERNAME) !== 0 && follows()) connect.username = cursor.text("user name");
  if ((flags & PASSWORD) !== 0 && follows()) connect.password = cursor.binary("password");
  return connect;
}

function checkFlags(cursor: Cursor, flags: number, version: Version): void {
  const willQos = (flags >> 3) & 3;
  const bad = (message: string, clause: string) => cursor.fail(MalformedPacket, message, clause);
  // MQTT 3.1 leaves the bit unused instead of reserving it.
  if ((flags & RESERVED) !== 0 && version !== 3) bad("the reserved connect flag is set", "MQTT-3.1.2-3");
  if (willQos === 3) bad("will QoS 3 does not exist", "MQTT-3.1.2-12");
  if ((flags & WILL) === 0) {
    if (willQos !== 0) bad("will QoS without a will", "MQTT-3.1.2-11");
    if ((flags & WILL_RETAIN) !== 0) bad("will retain without a will", "MQTT-3.1.2-13");
  }
  // Before 5.0 only [MQTT 3.1.1: MQTT-3.1.2-22].
  if (version < 5 && (flags & PASSWORD) !== 0 && (flags & USERNAME) === 0) {
    bad("a password without a user name", "MQTT-3.1.2-22");
  }
}

function readWill(cursor: Cursor, flags: number, version: Version): Will {
  const properties = version === 5 ? readProperties(cursor, Place.will) : undefined;
  const topic = cursor.topicName("will topic");
  if (topic === "") cursor.fail(ProtocolError, "will topic is empty", "MQTT-4.7.3-1");
  const will: Will = {
    topic,
    payload: cursor.binary("will payload"),
    qos: ((flags >> 3) & 3) as Qos,
    retain: (flags & WILL_RETAIN) !== 0,
  };
  if (properties !== undefined) will.properties = properties;
  return will;
}
