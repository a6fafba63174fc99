// Who wants messages: consumers with credit, served in turn. Which message is next is dispatch.ts.

/** A subscription to the queue, or an HTTP call that waits for messages. */
export interface Consumer {
  /** Chosen at random by its gateway; negative for an HTTP call, which is not stored. */
  readonly ref: number;
  /** Name of the gateway that holds its connection. */
  gateway: string;
  /** Client id of whoever consumes, "" when not known. */
  client: string;
  /** A selector that its messages must match, "" for all. */
  filter: string;
  /** Most messages it may hold unsettled. */
  credit: number;
  /** Its own lease time, ms; 0: the queue's. */
  leaseMs: number;
  /** Which of its connections it delivers to. */
  generation: number;
  /** Messages it holds. */
  used: number;
  /** A consumer whose connection is lost keeps what it holds but gets nothing more. */
  paused: boolean;
  /** Whether it stands in the line of those with credit left. */
  inLine: boolean;
}

/** What is written down of a consumer. */
export type ConsumerFacts = Pick<
  Consumer,
  "ref" | "gateway" | "client" | "filter" | "credit" | "leaseMs" | "generation"
>;

/** The consumers of one queue and the line in which they are served. */
export class Consumers {
  readonly #byRef = new Map<number, Consumer>();
  #line: Consumer[] = [];
  #first = 0;
  /** The one that is served, 0: all are. */
  #only = 0;
  /** Consumers with a selector. */
  selecting = 0;
  /** Characters of their selectors. */
  filterChars = 0;
  /** How many have which selector. */
  readonly #filters = new Map<string, number>();

  get size(): number {
    return this.#byRef.size;
  }

  get(ref: number): Consumer | undefined {
    return this.#byRef.get(ref);
  }

  values(): IterableIterator<Consumer> {
    return this.#byRef.values();
  }

  add(consumer: Consumer): void {
    this.#byRef.set(consumer.ref, consumer);
    this.#count(consumer, 1);
    this.lineUp(consumer);
  }

  /** A consumer has attached again, perhaps otherwise than before. */
  change(consumer: Consumer, facts: ConsumerFacts): void {
    this.#count(consumer, -1);
    this.#count(facts, 1);
    Object.assign(consumer, facts, { paused: false });
    this.lineUp(consumer);
  }

  /** Serves this consumer alone from now on, or all of them: 0. */
  serveOnly(ref: number): void {
    if (this.#only === ref) return;
    this.#only = ref;
    for (const consumer of this.#byRef.values()) this.lineUp(consumer);
  }

  remove(ref: number): Consumer | undefined {
    const consumer = this.#byRef.get(ref);
    if (consumer !== undefined) {
      this.#byRef.delete(ref);
      this.#count(consumer, -1);
      consumer.paused = true;
    }
    return consumer;
  }

  /** How many selectors there are once one more consumer, or a known one instead of its own, has this one. */
  filtersWith(filter: string, known: Pick<Consumer, "filter"> | undefined): number {
    const isNew = filter !== "" && !this.#filters.has(filter);
    const isLast = known !== undefined && known.filter !== filter && this.#filters.get(known.filter) === 1;
    return this.#filters.size + Number(isNew) - Number(isLast);
  }

  /** Puts a consumer at the end of the line if it can take a message and does not stand there. */
  lineUp(consumer: Consumer): void {
    if (consumer.inLine || !this.#canTake(consumer)) return;
    consumer.inLine = true;
    this.#line.push(consumer);
  }

  /** Takes the first consumer that can take a message out of the line. Give it its message, then `lineUp` it again. */
  next(): Consumer | undefined {
    while (this.#first < this.#line.length) {
      const consumer = this.#line[this.#first++]!;
      consumer.inLine = false;
      if (this.#first > 64 && this.#first * 2 > this.#line.length) {
        this.#line = this.#line.slice(this.#first);
        this.#first = 0;
      }
      if (this.#canTake(consumer)) return consumer;
    }
    return undefined;
  }

  /** Puts consumers that `next` gave and that got nothing back to the front of the line. */
  putBack(consumers: Consumer[]): void {
    if (consumers.length === 0) return;
    for (const consumer of consumers) consumer.inLine = true;
    this.#line = [...consumers, ...this.#line.slice(this.#first)];
    this.#first = 0;
  }

  /** Lets the line begin behind a consumer, as it did when that one was served last. */
  beginAfter(ref: number): void {
    const line = this.#line.slice(this.#first);
    const at = line.findIndex((consumer) => consumer.ref === ref);
    this.#line = [...line.slice(at + 1), ...line.slice(0, at + 1)];
    this.#first = 0;
  }

  /** Whether a subscription is here, connected or not. */
  get attached(): boolean {
    for (const { ref } of this.#byRef.values()) if (ref > 0) return true;
    return false;
  }

  /** Whether somebody is here who takes messages, with credit left or not. */
  get anyone(): boolean {
    for (const { paused } of this.#byRef.values()) if (!paused) return true;
    return false;
  }

  /** Whether somebody can take a message. */
  get waiting(): boolean {
    for (let at = this.#first; at < this.#line.length; at++) if (this.#canTake(this.#line[at]!)) return true;
    return false;
  }

  #count({ filter }: Pick<Consumer, "filter">, by: 1 | -1): void {
    if (filter === "") return;
    this.selecting += by;
    this.filterChars += by * filter.length;
    const count = (this.#filters.get(filter) ?? 0) + by;
    if (count > 0) this.#filters.set(filter, count);
    else this.#filters.delete(filter);
  }

  #canTake({ ref, paused, used, credit }: Consumer): boolean {
    return !paused && used < credit && (this.#only === 0 || this.#only === ref);
  }
}
