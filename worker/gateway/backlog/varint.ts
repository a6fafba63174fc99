// Whole numbers in as few bytes as they need: most facts of a backlog are small numbers, and many of them.
import type { Reader } from "../../bytes/reader.ts";
import type { Writer } from "../../bytes/writer.ts";

/** Appends an integer from 0 to 2⁵³ − 1: seven bits in each byte, the lowest first, bit 7 set where more follow. */
export function writeNumber(to: Writer, value: number): void {
  while (value >= 128) {
    to.u8((value % 128) + 128);
    value = Math.floor(value / 128);
  }
  to.u8(value);
}

/** The opposite of writeNumber. */
export function readNumber(from: Reader): number {
  let value = 0;
  for (let unit = 1; ; unit *= 128) {
    const byte = from.u8();
    value += (byte & 127) * unit;
    if (byte < 128) return value;
  }
}

/** Appends a list of different integers that rise: how many, then each one's distance from the one before. */
export function writeRising(to: Writer, values: readonly number[]): void {
  writeNumber(to, values.length);
  let before = 0;
  for (const value of values) {
    writeNumber(to, value - before);
    before = value;
  }
}

/** The opposite of writeRising. */
export function readRising(from: Reader): number[] {
  const values: number[] = [];
  let before = 0;
  for (let left = readNumber(from); left > 0; left--) {
    before += readNumber(from);
    values.push(before);
  }
  return values;
}
