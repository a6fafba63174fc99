// Messages with a priority: taken from the log as they arrive, ahead of the cursor, which passes over them when it gets there.
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import { MAX_AHEAD, MAX_OUTSTANDING } from "../limits.ts";
import { Book } from "./book.ts";
import type { Entry, Taken } from "./entry.ts";
import { readTaken, writeTaken } from "./events.ts";

/* PERSISTED as facts and in checkpoints of book 11:
 *
 *   fact        f64 position, u8 level, fields of a taken message (events.ts)
 *   checkpoint  u32 × f64 position          those at or after the cursor, rising
 *               u32 × { f64 position, u8 level }   entries of a level above 0
 */
const NUMBER = 11;

/** The positions at or after the cursor that were taken, and the fact of taking one. */
export class Ahead extends Book {
  readonly number = NUMBER;
  readonly #entries: ReadonlyMap<number, Entry>;
  readonly #enter: (position: number, level: number, message: Taken) => void;
  /** Rising, from `#first` on. */
  #positions: number[] = [];
  #first = 0;
  /** The head that was found for a cursor: it stays for as long as the cursor stands still. */
  #head = { cursor: -1, position: 0 };

  /** @param enter puts a taken message into the books */
  constructor(
    entries: ReadonlyMap<number, Entry>,
    enter: (position: number, level: number, message: Taken) => void,
  ) {
    super();
    this.#entries = entries;
    this.#enter = enter;
  }

  /** Positions that the cursor has not passed yet. */
  get size(): number {
    return this.#positions.length - this.#first;
  }

  /** Whether one more may be taken: further ones wait in the log like messages without a priority. */
  get hasRoom(): boolean {
    return this.size < MAX_AHEAD && this.#entries.size < MAX_OUTSTANDING;
  }

  /** Takes the message at a position beyond all that were taken before. */
  take(position: number, level: number, message: Taken): void {
    this.note((to) => {
      to.f64(position);
      to.u8(level);
      writeTaken(to, message);
    });
    this.#positions.push(position);
    this.#enter(position, level, message);
  }

  /** Whether the message at a position was taken. */
  has(position: number): boolean {
    let low = this.#first;
    let high = this.#positions.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#positions[middle]! < position) low = middle + 1;
      else high = middle;
    }
    return this.#positions[low] === position;
  }

  /** The cursor has come to a position; with `untaken` 0 nothing but what was taken is behind it, and it goes past that. */
  pass(cursor: number, untaken: number): number {
    const positions = this.#positions;
    const end = untaken === 0 ? Math.max(cursor, 1 + (positions.at(-1) ?? -1)) : cursor;
    while (this.#first < positions.length && positions[this.#first]! < end) this.#first++;
    if (this.#first * 2 > positions.length) {
      this.#positions = positions.slice(this.#first);
      this.#first = 0;
    }
    return end;
  }

  /**
   * The first position from the cursor on that was not taken.
   *
   * @param next the first position at or after one that holds a message
   */
  head(cursor: number, next: (position: number) => number | undefined): number | undefined {
    if (this.#head.cursor === cursor) return this.#head.position;
    let position = next(cursor);
    while (position !== undefined && this.has(position)) position = next(position + 1);
    if (position !== undefined) this.#head = { cursor, position };
    return position;
  }

  override replay(fact: Reader): void {
    this.take(fact.f64(), fact.u8(), readTaken(fact));
  }

  override save(to: Writer): void {
    to.u32(this.size);
    for (let at = this.#first; at < this.#positions.length; at++) to.f64(this.#positions[at]!);
    const ranked = [...this.#entries.values()].filter(({ level }) => level > 0);
    to.u32(ranked.length);
    for (const { position, level } of ranked) {
      to.f64(position);
      to.u8(level);
    }
  }

  override load(from: Reader): void {
    for (let left = from.u32(); left > 0; left--) this.#positions.push(from.f64());
    for (let left = from.u32(); left > 0; left--) this.#entries.get(from.f64())!.level = from.u8();
  }
}
