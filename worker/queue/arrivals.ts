// What other objects answered to messages that a queue sent them, for those who wait for it: in memory only.
import { MAX_ARRIVALS } from "../limits.ts";
import type { Published } from "../link/results.ts";

/** Hears the receipts of the rows it asked for, null for those that did not come. */
type Waiting = { rows: number[]; missing: Set<number>; done: (receipts: (Published[] | null)[]) => void };

/**
 * Receipts by row of the outbox; the oldest are forgotten.
 *
 * @example const giveUp = arrivals.wait([7], isWaiting, done); … arrivals.arrived(7, [{ seq: 1, epoch, duplicate: false }]);
 */
export class Arrivals {
  readonly #known = new Map<number, Published[]>();
  /** Known rows and their messages, counted together. */
  #size = 0;
  readonly #waiting = new Set<Waiting>();

  /**
   * Waits for the receipts of rows.
   *
   * @param isLeft whether a row is still in the outbox: nothing else is worth waiting for
   * @returns ends the waiting
   */
  wait(rows: number[], isLeft: (row: number) => boolean, done: Waiting["done"]): () => void {
    const missing = new Set(rows.filter((row) => !this.#known.has(row) && isLeft(row)));
    const waiting: Waiting = { rows, missing, done };
    this.#waiting.add(waiting);
    if (missing.size === 0) this.#tell(waiting);
    return () => this.#tell(waiting);
  }

  /** A row has come to where it was to go. */
  arrived(row: number, messages: Published[]): void {
    this.#known.set(row, messages);
    this.#size += 1 + messages.length;
    for (const waiting of this.#waiting) {
      if (waiting.missing.delete(row) && waiting.missing.size === 0) this.#tell(waiting);
    }
    for (const [oldest, { length }] of this.#known) {
      if (this.#size <= MAX_ARRIVALS) break;
      this.#known.delete(oldest);
      this.#size -= 1 + length;
    }
  }

  #tell(waiting: Waiting): void {
    if (!this.#waiting.delete(waiting)) return;
    waiting.done(waiting.rows.map((row) => this.#known.get(row) ?? null));
  }
}
