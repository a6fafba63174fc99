// Remembers which of the latest leases were settled by their handle, one bit each, so that a repeated settle is answered like the first.
import { REMEMBERED_LEASES } from "../limits.ts";

/** A ring of bits over lease numbers. */
export class Outcomes {
  readonly #bits: Uint8Array;

  constructor(bits = new Uint8Array(REMEMBERED_LEASES / 8)) {
    this.#bits = bits;
  }

  /** A new lease takes the place of the one that is REMEMBERED_LEASES older. */
  begin(lease: number): void {
    this.#bits[this.#byte(lease)]! &= ~(1 << (lease & 7));
  }

  settle(lease: number): void {
    this.#bits[this.#byte(lease)]! |= 1 << (lease & 7);
  }

  /** Whether this lease was settled; false for one too old to be remembered. */
  settled(lease: number, newestLease: number): boolean {
    if (lease < 1 || lease > newestLease || lease <= newestLease - REMEMBERED_LEASES) return false;
    return (this.#bits[this.#byte(lease)]! & (1 << (lease & 7))) !== 0;
  }

  /** PERSISTED in checkpoints. */
  save(): Uint8Array {
    return this.#bits.slice();
  }

  #byte(lease: number): number {
    return (lease % REMEMBERED_LEASES) >> 3;
  }
}
