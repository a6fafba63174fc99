// Writes MQTT's numbers and texts: big-endian, lengths in front.
import type { Writer } from "../../../bytes/writer.ts";

const MAX_VAR_INT = 268_435_455;
const MAX_TEXT_BYTES = 65_535;

/** A 16-bit number. */
export function putU16(w: Writer, value: number): void {
  w.u8(value >> 8);
  w.u8(value & 255);
}

/** A 32-bit number. */
export function putU32(w: Writer, value: number): void {
  putU16(w, value >>> 16);
  putU16(w, value & 0xffff);
}

/** Bytes that a variable byte integer takes, 1 to 4; throws a RangeError beyond 268,435,455. */
export function varIntBytes(value: number): number {
  if (value < 128) return 1;
  if (value < 16_384) return 2;
  if (value < 2_097_152) return 3;
  if (value <= MAX_VAR_INT) return 4;
  throw new RangeError(`${value} is beyond a variable byte integer (${MAX_VAR_INT})`);
}

/** Writes a variable byte integer in its shortest form [MQTT-1.5.5-1] and returns where it ends. */
export function setVarInt(bytes: Uint8Array, at: number, value: number): number {
  while (value > 127) {
    bytes[at++] = (value & 127) | 128;
    value >>>= 7;
  }
  bytes[at++] = value;
  return at;
}

export function putVarInt(w: Writer, value: number): void {
  const size = varIntBytes(value);
  w.reserve(size);
  w.length = setVarInt(w.bytes, w.length, value);
}

/** UTF-8 after its length; throws a RangeError beyond 65,535 bytes. U+0000, which MQTT forbids, becomes U+FFFD. */
export function putText(w: Writer, value: string): void {
  const at = w.length;
  putU16(w, 0);
  // [MQTT-1.5.4-2]
  const length = w.text(value.includes("\0") ? value.replaceAll("\0", "\ufffd") : value);
  if (length > MAX_TEXT_BYTES)
    throw new RangeError(`a text of ${length} bytes, at most ${MAX_TEXT_BYTES} fit`);
  w.bytes[at] = length >> 8;
  w.bytes[at + 1] = length & 255;
}

/** Bytes after their length; throws a RangeError beyond 65,535 bytes. */
export function putBinary(w: Writer, value: Uint8Array): void {
  if (value.length > MAX_TEXT_BYTES) {
    throw new RangeError(`binary data of ${value.length} bytes, at most ${MAX_TEXT_BYTES} fit`);
  }
  putU16(w, value.length);
  w.raw(value);
}
