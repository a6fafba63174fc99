// The record of what producers and consumers of one queue did and saw. history-check.ts judges it.
// Knows nothing of sockets: load.ts writes the events.

/** Something that a client did ("invoked") or learned ("confirmed", "delivered"), in the order in which it did. */
export type HistoryEvent =
  /** `call` is a number of this one attempt to publish: a retry has the same message id and another call. */
  | { kind: "publish-invoked"; producer: string; messageId: string; call: number }
  | {
      kind: "publish-confirmed";
      producer: string;
      messageId: string;
      call: number;
      /** Undefined over a protocol whose answers tell neither seq nor duplicate. */
      seq: number | undefined;
      duplicate: boolean;
    }
  /** A call was refused, or its answer lost without its connection: from here on the message's place among others is open. */
  | { kind: "publish-failed"; messageId: string; call: number }
  /** A message of an earlier part of the run, stored under this seq and settled: it may be published again, not delivered. */
  | { kind: "carried"; messageId: string; seq: number }
  | {
      kind: "delivered";
      /** The session that got it: its leases end with it. */
      consumer: string;
      messageId: string;
      seq: number;
      delivery: string;
      attempt: number;
      leaseMs: number;
      group?: string | undefined;
    }
  /** `isRejection`: it ends the message as a dead letter. */
  | { kind: "ack-invoked"; delivery: string; isRejection?: boolean }
  | { kind: "ack-confirmed"; delivery: string; lost: boolean }
  /** A release or a failure: the message may be delivered again from here on. */
  | { kind: "return-invoked"; delivery: string }
  /** Recorded before a connection is cut or its broker killed; the broker keeps the session's leases for `keepMs`. */
  | { kind: "consumer-ended"; consumer: string; keepMs: number }
  /** The message came out of the queue that takes this one's dead letters. */
  | { kind: "dead-lettered"; messageId: string }
  /** The broker's clock was stepped by so much: forward, its leases end so much earlier. */
  | { kind: "clock-stepped"; byMs: number };

/** An event with its time on this process's monotonic clock. */
export type RecordedEvent = HistoryEvent & { atMs: number };

/** An append-only record of one queue's events. */
export class History {
  readonly events: RecordedEvent[] = [];
  private readonly now: () => number;

  /** @param now a monotonic clock in milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.now = now;
  }

  record(event: HistoryEvent): void {
    this.events.push({ ...event, atMs: this.now() });
  }
}
