// Which transfers of other objects a topic object has taken: each is taken once, however often it is sent.
import { MAX_SOURCES } from "../limits.ts";
import type { TopicStore } from "./store.ts";

/** The last transfer taken from each source. */
export class TopicSources {
  readonly #store: TopicStore;
  /** Those heard longest ago first. */
  readonly #last = new Map<string, number>();
  readonly #changed = new Set<string>();

  constructor(store: TopicStore) {
    this.#store = store;
    for (const { name, id } of store.read("source", "SELECT name, id FROM source ORDER BY id")) {
      this.#last.set(name as string, id as number);
    }
  }

  get dirty(): boolean {
    return this.#changed.size > 0;
  }

  /** Takes a transfer, unless it or a later one was taken before; `id` rises with every transfer of one source. */
  take(source: string, id: number): boolean {
    if (id <= (this.#last.get(source) ?? 0)) return false;
    this.#last.delete(source);
    this.#last.set(source, id);
    this.#changed.add(source);
    if (this.#last.size > MAX_SOURCES) this.#forget(this.#last.keys().next().value!);
    return true;
  }

  /** Writes what the turn changed. */
  flush(): void {
    for (const source of this.#changed) {
      const id = this.#last.get(source);
      if (id === undefined) this.#store.remove("source", "DELETE FROM source WHERE name = ?", source);
      else this.#store.write("source", "INSERT OR REPLACE INTO source VALUES (?, ?)", source, id);
    }
    this.#changed.clear();
  }

  #forget(source: string): void {
    this.#last.delete(source);
    this.#changed.add(source);
  }
}
