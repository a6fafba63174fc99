// Messages that go to every consumer at once under one lease: the first settle of it ends it for all of them.
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import { Book } from "./book.ts";
import type { Consumer, Consumers } from "./consumers.ts";
import type { Entry } from "./entry.ts";

/* PERSISTED as facts and in checkpoints of book 13. What is out are the leased entries whose ref is EVERYONE.
 *
 *   fact        f64 ref, f64 lease        the consumer was sent everything that is out, up to this lease
 *   checkpoint  u32 × { f64 ref, f64 lease }
 */
const NUMBER = 13;

/** In the place of a consumer's ref: the lease is held by all of them. */
export const EVERYONE = 0;

/** What is out to everyone, and how much of it each consumer was sent: always the first of it, as leases rise. */
export class Everyone extends Book {
  readonly number = NUMBER;
  /** By lease, rising. */
  readonly out = new Map<number, Entry>();
  readonly #consumers: Consumers;
  readonly #entries: ReadonlyMap<number, Entry>;
  readonly #upTo = new Map<number, number>();
  #newest = 0;

  constructor(consumers: Consumers, entries: ReadonlyMap<number, Entry>) {
    super();
    this.#consumers = consumers;
    this.#entries = entries;
  }

  /** A lease that is everyone's begins. */
  begin(entry: Entry): void {
    this.out.set(entry.lease, entry);
    this.#newest = entry.lease;
  }

  /** It ends: whoever was sent it has room for another. */
  end({ lease }: Entry): void {
    this.out.delete(lease);
    for (const consumer of this.holders(lease)) {
      consumer.used--;
      this.#consumers.lineUp(consumer);
    }
  }

  /** Those who were sent what has this lease. */
  *holders(lease: number): Generator<Consumer> {
    for (const [ref, upTo] of this.#upTo) {
      const consumer = upTo < lease ? undefined : this.#consumers.get(ref);
      if (consumer !== undefined) yield consumer;
    }
  }

  /** What a consumer was sent, or with `missing` what it was not, oldest lease first. */
  *of({ ref }: Consumer, missing: boolean): Generator<Entry> {
    const upTo = this.#upTo.get(ref) ?? 0;
    if (missing && upTo >= this.#newest) return;
    for (const [lease, entry] of this.out) if (lease > upTo === missing) yield entry;
  }

  /** A consumer was sent everything up to a lease. An HTTP call keeps its leases, and is no consumer any more. */
  sent({ ref }: Consumer, lease: number): void {
    if (ref < 0) return;
    this.note((to) => {
      to.f64(ref);
      to.f64(lease);
    });
    const before = this.#upTo.get(ref) ?? 0;
    this.#upTo.set(ref, lease);
    const consumer = this.#consumers.get(ref)!;
    for (const out of this.out.keys()) if (out > before && out <= lease) consumer.used++;
  }

  /** A consumer is gone. */
  forget(ref: number): void {
    this.#upTo.delete(ref);
  }

  override replay(fact: Reader): void {
    const consumer = this.#consumers.get(fact.f64());
    if (consumer === undefined) throw new RangeError("a fact about a consumer that is not in the books");
    this.sent(consumer, fact.f64());
  }

  override save(to: Writer): void {
    to.u32(this.#upTo.size);
    for (const [ref, lease] of this.#upTo) {
      to.f64(ref);
      to.f64(lease);
    }
  }

  override load(from: Reader): void {
    const out = [...this.#entries.values()].filter(
      ({ state, ref }) => state === "leased" && ref === EVERYONE,
    );
    for (const entry of out.sort((a, b) => a.lease - b.lease)) this.begin(entry);
    for (let left = from.u32(); left > 0; left--) this.sent(this.#consumers.get(from.f64())!, from.f64());
  }
}
