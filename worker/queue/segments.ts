// How many unfinished messages each segment of the log still holds: at none, its table can be dropped.
import { type Log, turnOf } from "../log/log.ts";

/** The turn by which a position's segment is found. */
export const segmentKey = turnOf;

/** Counts of unfinished messages by the first turn of their segment. */
export class Segments {
  readonly #log: Log;
  readonly #live = new Map<number, number>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Adds to the count of the segment that holds a turn. */
  add(turn: number, count: number): void {
    const segment = this.#log.segmentOf(turn);
    const live = (this.#live.get(segment) ?? 0) + count;
    if (live === 0) this.#live.delete(segment);
    else this.#live.set(segment, live);
  }

  live(segment: number): number {
    return this.#live.get(segment) ?? 0;
  }

  /** Counts anew: one message for each turn given. */
  reset(turns: number[]): void {
    this.#live.clear();
    for (const turn of turns) this.add(turn, 1);
  }

  /** PERSISTED in checkpoints, as pairs. */
  entries(): [segment: number, live: number][] {
    return [...this.#live].sort((a, b) => a[0] - b[0]);
  }

  load(entries: [segment: number, live: number][]): void {
    for (const [segment, live] of entries) this.#live.set(segment, live);
  }
}
