// What every subscription is: to the application an async iterator, to the engine a number with a request that establishes it.
// What arrives, and what it means to take it, is the affair of the kinds: consumer.ts for queues, topic-subscription.ts for topics.
import type { Every } from "./connection.ts";
import { DunlinError } from "./errors.ts";
import type { Entry } from "./outbox.ts";
import type { Sender } from "./publisher.ts";
import type { EventFrame, MessageFrame, ResumePoint } from "./wire.ts";

/** What a subscription needs of the client around it. */
export interface Link extends Sender {
  /** Whether frames can leave now. */
  readonly isOpen: boolean;
  readonly every: Every;
  /** A number for a new subscription. */
  nextSub(): number;
  /** Has the subscription's `flush` called before this turn's frame leaves. */
  touch(subscription: Subscription<object>): void;
  /** Starts routing what comes for the subscription's `sub`, and asks it for its request whenever one is due. */
  subscribe(subscription: Subscription<object>): void;
  /** Ends that, here and at the broker. */
  unsubscribe(sub: number): void;
  report(error: DunlinError): void;
}

interface Waiter<Item> {
  resolve(result: IteratorResult<Item, undefined>): void;
  reject(error: DunlinError): void;
}

type State = "idle" | "live" | "stopping" | "ended";

/** An async iterator over what the broker sends to one subscription. */
export abstract class Subscription<Item extends object> implements AsyncIterableIterator<Item, undefined> {
  readonly sub: number;
  protected readonly link: Link;
  protected readonly to: string;
  protected state: State = "idle";
  readonly #signal: AbortSignal | undefined;
  readonly #stop = () => this.stop();
  #waiters: Waiter<Item>[] = [];
  #error: DunlinError | undefined;

  constructor(link: Link, to: string, signal: AbortSignal | undefined) {
    this.link = link;
    this.sub = link.nextSub();
    this.to = to;
    this.#signal = signal;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next item, once there is one. The first call subscribes. */
  next(): Promise<IteratorResult<Item, undefined>> {
    if (this.state === "idle") this.#start();
    const value = this.take();
    if (value) return Promise.resolve({ done: false, value });
    if (this.#error) {
      const error = this.#error;
      this.#error = undefined;
      return Promise.reject(error);
    }
    if (this.state !== "live") return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  /** The application leaves its loop. */
  return(): Promise<IteratorResult<Item, undefined>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** The application's signal asks for an end. */
  abstract stop(): void;

  /** Ends it, here and at the broker. */
  end(): void {
    if (this.state === "ended") return;
    const wasSubscribed = this.state !== "idle";
    this.state = "ended";
    this.finishWaiters();
    this.#signal?.removeEventListener("abort", this.#stop);
    this.ended();
    if (wasSubscribed) this.link.unsubscribe(this.sub);
  }

  /** The broker or the network ended it. */
  fail(error: DunlinError): void {
    const waiter = this.#waiters.shift();
    if (waiter) waiter.reject(error);
    else if (this.state !== "ended") this.#error = error;
    this.end();
  }

  /** The broker tells something about it. */
  told(event: EventFrame): void {
    if (event.kind !== "gone") return;
    this.fail(new DunlinError(event.reason ?? `${this.to} was deleted`, { kind: "gone" }));
  }

  /** A message came. */
  abstract deliver(frame: MessageFrame, nowMs: number): void;

  /** Where hello shall have it go on, if it can tell. */
  place(): ResumePoint | undefined {
    return undefined;
  }

  /** The requests that (re)establish it on a new socket, where any are needed. */
  abstract resubscribe(resumed: boolean): Entry[];

  /** The new socket is ready. */
  reopened(): void {}

  /** Sends what waits for the end of the turn. */
  abstract flush(): void;

  /** The first call of `next`. */
  protected started(): void {}

  /** Nothing more will be handed out: the last chance to send something. */
  protected ended(): void {}

  /** The request that establishes it. */
  protected abstract request(): Entry;

  /** Takes the next item out of the buffer. */
  protected abstract take(): Item | undefined;

  /** Something is in the buffer: whoever waits gets it. */
  protected wake(): void {
    while (this.#waiters.length > 0) {
      const value = this.take();
      if (!value) return;
      this.#waiters.shift()!.resolve({ done: false, value });
    }
  }

  /** Tells whoever waits that nothing more comes. */
  protected finishWaiters(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.resolve({ done: true, value: undefined });
  }

  #start(): void {
    if (this.#signal?.aborted) {
      this.state = "ended";
      return;
    }
    this.state = "live";
    this.#signal?.addEventListener("abort", this.#stop);
    this.started();
    this.link.subscribe(this);
    if (this.link.isOpen) this.link.post(this.request());
  }
}
