// Reads the block of properties of one packet: a length, then numbers with their values.
import type { Cursor } from "./cursor.ts";
import type { Properties } from "./packets.ts";
import { Place, type PropertyEntry, propertyById } from "./properties.ts";
import { ReasonCode } from "./reason.ts";

const { MalformedPacket, ProtocolError } = ReasonCode;

/** The same object while it is being filled. */
type Filling = Partial<Record<keyof Properties, unknown>>;

/**
 * The properties of a packet, or undefined when there are none; a fault is left in the cursor.
 *
 * ```
 * | length (1-4 bytes) | id | value | id | value | …
 * ```
 */
export function readProperties(cursor: Cursor, place: number): Properties | undefined {
  const length = cursor.varInt("property length");
  if (length === 0) return undefined;
  const outerEnd = cursor.end;
  const end = cursor.at + length;
  if (end > outerEnd) {
    cursor.fail(MalformedPacket, "the properties are longer than the packet");
    return undefined;
  }
  const properties: Properties = {};
  cursor.end = end;
  while (!cursor.done) readProperty(cursor, place, properties);
  cursor.end = outerEnd;
  return properties;
}

function readProperty(cursor: Cursor, place: number, properties: Filling): void {
  const id = cursor.varInt("property identifier");
  const entry = propertyById(id);
  // 2.2.2.2: an identifier that is not valid for its packet makes the packet malformed.
  if (entry === undefined || (entry.places & place) === 0) {
    cursor.fail(MalformedPacket, `property ${id} may not stand in this packet`);
    return;
  }
  const { name } = entry;
  const value = readValue(cursor, entry);
  if (cursor.fault !== undefined) return;
  if (name === "userProperties" || name === "subscriptionIdentifiers") {
    const list = properties[name] as unknown[] | undefined;
    if (list === undefined) properties[name] = [value];
    else if (name === "subscriptionIdentifiers" && place !== Place.publish) twice(cursor, name);
    else list.push(value);
  } else if (properties[name] !== undefined) {
    twice(cursor, name);
  } else {
    properties[name] = value;
  }
}

function twice(cursor: Cursor, name: string): void {
  cursor.fail(ProtocolError, `${name} stands twice`);
}

function readValue(cursor: Cursor, entry: PropertyEntry): unknown {
  const { form, name } = entry;
  switch (form) {
    case "bit":
    case "flag": {
      const byte = cursor.u8(name);
      if (byte > 1) cursor.fail(ProtocolError, `${name} must be 0 or 1, got ${byte}`);
      return form === "flag" ? byte === 1 : byte;
    }
    case "u16":
    case "u32":
    case "varInt": {
      const value = cursor[form](name);
      if (value === 0 && entry.zero !== undefined) {
        cursor.fail(entry.zero, `${name} must not be 0`, entry.clause);
      }
      return value;
    }
    case "text":
      return cursor.text(name);
    case "topic":
      return readTopic(cursor, entry);
    case "binary":
      return cursor.binary(name);
    case "pair":
      return [cursor.text("user property name"), cursor.text("user property value")];
  }
}

function readTopic(cursor: Cursor, { name, clause }: PropertyEntry): string {
  const topic = cursor.text(name);
  if (cursor.fault !== undefined) return topic;
  // [MQTT-3.3.2-14]
  if (/[+#]/.test(topic)) cursor.fail(ProtocolError, `${name} has a wildcard`, clause);
  if (topic === "") cursor.fail(ProtocolError, `${name} is empty`, "MQTT-4.7.3-1");
  return topic;
}
