// Messages that wait, as runs: a session that is owed every record of a stretch of the log holds four numbers for all of it.

/** Numbers of a run: index of its first message in the session, position of its first record, how many, number of its options. */
const STRIDE = 4;

/** One message of a list. */
export interface Entry {
  /** The session's own number of the message: 0, 1, 2, … */
  index: number;
  position: number;
  /** Number in the OptionTable. */
  options: number;
}

/** Entries in the order of their index, taken from the front, added at the end. */
export class RunList {
  #runs: number[] = [];
  /** Where the first run begins in `#runs`. */
  #head = 0;
  /** How many entries there are. */
  size = 0;

  /** How many runs hold them: what the list costs. */
  get runs(): number {
    return (this.#runs.length - this.#head) / STRIDE;
  }

  /** Adds entries at the end, `index`, `position` and `index + 1`, `position + 1` and so on; whether they began a run. */
  push(index: number, position: number, options: number, count = 1): boolean {
    const runs = this.#runs;
    const last = runs.length - STRIDE;
    this.size += count;
    if (last >= this.#head) {
      const length = runs[last + 2]!;
      const follows = runs[last]! + length === index && runs[last + 1]! + length === position;
      if (follows && runs[last + 3] === options) {
        runs[last + 2] = length + count;
        return false;
      }
    }
    runs.push(index, position, count, options);
    return true;
  }

  /** The index of the first entry; the list must not be empty. */
  get firstIndex(): number {
    return this.#runs[this.#head]!;
  }

  /** Takes the first entry. */
  shift(): Entry | undefined {
    if (this.size === 0) return undefined;
    const runs = this.#runs;
    const head = this.#head;
    const entry = { index: runs[head]!, position: runs[head + 1]!, options: runs[head + 3]! };
    this.size--;
    if (runs[head + 2] === 1) {
      this.#head += STRIDE;
      if (this.#head * 2 >= runs.length) this.#compact();
    } else {
      runs[head]!++;
      runs[head + 1]!++;
      runs[head + 2]!--;
    }
    return entry;
  }

  /** Removes the entries of which `leaves` says so, and tells each. Runs outside the positions given are not looked into. */
  remove(leaves: (entry: Entry) => boolean, fromPosition: number, toPosition: number): void {
    const kept = new RunList();
    for (const [index, position, count, options] of this.list()) {
      if (position + count <= fromPosition || position >= toPosition) {
        kept.push(index, position, options, count);
        continue;
      }
      for (let at = 0; at < count; at++) {
        const entry = { index: index + at, position: position + at, options };
        if (!leaves(entry)) kept.push(entry.index, entry.position, options);
      }
    }
    this.#runs = kept.#runs;
    this.#head = 0;
    this.size = kept.size;
  }

  /** Each run: index, position, count, options. */
  *list(): Generator<[index: number, position: number, count: number, options: number]> {
    const runs = this.#runs;
    for (let at = this.#head; at < runs.length; at += STRIDE) {
      yield [runs[at]!, runs[at + 1]!, runs[at + 2]!, runs[at + 3]!];
    }
  }

  /** The numbers of one run. */
  run(number: number): [index: number, position: number, count: number, options: number] {
    const runs = this.#runs;
    const at = this.#head + number * STRIDE;
    return [runs[at]!, runs[at + 1]!, runs[at + 2]!, runs[at + 3]!];
  }

  clear(): void {
    this.#runs.length = 0;
    this.#head = 0;
    this.size = 0;
  }

  #compact(): void {
    this.#runs = this.#runs.slice(this.#head);
    this.#head = 0;
  }
}
