// What of the ready messages matches which selector: each message is held against each selector once for as long as it stays ready.
import { MAX_LANES } from "../limits.ts";
import type { Entry } from "./entry.ts";
import { Heap } from "./heap.ts";

/** Above any position, so that levels come before positions in one key: 10 of them stay below 2^53. */
const LEVEL = 2 ** 49;

/** What one selector has found. */
interface Lane {
  /** How many of the arrivals it has looked at. */
  seen: number;
  /** Positions that match, the next to go first; a position may be stale. */
  readonly found: Heap;
}

/** The lanes of the selectors in use. Nothing of them is stored: a queue that opens looks once again. */
export class Lanes {
  readonly #entries: ReadonlyMap<number, Entry>;
  /** By selector, the one used longest ago first. */
  readonly #lanes = new Map<string, Lane>();
  /** Positions in the order they became ready: every ready message is here, and what is no longer ready may be. */
  #arrivals: number[] = [];

  constructor(entries: ReadonlyMap<number, Entry>) {
    this.#entries = entries;
  }

  /** A message has become ready. */
  arrived(position: number): void {
    if (this.#lanes.size === 0) return;
    if (this.#arrivals.length > 2 * this.#entries.size + 1_024) this.#renew();
    this.#arrivals.push(position);
  }

  /** Forgets everything: no consumer has a selector. */
  clear(): void {
    if (this.#lanes.size === 0) return;
    this.#lanes.clear();
    this.#arrivals = [];
  }

  /**
   * The ready message that goes next of those that match a selector; it stays where it is until its state changes.
   *
   * @param matches asked once for each message and selector
   */
  first(selector: string, matches: (entry: Entry) => boolean): Entry | undefined {
    const lane = this.#lane(selector);
    for (; lane.seen < this.#arrivals.length; lane.seen++) {
      const entry = this.#entries.get(this.#arrivals[lane.seen]!);
      if (entry?.state === "ready" && matches(entry)) {
        lane.found.push(entry.position - entry.level * LEVEL, entry.position);
      }
    }
    for (; lane.found.size > 0; lane.found.pop()) {
      const entry = this.#entries.get(lane.found.value);
      if (entry?.state === "ready") return entry;
    }
    return undefined;
  }

  #lane(selector: string): Lane {
    if (this.#lanes.size === 0) this.#arrivals = readyPositions(this.#entries);
    const lane = this.#lanes.get(selector) ?? { seen: 0, found: new Heap() };
    this.#lanes.delete(selector);
    this.#lanes.set(selector, lane);
    if (this.#lanes.size > MAX_LANES) this.#lanes.delete(this.#lanes.keys().next().value!);
    return lane;
  }

  /** Drops what is not ready any more; a lane that has not looked at all of it begins anew when it is used. */
  #renew(): void {
    const end = this.#arrivals.length;
    this.#arrivals = readyPositions(this.#entries);
    for (const [selector, lane] of this.#lanes) {
      if (lane.seen === end) lane.seen = this.#arrivals.length;
      else this.#lanes.delete(selector);
    }
  }
}

function readyPositions(entries: ReadonlyMap<number, Entry>): number[] {
  const positions: number[] = [];
  for (const { position, state } of entries.values()) if (state === "ready") positions.push(position);
  return positions;
}
