// Puts the first byte and the remaining length in front of a body. One scratch buffer serves every packet: writing is
// synchronous, and what leaves here is a copy of exactly its size.
import { Writer } from "../../../bytes/writer.ts";
import { setVarInt, varIntBytes } from "./wire.ts";

/** A scratch buffer that grew beyond this is let go. */
const KEPT_BYTES = 65_536;
const NONE = new Uint8Array(0);

let scratch = new Writer(1_024);

/** The empty scratch buffer; what was in it is gone. */
export function beginBody(): Writer {
  if (scratch.bytes.length > KEPT_BYTES) scratch = new Writer(1_024);
  scratch.length = 0;
  return scratch;
}

/** Bytes in front of a body of this length: the first byte and the remaining length. */
export function headBytes(bodyLength: number): number {
  return 1 + varIntBytes(bodyLength);
}

/**
 * The whole packet; `payload` follows the body.
 *
 * ```
 * | kind, flags (1) | remaining length (1-4) | body | payload |
 * ```
 */
export function packetBytes(first: number, body: Writer, payload: Uint8Array = NONE): Uint8Array {
  const length = body.length + payload.length;
  const bytes = new Uint8Array(headBytes(length) + length);
  bytes[0] = first;
  const at = setVarInt(bytes, 1, length);
  bytes.set(body.bytes.subarray(0, body.length), at);
  if (payload.length > 0) bytes.set(payload, at + body.length);
  return bytes;
}
