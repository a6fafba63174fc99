// The options that messages are owed with, each different set of them once: a session's entries tell them by number.
import type { Options } from "./owed.ts";

/** Numbers for options. What nothing refers to any more leaves with `keepOnly`, so the table is no larger than what is owed. */
export class OptionTable {
  readonly #numbers = new Map<string, number>();
  readonly #options = new Map<number, Options>();
  #nextNumber = 1;
  /** The number asked for last: a message goes to many sessions in the same way. */
  #last = 0;

  /** The number of some options; the same for equal ones. */
  number(options: Options): number {
    const { qos, retain, subscriptionIds } = options;
    const last = this.#options.get(this.#last);
    if (last !== undefined && last.qos === qos && last.retain === retain) {
      if (same(last.subscriptionIds, subscriptionIds)) return this.#last;
    }
    const key = `${qos}${retain ? "r" : ""}:${subscriptionIds.join()}`;
    const known = this.#numbers.get(key);
    if (known !== undefined) {
      this.#last = known;
      return known;
    }
    const number = this.#nextNumber++;
    this.#last = number;
    this.#numbers.set(key, number);
    this.#options.set(number, { qos, retain, subscriptionIds: [...subscriptionIds] });
    return number;
  }

  /** The options of a number that is in use. */
  get(number: number): Options {
    return this.#options.get(number)!;
  }

  /** Forgets the options whose numbers are not among these. */
  keepOnly(used: ReadonlySet<number>): void {
    for (const [key, number] of this.#numbers) {
      if (used.has(number)) continue;
      this.#numbers.delete(key);
      this.#options.delete(number);
    }
  }

  get size(): number {
    return this.#options.size;
  }
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, at) => id === b[at]);
}
