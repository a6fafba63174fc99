// Which leases of a subscription were settled lately.

/** Leases in each half of the memory: many more than are settled while a packet waits for the ones before it. */
const MAX_RECENT = 10_000;

/**
 * The newest leases that were added, at least MAX_RECENT of them.
 *
 * @example recent.add(lease); recent.has(lease) // true, and false once 20,000 others have come
 */
export class Recent {
  #newer = new Set<number>();
  #older = new Set<number>();

  add(lease: number): void {
    if (this.#newer.size >= MAX_RECENT) {
      this.#older = this.#newer;
      this.#newer = new Set();
    }
    this.#newer.add(lease);
  }

  has(lease: number): boolean {
    return this.#newer.has(lease) || this.#older.has(lease);
  }
}
