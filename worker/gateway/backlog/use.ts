// What of a backlog is in use: segments of the log that somebody is owed something of, and options that somebody is owed with.
import type { Books } from "./books.ts";

/** What is in use. */
export interface Use {
  options: Set<number>;
  /** How many runs the waiting messages of all sessions take. */
  runs: number;
  /** Whether somebody is owed a record of a stretch that begins at one of the positions given. */
  needed(from: number): boolean;
}

/** Looks through all that is owed. `starts` are the first positions of the segments, rising. */
export function findUse(books: Books, starts: readonly number[]): Use {
  const options = new Set<number>();
  const needed = new Set<number>();
  let runs = 0;
  const mark = (position: number, count: number) => {
    let segment = segmentAt(starts, position);
    needed.add(starts[segment]!);
    while (segment + 1 < starts.length && starts[segment + 1]! < position + count)
      needed.add(starts[++segment]!);
  };
  for (const { outgoing } of books.sessions.values()) {
    for (const flight of outgoing.flights.values()) {
      options.add(flight.options);
      if (flight.position > 0) mark(flight.position, 1);
    }
    runs += outgoing.queue.runs;
    for (const [, position, count, option] of outgoing.queue.list()) {
      options.add(option);
      mark(position, count);
    }
  }
  return { options, runs, needed: (from) => needed.has(from) };
}

function segmentAt(starts: readonly number[], position: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle]! <= position) low = middle;
    else high = middle - 1;
  }
  return low;
}
