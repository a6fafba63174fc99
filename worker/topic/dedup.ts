// The dedup window of a topic object: which publisher-chosen message ids came lately, per topic, and what was answered.
import { MAX_DEDUP_IDS } from "../limits.ts";
import { RecordView } from "../message/record.ts";

/** What the first message under an id got. */
export interface Remembered {
  epoch: number;
  seq: number;
  /** When it came, ms since the epoch. */
  time: number;
}

interface Entry extends Remembered {
  key: string;
}

/**
 * Ids in the order they came, of all topics together; the oldest leave when they are too old or too many.
 *
 * @example dedup.find("news", "n-7", now, 300_000) ?? dedup.add("news", "n-7", { epoch, seq, time: now })
 */
export class TopicDedup {
  readonly #ids = new Map<string, Entry>();
  /** In the order they came, from `#first` on. */
  #order: Entry[] = [];
  #first = 0;
  #forgottenUntil = 0;

  /** What was answered to an id within the window. */
  find(topic: string, messageId: string, now: number, windowMs: number): Remembered | undefined {
    const found = this.#ids.get(keyOf(topic, messageId));
    return found !== undefined && found.time > now - windowMs ? found : undefined;
  }

  add(topic: string, messageId: string, { epoch, seq, time }: Remembered): void {
    const entry = { key: keyOf(topic, messageId), epoch, seq, time };
    this.#ids.set(entry.key, entry);
    this.#order.push(entry);
    if (this.#order.length - this.#first <= MAX_DEDUP_IDS) return;
    this.#forgottenUntil = this.#order[this.#first]!.time;
    this.#forgetFirst();
  }

  /**
   * Reads back what came after a time from wherever it was stored, in any order and more than once.
   *
   * @param removed the last epochs of topics that were deleted
   */
  load(batches: Iterable<Uint8Array>, notBefore: number, removed: ReadonlyMap<string, number>): void {
    const found = new Map<string, Remembered & { topic: string; messageId: string }>();
    for (const records of batches) {
      for (const view = new RecordView(records); view.valid; view.next()) {
        const { time, seq, epoch, topic, messageId } = view;
        if (!view.publisherId || time <= notBefore || epoch <= (removed.get(topic) ?? 0)) continue;
        const key = `${topic}\0${messageId}\0${epoch}\0${seq}`;
        found.set(key, { topic, messageId, epoch, seq, time });
      }
    }
    const ids = [...found.values()].sort((a, b) => a.time - b.time || a.seq - b.seq);
    for (const { topic, messageId, ...id } of ids) this.add(topic, messageId, id);
  }

  /** Ids of topics with this window that came at or before this time are not needed: too old, or forgotten because of too many. */
  notNeeded(now: number, windowMs: number): number {
    // Of the millisecond of the last one that was forgotten there may be more.
    return Math.max(now - windowMs, this.#forgottenUntil - 1);
  }

  /** Forgets ids older than the longest window of any topic. */
  trim(notAfter: number): void {
    for (let first = this.#order[this.#first]; first !== undefined; first = this.#order[this.#first]) {
      if (first.time > notAfter) return;
      this.#forgetFirst();
    }
  }

  /** Forgets all ids of a topic. */
  forget(topic: string): void {
    const prefix = keyOf(topic, "");
    for (const key of this.#ids.keys()) if (key.startsWith(prefix)) this.#ids.delete(key);
  }

  #forgetFirst(): void {
    const first = this.#order[this.#first++]!;
    // The same id may have come again after its time.
    if (this.#ids.get(first.key) === first) this.#ids.delete(first.key);
    if (this.#first * 2 > this.#order.length) {
      this.#order = this.#order.slice(this.#first);
      this.#first = 0;
    }
  }
}

/** Names hold no NUL. */
function keyOf(topic: string, messageId: string): string {
  return `${topic}\0${messageId}`;
}
