// The packets that come by the thousand and are always alike: acknowledgements with reason 0, and PINGRESP.
import type { Writer } from "../../../bytes/writer.ts";
import { fixedFlags, KIND } from "./kinds.ts";
import type { PublishAnswer } from "./packets.ts";

const FIRST: Readonly<Record<PublishAnswer["type"], number>> = {
  puback: first("puback"),
  pubrec: first("pubrec"),
  pubrel: first("pubrel"),
  pubcomp: first("pubcomp"),
};

function first(type: PublishAnswer["type"]): number {
  return (KIND[type] << 4) | fixedFlags(type);
}

/**
 * An acknowledgement with reason 0, the same in every version: `| kind | 2 | packet id (2) |`.
 *
 * @example socket.send(answer("puback", 7));
 */
export function answer(type: PublishAnswer["type"], packetId: number): Uint8Array {
  return Uint8Array.of(FIRST[type], 2, packetId >> 8, packetId & 255);
}

/** Appends the same packet to a frame that takes several. */
export function appendAnswer(w: Writer, type: PublishAnswer["type"], packetId: number): void {
  w.reserve(4);
  const { bytes, length } = w;
  bytes[length] = FIRST[type];
  bytes[length + 1] = 2;
  bytes[length + 2] = packetId >> 8;
  bytes[length + 3] = packetId & 255;
  w.length += 4;
}

/** PINGRESP, the same in every version. A new copy each time, since a socket may take the buffer. */
export function pingresp(): Uint8Array {
  return Uint8Array.of(KIND.pingresp << 4, 0);
}
