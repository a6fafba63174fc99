// The port between the load cycle and a dialect: what a dialect is asked to send, and what it reports.
import type { Job } from "./job.ts";

/** The handle a consumer settles a delivery with, in the dialect's own form. */
export type Handle = string | number;

/** What a dialect reports of the messages under way. A slot is the number of a place in a producer's window. */
export interface CycleEvents {
  /** The publish of this slot is confirmed. */
  confirmed(slot: number): void;
  /** The message of this slot reached a consumer. */
  delivered(slot: number, consumer: number, handle: Handle): void;
  /** The ack of this slot's message is confirmed, or was sent where the dialect confirms none. */
  settled(slot: number): void;
  /** The broker refused or closed: the job cannot go on. */
  failed(reason: string): void;
}

/** One dialect over real sockets. */
export interface Wire {
  /** Connects, declares the queue and subscribes; resolves once messages would be delivered. */
  open(): Promise<void>;
  /** Publishes one message for each slot, in as few frames as the dialect allows. */
  publish(producer: number, slots: readonly number[]): void;
  /** Acks deliveries of one consumer (`handles[i]` belongs to `slots[i]`), in as few frames as the dialect allows. */
  settle(consumer: number, handles: readonly Handle[], slots: readonly number[]): void;
  close(): void;
}

/** Makes a dialect ready for a job. */
export type WireFactory = (job: Job, events: CycleEvents) => Wire;

const SLOT_DIGITS = 6;

/** The payload of a slot: its number, then filler up to the job's size. Made once, so that publishing only joins strings. */
export function payloadOf(job: Job, slot: number): string {
  return String(slot).padStart(SLOT_DIGITS, "0").padEnd(job.payloadBytes, "abcdefghijklmnopqrstuvwxyz");
}

/** The slot a payload was made for. */
export function slotOf(payload: string): number {
  return Number(payload.slice(0, SLOT_DIGITS));
}

/** What `make` gives for every slot of the job. */
export function forEverySlot<T>(job: Job, make: (slot: number) => T): T[] {
  return Array.from({ length: job.pairs * job.window }, (_, slot) => make(slot));
}
