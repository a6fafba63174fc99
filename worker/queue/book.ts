// A part of a queue's books with facts of its own: what is in the ledger beside messages, leases and consumers.
import { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import type { EventWriter } from "./events.ts";

/**
 * One part of the books. Its methods that change it are facts: each notes itself, and replaying the notes rebuilds the same book.
 *
 * @example class Tally extends Book { add() { this.note((to) => to.u8(1)); this.count++; } replay(fact) { fact.u8(); this.add(); } … }
 */
export abstract class Book {
  /** Stands before its facts and its part of a checkpoint; never reused. 0 to 255. */
  abstract readonly number: number;
  #journal: EventWriter | undefined;

  /** From now on facts are recorded to this writer (undefined while old facts are replayed). */
  record(journal: EventWriter | undefined): void {
    this.#journal = journal;
  }

  /** Replays one fact from its bytes. */
  abstract replay(fact: Reader): void;
  /** PERSISTED in checkpoints: the whole book. */
  abstract save(to: Writer): void;
  /** The opposite of `save`, into an empty book. */
  abstract load(from: Reader): void;

  /** Records a fact: `write` appends its bytes. */
  protected note(write: (to: Writer) => void): void {
    this.#journal?.noted(this.number, write);
  }
}

/** All such parts of one queue. */
export class Books {
  readonly #books: readonly Book[];

  constructor(books: readonly Book[]) {
    this.#books = books;
  }

  /** From now on facts are recorded to this writer (undefined while old facts are replayed). */
  record(journal: EventWriter | undefined): void {
    for (const book of this.#books) book.record(journal);
  }

  /**
   * Replays one fact: its book's number, its length, its bytes.
   *
   * @throws RangeError on a book this version does not know: the data was written by a later one
   */
  replay(from: Reader): void {
    this.#get(from.u8()).replay(new Reader(from.raw(from.u32())));
  }

  /** PERSISTED in checkpoints: u8 count × { u8 book, u32 length, what that book saves }. */
  save(to: Writer): void {
    to.u8(this.#books.length);
    for (const book of this.#books) {
      to.u8(book.number);
      to.u32(0);
      const start = to.length;
      book.save(to);
      to.patchU32(start - 4, to.length - start);
    }
  }

  /** The opposite of `save`. */
  load(from: Reader): void {
    for (let left = from.u8(); left > 0; left--) {
      this.#get(from.u8()).load(new Reader(from.raw(from.u32())));
    }
  }

  #get(number: number): Book {
    const found = this.#books.find((book) => book.number === number);
    if (found === undefined) throw new RangeError(`a queue has no book ${number}`);
    return found;
  }
}
