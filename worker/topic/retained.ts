// The retained messages of a topic object: the last one that each topic was asked to keep.

import { type Refusal, refuse } from "../errors.ts";
import { isExact, matches } from "../filter/filter.ts";
import { MAX_RETAINED } from "../limits.ts";
import { RecordView } from "../message/record.ts";
import type { TopicStore } from "./store.ts";

/** Retained messages by topic. Names are in memory, messages on disk; what a turn changes is written at its end, once per topic. */
export class Retained {
  readonly #store: TopicStore;
  /** When each expires, ms since the epoch; 0: never. */
  readonly #expires = new Map<string, number>();
  /** What this turn changes; null: removed. */
  readonly #pending = new Map<string, Uint8Array | null>();

  constructor(store: TopicStore) {
    this.#store = store;
    for (const row of store.read("retained", "SELECT name, expires FROM retained")) {
      this.#expires.set(row.name as string, row.expires as number);
    }
  }

  get count(): number {
    return this.#expires.size;
  }

  get dirty(): boolean {
    return this.#pending.size > 0;
  }

  has(topic: string): boolean {
    return this.#expires.has(topic);
  }

  /** Refuses one topic more than the limit. */
  check(topic: string): Refusal | undefined {
    if (this.#expires.size < MAX_RETAINED || this.#expires.has(topic)) return undefined;
    return refuse(
      "too-many",
      `${MAX_RETAINED} topics have a retained message here, which is the limit`,
      10_000,
    );
  }

  /** Keeps a message. [MQTT-3.3.1-5] */
  set(topic: string, view: RecordView): void {
    this.#expires.set(topic, view.expiresAt);
    this.#pending.set(topic, view.record.slice());
  }

  /** Removes what a topic keeps. [MQTT-3.3.1-6] */
  remove(topic: string): void {
    if (this.#expires.delete(topic)) this.#pending.set(topic, null);
  }

  /** The retained message of a topic as a record. One that has expired is gone with this turn. */
  get(topic: string, now: number): Uint8Array | undefined {
    const expiresAt = this.#expires.get(topic);
    if (expiresAt === undefined) return undefined;
    if (expiresAt > 0 && expiresAt <= now) {
      this.remove(topic);
      return undefined;
    }
    const pending = this.#pending.get(topic);
    if (pending !== undefined) return pending ?? undefined;
    const [row] = this.#store.read("retained", "SELECT data FROM retained WHERE name = ?", topic);
    return row?.data as Uint8Array | undefined;
  }

  /** Topics with a retained message that a filter matches, after `after`, by name. */
  matching(filter: string, after = ""): string[] {
    if (isExact(filter)) return this.#expires.has(filter) && filter > after ? [filter] : [];
    const found: string[] = [];
    for (const topic of this.#expires.keys()) if (topic > after && matches(filter, topic)) found.push(topic);
    return found.sort();
  }

  /** Records with publishers' ids that came after a time. */
  *remembered(notBefore: number): Generator<Uint8Array> {
    const rows = this.#store.read("retained", "SELECT data FROM retained WHERE remembered > ?", notBefore);
    for (const row of rows) yield row.data as Uint8Array;
  }

  /** Writes what the turn changed. */
  flush(): void {
    for (const [topic, record] of this.#pending) {
      if (record === null) {
        this.#store.remove("retained", "DELETE FROM retained WHERE name = ?", topic);
        continue;
      }
      const view = new RecordView(record);
      this.#store.write(
        "retained",
        "INSERT OR REPLACE INTO retained VALUES (?, ?, ?, ?)",
        topic,
        view.expiresAt,
        view.publisherId ? view.time : 0,
        record,
      );
    }
    this.#pending.clear();
  }
}
