// The times at which something happens to the messages of a queue's books.
import type { Entry } from "./entry.ts";
import type { Heap } from "./heap.ts";

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
