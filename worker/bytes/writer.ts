// Writes numbers and text into bytes that grow. Little-endian, like DataView's fast path on every current machine.

const encoder = new TextEncoder();
const MAX_TEXT16_BYTES = 0xffff;
/** Up to here a loop over ASCII is faster than a call into the encoder. */
const SHORT_TEXT = 200;

/**
 * A growing buffer. Call `take()` once at the end.
 *
 * @example const w = new Writer(); w.u8(1); w.text16("orders"); const bytes = w.take();
 */
export class Writer {
  bytes: Uint8Array;
  length = 0;
  #view: DataView;

  constructor(capacity = 1024) {
    this.bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** Makes room for `more` bytes beyond the current length. */
  reserve(more: number): void {
    const needed = this.length + more;
    if (needed <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
    this.#view = new DataView(grown.buffer);
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  u16(value: number): void {
    this.reserve(2);
    this.#view.setUint16(this.length, value, true);
    this.length += 2;
  }

  u32(value: number): void {
    this.reserve(4);
    this.#view.setUint32(this.length, value, true);
    this.length += 4;
  }

  f64(value: number): void {
    this.reserve(8);
    this.#view.setFloat64(this.length, value, true);
    this.length += 8;
  }

  /** UTF-8 without a length; returns the bytes written. */
  text(value: string): number {
    const start = this.length;
    this.reserve(value.length * 3);
    if (value.length <= SHORT_TEXT && this.#ascii(value)) return value.length;
    this.length = start + encoder.encodeInto(value, this.bytes.subarray(start)).written;
    return this.length - start;
  }

  /**
   * UTF-8 after a 16-bit length in bytes.
   *
   * @throws RangeError when the length does not fit: what follows would be read as something else
   */
  text16(value: string): void {
    const at = this.length;
    this.u16(0);
    const written = this.text(value);
    if (written > MAX_TEXT16_BYTES)
      throw new RangeError(`a text of ${written} bytes where ${MAX_TEXT16_BYTES} fit`);
    this.#view.setUint16(at, written, true);
  }

  /** UTF-8 after a 32-bit length in bytes. */
  text32(value: string): void {
    const at = this.length;
    this.u32(0);
    this.patchU32(at, this.text(value));
  }

  /** Bytes without a length. */
  raw(value: Uint8Array): void {
    this.reserve(value.length);
    this.bytes.set(value, this.length);
    this.length += value.length;
  }

  /** Overwrites a number written before. */
  patchU16(at: number, value: number): void {
    this.#view.setUint16(at, value, true);
  }

  patchU32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  patchF64(at: number, value: number): void {
    this.#view.setFloat64(at, value, true);
  }

  /** The bytes written, as a copy of exactly their size: a view would send its whole buffer to another object. */
  take(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }

  #ascii(value: string): boolean {
    const { bytes } = this;
    let at = this.length;
    for (let i = 0; i < value.length; i++) {
      const unit = value.charCodeAt(i);
      if (unit > 127) return false;
      bytes[at++] = unit;
    }
    this.length = at;
    return true;
  }
}
