// Writes the block of properties of one packet.
import type { Writer } from "../../../bytes/writer.ts";
import type { Properties } from "./packets.ts";
import { type PropertyEntry, propertyByName } from "./properties.ts";
import { putBinary, putText, putU16, putU32, putVarInt, setVarInt, varIntBytes } from "./wire.ts";

/**
 * Writes length and properties. Those that may not stand at `place` are left out, so that one object can serve several
 * packets.
 */
export function putProperties(w: Writer, place: number, properties: Properties | undefined): void {
  const at = w.length;
  // [MQTT-2.2.2-1]
  w.u8(0);
  if (properties === undefined) return;
  for (const [name, value] of Object.entries(properties)) {
    const entry = propertyByName(name);
    if (entry === undefined || value === undefined || (entry.places & place) === 0) continue;
    // [MQTT-3.3.2-18] in their order.
    if (Array.isArray(value)) for (const one of value) putProperty(w, entry, one);
    else putProperty(w, entry, value);
  }
  const length = w.length - at - 1;
  const size = varIntBytes(length);
  w.reserve(size);
  if (size > 1) w.bytes.copyWithin(at + size, at + 1, w.length);
  setVarInt(w.bytes, at, length);
  w.length += size - 1;
}

function putProperty(w: Writer, { id, form }: PropertyEntry, value: unknown): void {
  w.u8(id);
  switch (form) {
    case "bit":
    case "flag":
      return w.u8(Number(value));
    case "u16":
      return putU16(w, value as number);
    case "u32":
      return putU32(w, value as number);
    case "varInt":
      return putVarInt(w, value as number);
    case "text":
    case "topic":
      return putText(w, value as string);
    case "binary":
      return putBinary(w, value as Uint8Array);
    case "pair": {
      const [name, text] = value as [string, string];
      putText(w, name);
      return putText(w, text);
    }
  }
}
