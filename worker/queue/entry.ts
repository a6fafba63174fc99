// A message in the books of a queue, and the counts of all of them.

/** What a message before the cursor is doing. A parked one waits behind the head of its group. */
export type EntryState = "ready" | "parked" | "leased" | "waiting";

/** A message that the cursor has passed and that is not done. */
export interface Entry {
  readonly position: number;
  readonly seq: number;
  readonly size: number;
  readonly time: number;
  readonly expiresAt: number;
  readonly group: string;
  /** Which of the queue's levels its priority came to when it was taken; messages of a higher one go first. */
  level: number;
  state: EntryState;
  attempts: number;
  failures: number;
  /** Number of the current or last lease, 0 before the first. */
  lease: number;
  /** Who holds it while leased. */
  ref: number;
  /** While leased: when the lease ends. While waiting: when the back-off ends. */
  deadline: number;
}

/** How a message came to its end. */
export type End = "settled" | "expired" | "dead";

/** Counts of messages, as in QueueStats. */
export interface Counts {
  accepted: number;
  ready: number;
  delayed: number;
  leased: number;
  settled: number;
  expired: number;
  deadLettered: number;
  /** Bytes of what is ready, and of everything kept. */
  readyBytes: number;
  bytes: number;
}

/** What is kept of a message when the cursor passes it. */
export type Taken = Pick<Entry, "seq" | "size" | "time" | "expiresAt" | "group" | "attempts" | "failures">;
