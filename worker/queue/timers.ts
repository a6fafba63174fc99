// The times at which something happens to the messages of a queue's books.
import type { Entry } from "./entry.ts";
import type { Heap } from "./heap.ts";
import type { Ledger } from "./ledger.ts";
import type { Turn } from "./turn.ts";

/** A part of the books that time moves by itself. */
export interface Timed {
  /** When it is due next, ms since the epoch; Infinity when never. */
  deadline(ledger: Ledger): number;
  /** Does what is due by `turn.now`. */
  run(turn: Turn): void;
}

/**
 * Makes the timers anew when they outnumber the entries by far: stale ones would pile up behind a long lease.
 *
 * @param except the entry whose timer is about to be set
 */
export function pruneTimers(timers: Heap, entries: ReadonlyMap<number, Entry>, except: number): void {
  if (timers.size <= 4 * entries.size + 1_024) return;
  timers.clear();
  for (const entry of entries.values()) {
    if (entry.deadline > 0 && entry.position !== except) timers.push(entry.deadline, entry.position);
    if (entry.expiresAt > 0) timers.push(entry.expiresAt, entry.position);
  }
}
