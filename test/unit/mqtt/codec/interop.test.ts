// The codec against mqtt-packet, the codec of most JavaScript clients: each reads what the other writes.
import fc from "fast-check";
import mqttPacket from "mqtt-packet";
import { describe, expect, it } from "vitest";
import type { Role } from "../../../../worker/protocol/mqtt/codec/kinds.ts";
import type { Packet, Properties, Version } from "../../../../worker/protocol/mqtt/codec/packets.ts";
import { encode } from "../../../../worker/protocol/mqtt/codec/writer.ts";
import { connect, packet, readAll, reader, VERSIONS } from "./packets.ts";

type Theirs = mqttPacket.Packet;

/** Names must differ, and must not look like array indexes: mqtt-packet keeps user properties in an object. */
function distinct(pairs: [string, string][]): [string, string][] {
  return pairs.map(([name, value], index) => [`n${index}${name}`, value]);
}

function plain(properties: Properties): Properties {
  const { userProperties } = properties;
  return userProperties === undefined
    ? properties
    : { ...properties, userProperties: distinct(userProperties) };
}

/** The same packet without what mqtt-packet cannot say. */
function sayable(sent: Packet): Packet {
  const changed = { ...sent };
  if ("properties" in changed && changed.properties !== undefined) {
    changed.properties = plain(changed.properties);
  }
  if (changed.type === "connect") {
    // Empty texts are taken for absent ones, and client ids are refused or filled in.
    changed.clientId = `c${changed.clientId}`;
    if (changed.username !== undefined) changed.username = `u${changed.username}`;
    else delete changed.password;
    if (changed.password !== undefined) changed.password = Uint8Array.of(1, ...changed.password);
    if (changed.will !== undefined) {
      changed.will = { ...changed.will, payload: Uint8Array.of(2, ...changed.will.payload) };
      if (changed.will.properties !== undefined) changed.will.properties = plain(changed.will.properties);
    }
  }
  return changed;
}

const BOOLEAN = new Set(["payloadFormatIndicator"]);

function theirProperties(properties: Properties = {}): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(properties).map(([name, value]) => {
      if (name === "userProperties") return [name, Object.fromEntries(value as [string, string][])];
      if (name === "subscriptionIdentifiers") return ["subscriptionIdentifier", value];
      if (name === "maximumQos") return ["maximumQoS", value];
      if (value instanceof Uint8Array) return [name, Buffer.from(value)];
      return [name, BOOLEAN.has(name) ? value === 1 : value];
    }),
  );
}

function toTheirs(sent: Packet, version: Version): Theirs {
  const { type: cmd, ...rest } = sent;
  const properties = "properties" in sent ? { properties: theirProperties(sent.properties) } : {};
  const messageId = "packetId" in sent ? { messageId: sent.packetId } : {};
  return { ...rest, cmd, ...messageId, ...own(sent, version), ...properties } as unknown as Theirs;
}

function own(sent: Packet, version: Version): object {
  switch (sent.type) {
    case "connect": {
      const { will } = sent;
      return {
        protocolId: version === 3 ? "MQIsdp" : "MQTT",
        protocolVersion: version,
        clean: sent.cleanStart,
        keepalive: sent.keepAlive,
        ...(sent.password === undefined ? {} : { password: Buffer.from(sent.password) }),
        ...(will === undefined
          ? {}
          : {
              will: {
                ...will,
                payload: Buffer.from(will.payload),
                ...(will.properties === undefined ? {} : { properties: theirProperties(will.properties) }),
              },
            }),
      };
    }
    case "connack":
      return { returnCode: sent.reasonCode };
    case "publish":
      return { payload: Buffer.from(sent.payload) };
    case "subscribe":
      return {
        subscriptions: sent.filters.map(({ filter, qos, noLocal, retainAsPublished, retainHandling }) => ({
          topic: filter,
          qos,
          nl: noLocal,
          rap: retainAsPublished,
          rh: retainHandling,
        })),
      };
    case "unsubscribe":
      return { unsubscriptions: sent.filters };
    case "suback":
    case "unsuback":
      return { granted: sent.reasonCodes };
    default:
      return {};
  }
}

function theirParse(bytes: Uint8Array, version: Version): Theirs {
  const found: Theirs[] = [];
  const parser = mqttPacket.parser({ protocolVersion: version });
  parser.on("packet", (one) => found.push(one));
  parser.on("error", (error: unknown) => {
    throw error;
  });
  parser.parse(Buffer.from(bytes));
  expect(found.length).toBe(1);
  return found[0]!;
}

function check(role: Role, version: Version, any: fc.Arbitrary<Packet>): void {
  const read = (bytes: Uint8Array, first: boolean) =>
    readAll(first ? reader(role) : reader(role, version), Uint8Array.from(bytes));
  fc.assert(
    fc.property(any.map(sayable), (sent) => {
      const first = sent.type === "connect";
      const options = { protocolVersion: version };
      expect(read(mqttPacket.generate(toTheirs(sent, version), options), first)).toEqual([sent]);
      const again = mqttPacket.generate(theirParse(encode(sent, version), version), options);
      expect(read(again, first)).toEqual([sent]);
    }),
    { numRuns: 300 },
  );
}

describe("mqtt-packet and this codec", () => {
  for (const version of VERSIONS) {
    it(`[MQP21] CONNECT of version ${version}`, () => check("server", version, connect(version)));
    for (const role of ["server", "client"] as const) {
      it(`[MQP21] packets of version ${version} that a ${role} reads`, () => {
        check(role, version, packet(version, role));
      });
    }
  }
});
