// Joins the parts: routes what the connection receives to whoever waits for it, and sends what a turn has gathered in one frame.
// The public classes are thin covers of it.
import type { Asker } from "./ask.ts";
import {
  Connection,
  type ConnectionOptions,
  type ConnectionState,
  type Every,
  FIRST_ID,
} from "./connection.ts";
import { DunlinError, errorOf } from "./errors.ts";
import { type Entry, Outbox, type OutboxLimits } from "./outbox.ts";
import { PlainRequest } from "./request.ts";
import type { Link, Subscription } from "./subscription.ts";
import { Turn } from "./turn.ts";
import type { Reply, ServerFrame, WelcomeFrame } from "./wire.ts";

/** What the engine tells the public class. */
export interface EngineEvents {
  state(state: ConnectionState): void;
  error(error: DunlinError): void;
}

/** The working parts of a client. */
export class Engine implements Link, Asker {
  readonly outbox: Outbox;
  readonly every: Every;
  readonly #connection: Connection;
  readonly #events: EngineEvents;
  readonly #turn = new Turn(() => this.#flush());
  readonly #subscriptions = new Map<number, Subscription<object>>();
  /** Subscriptions ended here whose end the broker has not confirmed: what still arrives for them goes back by itself. */
  readonly #ending = new Set<number>();
  readonly #touched = new Set<Subscription<object>>();
  #lastId: number;
  #lastSub: number;
  readonly #newMessageId: () => string;
  #ended: DunlinError | undefined;
  #whenReady: { resolve(): void; reject(error: DunlinError): void }[] = [];

  /**
   * @param options.firstNumber requests and subscriptions are numbered from here on
   */
  constructor(
    options: ConnectionOptions & { limits: OutboxLimits; firstNumber: number; newMessageId: () => string },
    events: EngineEvents,
  ) {
    this.#events = events;
    this.#newMessageId = options.newMessageId;
    this.every = options.every;
    this.#lastSub = options.firstNumber;
    this.#lastId = FIRST_ID + options.firstNumber;
    this.outbox = new Outbox(options.limits, (run, afterMs) => {
      setTimeout(() => {
        run();
        this.#turn.request();
      }, afterMs);
    });
    this.#connection = new Connection(options, {
      places: () => [...this.#subscriptions.values()].flatMap((subscription) => subscription.place() ?? []),
      opened: (welcome) => this.#opened(welcome),
      received: (frame, nowMs) => this.#received(frame, nowMs),
      state: (state, error) => this.#stateChanged(state, error),
      report: (error) => this.report(error),
      isWaiting: () => this.outbox.size > 0,
    });
  }

  get state(): ConnectionState {
    return this.#connection.state;
  }

  get isOpen(): boolean {
    return this.state === "open";
  }

  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  nextSub(): number {
    this.#lastSub += 1;
    return this.#lastSub;
  }

  newMessageId(): string {
    return this.#newMessageId();
  }

  claim(messages: number, chars: number): void {
    if (this.#ended) throw this.#ended;
    if (this.outbox.hasRoom(messages, chars)) return;
    throw new DunlinError("The outbox is full: too many messages are not confirmed yet", {
      kind: "outbox-full",
      retry: "after",
      afterMs: 100,
    });
  }

  answer(frame: Reply): void {
    this.outbox.answer(frame);
  }

  post(entry: Entry): void {
    if (this.#ended) {
      entry.abandon(this.#ended);
      return;
    }
    this.outbox.add(entry);
    this.#turn.request();
  }

  touch(subscription: Subscription<object>): void {
    this.#touched.add(subscription);
    this.#turn.request();
  }

  subscribe(subscription: Subscription<object>): void {
    if (this.#ended) subscription.fail(this.#ended);
    else this.#subscriptions.set(subscription.sub, subscription);
  }

  unsubscribe(sub: number): void {
    this.#subscriptions.delete(sub);
    if (this.#ending.has(sub) || this.#ended) return;
    this.#ending.add(sub);
    const forget = () => this.#ending.delete(sub);
    const fields = { op: "unsubscribe", sub };
    // An error says that there is no such subscription, which is what was wanted.
    this.post(new PlainRequest(this.nextId(), fields, { kept: true, reply: forget, abandon: forget }));
  }

  report(error: DunlinError): void {
    this.#events.error(error);
  }

  /** Resolves when the connection is open; rejects when it never will be. */
  ready(): Promise<void> {
    if (this.#ended) return Promise.reject(this.#ended);
    if (this.isOpen) return Promise.resolve();
    return new Promise((resolve, reject) => this.#whenReady.push({ resolve, reject }));
  }

  /** Ends the subscriptions, waits for outstanding answers, and closes. */
  async close(timeoutMs: number): Promise<void> {
    for (const subscription of [...this.#subscriptions.values()]) subscription.end();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([this.outbox.drained(), late]);
    clearTimeout(timer);
    this.#connection.close();
  }

  #opened(welcome: WelcomeFrame): void {
    const subscriptions = [...this.#subscriptions.values()];
    const first = subscriptions.flatMap((subscription) => subscription.resubscribe(welcome.resumed));
    this.outbox.rewind(first, Date.now());
    for (const subscription of subscriptions) subscription.reopened();
    this.#flush();
    const waiting = this.#whenReady;
    this.#whenReady = [];
    for (const { resolve } of waiting) resolve();
  }

  #received(frame: ServerFrame, nowMs: number): void {
    if (frame.op === "message") {
      const subscription = this.#subscriptions.get(frame.sub);
      if (subscription) subscription.deliver(frame, nowMs);
      // Of an earlier life of this client id, whose session the broker resumed: nobody here will settle it.
      else this.unsubscribe(frame.sub);
    } else if (frame.op === "ok" || frame.op === "reply") this.outbox.answer(frame);
    else if (frame.op === "error") {
      if (frame.id === undefined) this.report(errorOf(frame));
      else this.outbox.answer(frame);
    } else if (frame.op === "event") this.#subscriptions.get(frame.sub!)?.told(frame);
  }

  #flush(): void {
    for (const subscription of this.#touched) subscription.flush();
    this.#touched.clear();
    if (!this.isOpen) return;
    for (const frame of this.outbox.takeFrames(Date.now())) this.#connection.send(frame);
  }

  #stateChanged(state: ConnectionState, error: DunlinError | undefined): void {
    if (error) this.#end(error);
    this.#events.state(state);
  }

  #end(error: DunlinError): void {
    this.#ended = error;
    const isOwnWill = error.kind === "closed";
    for (const subscription of [...this.#subscriptions.values()]) {
      if (isOwnWill) subscription.end();
      else subscription.fail(error);
    }
    this.outbox.abandon(error);
    this.#turn.stop();
    for (const { reject } of this.#whenReady) reject(error);
    this.#whenReady = [];
  }
}
