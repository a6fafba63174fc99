// The dedup window: which publisher-chosen message ids were stored lately, and under which seq.
import { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import { MAX_DEDUP_IDS } from "../limits.ts";

interface Remembered {
  messageId: string;
  seq: number;
  time: number;
  /** Turn of the row that holds the id: rows of the window outlive their messages. */
  turn: number;
}

/* PERSISTED in the `ids` column of the log: f64 time, then until the end { f64 seq, text16 messageId }. */

/** Writes the head of a row's ids. */
export function beginIds(to: Writer, time: number): void {
  to.f64(time);
}

/** Appends one id. */
export function addId(to: Writer, seq: number, messageId: string): void {
  to.f64(seq);
  to.text16(messageId);
}

/**
 * Ids in the order they came; the oldest leave when they are too old or too many.
 *
 * @example dedup.find("order-7", now, 300_000) ?? dedup.add("order-7", seq, now, turn)
 */
export class DedupWindow {
  readonly #ids = new Map<string, Remembered>();
  /** In the order they came, from `#first` on. A Map has this order too, but finding its first key again and again is slow. */
  #order: Remembered[] = [];
  #first = 0;

  /** Fills the window from the log, newest row first, as far back as the window reaches. */
  load(rows: Iterable<{ turn: number; ids: Uint8Array }>, notBefore: number): void {
    const newestFirst: { turn: number; time: number; seq: number; messageId: string }[][] = [];
    let count = 0;
    for (const { turn, ids } of rows) {
      const from = new Reader(ids);
      const time = from.f64();
      if (time < notBefore || count >= MAX_DEDUP_IDS) break;
      const row = [];
      while (!from.done) row.push({ turn, time, seq: from.f64(), messageId: from.text16() });
      count += row.length;
      newestFirst.push(row);
    }
    for (const row of newestFirst.reverse()) {
      for (const { messageId, seq, time, turn } of row) this.add(messageId, seq, time, turn);
    }
  }

  /** The seq under which an id was stored within the window. */
  find(messageId: string, now: number, windowMs: number): number | undefined {
    const found = this.#ids.get(messageId);
    return found !== undefined && found.time > now - windowMs ? found.seq : undefined;
  }

  add(messageId: string, seq: number, time: number, turn: number): void {
    const remembered = { messageId, seq, time, turn };
    this.#ids.set(messageId, remembered);
    this.#order.push(remembered);
    if (this.#order.length - this.#first > MAX_DEDUP_IDS) this.#forgetFirst();
  }

  /** Forgets ids that left the window; returns the turn of the oldest that is left, Infinity when none is. */
  trim(now: number, windowMs: number): number {
    for (let first = this.#order[this.#first]; first !== undefined; first = this.#order[this.#first]) {
      if (first.time > now - windowMs) return first.turn;
      this.#forgetFirst();
    }
    return Number.POSITIVE_INFINITY;
  }

  #forgetFirst(): void {
    const first = this.#order[this.#first++]!;
    // The same id may have come again after its time.
    if (this.#ids.get(first.messageId) === first) this.#ids.delete(first.messageId);
    if (this.#first * 2 > this.#order.length) {
      this.#order = this.#order.slice(this.#first);
      this.#first = 0;
    }
  }
}
