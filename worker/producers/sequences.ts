// What producers that number their messages have stored: each number once, in order, and nothing of a producer's former lives.
import { type Refusal, refuse } from "../errors.ts";
import { MAX_PRODUCERS } from "../limits.ts";
import type { ProducerSequence } from "../link/condition.ts";

/** Consecutive numbers of a producer that were stored under consecutive seqs. */
interface Run {
  first: number;
  seq: number;
  count: number;
}

/** What is known of one producer. */
export interface ProducerState {
  epoch: number;
  /** The last number stored. */
  last: number;
  /** When that was, ms since the epoch. */
  time: number;
  /** The epoch of the queue or topic that the seqs below count in. */
  life: number;
  /** The latest ones: which number got which seq. */
  runs: Run[];
}

/** Where a message is in its queue or topic. */
export interface Stored {
  /** 0: not remembered any more. */
  seq: number;
  epoch: number;
}

/** Runs that are remembered of one producer; a repetition of an older number is answered without its seq. */
const MAX_RUNS = 8;

/**
 * The producers of one address.
 *
 * @example sequences.check("shop", sequence, now, windowMs) ?? sequences.add("shop", sequence, seq, now);
 */
export class Sequences {
  /** By name; those heard longest ago first. */
  readonly #states = new Map<string, ProducerState>();

  get size(): number {
    return this.#states.size;
  }

  /** All producers, those heard longest ago first. */
  entries(): IterableIterator<[string, ProducerState]> {
    return this.#states.entries();
  }

  get(name: string): ProducerState | undefined {
    return this.#states.get(name);
  }

  /** Takes up what was known before. */
  load(name: string, state: ProducerState): void {
    this.#states.set(name, state);
  }

  /**
   * What becomes of a message with this number.
   *
   * @param name the producer, unique among those of this object
   * @param windowMs a producer heard within this time is not forgotten for another
   * @returns where the number was stored before, why the message is refused (`fenced`, `out-of-sequence`, `too-many`), or undefined:
   *   it is the next one
   */
  check(
    name: string,
    { epoch, seq }: ProducerSequence,
    now: number,
    windowMs: number,
  ): Stored | Refusal | undefined {
    const state = this.#states.get(name);
    if (state !== undefined && epoch < state.epoch) {
      return refuse("fenced", `the producer's epoch is ${epoch}, a later life of it has ${state.epoch}`);
    }
    const last = state?.epoch === epoch ? state.last : 0;
    if (seq <= last) return { seq: seqOf(state!, seq), epoch: state!.life };
    if (seq > last + 1) {
      return refuse("out-of-sequence", `the producer's seq is ${seq}, the next one must be ${last + 1}`);
    }
    if (state !== undefined || this.#states.size < MAX_PRODUCERS) return undefined;
    const [, oldest] = this.#states.entries().next().value!;
    if (oldest.time <= now - windowMs) return undefined;
    return refuse("too-many", `${MAX_PRODUCERS} producers were heard lately, which is the limit`, 10_000);
  }

  /** Forgets the producers of which the name begins so. @returns their names */
  forget(prefix: string): string[] {
    const gone = [...this.#states.keys()].filter((name) => name.startsWith(prefix));
    for (const name of gone) this.#states.delete(name);
    return gone;
  }

  /** The message is stored. @returns a producer that is forgotten for it */
  add(
    name: string,
    { epoch, seq: number }: ProducerSequence,
    { seq, epoch: life }: Stored,
    now: number,
  ): string | undefined {
    const known = this.#states.get(name);
    const runs = known?.epoch === epoch && known.life === life ? known.runs : [];
    const run = runs.at(-1);
    if (run !== undefined && run.first + run.count === number && run.seq + run.count === seq) run.count++;
    else runs.push({ first: number, seq, count: 1 });
    if (runs.length > MAX_RUNS) runs.shift();
    this.#states.delete(name);
    this.#states.set(name, { epoch, last: number, time: now, life, runs });
    if (this.#states.size <= MAX_PRODUCERS) return undefined;
    const oldest = this.#states.keys().next().value!;
    this.#states.delete(oldest);
    return oldest;
  }
}

function seqOf({ runs }: ProducerState, number: number): number {
  const run = runs.find(({ first, count }) => number >= first && number < first + count);
  return run === undefined ? 0 : run.seq + number - run.first;
}
