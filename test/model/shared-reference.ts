// The reference of a queue that delivers to all: a message is out to everyone under one lease, and each consumer has the oldest part of that.
import type { Delivered } from "../support/machine.ts";
import { expect, type ModelMessage, Reference } from "./reference.ts";

/** What is out, to everyone. */
export class SharedReference extends Reference {
  /** Leases that each consumer was sent. */
  readonly #sent = new Map<number, Set<number>>();

  override held(ref: number): number {
    return this.#out().filter(({ lease }) => this.#has(ref, lease)).length;
  }

  override detached(ref: number): void {
    this.consumers.delete(ref);
    this.#sent.delete(ref);
    if (this.consumers.size === 0) for (const message of this.#out()) message.state = "ready";
  }

  /** Who is told of a settle: everyone else who was sent the message and is connected. */
  override toldOf(handle: { seq: number; lease: number }, by: number): number[] {
    const message = this.messages.get(handle.seq)!;
    if (message.state !== "leased" || message.lease !== handle.lease) return [];
    return [...this.consumers]
      .filter(([ref, { paused }]) => ref !== by && !paused && this.#has(ref, handle.lease))
      .map(([ref]) => ref);
  }

  override delivered(deliveries: Delivered[], now: number): void {
    for (const delivery of deliveries) {
      const message = this.messages.get(delivery.seq);
      expect(message !== undefined, `[DEV] seq ${delivery.seq} was never accepted`);
      const consumer = this.consumers.get(delivery.ref);
      expect(consumer !== undefined && !consumer.paused, `[DEV] ${delivery.ref} is not there`);
      expect(this.held(delivery.ref) < consumer.credit, `[DEV] ${delivery.ref} gets more than its credit`);
      if (message.state !== "leased") this.#begin(message, delivery, now);
      expect(message.lease === delivery.lease, `[DEV] seq ${message.seq} is out under another lease`);
      expect(delivery.attempt === message.attempts, `[DEV] seq ${message.seq}: attempt ${delivery.attempt}`);
      expect(delivery.redelivered === message.attempts > 1, `[DEV] seq ${message.seq}: redelivered`);
      expect(!this.#has(delivery.ref, delivery.lease), `[DEV] ${delivery.ref} has ${message.seq} already`);
      const missed = this.#out().find(
        ({ lease }) => lease < message.lease && !this.#has(delivery.ref, lease),
      );
      expect(missed === undefined, `[DEV] ${delivery.ref} gets ${message.seq} before ${missed?.seq}`);
      const sent = this.#sent.get(delivery.ref) ?? new Set();
      this.#sent.set(delivery.ref, sent.add(delivery.lease));
    }
  }

  override checkBusy(now: number): void {
    const takers = [...this.consumers].filter(([, { paused, credit }]) => !paused && credit > 0);
    if (takers.length === 0) return;
    for (const [ref, { credit }] of takers) {
      const lacking = this.#out().find(({ lease }) => !this.#has(ref, lease));
      expect(lacking === undefined || this.held(ref) >= credit, `[DEV] ${ref} was not sent ${lacking?.seq}`);
    }
    const limit = Math.min(...takers.map(([, { credit }]) => credit));
    if (this.#out().length >= limit) return;
    const idle = this.goable(now);
    expect(idle === undefined, `[DEV] seq ${idle?.seq} is ready, and ${limit} may be out`);
  }

  #begin(message: ModelMessage, { lease }: Delivered, now: number): void {
    this.checkMayGo(message, now);
    const credits = [...this.consumers.values()].filter(({ paused, credit }) => !paused && credit > 0);
    const limit = Math.min(...credits.map(({ credit }) => credit));
    expect(this.#out().length < limit, `[DEV] more than ${limit} are out`);
    this.begin(message, lease, 0, now);
  }

  #has(ref: number, lease: number): boolean {
    return this.#sent.get(ref)?.has(lease) === true;
  }

  #out(): ModelMessage[] {
    return [...this.messages.values()].filter(({ state }) => state === "leased");
  }
}
