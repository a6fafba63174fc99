// The producers of one object's topics that number their messages: one row for each that published in a turn.
import type { Refusal } from "../errors.ts";
import type { ProducerSequence } from "../link/condition.ts";
import { type ProducerState, Sequences, type Stored } from "../producers/sequences.ts";
import type { TopicStore } from "./store.ts";

/** Which numbers each producer has published to each topic. */
export class TopicProducers {
  readonly #store: TopicStore;
  readonly #sequences = new Sequences();
  readonly #changed = new Set<string>();

  constructor(store: TopicStore) {
    this.#store = store;
    for (const { name, state } of store.read("producer", "SELECT name, state FROM producer ORDER BY time")) {
      this.#sequences.load(name as string, JSON.parse(state as string) as ProducerState);
    }
  }

  get dirty(): boolean {
    return this.#changed.size > 0;
  }

  /** See Sequences.check. */
  check(
    topic: string,
    sequence: ProducerSequence,
    now: number,
    windowMs: number,
  ): Stored | Refusal | undefined {
    return this.#sequences.check(nameOf(topic, sequence), sequence, now, windowMs);
  }

  /** A producer's message is published. */
  add(topic: string, sequence: ProducerSequence, stored: Stored, now: number): void {
    const name = nameOf(topic, sequence);
    const forgotten = this.#sequences.add(name, sequence, stored, now);
    this.#changed.add(name);
    if (forgotten !== undefined) this.#changed.add(forgotten);
  }

  /** The topic is deleted. */
  forget(topic: string): void {
    for (const name of this.#sequences.forget(`${topic}\0`)) this.#changed.add(name);
  }

  /** Writes what the turn changed. */
  flush(): void {
    for (const name of this.#changed) {
      const state = this.#sequences.get(name);
      if (state === undefined) this.#store.remove("producer", "DELETE FROM producer WHERE name = ?", name);
      else {
        const query = "INSERT OR REPLACE INTO producer VALUES (?, ?, ?)";
        this.#store.write("producer", query, name, state.time, JSON.stringify(state));
      }
    }
    this.#changed.clear();
  }
}

function nameOf(topic: string, { id }: ProducerSequence): string {
  return `${topic}\0${id}`;
}
