// Bytes that are no packet a server may take: each with its reason code and the clause it breaks.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Malformed, Version } from "../../../../worker/protocol/mqtt/codec/packets.ts";
import { encode } from "../../../../worker/protocol/mqtt/codec/writer.ts";
import { concat, packet, readAll, reader, VERSIONS } from "./packets.ts";

/** Bytes from numbers, texts (as UTF-8 without length) and nested parts. */
type Part = number | string | Part[];

function bytes(...parts: Part[]): number[] {
  return parts.flatMap((part) => {
    if (typeof part === "number") return [part];
    return typeof part === "string" ? [...new TextEncoder().encode(part)] : bytes(...part);
  });
}

/** A text with its length. */
function t(value: string): number[] {
  const content = bytes(value);
  return [content.length >> 8, content.length & 255, ...content];
}

/** A block of properties with its length. */
function props(...parts: Part[]): number[] {
  const content = bytes(...parts);
  return [content.length, ...content];
}

/** A packet of less than 128 bytes. */
function p(first: number, ...parts: Part[]): number[] {
  const body = bytes(...parts);
  expect(body.length).toBeLessThan(128);
  return [first, body.length, ...body];
}

const NAME: Record<Version, Part[]> = { 3: [t("MQIsdp"), 3], 4: [t("MQTT"), 4], 5: [t("MQTT"), 5] };
const KEEP_ALIVE = [0, 60];

/** A CONNECT; `more` follows the keep alive. */
function c(version: Version, flags: number, ...more: Part[]): number[] {
  return p(0x10, NAME[version], flags, KEEP_ALIVE, more);
}

interface Case {
  /** The rule that the title cites. */
  rule: string;
  what: string;
  /** The version of the connection; absent for its first packet. */
  version?: Version;
  bytes: number[];
  reason: number;
  clause?: string;
}

const ID = [0, 1];
const AUTH_METHOD = [0x15, t("m")];

const CASES: Case[] = [
  // The fixed header.
  { rule: "[MQP5]", what: "packet type 0", version: 5, bytes: [0x00, 0], reason: 0x81 },
  ...[0x41, 0x52, 0x60, 0x66, 0x78, 0x80, 0x83, 0xa0, 0xc1, 0xe8, 0xf4].map((first) => ({
    rule: "[MQP5]",
    what: `first byte ${first.toString(16)}`,
    version: 5 as const,
    bytes: [first],
    reason: 0x81,
    clause: "MQTT-2.1.3-1",
  })),
  { rule: "[MQP5]", what: "CONNECT with flags", bytes: [0x11], reason: 0x81, clause: "MQTT-2.1.3-1" },
  { rule: "[MQP5]", what: "AUTH in 3.1.1", version: 4, bytes: [0xf0], reason: 0x81 },
  { rule: "[MQP5]", what: "AUTH in 3.1", version: 3, bytes: [0xf0], reason: 0x81 },
  // Variable byte integers.
  {
    rule: "[MQP6]",
    what: "remaining length of 5 bytes",
    version: 4,
    bytes: [0x30, 0x80, 0x80, 0x80, 0x80],
    reason: 0x81,
    clause: "MQTT-1.5.5-1",
  },
  {
    rule: "[MQP6]",
    what: "remaining length not minimal",
    version: 5,
    bytes: [0xc0, 0x80, 0x00],
    reason: 0x81,
    clause: "MQTT-1.5.5-1",
  },
  {
    rule: "[MQP6]",
    what: "remaining length of a 5.0 CONNECT not minimal",
    bytes: [0x10, 0x8e, 0x00, ...bytes(NAME[5], 2, KEEP_ALIVE, 0, t("c"))],
    reason: 0x81,
    clause: "MQTT-1.5.5-1",
  },
  {
    rule: "[MQP6]",
    what: "property length not minimal",
    version: 5,
    bytes: p(0x30, t("a"), 0x80, 0x00),
    reason: 0x81,
    clause: "MQTT-1.5.5-1",
  },
  {
    rule: "[MQP6]",
    what: "property length of 5 bytes",
    version: 5,
    bytes: p(0x30, t("a"), 0xff, 0xff, 0xff, 0xff, 1),
    reason: 0x81,
    clause: "MQTT-1.5.5-1",
  },
  {
    rule: "[MQP6]",
    what: "subscription identifier not minimal",
    version: 5,
    bytes: p(0x82, ID, props(0x0b, 0x81, 0x00), t("a"), 0),
    reason: 0x81,
    clause: "MQTT-1.5.5-1",
  },
  // Text.
  ...(
    [
      ["a surrogate", [0xed, 0xa0, 0x80]],
      ["a stray continuation byte", [0x61, 0x80]],
      ["an overlong form", [0xc0, 0xaf]],
      ["a cut character", [0xe2, 0x82]],
      ["beyond U+10FFFF", [0xf4, 0x90, 0x80, 0x80]],
    ] as const
  ).flatMap(([what, content]) => {
    const bad = [0, content.length, ...content];
    const shared = { rule: "[MQP7]", reason: 0x81, clause: "MQTT-1.5.4-1" };
    return [
      { ...shared, what: `${what} in a topic name`, version: 4 as const, bytes: p(0x30, bad) },
      { ...shared, what: `${what} in a filter`, version: 5 as const, bytes: p(0x82, ID, 0, bad, 0) },
      { ...shared, what: `${what} in a client id`, bytes: c(4, 2, bad) },
      {
        ...shared,
        what: `${what} in a property`,
        version: 5 as const,
        bytes: p(0x30, t("a"), props(0x03, bad)),
      },
    ];
  }),
  ...(
    [
      ["topic name", 4, p(0x30, t("a\0b"))],
      ["filter", 3, p(0xa2, ID, t("\0"))],
      ["user property", 5, p(0x30, t("a"), props(0x26, t("a"), t("\0")))],
      ["user name", undefined, c(4, 0x82, t("c"), t("u\0"))],
    ] as const
  ).map(([what, version, content]) => ({
    rule: "[MQP7]",
    what: `U+0000 in a ${what}`,
    ...(version === undefined ? {} : { version }),
    bytes: content,
    reason: 0x81,
    clause: "MQTT-1.5.4-2",
  })),
  // Order and direction.
  ...[0x30, 0x82, 0xc0, 0xe0, 0xf0].map((first) => ({
    rule: "[MQP8]",
    what: `first byte ${first.toString(16)} before CONNECT`,
    bytes: [first],
    reason: 0x82,
    clause: "MQTT-3.1.0-1",
  })),
  {
    rule: "[MQP8]",
    what: "a second CONNECT",
    version: 5,
    bytes: [0x10],
    reason: 0x82,
    clause: "MQTT-3.1.0-2",
  },
  ...[0x20, 0x90, 0xb0, 0xd0].map((first) => ({
    rule: "[MQP8]",
    what: `first byte ${first.toString(16)}, which only a server sends`,
    version: 5 as const,
    bytes: [first],
    reason: 0x82,
  })),
  // CONNECT.
  ...(
    [
      ["MQTTX", 4, "MQTT-3.1.2-1"],
      ["", 4, "MQTT-3.1.2-1"],
      ["mqtt", 4, "MQTT-3.1.2-1"],
      ["MQTT", 3, "MQTT-3.1.2-2"],
      ["MQTT", 6, "MQTT-3.1.2-2"],
      ["MQTT", 0, "MQTT-3.1.2-2"],
      ["MQTT", 0x84, "MQTT-3.1.2-2"],
      ["MQIsdp", 4, "MQTT-3.1.2-2"],
    ] as const
  ).map(([name, level, clause]) => ({
    rule: "[MQP9]",
    what: `protocol "${name}" level ${level}`,
    bytes: p(0x10, t(name), level, 2, KEEP_ALIVE, t("c")),
    reason: 0x84,
    clause,
  })),
  ...(
    [
      ["the reserved flag", 0x03, "MQTT-3.1.2-3"],
      ["will QoS without a will", 0x0a, "MQTT-3.1.2-11"],
      ["will QoS 3", 0x1e, "MQTT-3.1.2-12"],
      ["will retain without a will", 0x22, "MQTT-3.1.2-13"],
      ["a password without a user name", 0x42, "MQTT-3.1.2-22"],
    ] as const
  ).map(([what, flags, clause]) => ({
    rule: "[MQP10]",
    what: `${what} in 3.1.1`,
    bytes: c(4, flags, t("c"), t("w"), t("w")),
    reason: 0x81,
    clause,
  })),
  {
    rule: "[MQP10]",
    what: "will QoS 3 in 5.0",
    bytes: c(5, 0x1e, 0, t("c"), 0, t("w"), t("")),
    reason: 0x81,
    clause: "MQTT-3.1.2-12",
  },
  {
    rule: "[MQP10]",
    what: "authentication data without a method",
    bytes: c(5, 2, props(0x16, t("x")), t("c")),
    reason: 0x82,
  },
  // PUBLISH.
  {
    rule: "[MQP11]",
    what: "QoS 3",
    version: 4,
    bytes: p(0x36, t("a"), ID),
    reason: 0x81,
    clause: "MQTT-3.3.1-4",
  },
  {
    rule: "[MQP11]",
    what: "DUP with QoS 0",
    version: 5,
    bytes: p(0x38, t("a"), 0),
    reason: 0x81,
    clause: "MQTT-3.3.1-2",
  },
  ...(
    [
      [0x32, [t("a"), 0, 0, 0]],
      [0x34, [t("a"), 0, 0, 0]],
      [0x40, [0, 0]],
      [0x50, [0, 0]],
      [0x62, [0, 0]],
      [0x70, [0, 0]],
      [0x82, [0, 0, 0, t("a"), 0]],
      [0xa2, [0, 0, 0, t("a")]],
    ] as [number, Part[]][]
  ).map(([first, body]) => ({
    rule: "[MQP11]",
    what: `packet identifier 0 after ${first.toString(16)}`,
    version: 5 as const,
    bytes: p(first, ...body),
    reason: 0x82,
    clause: "MQTT-2.2.1-3",
  })),
  ...["+", "a/+", "#", "a#b"].map((name) => ({
    rule: "[MQP12]",
    what: `topic name ${name}`,
    version: 4 as const,
    bytes: p(0x30, t(name)),
    reason: 0x90,
    clause: "MQTT-3.3.2-2",
  })),
  {
    rule: "[MQP12]",
    what: "empty topic name in 3.1.1",
    version: 4,
    bytes: p(0x30, t("")),
    reason: 0x82,
    clause: "MQTT-4.7.3-1",
  },
  {
    rule: "[MQP12]",
    what: "empty topic name without alias",
    version: 5,
    bytes: p(0x30, t(""), 0),
    reason: 0x82,
    clause: "MQTT-4.7.3-1",
  },
  {
    rule: "[MQP12]",
    what: "will topic with a wildcard",
    bytes: c(4, 6, t("c"), t("w/#"), t("")),
    reason: 0x90,
    clause: "MQTT-3.3.2-2",
  },
  {
    rule: "[MQP12]",
    what: "empty will topic",
    bytes: c(4, 6, t("c"), t(""), t("")),
    reason: 0x82,
    clause: "MQTT-4.7.3-1",
  },
  {
    rule: "[MQP12]",
    what: "response topic with a wildcard",
    version: 5,
    bytes: p(0x30, t("a"), props(0x08, t("r/+"))),
    reason: 0x82,
    clause: "MQTT-3.3.2-14",
  },
  {
    rule: "[MQP12]",
    what: "empty response topic",
    version: 5,
    bytes: p(0x30, t("a"), props(0x08, t(""))),
    reason: 0x82,
    clause: "MQTT-4.7.3-1",
  },
  // Properties.
  {
    rule: "[MQP13]",
    what: "an unknown property",
    version: 5,
    bytes: p(0x30, t("a"), props(0x7f, 0)),
    reason: 0x81,
  },
  {
    rule: "[MQP13]",
    what: "a property number of two bytes",
    version: 5,
    bytes: p(0x30, t("a"), props(0x81, 0x01, 0)),
    reason: 0x81,
  },
  {
    rule: "[MQP13]",
    what: "receive maximum in PUBLISH",
    version: 5,
    bytes: p(0x30, t("a"), props(0x21, 0, 1)),
    reason: 0x81,
  },
  {
    rule: "[MQP13]",
    what: "topic alias in CONNECT",
    bytes: c(5, 2, props(0x23, 0, 1), t("c")),
    reason: 0x81,
  },
  {
    rule: "[MQP13]",
    what: "topic alias in a will",
    bytes: c(5, 6, 0, t("c"), props(0x23, 0, 1), t("w"), t("")),
    reason: 0x81,
  },
  {
    rule: "[MQP13]",
    what: "server keep alive in CONNECT",
    bytes: c(5, 2, props(0x13, 0, 1), t("c")),
    reason: 0x81,
  },
  {
    rule: "[MQP13]",
    what: "reason string in SUBSCRIBE",
    version: 5,
    bytes: p(0x82, ID, props(0x1f, t("r")), t("a"), 0),
    reason: 0x81,
  },
  {
    rule: "[MQP13]",
    what: "content type in UNSUBSCRIBE",
    version: 5,
    bytes: p(0xa2, ID, props(0x03, t("r")), t("a")),
    reason: 0x81,
  },
  {
    rule: "[MQP13]",
    what: "content type in PUBACK",
    version: 5,
    bytes: p(0x40, ID, 0, props(0x03, t("r"))),
    reason: 0x81,
  },
  {
    rule: "[MQP13]",
    what: "receive maximum in DISCONNECT",
    version: 5,
    bytes: p(0xe0, 0, props(0x21, 0, 1)),
    reason: 0x81,
  },
  {
    rule: "[MQP13]",
    what: "content type in AUTH",
    version: 5,
    bytes: p(0xf0, 0x18, props(0x03, t("r"))),
    reason: 0x81,
  },
  ...(
    [
      ["session expiry", c(5, 2, props(0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1), t("c"))],
      ["receive maximum", c(5, 2, props(0x21, 0, 1, 0x21, 0, 2), t("c"))],
      ["authentication method", c(5, 2, props(AUTH_METHOD, AUTH_METHOD), t("c"))],
      ["will delay", c(5, 6, 0, t("c"), props(0x18, 0, 0, 0, 0, 0x18, 0, 0, 0, 0), t("w"), t(""))],
    ] as const
  ).map(([what, content]) => ({ rule: "[MQP13]", what: `${what} twice`, bytes: content, reason: 0x82 })),
  ...(
    [
      ["payload format", p(0x30, t("a"), props(1, 0, 1, 0))],
      ["content type, empty,", p(0x30, t("a"), props(3, t(""), 3, t("")))],
      ["correlation data", p(0x30, t("a"), props(9, t(""), 9, t("x")))],
      ["topic alias", p(0x30, t("a"), props(0x23, 0, 1, 0x23, 0, 1))],
      ["subscription identifier", p(0x82, ID, props(0x0b, 1, 0x0b, 2), t("a"), 0)],
      ["reason string", p(0x40, ID, 0, props(0x1f, t("a"), 0x1f, t("a")))],
    ] as const
  ).map(([what, content]) => ({
    rule: "[MQP13]",
    what: `${what} twice`,
    version: 5 as const,
    bytes: content,
    reason: 0x82,
  })),
  { rule: "[MQP14]", what: "receive maximum 0", bytes: c(5, 2, props(0x21, 0, 0), t("c")), reason: 0x82 },
  {
    rule: "[MQP14]",
    what: "maximum packet size 0",
    bytes: c(5, 2, props(0x27, 0, 0, 0, 0), t("c")),
    reason: 0x82,
  },
  {
    rule: "[MQP14]",
    what: "request problem information 2",
    bytes: c(5, 2, props(0x17, 2), t("c")),
    reason: 0x82,
  },
  {
    rule: "[MQP14]",
    what: "request response information 255",
    bytes: c(5, 2, props(0x19, 255), t("c")),
    reason: 0x82,
  },
  {
    rule: "[MQP14]",
    what: "payload format indicator 2",
    version: 5,
    bytes: p(0x30, t("a"), props(1, 2)),
    reason: 0x82,
  },
  {
    rule: "[MQP14]",
    what: "topic alias 0",
    version: 5,
    bytes: p(0x30, t("a"), props(0x23, 0, 0)),
    reason: 0x94,
    clause: "MQTT-3.3.2-8",
  },
  {
    rule: "[MQP14]",
    what: "subscription identifier 0",
    version: 5,
    bytes: p(0x82, ID, props(0x0b, 0), t("a"), 0),
    reason: 0x82,
  },
  {
    rule: "[MQP14]",
    what: "subscription identifier from a client",
    version: 5,
    bytes: p(0x30, t("a"), props(0x0b, 1)),
    reason: 0x82,
    clause: "MQTT-3.3.4-6",
  },
  { rule: "[MQP14]", what: "AUTH without a method", version: 5, bytes: p(0xf0, 0x18, 0), reason: 0x82 },
  // SUBSCRIBE and UNSUBSCRIBE.
  {
    rule: "[MQP15]",
    what: "SUBSCRIBE without a filter",
    version: 5,
    bytes: p(0x82, ID, 0),
    reason: 0x82,
    clause: "MQTT-3.8.3-2",
  },
  {
    rule: "[MQP15]",
    what: "SUBSCRIBE without a filter in 3.1.1",
    version: 4,
    bytes: p(0x82, ID),
    reason: 0x82,
    clause: "MQTT-3.8.3-2",
  },
  {
    rule: "[MQP15]",
    what: "UNSUBSCRIBE without a filter",
    version: 5,
    bytes: p(0xa2, ID, 0),
    reason: 0x82,
    clause: "MQTT-3.10.3-2",
  },
  {
    rule: "[MQP15]",
    what: "UNSUBSCRIBE without a filter in 3.1.1",
    version: 4,
    bytes: p(0xa2, ID),
    reason: 0x82,
    clause: "MQTT-3.10.3-2",
  },
  ...[0x40, 0x80].map((options) => ({
    rule: "[MQP15]",
    what: `subscription options ${options.toString(16)}`,
    version: 5 as const,
    bytes: p(0x82, ID, 0, t("a"), options),
    reason: 0x81,
    clause: "MQTT-3.8.3-5",
  })),
  ...[0x04, 0x08, 0x10, 0x81].map((options) => ({
    rule: "[MQP15]",
    what: `subscription options ${options.toString(16)} in 3.1.1`,
    version: 4 as const,
    bytes: p(0x82, ID, t("a"), options),
    reason: 0x81,
    clause: "MQTT-3.8.3-5",
  })),
  {
    rule: "[MQP15]",
    what: "retain handling 3",
    version: 5,
    bytes: p(0x82, ID, 0, t("a"), 0x30),
    reason: 0x82,
  },
  { rule: "[MQP15]", what: "subscription QoS 3", version: 5, bytes: p(0x82, ID, 0, t("a"), 3), reason: 0x82 },
  {
    rule: "[MQP15]",
    what: "subscription QoS 3 in 3.1.1",
    version: 4,
    bytes: p(0x82, ID, t("a"), 3),
    reason: 0x82,
  },
  // Ends.
  { rule: "[MQP16]", what: "an empty CONNECT", bytes: p(0x10), reason: 0x81 },
  { rule: "[MQP16]", what: "CONNECT without its client id", bytes: c(4, 2), reason: 0x81 },
  {
    rule: "[MQP16]",
    what: "CONNECT without the announced password",
    bytes: c(4, 0xc2, t("c"), t("u")),
    reason: 0x81,
  },
  { rule: "[MQP16]", what: "CONNECT without the announced will", bytes: c(5, 6, 0, t("c")), reason: 0x81 },
  { rule: "[MQP16]", what: "CONNECT with bytes behind", bytes: c(4, 2, t("c"), 0), reason: 0x81 },
  { rule: "[MQP16]", what: "a user name without its flag", bytes: c(4, 2, t("c"), t("u")), reason: 0x81 },
  { rule: "[MQP16]", what: "an empty PUBLISH", version: 4, bytes: p(0x30), reason: 0x81 },
  { rule: "[MQP16]", what: "a topic name cut short", version: 4, bytes: p(0x30, 0, 5, "abc"), reason: 0x81 },
  {
    rule: "[MQP16]",
    what: "PUBLISH without its packet identifier",
    version: 4,
    bytes: p(0x32, t("a"), 1),
    reason: 0x81,
  },
  {
    rule: "[MQP16]",
    what: "PUBLISH without its properties",
    version: 5,
    bytes: p(0x30, t("a")),
    reason: 0x81,
  },
  {
    rule: "[MQP16]",
    what: "properties longer than the packet",
    version: 5,
    bytes: p(0x30, t("a"), 5, 1, 0),
    reason: 0x81,
  },
  {
    rule: "[MQP16]",
    what: "a property longer than the properties",
    version: 5,
    bytes: p(0x30, t("a"), 3, 3, 0, 5, "hello"),
    reason: 0x81,
  },
  { rule: "[MQP16]", what: "PUBACK of one byte", version: 4, bytes: p(0x40, 0), reason: 0x81 },
  { rule: "[MQP16]", what: "PUBACK with a reason in 3.1.1", version: 4, bytes: p(0x40, ID, 0), reason: 0x81 },
  {
    rule: "[MQP16]",
    what: "PUBACK with bytes behind",
    version: 5,
    bytes: p(0x40, ID, 0, 0, 0),
    reason: 0x81,
  },
  {
    rule: "[MQP16]",
    what: "SUBSCRIBE without the last options",
    version: 4,
    bytes: p(0x82, ID, t("a")),
    reason: 0x81,
  },
  {
    rule: "[MQP16]",
    what: "properties in a 3.1.1 UNSUBSCRIBE",
    version: 4,
    bytes: p(0xa2, ID, 0, t("a")),
    reason: 0x81,
  },
  { rule: "[MQP16]", what: "PINGREQ with a body", version: 5, bytes: p(0xc0, 0), reason: 0x81 },
  { rule: "[MQP16]", what: "DISCONNECT with a reason in 3.1.1", version: 4, bytes: p(0xe0, 0), reason: 0x81 },
  {
    rule: "[MQP16]",
    what: "DISCONNECT with bytes behind",
    version: 5,
    bytes: p(0xe0, 0, 0, 0),
    reason: 0x81,
  },
  // Reason codes.
  {
    rule: "[MQP17]",
    what: "reason of PUBACK",
    version: 5,
    bytes: p(0x40, ID, 0x92),
    reason: 0x82,
    clause: "MQTT-3.4.2-1",
  },
  {
    rule: "[MQP17]",
    what: "reason of PUBREC",
    version: 5,
    bytes: p(0x50, ID, 0x01),
    reason: 0x82,
    clause: "MQTT-3.5.2-1",
  },
  {
    rule: "[MQP17]",
    what: "reason of PUBREL",
    version: 5,
    bytes: p(0x62, ID, 0x80),
    reason: 0x82,
    clause: "MQTT-3.6.2-1",
  },
  {
    rule: "[MQP17]",
    what: "reason of PUBCOMP",
    version: 5,
    bytes: p(0x70, ID, 0x10),
    reason: 0x82,
    clause: "MQTT-3.7.2-1",
  },
  {
    rule: "[MQP17]",
    what: "reason of DISCONNECT",
    version: 5,
    bytes: p(0xe0, 0x8b),
    reason: 0x82,
    clause: "MQTT-3.14.2-1",
  },
  {
    rule: "[MQP17]",
    what: "reason of AUTH",
    version: 5,
    bytes: p(0xf0, 0x00, props(AUTH_METHOD)),
    reason: 0x82,
    clause: "MQTT-3.15.2-1",
  },
];

describe("what a server refuses", () => {
  it.each(CASES)("$rule $what", ({ version, bytes: sent, reason, clause }) => {
    const found = readAll(reader("server", version), Uint8Array.from(sent)).at(-1);
    expect(found).toMatchObject({ type: "malformed", reason });
    expect((found as Malformed).clause).toBe(clause);
    expect((found as Malformed).message).not.toBe("");
  });

  it("[MQP18] the same wherever the bytes are cut, once, and nothing after it", () => {
    for (const { version, bytes: sent } of CASES) {
      const all = Uint8Array.from(sent);
      const whole = readAll(reader("server", version), all);
      const mine = reader("server", version);
      const single = readAll(mine, ...sent.map((byte) => Uint8Array.of(byte)));
      expect(single).toEqual(whole);
      expect(mine.dead).toBe(true);
      expect(readAll(mine, Uint8Array.of(0xc0, 0), all)).toEqual([]);
      expect(mine.rest.length).toBe(0);
    }
  });

  it("[MQP18] random bytes are refused or read, and never break the reader", () => {
    const near = fc
      .constantFrom(...VERSIONS)
      .chain((version) => packet(version, "server").map((one) => ({ version, bytes: encode(one, version) })));
    fc.assert(
      fc.property(near, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }), (sent, changes) => {
        const all = sent.bytes.slice();
        for (const [at, byte] of changes) all[at % all.length] = byte;
        const found = readAll(reader("server", sent.version), concat(all, all));
        const refused = found.findIndex(({ type }) => type === "malformed");
        expect(refused === -1 || refused === found.length - 1).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it("[MQP9] a refused protocol is refused in the nearest version", () => {
    const asked = (name: string, level: number) => {
      const mine = reader("server");
      readAll(mine, Uint8Array.from(p(0x10, t(name), level, 2, KEEP_ALIVE)));
      return mine.version;
    };
    expect([asked("MQTT", 6), asked("MQTT", 3), asked("MQTT", 0x84), asked("AMQP", 5)]).toEqual([5, 4, 4, 4]);
  });

  it("[MQP10] a 5.0 CONNECT that is malformed has set the version already", () => {
    const mine = reader("server");
    expect(readAll(mine, Uint8Array.from(c(5, 0x03, 0, t("c"))))[0]).toMatchObject({ reason: 0x81 });
    expect(mine.version).toBe(5);
  });
});

describe("what a server takes", () => {
  const takes = (version: Version | undefined, ...sent: number[]) =>
    readAll(reader("server", version), Uint8Array.from(sent));

  it("[MQP5] MQTT 3.1 marks repeated requests in the flags and leaves others unused", () => {
    expect(takes(3, ...p(0x8a, ID, t("a"), 1), 0xc1, 0)).toMatchObject([
      { type: "subscribe" },
      { type: "pingreq" },
    ]);
    expect(takes(undefined, ...c(3, 0x03, t("c")))).toMatchObject([{ clientId: "c" }]);
  });

  it("[MQP6] a remaining length in a longer form before 5.0", () => {
    expect(takes(4, 0xc0, 0x80, 0x80, 0x00)).toEqual([{ type: "pingreq" }]);
  });

  it("[MQP7] a byte order mark and non-characters as part of the text", () => {
    const topics = ["\ufeffa", "\ufeffa", "\uffff", "a\u0001", "Ã", "\u00c3x"];
    for (const topic of topics) expect(takes(4, ...p(0x30, t(topic)))).toMatchObject([{ topic }]);
  });

  it("[MQP7] a topic name that looks like the one before", () => {
    const names = ["abc", "abd", "abc", "abc", "ab", "Ã\u0083", "abc"];
    const sent = names.flatMap((name) => p(0x30, t(name), "abc"));
    expect(takes(4, ...sent).map((one) => "topic" in one && one.topic)).toEqual(names);
    expect(takes(4, ...p(0x30, t("Ã")), 0x30, 3, 0, 1, 0xc3)[1]).toMatchObject({ reason: 0x81 });
  });

  it("[MQP10] a 3.1 CONNECT that ends before the user name its flags announce", () => {
    const [first] = takes(undefined, ...c(3, 0xc2, t("c")));
    expect(first).toMatchObject({ type: "connect", version: 3, clientId: "c" });
    expect(first).not.toHaveProperty("username");
  });

  it("[MQP10] a password alone in 5.0", () => {
    expect(takes(undefined, ...c(5, 0x42, 0, t("c"), t("p")))).toMatchObject([
      { password: Uint8Array.of(112) },
    ]);
  });

  it("[MQP12] an empty topic name with an alias", () => {
    expect(takes(5, ...p(0x30, t(""), props(0x23, 0, 9)))).toMatchObject([
      { topic: "", properties: { topicAlias: 9 } },
    ]);
  });

  it("[MQP13] user properties again and again, in order", () => {
    const sent = p(0x30, t("a"), props(0x26, t("b"), t("1"), 0x26, t("a"), t("2"), 0x26, t("b"), t("3")));
    const userProperties = [
      ["b", "1"],
      ["a", "2"],
      ["b", "3"],
    ];
    expect(takes(5, ...sent)).toMatchObject([{ properties: { userProperties } }]);
  });

  it("[MQP16] the short forms of answers, DISCONNECT and AUTH", () => {
    expect(takes(5, ...p(0x40, ID), ...p(0x50, ID, 0x80), ...p(0xe0, 4))).toEqual([
      { type: "puback", packetId: 1, reasonCode: 0 },
      { type: "pubrec", packetId: 1, reasonCode: 0x80 },
      { type: "disconnect", reasonCode: 4 },
    ]);
    expect(readAll(reader("client", 5), Uint8Array.of(0xf0, 0))).toEqual([{ type: "auth", reasonCode: 0 }]);
  });
});

describe("what a client refuses", () => {
  it.each([
    ["CONNECT", [0x10], 0x82],
    ["SUBSCRIBE", [0x82], 0x82],
    ["a session in a refusal", p(0x20, 1, 0x87, 0), 0x82],
    ["reserved acknowledge flags", p(0x20, 2, 0, 0), 0x81],
    ["a session expiry in DISCONNECT", p(0xe0, 0, props(0x11, 0, 0, 0, 1)), 0x82],
    ["a reason that SUBACK does not have", p(0x90, ID, 0, 3), 0x82],
  ])("[MQP8] %s", (_, sent, reason) => {
    expect(readAll(reader("client", 5), Uint8Array.from(sent))).toMatchObject([
      { type: "malformed", reason },
    ]);
  });
});
