// Puts the packets of one queue or Topic object in order: some come as its calls, some ride on the answers to this gateway's own calls, and
// the two ways may overtake each other.

/** How long a packet waits for the ones before it; they are lost then, with the answer they rode on. */
const PATIENCE_MS = 2_000;
/** Objects whose packets are kept in order at once; one that is forgotten begins anew with its next packet. */
const MAX_ORDERS = 1_000;

/** A packet's place: the life of the object that sent it, and its number there. */
interface Numbered {
  readonly stream: number;
  readonly number: number;
}

/**
 * The order of one object's packets.
 *
 * @example order.take(deliveries, hand) // hand(deliveries) now, or after the packets before it
 */
export class DeliveryOrder<P extends Numbered> {
  #stream = 0;
  #next = 0;
  readonly #held = new Map<number, { packet: P; hand: (packet: P) => void }>();
  /** What waits for packets to be handed on, by the number of the last of them. */
  #followers: { number: number; hand: () => void }[] = [];
  readonly #afterWait: () => void;

  /** @param afterWait runs after packets went whose wait for others was in vain */
  constructor(afterWait: () => void) {
    this.#afterWait = afterWait;
  }

  /** Hands a packet on in its turn. Whatever comes late goes at once. */
  take(packet: P, hand: (packet: P) => void): void {
    if (packet.stream > this.#stream) this.#begin(packet);
    if (packet.stream < this.#stream || packet.number < this.#next) return hand(packet);
    if (packet.number === this.#next) {
      this.#next++;
      hand(packet);
      this.#goOn();
      return;
    }
    this.#held.set(packet.number, { packet, hand });
    setTimeout(() => this.#giveUp(packet), PATIENCE_MS);
  }

  /** Runs something once the packets up to a number have been handed on, or are not coming. */
  after({ stream, number }: Numbered, hand: () => void): void {
    if (stream > this.#stream) {
      const fresh = this.#stream === 0;
      this.#begin({ stream, number });
      if (fresh) this.#next = number + 1;
    }
    if (stream < this.#stream || number < this.#next) return hand();
    const follower = { number, hand };
    this.#followers.push(follower);
    setTimeout(() => {
      if (!this.#followers.includes(follower)) return;
      this.#followers = this.#followers.filter((other) => other !== follower);
      hand();
      this.#afterWait();
    }, PATIENCE_MS);
  }

  #begin({ stream, number }: Numbered): void {
    this.#flush(Number.POSITIVE_INFINITY);
    // A gateway that woke in between begins with whatever it hears first.
    const fresh = this.#stream === 0;
    this.#stream = stream;
    this.#next = fresh ? number : 1;
  }

  #goOn(): void {
    for (let held = this.#held.get(this.#next); held !== undefined; held = this.#held.get(this.#next)) {
      this.#held.delete(this.#next++);
      held.hand(held.packet);
    }
    this.#follow();
  }

  #follow(): void {
    if (this.#followers.length === 0) return;
    const ready = this.#followers.filter(({ number }) => number < this.#next);
    this.#followers = this.#followers.filter(({ number }) => number >= this.#next);
    for (const { hand } of ready) hand();
  }

  #giveUp({ stream, number }: P): void {
    if (stream !== this.#stream || !this.#held.has(number)) return;
    this.#flush(number);
    this.#goOn();
    this.#afterWait();
  }

  /** Hands on what is held, in its order, up to a number. */
  #flush(last: number): void {
    const numbers = [...this.#held.keys()].filter((number) => number <= last).sort((a, b) => a - b);
    for (const number of numbers) {
      const { packet, hand } = this.#held.get(number)!;
      this.#held.delete(number);
      this.#next = number + 1;
      hand(packet);
    }
  }
}

/** Finds or begins the order of an object, by its name. */
export function orderOf<P extends Numbered>(
  orders: Map<string, DeliveryOrder<P>>,
  objectName: string,
  afterWait: () => void,
): DeliveryOrder<P> {
  let order = orders.get(objectName);
  if (order === undefined) {
    if (orders.size >= MAX_ORDERS) orders.delete(orders.keys().next().value!);
    order = new DeliveryOrder(afterWait);
    orders.set(objectName, order);
  }
  return order;
}
