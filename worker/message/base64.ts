// Bytes as standard base64 with padding, and back. Node, where the unit tests run, lacks the methods that workerd has.

interface NativeBytes extends Uint8Array {
  toBase64?(): string;
}
const native = Uint8Array as unknown as {
  fromBase64?(text: string, options: { lastChunkHandling: "strict" }): Uint8Array;
};

const FORM = /^[A-Za-z0-9+/]*={0,2}$/;
/** Arguments that one call of String.fromCharCode takes for sure. */
const CHUNK = 8_192;

/**
 * Encodes bytes.
 *
 * @example toBase64(new Uint8Array([72, 105])) // "SGk="
 */
export function toBase64(bytes: NativeBytes): string {
  if (bytes.toBase64) return bytes.toBase64();
  let binary = "";
  for (let at = 0; at < bytes.length; at += CHUNK) {
    binary += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  }
  return btoa(binary);
}

/** Decodes base64; undefined when it has another alphabet, no padding where it needs some, or a wrong length. */
export function fromBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0) return undefined;
  try {
    if (native.fromBase64) return native.fromBase64(text, { lastChunkHandling: "strict" });
    if (!FORM.test(text)) return undefined;
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch {
    return undefined;
  }
}
