// One subscription of a queue as an async iterator: buffers what the broker sends within the credit, keeps leases alive, gathers
// settlements. Goes on over lost sockets; who opens those, and when frames leave, is the engine's affair.
import { type DunlinError, errorOf } from "./errors.ts";
import { type Holder, Message } from "./message.ts";
import type { Entry } from "./outbox.ts";
import { PlainRequest } from "./request.ts";
import { Lease, type Outcome, type OutcomeDetail, SettleBatch } from "./settle.ts";
import { type Delivery, MAX_BATCH, type MessageFrame } from "./wire.ts";

/**
 * How to consume.
 *
 * @example
 * const stop = new AbortController();
 * for await (const message of jobs.consume({ credit: 8, leaseMs: 60_000, signal: stop.signal })) void work(message);
 */
export interface ConsumeOptions {
  /** At most this many messages are out at this consumer, buffered or handed out, and not settled: 1 to 10,000; 64 by default. */
  credit?: number;
  /**
   * After this time without a sign of life from this client its messages go to others: 1,000 ms to 12 h; 30 s by default. Browsers
   * let the timers of a tab that is hidden for long run once a minute: for long jobs in such tabs, choose 180,000 or more.
   */
  leaseMs?: number;
  /** No message is kept alive for longer than this, so that a handler that hangs loses it at last: 12 h by default. */
  maxHoldMs?: number;
  /**
   * Ends the iteration gracefully: no further message is handed out, the buffered ones go back at once, and those handed out
   * can still be settled.
   */
  signal?: AbortSignal;
}

/** What a consumer needs of the client around it. */
export interface Link {
  /** Whether frames can leave now. */
  readonly isOpen: boolean;
  nextId(): number;
  /** Sends with this turn's frame. */
  post(entry: Entry): void;
  /** Has the consumer's `flush` called before this turn's frame leaves. */
  touch(consumer: Flushing): void;
  /** Starts routing deliveries of the consumer's `sub`, and asks it for its subscription whenever one is due. */
  subscribe(consumer: Subscriber): void;
  /** Ends that, here and at the broker. */
  unsubscribe(sub: number): void;
  report(error: DunlinError): void;
}

/** Something with settlements to send. */
export interface Flushing {
  flush(): void;
}

/** A subscription as the engine sees it. */
export interface Subscriber extends Flushing {
  readonly sub: number;
  /** The request that (re)establishes it on a new socket, if one is needed. */
  resubscribe(resumed: boolean): Entry | undefined;
  /** The new socket is ready. */
  resumeLeases(): void;
  deliver(frame: MessageFrame, nowMs: number): void;
  /** The broker or the network ended it. */
  fail(error: DunlinError): void;
  /** The application closes the client. */
  end(): void;
}

const DEFAULT_CREDIT = 64;
const DEFAULT_LEASE_MS = 30_000;
const MAX_HOLD_MS = 12 * 3_600_000;

interface Waiter<Body> {
  resolve(result: IteratorResult<Message<Body>, undefined>): void;
  reject(error: DunlinError): void;
}

type State = "idle" | "live" | "stopping" | "ended";

/** The iterator behind `queue.consume()`. */
export class Consumer<Body> implements AsyncIterableIterator<Message<Body>, undefined>, Subscriber, Holder {
  readonly sub: number;
  readonly #link: Link;
  readonly #to: string;
  readonly #credit: number;
  readonly #leaseMs: number;
  readonly #maxHoldMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #stop = () => this.stop();
  #state: State = "idle";
  /** Whether the broker has confirmed the subscription in its present form. */
  #confirmed = false;
  /** Every lease until the broker has answered its settlement: what is in here is not taken a second time. */
  readonly #held = new Map<Delivery, Lease>();
  #buffer: Lease[] = [];
  /** Handed out and not settled. */
  #out = 0;
  #waiters: Waiter<Body>[] = [];
  #batch: SettleBatch | undefined;
  #error: DunlinError | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(link: Link, sub: number, to: string, options: ConsumeOptions) {
    this.#link = link;
    this.sub = sub;
    this.#to = to;
    this.#credit = options.credit ?? DEFAULT_CREDIT;
    this.#leaseMs = options.leaseMs ?? DEFAULT_LEASE_MS;
    this.#maxHoldMs = options.maxHoldMs ?? MAX_HOLD_MS;
    this.#signal = options.signal;
    if (this.#signal?.aborted) this.#state = "ended";
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next message, once there is one. The first call subscribes. */
  next(): Promise<IteratorResult<Message<Body>, undefined>> {
    if (this.#state === "idle") this.#start();
    for (let lease = this.#buffer.shift(); lease; lease = this.#buffer.shift()) {
      if (!lease.lost) return Promise.resolve({ done: false, value: this.#handOut(lease) });
    }
    if (this.#error) {
      const error = this.#error;
      this.#error = undefined;
      return Promise.reject(error);
    }
    if (this.#state !== "live") return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  /** The application leaves its loop: everything it has not settled goes back to the queue. */
  return(): Promise<IteratorResult<Message<Body>, undefined>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Hands out nothing more, and ends once what was handed out is settled. */
  stop(): void {
    if (this.#state !== "live") {
      if (this.#state === "idle") this.#state = "ended";
      return;
    }
    this.#state = "stopping";
    this.#finishWaiters();
    if (this.#out === 0) {
      this.end();
      return;
    }
    // Credit 0 first, or the broker would fill the places of the released ones.
    this.#confirmed = false;
    if (this.#link.isOpen) this.#link.post(this.#subscription());
    this.#releaseBuffer();
  }

  end(): void {
    if (this.#state === "ended") return;
    const wasSubscribed = this.#state !== "idle";
    this.#state = "ended";
    this.#buffer = [];
    this.#finishWaiters();
    clearInterval(this.#timer);
    this.#signal?.removeEventListener("abort", this.#stop);
    if (!wasSubscribed) return;
    // Outcomes of this turn leave before the subscription that they need.
    this.flush();
    this.#link.unsubscribe(this.sub);
  }

  fail(error: DunlinError): void {
    const waiter = this.#waiters.shift();
    if (waiter) waiter.reject(error);
    else if (this.#state !== "ended") this.#error = error;
    this.end();
  }

  resubscribe(resumed: boolean): Entry | undefined {
    if (resumed && this.#confirmed) return undefined;
    this.#confirmed = false;
    // What the lost session had leased is not this one's. Not begun here, it may as well go back; begun, it may yet be settled.
    if (!resumed) this.#releaseBuffer();
    return this.#subscription();
  }

  resumeLeases(): void {
    // Whatever was extended last may have been lost with the socket, and leases with the time that passed.
    this.#keepAlive(this.#leaseMs);
  }

  deliver(frame: MessageFrame, nowMs: number): void {
    // After a resume the broker sends again what it has no settlement of; the application has it already.
    if (this.#held.has(frame.delivery)) return;
    const lease = new Lease(frame, nowMs, this.#leaseMs);
    this.#held.set(frame.delivery, lease);
    if (this.#state !== "live") void this.settle(lease, "release");
    else if (this.#waiters.length > 0) {
      this.#waiters.shift()!.resolve({ done: false, value: this.#handOut(lease) });
    } else this.#buffer.push(lease);
  }

  settle(lease: Lease, outcome: Outcome, detail?: OutcomeDetail): Promise<boolean> {
    if (lease.settled) return lease.settled;
    const answer = lease.settle();
    if (lease.lost || this.#state === "ended") {
      lease.answered(false);
      return answer;
    }
    if (this.#batch?.leases.length === MAX_BATCH) this.flush();
    this.#batch ??= new SettleBatch((leases, error) => this.#answered(leases, error));
    this.#batch.add(lease, outcome, detail);
    this.#link.touch(this);
    if (!lease.waiting) this.#oneLessOut();
    return answer;
  }

  extend(lease: Lease, leaseMs: number): Promise<boolean> {
    if (lease.lost || lease.settled || this.#state === "ended") return Promise.resolve(false);
    lease.expiresAtMs = Date.now() + leaseMs;
    return new Promise((resolve) => {
      this.#postExtend([lease], leaseMs, (held) => resolve(held));
    });
  }

  flush(): void {
    const batch = this.#batch;
    if (!batch) return;
    this.#batch = undefined;
    batch.seal(this.#link.nextId(), this.sub);
    this.#link.post(batch);
  }

  #start(): void {
    this.#state = "live";
    this.#timer = setInterval(() => this.#keepAlive(), this.#leaseMs / 4);
    this.#signal?.addEventListener("abort", this.#stop);
    this.#link.subscribe(this);
    if (this.#link.isOpen) this.#link.post(this.#subscription());
  }

  #subscription(): Entry {
    const credit = this.#state === "live" ? this.#credit : 0;
    const fields = { op: "subscribe", sub: this.sub, to: this.#to, credit, leaseMs: this.#leaseMs };
    return new PlainRequest(this.#link.nextId(), fields, {
      kept: false,
      reply: (frame) => {
        if (frame.op === "error") this.fail(errorOf(frame));
        else this.#confirmed = credit === (this.#state === "live" ? this.#credit : 0);
      },
    });
  }

  #handOut(lease: Lease): Message<Body> {
    const frame = lease.waiting!;
    lease.waiting = undefined;
    this.#out += 1;
    return new Message<Body>(frame, lease, this);
  }

  #releaseBuffer(): void {
    const buffer = this.#buffer;
    this.#buffer = [];
    for (const lease of buffer) void this.settle(lease, "release");
  }

  #answered(leases: Lease[], error: DunlinError | undefined): void {
    for (const lease of leases) this.#held.delete(lease.delivery);
    if (error) this.#link.report(error);
  }

  /** Extends what ends soon. The timer comes by four times a lease, for what has used up half of it. */
  #keepAlive(withinMs = this.#leaseMs / 2): void {
    if (!this.#link.isOpen || this.#state === "ended") return;
    const nowMs = Date.now();
    let due: Lease[] = [];
    for (const lease of this.#held.values()) {
      if (lease.settled || lease.expiresAtMs - nowMs > withinMs) continue;
      if (nowMs - lease.heldSinceMs > this.#maxHoldMs) continue;
      lease.expiresAtMs = nowMs + this.#leaseMs;
      due.push(lease);
      if (due.length === MAX_BATCH) {
        this.#postExtend(due, this.#leaseMs);
        due = [];
      }
    }
    if (due.length > 0) this.#postExtend(due, this.#leaseMs);
  }

  #postExtend(leases: Lease[], leaseMs: number, done?: (held: boolean) => void): void {
    const deliveries = leases.map((lease) => lease.delivery);
    const fields = { op: "extend", sub: this.sub, deliveries, leaseMs };
    const request = new PlainRequest(this.#link.nextId(), fields, {
      kept: done !== undefined,
      reply: (frame) => {
        if (frame.op === "error") this.#link.report(errorOf(frame));
        else for (const delivery of frame.lost ?? []) this.#lose(delivery);
        done?.(frame.op === "ok" && !frame.lost?.length);
      },
      abandon: () => done?.(false),
    });
    this.#link.post(request);
  }

  #lose(delivery: Delivery): void {
    const lease = this.#held.get(delivery);
    if (!lease || lease.settled) return;
    lease.lost = true;
    this.#held.delete(delivery);
    if (!lease.waiting) this.#oneLessOut();
  }

  #oneLessOut(): void {
    this.#out -= 1;
    if (this.#out === 0 && this.#state === "stopping") this.end();
  }

  #finishWaiters(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.resolve({ done: true, value: undefined });
  }
}
