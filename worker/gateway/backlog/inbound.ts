// The QoS 2 packet ids that a session's client has published with and not released.
import type { Outgoing } from "./outgoing.ts";
import { addToRanges, inRanges, rangesText, sortRanges, textRanges } from "./ranges.ts";

/** What an Inbound needs of the backlog it belongs to. */
export interface InboundSurroundings {
  /** An id of a durable session came or went: written down before frames leave. */
  inboundChanged(inbound: Inbound, packetId: number, present: boolean): void;
}

/**
 * Ids received and not released. Those of durable sessions are in the log; of others, in the socket's attachment (`save`).
 *
 * An id is let go before PUBCOMP leaves: its client may use it for another message at once, which must not pass for the old one.
 *
 * @example if (inbound.add(id)) publish(); send(PUBREC, id); // on PUBREL: inbound.remove(id); send(PUBCOMP, id)
 */
export class Inbound {
  /** The session, as the log numbers it. */
  readonly outgoing: Outgoing;
  readonly ids = new Set<number>();
  readonly #around: InboundSurroundings;

  /** Made by `Backlog.inbound`. */
  constructor(outgoing: Outgoing, around: InboundSurroundings) {
    this.outgoing = outgoing;
    this.#around = around;
  }

  /** A PUBLISH of QoS 2 came. False: the id is known already, so its message was taken: answer PUBREC, publish nothing [MQTT-4.3.3-10]. */
  add(packetId: number): boolean {
    if (this.ids.has(packetId)) return false;
    this.ids.add(packetId);
    this.#tell(packetId, true);
    return true;
  }

  /** PUBREL came (or the publish was refused). False when the id is not known: PUBCOMP with 0x92. */
  remove(packetId: number): boolean {
    if (!this.ids.delete(packetId)) return false;
    this.#tell(packetId, false);
    return true;
  }

  /** Whether the id was received and not released. */
  has(packetId: number): boolean {
    return this.ids.has(packetId);
  }

  /** How many ids there are: they count against the receive maximum that the client was given. */
  get size(): number {
    return this.ids.size;
  }

  /** The ids as text, for the attachment of a socket whose session ends with it. "" for none, and for durable sessions. */
  save(): string {
    if (this.outgoing.durable) return "";
    const ranges: number[] = [];
    for (const id of this.ids) addToRanges(ranges, id);
    return rangesText(sortRanges(ranges));
  }

  /** After `Backlog.open`, for a socket that survived. */
  restore(saved: string): void {
    for (const id of inRanges(textRanges(saved))) this.ids.add(id);
  }

  #tell(packetId: number, present: boolean): void {
    if (this.outgoing.durable) this.#around.inboundChanged(this, packetId, present);
  }
}
