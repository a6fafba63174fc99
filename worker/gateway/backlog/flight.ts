// Messages sent and not finished, and the packet ids they hold.
import type { Entry } from "./runs.ts";

/** Packet ids of messages of the log are 1 to this; the ones above are lent by `Outgoing.take`. */
export const LOG_PACKET_IDS = 32_767;
const LAST_PACKET_ID = 65_535;

/** A message that was sent. */
export interface Flight extends Entry {
  readonly packetId: number;
  readonly qos: 1 | 2;
  /** PUBREC came: only PUBREL is sent from now on. */
  released: boolean;
  /** Sent on the present connection. */
  onWire: boolean;
  /** Its PUBLISH went out on the present connection, and so counts against the receive maximum until it is finished. */
  counts: boolean;
}

/**
 * The packet id of a session's message: it follows from the message's number, so nothing has to be written when it is sent.
 *
 * @example packetIdOf(0) === 1
 */
export function packetIdOf(index: number): number {
  return 1 + (index % LOG_PACKET_IDS);
}

/** A flight as it begins: sent now, or (`sent` false) known from the log to have been sent on an earlier connection. */
export function beginFlight(entry: Entry, qos: 1 | 2, sent: boolean): Flight {
  const { index, position, options } = entry;
  const packetId = packetIdOf(index);
  return { index, position, options, packetId, qos, released: false, onWire: sent, counts: sent };
}

/** The packet ids above those of the log, lent one by one. */
export class LentIds {
  #ids = new Set<number>();
  #next = LOG_PACKET_IDS + 1;

  get size(): number {
    return this.#ids.size;
  }

  /** Lends an id that nobody has. Callers keep far fewer out than there are. */
  take(): number {
    for (;;) {
      const id = this.#next;
      this.#next = id === LAST_PACKET_ID ? LOG_PACKET_IDS + 1 : id + 1;
      if (this.#ids.has(id)) continue;
      this.#ids.add(id);
      return id;
    }
  }

  giveBack(id: number): boolean {
    return this.#ids.delete(id);
  }

  /** The ids that are out. */
  list(): number[] {
    return [...this.#ids];
  }

  load(ids: number[]): void {
    this.#ids = new Set(ids);
    this.#next = LOG_PACKET_IDS + 1;
  }
}
