// The answers to the objects of one frame leave in the order of the objects, as few frames as possible.
import type { Connection } from "../../gateway/connection.ts";

/** Takes the answer to one object, once; undefined when it gets none. */
export type Answer = (text: string | undefined) => void;

const PENDING = Symbol("pending");

/** The answers to one frame. Whatever is complete from its beginning on is written; the flush makes one frame of it. */
export class Answers {
  readonly #connection: Connection;
  readonly #texts: (string | undefined | typeof PENDING)[];
  #written = 0;

  constructor(connection: Connection, count: number) {
    this.#connection = connection;
    this.#texts = new Array(count).fill(PENDING);
    connection.waiting += count;
  }

  /** Where the answer to the object at `index` goes. */
  at(index: number): Answer {
    return (text) => {
      this.#texts[index] = text;
      this.#connection.waiting--;
      if (index === this.#written) this.#release();
    };
  }

  #release(): void {
    for (; this.#written < this.#texts.length; this.#written++) {
      const text = this.#texts[this.#written];
      if (text === PENDING) return;
      if (text !== undefined) this.#connection.write(text);
    }
  }
}
