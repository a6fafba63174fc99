// The first byte of a packet: its kind in the high four bits, flags in the low four.
import type { Packet } from "./packets.ts";

/** Who reads: some packets may reach only one side. */
export type Role = "server" | "client";

export type PacketType = Packet["type"];

/** The kind's number in the first byte (its high four bits). */
export const KIND: Readonly<Record<PacketType, number>> = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
};

/** The flags that every kind but PUBLISH must carry: 0010 for three of them, 0000 for the rest [MQTT-2.1.3-1]. */
export function fixedFlags(type: PacketType): number {
  return type === "pubrel" || type === "subscribe" || type === "unsubscribe" ? 2 : 0;
}

const TYPES: (PacketType | undefined)[] = [];
for (const [type, kind] of Object.entries(KIND)) TYPES[kind] = type as PacketType;

/** The kind behind a number of 0 to 15; undefined for 0, which is reserved. */
export function packetType(kind: number): PacketType | undefined {
  return TYPES[kind];
}

const ONLY_TO: Partial<Record<PacketType, Role>> = {
  connect: "server",
  subscribe: "server",
  unsubscribe: "server",
  pingreq: "server",
  connack: "client",
  suback: "client",
  unsuback: "client",
  pingresp: "client",
};

/** Whether a packet of this kind may be sent to that side. */
export function mayReach(type: PacketType, role: Role): boolean {
  const only = ONLY_TO[type];
  return only === undefined || only === role;
}
