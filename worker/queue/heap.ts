// A binary min-heap of numbers that carry a number: deadlines with positions. Entries are never removed from the middle;
// whoever pops one asks whether it still holds.

/**
 * Smallest key first, of equal keys the smallest value: the order does not depend on when what was pushed.
 *
 * @example heap.push(dueAt, position); while (heap.key <= now) wake(heap.pop());
 */
export class Heap {
  #keys: number[] = [];
  #values: number[] = [];

  get size(): number {
    return this.#keys.length;
  }

  /** The smallest key, Infinity when empty. */
  get key(): number {
    return this.#keys[0] ?? Number.POSITIVE_INFINITY;
  }

  /** The value of the smallest key, NaN when empty. */
  get value(): number {
    return this.#values[0] ?? Number.NaN;
  }

  push(key: number, value: number): void {
    const keys = this.#keys;
    const values = this.#values;
    let at = keys.length;
    keys.push(key);
    values.push(value);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(key, value, keys[parent]!, values[parent]!)) break;
      keys[at] = keys[parent]!;
      values[at] = values[parent]!;
      at = parent;
    }
    keys[at] = key;
    values[at] = value;
  }

  /** Removes the smallest key and returns its value, NaN when empty. */
  pop(): number {
    const top = this.value;
    const key = this.#keys.pop();
    const value = this.#values.pop();
    if (key !== undefined && value !== undefined && this.#keys.length > 0) this.#sink(key, value);
    return top;
  }

  clear(): void {
    this.#keys = [];
    this.#values = [];
  }

  #sink(key: number, value: number): void {
    const keys = this.#keys;
    const values = this.#values;
    const half = keys.length >> 1;
    let at = 0;
    while (at < half) {
      let child = 2 * at + 1;
      const right = child + 1;
      if (right < keys.length && before(keys[right]!, values[right]!, keys[child]!, values[child]!))
        child = right;
      if (!before(keys[child]!, values[child]!, key, value)) break;
      keys[at] = keys[child]!;
      values[at] = values[child]!;
      at = child;
    }
    keys[at] = key;
    values[at] = value;
  }
}

function before(key: number, value: number, otherKey: number, otherValue: number): boolean {
  return key < otherKey || (key === otherKey && value < otherValue);
}
