// Reads what writer.ts wrote.

const decoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: false });

/** Decodes UTF-8 from `start` up to `end`. */
export function decodeText(bytes: Uint8Array, start: number, end: number): string {
  return start === end ? "" : decoder.decode(bytes.subarray(start, end));
}

/**
 * Reads forward through bytes; reading past the end throws a RangeError, which means a bug or a foreign version.
 *
 * @example const r = new Reader(bytes); const kind = r.u8(); const name = r.text16();
 */
export class Reader {
  readonly bytes: Uint8Array;
  at: number;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.at = at;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Whether everything was read. */
  get done(): boolean {
    return this.at >= this.bytes.length;
  }

  u8(): number {
    return this.#view.getUint8(this.at++);
  }

  u16(): number {
    this.at += 2;
    return this.#view.getUint16(this.at - 2, true);
  }

  u32(): number {
    this.at += 4;
    return this.#view.getUint32(this.at - 4, true);
  }

  f64(): number {
    this.at += 8;
    return this.#view.getFloat64(this.at - 8, true);
  }

  text16(): string {
    return this.#text(this.u16());
  }

  text32(): string {
    return this.#text(this.u32());
  }

  /** A view (not a copy) of the next `length` bytes. */
  raw(length: number): Uint8Array {
    this.#skip(length);
    return this.bytes.subarray(this.at - length, this.at);
  }

  #text(length: number): string {
    this.#skip(length);
    return decodeText(this.bytes, this.at - length, this.at);
  }

  #skip(length: number): void {
    if (this.at + length > this.bytes.length) throw new RangeError("the bytes are cut short");
    this.at += length;
  }
}
