// One subscription of a queue: buffers what the broker sends within the credit, keeps leases alive, gathers settlements. Goes on
// over lost sockets; who opens those, and when frames leave, is the engine's affair.
import { DunlinError, errorOf } from "./errors.ts";
import { type Holder, Message } from "./message.ts";
import { type OnceStore, onceKey } from "./once/once.ts";
import type { Entry } from "./outbox.ts";
import { PlainRequest } from "./request.ts";
import { Lease, type Outcome, type OutcomeDetail, SettleBatch } from "./settle.ts";
import { type Link, Subscription } from "./subscription.ts";
import { type Delivery, type EventFrame, MAX_BATCH, type MessageFrame } from "./wire.ts";

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
   * let the timers of a tab that is hidden for long run once a minute: for long jobs in such tabs, give `connect` steady timers.
   */
  leaseMs?: number;
  /** No message is kept alive for longer than this, so that a handler that hangs loses it at last: 12 h by default. */
  maxHoldMs?: number;
  /**
   * Ends the iteration gracefully: no further message is handed out, the buffered ones go back at once, and those handed out
   * can still be settled.
   */
  signal?: AbortSignal;
  /** Only messages that it matches, by their headers and fields. */
  filter?: string | object;
  /**
   * Keeps the id of each message before its ack leaves. If the ack is lost and the message comes again, it is acknowledged and not
   * handed out. When the store fails to answer, the loop ends with an error of kind `once`; when it fails to keep an id, the ack
   * leaves all the same, and an `error` event tells.
   */
  once?: OnceStore;
  /** Of a queue with one active consumer at a time: told when this one becomes it, and when it ceases to be. */
  onActive?: (isActive: boolean) => void;
}

const DEFAULT_CREDIT = 64;
const DEFAULT_LEASE_MS = 30_000;
const MAX_HOLD_MS = 12 * 3_600_000;

/** The iterator behind `queue.consume()`. */
export class Consumer<Body> extends Subscription<Message<Body>> implements Holder {
  readonly #credit: number;
  readonly #leaseMs: number;
  readonly #maxHoldMs: number;
  readonly #filter: string | object | undefined;
  readonly #once: OnceStore | undefined;
  readonly #onActive: ConsumeOptions["onActive"];
  /** Whether the broker has confirmed the subscription in its present form. */
  #confirmed = false;
  /** Every lease until the broker has answered its settlement: what is in here is not taken a second time. */
  readonly #held = new Map<Delivery, Lease>();
  #buffer: Lease[] = [];
  /** Handed out and not settled. */
  #out = 0;
  #batch: SettleBatch | undefined;
  #stopTimer: (() => void) | undefined;

  constructor(link: Link, to: string, options: ConsumeOptions) {
    super(link, to, options.signal);
    this.#credit = options.credit ?? DEFAULT_CREDIT;
    this.#leaseMs = options.leaseMs ?? DEFAULT_LEASE_MS;
    this.#maxHoldMs = options.maxHoldMs ?? MAX_HOLD_MS;
    this.#filter = options.filter;
    this.#once = options.once;
    this.#onActive = options.onActive;
  }

  /** Hands out nothing more, and ends once what was handed out is settled. */
  stop(): void {
    if (this.state !== "live") return;
    this.state = "stopping";
    this.finishWaiters();
    if (this.#out === 0) {
      this.end();
      return;
    }
    // Credit 0 first, or the broker would fill the places of the released ones.
    this.#confirmed = false;
    if (this.link.isOpen) this.link.post(this.request());
    this.#releaseBuffer();
  }

  resubscribe(resumed: boolean): Entry[] {
    if (resumed && this.#confirmed) return [];
    this.#confirmed = false;
    // What the lost session had leased is not this one's. Not begun here, it may as well go back; begun, it may yet be settled.
    if (!resumed) this.#releaseBuffer();
    return [this.request()];
  }

  override reopened(): void {
    // Whatever was extended last may have been lost with the socket, and leases with the time that passed.
    this.#keepAlive(this.#leaseMs);
  }

  deliver(frame: MessageFrame, nowMs: number): void {
    // After a resume the broker sends again what it has no settlement of; the application has it already.
    if (this.#held.has(frame.delivery)) return;
    const lease = new Lease(frame, nowMs, this.#leaseMs);
    this.#held.set(frame.delivery, lease);
    if (this.state !== "live") void this.settle(lease, "release");
    else {
      this.#buffer.push(lease);
      if (this.#once) void this.#check(lease, this.#once, onceKey(frame));
      this.wake();
    }
  }

  override told(event: EventFrame): void {
    if (event.kind === "settled") for (const delivery of event.deliveries!) this.#lose(delivery);
    // A mistake in the application's function shows as an uncaught error, and does not stop the client in the middle of its work.
    else if (event.kind === "active") queueMicrotask(() => this.#onActive?.(event.active!));
    else super.told(event);
  }

  settle(lease: Lease, outcome: Outcome, detail?: OutcomeDetail): Promise<boolean> {
    if (lease.settled) return lease.settled;
    const answer = lease.settle();
    if (outcome === "ack" && this.#once) void this.#remember(lease, this.#once);
    else this.#send(lease, outcome, detail);
    return answer;
  }

  lend(lease: Lease): boolean {
    const isHeld = !lease.settled && !lease.lost && this.state !== "ended";
    if (isHeld) void lease.settle();
    return isHeld;
  }

  giveBack(lease: Lease, settled: boolean): void {
    lease.answered(settled);
    if (!settled) lease.settled = undefined;
    else {
      this.#answered([lease], undefined);
      this.#oneLessOut();
    }
  }

  #send(lease: Lease, outcome: Outcome, detail?: OutcomeDetail): void {
    if (lease.lost || this.state === "ended") {
      lease.answered(false);
      return;
    }
    if (this.#batch?.leases.length === MAX_BATCH) this.flush();
    this.#batch ??= new SettleBatch((leases, error) => this.#answered(leases, error));
    this.#batch.add(lease, outcome, detail);
    this.link.touch(this);
    if (!lease.waiting) this.#oneLessOut();
  }

  /** Acknowledges at once what was finished before. What came behind it waits, so that the order stays. */
  async #check(lease: Lease, once: OnceStore, key: string): Promise<void> {
    lease.key = key;
    lease.checking = true;
    try {
      if ((await once.has(key)) && !lease.settled) {
        void lease.settle();
        this.#send(lease, "ack");
      }
    } catch (cause) {
      this.fail(onceError(cause));
    }
    lease.checking = false;
    this.wake();
  }

  async #remember(lease: Lease, once: OnceStore): Promise<void> {
    try {
      await once.add(lease.key);
    } catch (cause) {
      // The work is done: to keep the ack back would have it done again for certain.
      this.link.report(onceError(cause));
    }
    this.#send(lease, "ack");
  }

  extend(lease: Lease, leaseMs: number): Promise<boolean> {
    if (lease.lost || lease.settled || this.state === "ended") return Promise.resolve(false);
    lease.expiresAtMs = Date.now() + leaseMs;
    return new Promise((resolve) => {
      this.#postExtend([lease], leaseMs, (held) => resolve(held));
    });
  }

  flush(): void {
    const batch = this.#batch;
    if (!batch) return;
    this.#batch = undefined;
    batch.seal(this.link.nextId(), this.sub);
    this.link.post(batch);
  }

  protected override started(): void {
    this.#stopTimer = this.link.every(() => this.#keepAlive(), this.#leaseMs / 4);
  }

  protected override ended(): void {
    this.#buffer = [];
    this.#stopTimer?.();
    // Outcomes of this turn leave before the subscription that they need.
    this.flush();
  }

  protected request(): Entry {
    const credit = this.state === "live" ? this.#credit : 0;
    const fields = {
      op: "subscribe",
      sub: this.sub,
      to: this.to,
      credit,
      leaseMs: this.#leaseMs,
      filter: this.#filter,
    };
    return new PlainRequest(this.link.nextId(), fields, {
      kept: false,
      reply: (frame) => {
        if (frame.op === "error") this.fail(errorOf(frame));
        else this.#confirmed = credit === (this.state === "live" ? this.#credit : 0);
      },
    });
  }

  protected take(): Message<Body> | undefined {
    while (this.#buffer[0] && !this.#buffer[0].checking) {
      const lease = this.#buffer.shift()!;
      if (lease.lost || lease.settled) continue;
      const frame = lease.waiting!;
      lease.waiting = undefined;
      this.#out += 1;
      return new Message<Body>(frame, lease, this, this.link);
    }
    return undefined;
  }

  #releaseBuffer(): void {
    const buffer = this.#buffer;
    this.#buffer = [];
    for (const lease of buffer) void this.settle(lease, "release");
  }

  #answered(leases: Lease[], error: DunlinError | undefined): void {
    for (const lease of leases) this.#held.delete(lease.delivery);
    if (error) this.link.report(error);
  }

  /** Extends what ends soon. The timer comes by four times a lease, for what has used up half of it. */
  #keepAlive(withinMs = this.#leaseMs / 2): void {
    if (!this.link.isOpen || this.state === "ended") return;
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
    const request = new PlainRequest(this.link.nextId(), fields, {
      kept: done !== undefined,
      reply: (frame) => {
        if (frame.op === "error") this.link.report(errorOf(frame));
        else for (const delivery of frame.lost ?? []) this.#lose(delivery);
        done?.(frame.op === "ok" && !frame.lost?.length);
      },
      abandon: () => done?.(false),
    });
    this.link.post(request);
  }

  #lose(delivery: Delivery): void {
    const lease = this.#held.get(delivery);
    if (!lease || lease.settled) return;
    lease.lose();
    this.#held.delete(delivery);
    if (!lease.waiting) this.#oneLessOut();
  }

  #oneLessOut(): void {
    this.#out -= 1;
    if (this.#out === 0 && this.state === "stopping") this.end();
  }
}

function onceError(cause: unknown): DunlinError {
  return new DunlinError(`The once store failed: ${String(cause)}`, { kind: "once" });
}
