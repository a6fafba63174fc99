// What is on its way to one target of a topic object, in order: numbers, merging, retries. Plain and synchronous.
import { MAX_LANE_BYTES, MAX_ROW_BYTES } from "../limits.ts";
import type { TopicPacketWriter } from "../link/topic-packet.ts";
import type { Parcel } from "./fan.ts";

/** Calls to one target at once; only one of them with something that the outbox keeps. */
const MAX_CALLS = 4;
const RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;

/** What goes in one call: the parcels of one or several turns. */
export interface Shipment {
  number: number;
  /** What the outbox keeps of it, by id; rising. It is sent again in the same grouping until it is confirmed. */
  ids: number[];
  /** Undefined when its records must be read from the outbox. */
  packet: TopicPacketWriter | undefined;
  /** Bytes of all that was put into it. */
  bytes: number;
  /** Nothing joins it any more: it was called before, so that the target may have it under its id, or a read came after it. */
  closed: boolean;
}

/**
 * The way to one target.
 *
 * @example lane.add(parcel, false); for (let s = lane.take(now); s; s = lane.take(now)) call(s).then(() => lane.done(s), () => lane.failed(s, now));
 */
export class Lane {
  /** Number of the last shipment. */
  number = 0;
  #waiting: Shipment[] = [];
  #calls = 0;
  #keptCall = false;
  #bytes = 0;
  #retryMs = RETRY_MS;
  /** Whether the last call with something kept failed: until one succeeds, live messages are dropped. */
  #failing = false;
  /** When a target that does not answer is tried again, ms since the epoch; Infinity when it answers or is being tried. */
  retryAt = Number.POSITIVE_INFINITY;

  /** Whether nothing is on its way or waits. */
  get idle(): boolean {
    return this.#calls === 0 && this.#waiting.length === 0;
  }

  /** What was kept before this life of the object. */
  restore(ids: Iterable<number>): void {
    for (const id of ids) {
      // The target may have it under its id.
      this.#waiting.push({ number: ++this.number, ids: [id], packet: undefined, bytes: 0, closed: true });
    }
  }

  /**
   * Puts a parcel on its way.
   *
   * @param ride it may go with an answer to the target's own call
   * @returns the shipment that rides
   */
  add({ id, packet }: Parcel, ride: boolean): Shipment | undefined {
    const bytes = packet.size;
    const kept = id > 0;
    const roomy = this.#bytes + bytes <= MAX_LANE_BYTES && !this.#failing;
    // The target sees the gap in the topics' seqs.
    if (!roomy && !kept) return undefined;
    if (ride && !kept && this.#waiting.length === 0)
      return { number: ++this.number, ids: [], packet, bytes, closed: true };
    let last = this.#waiting.at(-1);
    const joins =
      last !== undefined &&
      !last.closed &&
      (last.packet !== undefined) === roomy &&
      last.bytes + bytes <= MAX_ROW_BYTES;
    if (last === undefined || !joins) {
      last = { number: ++this.number, ids: [], packet: roomy ? packet : undefined, bytes: 0, closed: false };
      this.#waiting.push(last);
    } else if (roomy) last.packet!.add(packet.records());
    if (kept) last.ids.push(id);
    last.bytes += bytes;
    if (roomy) this.#bytes += bytes;
    return undefined;
  }

  /** Parts what was added before from what follows; returns the number of the last shipment before. */
  mark(): number {
    const last = this.#waiting.at(-1);
    if (last !== undefined) last.closed = true;
    return this.number;
  }

  /** The next shipment that may be called now. */
  take(now: number): Shipment | undefined {
    const first = this.#waiting[0];
    if (first === undefined || this.#calls >= MAX_CALLS) return undefined;
    const kept = first.ids.length > 0;
    if (kept && this.#keptCall) return undefined;
    if (this.#failing && now < this.retryAt) return undefined;
    this.retryAt = Number.POSITIVE_INFINITY;
    this.#waiting.shift();
    first.closed = true;
    this.#calls++;
    if (kept) this.#keptCall = true;
    return first;
  }

  /** The target has it. */
  done(shipment: Shipment): void {
    this.#end(shipment);
    if (shipment.ids.length === 0) return;
    this.#failing = false;
    this.#retryMs = RETRY_MS;
  }

  /** The call failed: what the outbox keeps stays first in line, anything else is gone. */
  failed(shipment: Shipment, now: number): void {
    this.#end(shipment);
    if (shipment.ids.length === 0) return;
    this.#failing = true;
    this.retryAt = now + this.#retryMs;
    this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS);
    this.#waiting = [shipment, ...this.#waiting].filter(({ ids }) => ids.length > 0);
    // Nobody knows for how long: the outbox has it.
    for (const waiting of this.#waiting) waiting.packet = undefined;
    this.#bytes = 0;
  }

  #end({ packet, ids, bytes }: Shipment): void {
    this.#calls--;
    if (ids.length > 0) this.#keptCall = false;
    if (packet !== undefined) this.#bytes = Math.max(0, this.#bytes - bytes);
  }
}
