// The producers of a queue that number their messages, as a part of its books.
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import type { Refusal } from "../errors.ts";
import type { ProducerSequence } from "../link/condition.ts";
import { Sequences, type Stored } from "../producers/sequences.ts";
import { Book } from "./book.ts";

/* PERSISTED. A fact: text16 id, f64 epoch, f64 number, f64 seq, f64 time.
 * In a checkpoint: u32 × { text16 id, f64 epoch, f64 last, f64 time, u8 × { f64 first, f64 seq, f64 count } }, heard longest ago first.
 */

/** The books live exactly as long as their queue: all seqs in them are of its one epoch. */
const ONE_LIFE = 0;

/** Which numbers each producer has stored. */
export class Producers extends Book {
  readonly number = 1;
  readonly #sequences = new Sequences();

  /** See Sequences.check. */
  check(sequence: ProducerSequence, now: number, windowMs: number): Stored | Refusal | undefined {
    return this.#sequences.check(sequence.id, sequence, now, windowMs);
  }

  /** A producer's message is stored. */
  add(sequence: ProducerSequence, seq: number, now: number): void {
    this.note((to) => {
      to.text16(sequence.id);
      for (const value of [sequence.epoch, sequence.seq, seq, now]) to.f64(value);
    });
    this.#sequences.add(sequence.id, sequence, { seq, epoch: ONE_LIFE }, now);
  }

  replay(fact: Reader): void {
    const id = fact.text16();
    const sequence = { id, epoch: fact.f64(), seq: fact.f64() };
    this.add(sequence, fact.f64(), fact.f64());
  }

  save(to: Writer): void {
    to.u32(this.#sequences.size);
    for (const [id, { epoch, last, time, runs }] of this.#sequences.entries()) {
      to.text16(id);
      for (const value of [epoch, last, time]) to.f64(value);
      to.u8(runs.length);
      for (const { first, seq, count } of runs) for (const value of [first, seq, count]) to.f64(value);
    }
  }

  load(from: Reader): void {
    for (let left = from.u32(); left > 0; left--) {
      const id = from.text16();
      const state = { epoch: from.f64(), last: from.f64(), time: from.f64() };
      const runs = [];
      for (let more = from.u8(); more > 0; more--) {
        runs.push({ first: from.f64(), seq: from.f64(), count: from.f64() });
      }
      this.#sequences.load(id, { ...state, life: ONE_LIFE, runs });
    }
  }
}
