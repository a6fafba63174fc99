// Which reason codes may stand in which packet, by the side that reads it.
import type { Role } from "./kinds.ts";
import type { PublishAnswer, Version } from "./packets.ts";

const RECEIVED = new Set([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]);
const RELEASED = new Set([0x00, 0x92]);

/** Codes of PUBACK and PUBREC [MQTT-3.4.2-1] [MQTT-3.5.2-1], of PUBREL and PUBCOMP [MQTT-3.6.2-1] [MQTT-3.7.2-1]. */
export function answerCodes(type: PublishAnswer["type"]): ReadonlySet<number> {
  return type === "puback" || type === "pubrec" ? RECEIVED : RELEASED;
}

const GRANTED = [0x00, 0x01, 0x02];
const SUBACK_3 = new Set([...GRANTED, 0x80]);
const SUBACK_5 = new Set([...GRANTED, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2]);

/** Codes of SUBACK [MQTT-3.9.3-2]. */
export function subackCodes(version: Version): ReadonlySet<number> {
  return version === 5 ? SUBACK_5 : SUBACK_3;
}

/** Codes of UNSUBACK [MQTT-3.11.3-2]. */
export const unsubackCodes: ReadonlySet<number> = new Set([0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91]);

const FROM_BOTH = [0x00, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
const FROM_CLIENT = new Set([...FROM_BOTH, 0x04]);
const FROM_SERVER = new Set([
  ...FROM_BOTH,
  ...[0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f],
  ...[0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2],
]);

/** Codes of a DISCONNECT that `role` reads [MQTT-3.14.2-1]. */
export function disconnectCodes(role: Role): ReadonlySet<number> {
  return role === "server" ? FROM_CLIENT : FROM_SERVER;
}

const AUTH_FROM_CLIENT = new Set([0x18, 0x19]);
const AUTH_FROM_SERVER = new Set([0x00, 0x18]);

/** Codes of an AUTH that `role` reads [MQTT-3.15.2-1]. */
export function authCodes(role: Role): ReadonlySet<number> {
  return role === "server" ? AUTH_FROM_CLIENT : AUTH_FROM_SERVER;
}
