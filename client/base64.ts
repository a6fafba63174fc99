// Bytes to base64 and back, by the platform's own codec where it has one.

interface NativeCodec {
  fromBase64?(text: string): Uint8Array<ArrayBuffer>;
}
const native = Uint8Array as unknown as NativeCodec;
/** Arguments of one call are limited. */
const CHUNK_BYTES = 8_192;

/** Encodes bytes in the standard alphabet, padded. */
export function toBase64(bytes: Uint8Array): string {
  const own = bytes as Uint8Array & { toBase64?(): string };
  if (own.toBase64) return own.toBase64();
  let binary = "";
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    // apply() takes the bytes as they lie; a spread would walk an iterator, and a message may be 1 MiB.
    binary += String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK_BYTES) as unknown as number[]);
  }
  return btoa(binary);
}

/** Decodes what `toBase64` encodes. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  if (native.fromBase64) return native.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}
