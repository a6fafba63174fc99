// Encodes packets: what a server sends, and what a client sends too.
import type { Writer } from "../../../bytes/writer.ts";
import { answer } from "./answers.ts";
import { fixedFlags, KIND, type PacketType } from "./kinds.ts";
import { beginBody, packetBytes } from "./packet-bytes.ts";
import type {
  Auth,
  Connack,
  Connect,
  Disconnect,
  Packet,
  PublishAnswer,
  Suback,
  Subscribe,
  Unsuback,
  Unsubscribe,
  Version,
} from "./packets.ts";
import { Place } from "./properties.ts";
import { putProperties } from "./property-writer.ts";
import { encodePublish } from "./publish-template.ts";
import { returnCode } from "./reason.ts";
import { putBinary, putText, putU16 } from "./wire.ts";

/**
 * A packet as bytes; their length is what the receiver's Maximum Packet Size is compared with.
 *
 * Before 5.0 properties are dropped, CONNACK codes of 0x80 and above become return codes, and those of SUBACK 0x80. A
 * CONNECT is written in its own version. Properties that a packet may not carry are left out. Throws a RangeError for what does not
 * fit into the format (a text over 65,535 bytes).
 *
 * @example socket.send(encode({ type: "connack", sessionPresent: false, reasonCode: 0 }, reader.version));
 */
export function encode(packet: Packet, version: Version): Uint8Array {
  switch (packet.type) {
    case "publish":
      return encodePublish(packet, version);
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp":
      return encodeAnswer(packet, version);
    case "connect":
      return encodeConnect(packet);
    case "connack":
      return encodeConnack(packet, version);
    case "subscribe":
      return encodeSubscribe(packet, version);
    case "unsubscribe":
      return encodeUnsubscribe(packet, version);
    case "suback":
      return encodeSuback(packet, version);
    case "unsuback":
      return encodeUnsuback(packet, version);
    case "disconnect":
    case "auth":
      return encodeReason(packet, version);
    case "pingreq":
    case "pingresp":
      return packetBytes(first(packet.type), beginBody());
  }
}

function first(type: PacketType): number {
  return (KIND[type] << 4) | fixedFlags(type);
}

function encodeConnect(packet: Connect): Uint8Array {
  const { version, clientId, cleanStart, keepAlive, username, password, will, properties } = packet;
  const w = beginBody();
  putText(w, version === 3 ? "MQIsdp" : "MQTT");
  w.u8(version);
  const willFlags = will === undefined ? 0 : 0x04 | (will.qos << 3) | (will.retain ? 0x20 : 0);
  const names = (username === undefined ? 0 : 0x80) | (password === undefined ? 0 : 0x40);
  w.u8(names | willFlags | (cleanStart ? 0x02 : 0));
  putU16(w, keepAlive);
  if (version === 5) putProperties(w, Place.connect, properties);
  // [MQTT-3.1.3-1]
  putText(w, clientId);
  if (will !== undefined) {
    if (version === 5) putProperties(w, Place.will, will.properties);
    putText(w, will.topic);
    putBinary(w, will.payload);
  }
  if (username !== undefined) putText(w, username);
  if (password !== undefined) putBinary(w, password);
  return packetBytes(first("connect"), w);
}

function encodeConnack({ sessionPresent, reasonCode, properties }: Connack, version: Version): Uint8Array {
  const w = beginBody();
  // The flag came with 3.1.1; in 3.1 the byte is unused.
  w.u8(sessionPresent && version > 3 ? 1 : 0);
  w.u8(version === 5 ? reasonCode : returnCode(reasonCode));
  if (version === 5) putProperties(w, Place.connack, properties);
  return packetBytes(first("connack"), w);
}

function encodeAnswer(
  { type, packetId, reasonCode, properties }: PublishAnswer,
  version: Version,
): Uint8Array {
  if (version !== 5 || (reasonCode === 0 && properties === undefined)) return answer(type, packetId);
  const w = beginBody();
  putU16(w, packetId);
  w.u8(reasonCode);
  if (properties !== undefined) putProperties(w, Place.answer, properties);
  return packetBytes(first(type), w);
}

function encodeSubscribe({ packetId, filters, properties }: Subscribe, version: Version): Uint8Array {
  const w = beginRequest(packetId);
  if (version === 5) putProperties(w, Place.subscribe, properties);
  for (const { filter, qos, noLocal, retainAsPublished, retainHandling } of filters) {
    putText(w, filter);
    const options = (retainHandling << 4) | (retainAsPublished ? 8 : 0) | (noLocal ? 4 : 0);
    w.u8(version === 5 ? options | qos : qos);
  }
  return packetBytes(first("subscribe"), w);
}

function encodeUnsubscribe({ packetId, filters, properties }: Unsubscribe, version: Version): Uint8Array {
  const w = beginRequest(packetId);
  if (version === 5) putProperties(w, Place.unsubscribe, properties);
  for (const filter of filters) putText(w, filter);
  return packetBytes(first("unsubscribe"), w);
}

function encodeSuback({ packetId, reasonCodes, properties }: Suback, version: Version): Uint8Array {
  const w = beginRequest(packetId);
  if (version === 5) putProperties(w, Place.suback, properties);
  // [MQTT 3.1.1: MQTT-3.9.3-2]
  for (const code of reasonCodes) w.u8(version === 5 ? code : Math.min(code, 0x80));
  return packetBytes(first("suback"), w);
}

function encodeUnsuback({ packetId, reasonCodes, properties }: Unsuback, version: Version): Uint8Array {
  const w = beginRequest(packetId);
  if (version === 5) {
    putProperties(w, Place.unsuback, properties);
    for (const code of reasonCodes) w.u8(code);
  }
  return packetBytes(first("unsuback"), w);
}

/** DISCONNECT and AUTH: the shortest form that says it. */
function encodeReason({ type, reasonCode, properties }: Disconnect | Auth, version: Version): Uint8Array {
  const w = beginBody();
  if (version === 5 && (reasonCode !== 0 || properties !== undefined)) {
    w.u8(reasonCode);
    putProperties(w, Place[type], properties);
  }
  return packetBytes(first(type), w);
}

function beginRequest(packetId: number): Writer {
  const w = beginBody();
  putU16(w, packetId);
  return w;
}
