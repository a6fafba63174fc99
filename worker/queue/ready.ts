// The messages that may go at once, by the level of their priority.
import type { Entry } from "./entry.ts";
import { Heap } from "./heap.ts";
import { Lanes } from "./lanes.ts";

/** Positions of ready entries. A position may be stale: whoever is first in its level was looked up in the books. */
export class Ready {
  readonly #entries: ReadonlyMap<number, Entry>;
  /** By level, 0 first; most queues have one. */
  #levels: Heap[] = [new Heap()];
  /** What of them matches whose selector. */
  readonly lanes: Lanes;

  /** @param entries the books */
  constructor(entries: ReadonlyMap<number, Entry>) {
    this.#entries = entries;
    this.lanes = new Lanes(entries);
  }

  /** Positions held, stale ones included. */
  get size(): number {
    return this.#levels.reduce((sum, heap) => sum + heap.size, 0);
  }

  /** Adds an entry that has become ready. */
  push({ position, level }: Entry): void {
    while (this.#levels.length <= level) this.#levels.push(new Heap());
    const heap = this.#levels[level]!;
    if (heap.size > 2 * this.#entries.size + 1_024) this.#renew(level);
    heap.push(position, position);
    this.lanes.arrived(position);
  }

  /** The entry that goes next: of the highest level, there the first in the log. */
  first(): Entry | undefined {
    for (let level = this.#levels.length - 1; level >= 0; level--) {
      const entry = this.firstOf(level);
      if (entry !== undefined) return entry;
    }
    return undefined;
  }

  /** The first entry of a level. */
  firstOf(level: number): Entry | undefined {
    const heap = this.#levels[level];
    while (heap !== undefined && heap.size > 0) {
      const entry = this.#entries.get(heap.value);
      if (entry?.state === "ready") return entry;
      heap.pop();
    }
    return undefined;
  }

  /** The first entry of the lowest level above 0 that has one. */
  lowestAbove0(): Entry | undefined {
    for (let level = 1; level < this.#levels.length; level++) {
      const entry = this.firstOf(level);
      if (entry !== undefined) return entry;
    }
    return undefined;
  }

  /** Drops what is not ready any more: where consumers have selectors, nobody else takes it out. */
  #renew(level: number): void {
    const heap = this.#levels[level]!;
    heap.clear();
    for (const entry of this.#entries.values()) {
      if (entry.level === level && entry.state === "ready") heap.push(entry.position, entry.position);
    }
  }
}
