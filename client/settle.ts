// Book-keeping of settlement: which outcome each lease got, and the frame that carries the outcomes of one turn to the broker.
import { type DunlinError, errorOf } from "./errors.ts";
import type { Entry } from "./outbox.ts";
import type { Delivery, MessageFrame, Reply } from "./wire.ts";

const MAX_REASON_CHARS = 1_024;
const MAX_DELAY_MS = 365 * 86_400_000;

/** The four ways to settle. */
export type Outcome = "ack" | "release" | "fail" | "dead";

/** What `fail` and `dead` may say. */
export interface OutcomeDetail {
  reason?: string | undefined;
  delayMs?: number | undefined;
}

/** One message in this consumer's hands, from its delivery to the broker's answer to its settlement. */
export class Lease {
  readonly delivery: Delivery;
  /** When the lease ends unless it is extended, on this machine's clock. */
  expiresAtMs: number;
  /** When it was delivered. */
  readonly heldSinceMs: number;
  /** The message while it waits in the buffer; undefined once the application has it. */
  waiting: MessageFrame | undefined;
  /** The broker said that the lease is not held any more. */
  lost = false;
  /** Made when it is asked for: most messages need none. */
  #gone: AbortController | undefined;
  /** Under which a once store knows the message. */
  key = "";
  /** The once store is being asked about it; it and what came after it wait. */
  checking = false;
  /** Resolves with whether the settlement took effect; undefined while the lease is not settled. */
  settled: Promise<boolean> | undefined;
  #resolve: ((held: boolean) => void) | undefined;

  constructor(frame: MessageFrame, heldSinceMs: number, leaseMs: number) {
    this.delivery = frame.delivery;
    this.waiting = frame;
    this.heldSinceMs = heldSinceMs;
    this.expiresAtMs = heldSinceMs + leaseMs;
  }

  /** Aborts when the lease is lost. */
  get signal(): AbortSignal {
    this.#gone ??= new AbortController();
    if (this.lost) this.#gone.abort();
    return this.#gone.signal;
  }

  /** It is not held any more. */
  lose(): void {
    this.lost = true;
    this.#gone?.abort();
  }

  /** Marks it settled, with the answer to come. */
  settle(): Promise<boolean> {
    this.settled = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    return this.settled;
  }

  /** The answer has come. */
  answered(held: boolean): void {
    this.#resolve?.(held);
  }
}

/** The settlements of one frame. Kept over lost sockets: to repeat a settlement changes nothing. */
export class SettleBatch implements Entry {
  readonly kept = true;
  readonly counted = 0;
  readonly leases: Lease[] = [];
  readonly #done: (leases: Lease[], error: DunlinError | undefined) => void;
  readonly #ack: Delivery[] = [];
  readonly #release: Delivery[] = [];
  readonly #fail: (OutcomeDetail & { delivery: Delivery })[] = [];
  readonly #dead: (OutcomeDetail & { delivery: Delivery })[] = [];
  id = 0;
  text = "";
  sentAtMs?: number;

  /**
   * @param done told once the leases are answered for, with the error when the broker refused the whole frame
   */
  constructor(done: (leases: Lease[], error: DunlinError | undefined) => void) {
    this.#done = done;
  }

  /** Adds one outcome. */
  add(lease: Lease, outcome: Outcome, detail: OutcomeDetail = {}): void {
    const { delivery } = lease;
    this.leases.push(lease);
    if (outcome === "ack") this.#ack.push(delivery);
    else if (outcome === "release") this.#release.push(delivery);
    else if (outcome === "fail") this.#fail.push({ delivery, ...acceptable(detail) });
    else this.#dead.push({ delivery, reason: acceptable(detail).reason });
  }

  /** Nothing more will be added: writes the frame. */
  seal(id: number, sub: number): void {
    this.id = id;
    this.text = JSON.stringify({ op: "settle", id, ...this.fields(sub) });
  }

  /** The outcomes, as a frame has them. */
  fields(sub: number): object {
    return {
      sub,
      ack: someOf(this.#ack),
      release: someOf(this.#release),
      fail: someOf(this.#fail),
      dead: someOf(this.#dead),
    };
  }

  reply(frame: Reply): void {
    if (frame.op === "error") {
      // The subscription ended, by the application's will or the queue's deletion, and its leases with it: no news to anyone.
      const error = frame.kind === "no-subscription" ? undefined : errorOf(frame);
      this.#finish(() => false, error);
    } else if (frame.lost?.length) {
      const lost = new Set(frame.lost);
      this.#finish((lease) => !lost.has(lease.delivery), undefined);
    } else this.#finish(() => true, undefined);
  }

  abandon(): void {
    this.#finish(() => false, undefined);
  }

  #finish(held: (lease: Lease) => boolean, error: DunlinError | undefined): void {
    this.#done(this.leases, error);
    for (const lease of this.leases) lease.answered(held(lease));
  }
}

/** The broker refuses a frame with a wrong detail as a whole, and the other leases' outcomes with it: none may be wrong. */
function acceptable({ reason, delayMs }: OutcomeDetail): OutcomeDetail {
  return {
    reason: reason === undefined ? undefined : String(reason).slice(0, MAX_REASON_CHARS),
    delayMs: Number.isFinite(delayMs) ? Math.min(MAX_DELAY_MS, Math.max(0, Math.round(delayMs!))) : undefined,
  };
}

function someOf<T>(list: T[]): T[] | undefined {
  return list.length > 0 ? list : undefined;
}
