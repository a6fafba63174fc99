// Puts the packets of one queue in order: some come as calls of the queue, some ride on the answers to this gateway's own calls, and
// the two ways may overtake each other.
import type { DeliveryView } from "../link/deliveries.ts";

/** How long a packet waits for the ones before it; they are lost then, with the answer they rode on. */
const PATIENCE_MS = 2_000;

type Hand = (packet: DeliveryView) => void;

/**
 * The order of one queue's packets.
 *
 * @example order.take(deliveries, hand) // hand(deliveries) now, or after the packets before it
 */
export class DeliveryOrder {
  #stream = 0;
  #next = 0;
  readonly #held = new Map<number, { packet: DeliveryView; hand: Hand }>();
  readonly #afterWait: () => void;

  /** @param afterWait runs after packets went whose wait for others was in vain */
  constructor(afterWait: () => void) {
    this.#afterWait = afterWait;
  }

  /** Hands a packet on in its turn. Whatever comes late goes at once. */
  take(packet: DeliveryView, hand: Hand): void {
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

  #begin({ stream, number }: DeliveryView): void {
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
  }

  #giveUp({ stream, number }: DeliveryView): void {
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
