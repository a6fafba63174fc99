// Transactions that a queue has promised never to commit: one that somebody asked for before its commit came.
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import { ABORT_MEMORY_MS, MAX_ABORTS } from "../limits.ts";
import { Book } from "./book.ts";

/* PERSISTED. A fact: text16 tx, f64 time. In a checkpoint: u32 × the same, oldest first. */

/** The aborted transactions of one queue. No commit is on its way for longer than they are remembered. */
export class Aborts extends Book {
  readonly number = 20;
  /** When each was aborted, oldest first. */
  readonly #times = new Map<string, number>();

  has(tx: string): boolean {
    return this.#times.has(tx);
  }

  /** Whether one more can be remembered; if not, whoever asks must ask again later. */
  hasRoom(now: number): boolean {
    const oldest = this.#times.values().next().value;
    return this.#times.size < MAX_ABORTS || isOver(oldest!, now);
  }

  add(tx: string, now: number): void {
    this.note((to) => write(to, tx, now));
    this.#add(tx, now);
  }

  replay(fact: Reader): void {
    this.add(fact.text16(), fact.f64());
  }

  save(to: Writer): void {
    to.u32(this.#times.size);
    for (const [tx, time] of this.#times) write(to, tx, time);
  }

  load(from: Reader): void {
    for (let left = from.u32(); left > 0; left--) this.#times.set(from.text16(), from.f64());
  }

  #add(tx: string, now: number): void {
    for (const [oldest, time] of this.#times) {
      if (!isOver(time, now)) break;
      this.#times.delete(oldest);
    }
    this.#times.delete(tx);
    this.#times.set(tx, now);
  }
}

function isOver(time: number, now: number): boolean {
  return time <= now - ABORT_MEMORY_MS;
}

function write(to: Writer, tx: string, time: number): void {
  to.text16(tx);
  to.f64(time);
}
