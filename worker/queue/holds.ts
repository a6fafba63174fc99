// What a queue holds for commits that other queues decide: leases that neither end nor can be settled until the decision is known.
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import { readSettlement, type Settlement, writeSettlement } from "../link/settlement.ts";
import { Book } from "./book.ts";

/** One lease that is held: what a commit does with it, and when it would have ended. */
export interface Held {
  settlement: Settlement;
  deadline: number;
}

/** All that one transaction holds here. */
export interface Hold {
  tx: string;
  /** The queue that decides. */
  decider: string;
  /** When it is asked, ms since the epoch; Infinity when the question is on its way. */
  askAt: number;
  held: Held[];
}

/* PERSISTED. A fact: u8 kind, text16 tx, then
 *   1 held   text16 decider, f64 askAt, u32 × { settlement (link/settlement.ts), f64 deadline }    2 asked    3 ended
 * In a checkpoint: u32 × { text16 tx, as 1 }.
 */
const HELD = 1;
const ASKED = 2;
const ENDED = 3;

/** The holds of one queue. */
export class Holds extends Book {
  readonly number = 21;
  readonly #byTx = new Map<string, Hold>();
  readonly #byPosition = new Map<number, string>();

  /** Leases that are held. */
  get size(): number {
    return this.#byPosition.size;
  }

  /** When the first transaction is asked for, Infinity when none is. */
  get deadline(): number {
    let deadline = Number.POSITIVE_INFINITY;
    for (const { askAt } of this.#byTx.values()) deadline = Math.min(deadline, askAt);
    return deadline;
  }

  /** Whether the lease of the message at a position is held. */
  has(position: number): boolean {
    return this.#byPosition.has(position);
  }

  get(tx: string): Hold | undefined {
    return this.#byTx.get(tx);
  }

  /** What holds the lease of the message at a position. */
  holderOf(position: number): Hold | undefined {
    return this.#byTx.get(this.#byPosition.get(position) ?? "");
  }

  /** Transactions whose deciding queue is to be asked now. */
  due(now: number): Hold[] {
    return [...this.#byTx.values()].filter(({ askAt }) => askAt <= now);
  }

  hold(hold: Hold): void {
    this.note((to) => {
      to.u8(HELD);
      writeHold(to, hold);
    });
    this.#add(hold);
  }

  /** The question is on its way; it is repeated until it is answered. */
  asked(tx: string): void {
    this.#note(ASKED, tx);
    this.#byTx.get(tx)!.askAt = Number.POSITIVE_INFINITY;
  }

  /** The transaction is decided, and holds nothing any more. */
  end(tx: string): void {
    this.#note(ENDED, tx);
    for (const { settlement } of this.#byTx.get(tx)!.held) this.#byPosition.delete(settlement.position);
    this.#byTx.delete(tx);
  }

  replay(fact: Reader): void {
    const kind = fact.u8();
    if (kind === HELD) this.#add(readHold(fact));
    else if (kind === ASKED) this.asked(fact.text16());
    else this.end(fact.text16());
  }

  save(to: Writer): void {
    to.u32(this.#byTx.size);
    for (const hold of this.#byTx.values()) writeHold(to, hold);
  }

  load(from: Reader): void {
    for (let left = from.u32(); left > 0; left--) this.#add(readHold(from));
  }

  #note(kind: number, tx: string): void {
    this.note((to) => {
      to.u8(kind);
      to.text16(tx);
    });
  }

  #add(hold: Hold): void {
    this.#byTx.set(hold.tx, { ...hold });
    for (const { settlement } of hold.held) this.#byPosition.set(settlement.position, hold.tx);
  }
}

function writeHold(to: Writer, { tx, decider, askAt, held }: Hold): void {
  to.text16(tx);
  to.text16(decider);
  to.f64(askAt);
  to.u32(held.length);
  for (const { settlement, deadline } of held) {
    writeSettlement(to, settlement);
    to.f64(deadline);
  }
}

function readHold(from: Reader): Hold {
  const tx = from.text16();
  const decider = from.text16();
  const askAt = from.f64();
  const held: Held[] = [];
  for (let left = from.u32(); left > 0; left--) {
    held.push({ settlement: readSettlement(from), deadline: from.f64() });
  }
  return { tx, decider, askAt, held };
}
