// A PUBLISH encoded once for many sessions: they differ in the packet identifier and DUP alone, which are patched into copies.
import type { Writer } from "../../../bytes/writer.ts";
import { KIND } from "./kinds.ts";
import { beginBody, headBytes, packetBytes } from "./packet-bytes.ts";
import type { Publish, Version } from "./packets.ts";
import { Place } from "./properties.ts";
import { putProperties } from "./property-writer.ts";
import { putText, putU16 } from "./wire.ts";

const DUP = 8;

/** What a template is made of; the packet identifier comes later. */
export type PublishFields = Omit<Publish, "type" | "packetId">;

/** An encoded PUBLISH whose packet identifier is still 0. */
export interface PublishTemplate {
  /** The whole packet. Its length is what the client's Maximum Packet Size is compared with. */
  bytes: Uint8Array;
  /** Where the packet identifier stands; -1 with QoS 0. */
  packetIdAt: number;
}

/**
 * Encodes a PUBLISH without its packet identifier; before 5.0 the properties are dropped. Throws a RangeError for what
 * does not fit into the format.
 *
 * ```
 * | 3 dup qos retain | remaining length (1-4) | topic (2 + n) | packet id (2, QoS > 0) | properties (5.0) | payload |
 * ```
 *
 * @example
 * const template = publishTemplate({ topic: "a", payload, qos: 1, retain: false, dup: false }, 4);
 * socket.send(withPacketId(template, 7, false));
 */
export function publishTemplate(fields: PublishFields, version: Version): PublishTemplate {
  const { topic, payload, qos, retain, dup, properties } = fields;
  const body = beginBody();
  putText(body, topic);
  const idAt = body.length;
  // [MQTT-2.2.1-2]
  if (qos > 0) putU16(body, 0);
  if (version === 5) putProperties(body, Place.publish, properties);
  // [MQTT-3.3.1-2]
  const flags = (dup && qos > 0 ? DUP : 0) | (qos << 1) | Number(retain);
  const packetIdAt = qos === 0 ? -1 : headBytes(body.length + payload.length) + idAt;
  return { bytes: packetBytes((KIND.publish << 4) | flags, body, payload), packetIdAt };
}

/** A copy of the template with its packet identifier and DUP; with QoS 0 the template's own bytes, not a copy. */
export function withPacketId(template: PublishTemplate, packetId: number, dup: boolean): Uint8Array {
  if (template.packetIdAt < 0) return template.bytes;
  const bytes = template.bytes.slice();
  patch(bytes, 0, template.packetIdAt, packetId, dup);
  return bytes;
}

/** One PUBLISH at once. Throws like `publishTemplate`. */
export function encodePublish(packet: Publish, version: Version): Uint8Array {
  const { bytes, packetIdAt } = publishTemplate(packet, version);
  if (packetIdAt >= 0) patch(bytes, 0, packetIdAt, packet.packetId, packet.dup);
  return bytes;
}

/** Appends the same packet to a frame that takes several. */
export function appendPublish(w: Writer, template: PublishTemplate, packetId: number, dup: boolean): void {
  const at = w.length;
  w.raw(template.bytes);
  if (template.packetIdAt >= 0) patch(w.bytes, at, template.packetIdAt, packetId, dup);
}

function patch(bytes: Uint8Array, at: number, packetIdAt: number, packetId: number, dup: boolean): void {
  bytes[at + packetIdAt] = packetId >> 8;
  bytes[at + packetIdAt + 1] = packetId & 255;
  bytes[at] = dup ? bytes[at]! | DUP : bytes[at]! & ~DUP;
}
