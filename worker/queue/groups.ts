// Who of a group goes, and who waits behind it.
import type { Entry } from "./entry.ts";

/** Positions of parked messages by group, in their order; a group is here while one of its messages is in the books. */
export class Groups {
  readonly #behind = new Map<string, number[]>();

  /** The parked messages of each group. */
  values(): IterableIterator<readonly number[]> {
    return this.#behind.values();
  }

  /** A message of a group has come; whether another of the group is before it. */
  join({ group, position }: Entry): boolean {
    const behind = this.#behind.get(group);
    if (behind === undefined) this.#behind.set(group, []);
    else behind.push(position);
    return behind !== undefined;
  }

  /** A message of a group is done: the position of the one that is at the head of the group now, if that is another. */
  leave({ group, position, state }: Entry): number | undefined {
    const behind = this.#behind.get(group)!;
    const at = state === "parked" ? behind.indexOf(position) : -1;
    if (at >= 0) {
      behind.splice(at, 1);
      return undefined;
    }
    const next = behind.shift();
    if (next === undefined) this.#behind.delete(group);
    return next;
  }

  /** Derives the groups from the entries, whose order is the order within each group. */
  rebuild(entries: Iterable<Entry>): void {
    this.#behind.clear();
    for (const entry of entries) if (entry.group !== "") this.join(entry);
  }
}
