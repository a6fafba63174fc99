// The durable outbox as a page holds it: what is sent is in IndexedDB before anything else happens to it, and reaches the broker once,
// whatever becomes of the page meanwhile.
import { DunlinError, type PublishOptions, type SendOptions, type SendResult } from "../index.ts";
import type { Refusal } from "./judge.ts";
import { type Locks, lead } from "./lead.ts";
import type { OutboxOptions, OutboxProgress, OutboxReceipt, RefusedMessage } from "./outbox-options.ts";
import { type Draft, type Ended, OutboxStore, type Totals } from "./outbox-store.ts";
import { outgoingOf, Pump, type Sender } from "./pump.ts";

interface Waiter {
  messageId: string;
  to: string;
  resolve(result: SendResult): void;
  reject(error: DunlinError): void;
}

const MAX_MESSAGES = 10_000;
const MAX_BYTES = 52_428_800;

/**
 * Opens an outbox that survives reloads and crashes. What it kept is sent on from now on.
 *
 * @param dunlin the client that it sends over
 * @throws DunlinError `storage` when the browser gives no IndexedDB
 * @example
 * const outbox = await openOutbox(dunlin);
 * await outbox.queue("orders").send({ id: 7 }); // may be offline: it is safe now
 */
export async function openOutbox(dunlin: Sender, options: OutboxOptions = {}): Promise<DurableOutbox> {
  const store = await OutboxStore.open(options.name ?? "default").catch((cause: unknown) => {
    throw storageError(cause);
  });
  const { locks } = navigator as { locks?: Locks };
  const outbox = new DurableOutbox(dunlin, store, locks, options);
  await outbox.begin();
  return outbox;
}

/** Made by {@link openOutbox}. */
export class DurableOutbox {
  /** @internal */
  readonly sender: Sender;
  /** @internal */
  readonly store: OutboxStore;
  /** @internal */
  readonly tab = randomId();
  readonly #name: string;
  readonly #locks: Locks | undefined;
  readonly #limits: { maxMessages: number; maxBytes: number };
  readonly #onProgress: ((progress: OutboxProgress) => void) | undefined;
  readonly #pump = new Pump(this);
  readonly #ending = new AbortController();
  readonly #channel: BroadcastChannel;
  readonly #waiters = new Map<number, Waiter>();
  #totals: Totals = { waiting: 0, refused: 0, bytes: 0 };
  #drafts: { draft: Draft; resolve(place: number): void; reject(error: DunlinError): void }[] = [];
  #storing: Promise<void> | undefined;
  #looking: Promise<void> | undefined;
  #isStale = false;
  #leading: Promise<void> | undefined;
  #whenDrained: (() => void)[] = [];
  #count = 0;

  /** @internal */
  constructor(sender: Sender, store: OutboxStore, locks: Locks | undefined, options: OutboxOptions) {
    this.sender = sender;
    this.store = store;
    this.#locks = locks;
    this.#name = options.name ?? "default";
    this.#limits = {
      maxMessages: options.maxMessages ?? MAX_MESSAGES,
      maxBytes: options.maxBytes ?? MAX_BYTES,
    };
    this.#onProgress = options.onProgress;
    this.#channel = new BroadcastChannel(`dunlin-outbox:${this.#name}`);
    this.#channel.onmessage = () => this.#changedElsewhere();
  }

  /** Messages that are stored and not confirmed yet, of all tabs, as far as this one has heard. */
  get pending(): number {
    return this.#totals.waiting;
  }

  /**
   * A queue to send to.
   *
   * @example
   * const { messageId } = await outbox.queue<Order>("orders").send({ id: 7 });
   */
  queue<Body = unknown>(
    name: string,
  ): { send(body: Body | Uint8Array, options?: SendOptions): Promise<OutboxReceipt> } {
    return { send: (body, options = {}) => this.#take(`queue:${name}`, body, options) };
  }

  /**
   * A topic to publish to.
   *
   * @example
   * await outbox.topic("presence/ann").publish("here", { retain: true });
   */
  topic<Body = unknown>(
    name: string,
  ): { publish(body: Body | Uint8Array, options?: PublishOptions): Promise<OutboxReceipt> } {
    return { publish: (body, options = {}) => this.#take(`topic:${name}`, body, options) };
  }

  /** The messages that the broker refused for good, the oldest first. They count against the limits until they are taken out. */
  async refused(): Promise<RefusedMessage[]> {
    const found = await this.store.refused();
    return found.map(({ place, to, messageId, error, refusedAtMs, ...stored }) => {
      const { body, ...options } = outgoingOf(stored);
      return { place, to, messageId, body, options, error: errorOf(error), refusedAtMs };
    });
  }

  /** Forgets a refused message. @returns whether it was there */
  async discard({ place }: { place: number }): Promise<boolean> {
    return this.#takeRefused(place, false);
  }

  /** Sends a refused message once more, behind all others and under its message id. @returns whether it was there */
  async retry({ place }: { place: number }): Promise<boolean> {
    return this.#takeRefused(place, true);
  }

  /** Resolves when nothing waits: all messages are confirmed or refused. */
  async drained(): Promise<void> {
    this.#heard(await this.store.totals());
    if (this.pending > 0) await new Promise<void>((resolve) => this.#whenDrained.push(resolve));
  }

  /** Ends it in this tab: what waits is kept, and sent by another tab or by the next to open it. Does not close the client. */
  async close(): Promise<void> {
    if (this.#ending.signal.aborted) return;
    this.#ending.abort();
    await this.#storing;
    await this.#leading;
    await this.#looking;
    this.#channel.close();
    this.store.close();
    const error = new DunlinError("The outbox is closed; the message is kept", { kind: "closed" });
    for (const { reject } of this.#waiters.values()) reject(error);
    this.#waiters.clear();
  }

  /** @internal */
  async begin(): Promise<void> {
    this.#heard(await this.store.totals());
    const { store, tab } = this;
    const options = { locks: this.#locks, store, tab, signal: this.#ending.signal };
    this.#leading = lead(this.#name, options, (signal) => {
      // The tab that had the lead before may have gone without a word to the others.
      this.#tellOthers();
      this.#changedElsewhere();
      return this.#pump.run(signal);
    }).catch((error: unknown) => this.#failed(error));
  }

  /** @internal */
  newId(): string {
    return randomId();
  }

  /** @internal */
  settled(ended: readonly Ended[], totals: Totals): void {
    this.#heard(totals);
    for (const message of ended) this.#end(message);
    this.#tellOthers();
  }

  async #take(to: string, body: unknown, options: SendOptions): Promise<OutboxReceipt> {
    if (this.#ending.signal.aborted) throw new DunlinError("The outbox is closed", { kind: "closed" });
    const { messageId = `${this.tab}-${(this.#count++).toString(36)}`, ...rest } = options;
    const isBytes = body instanceof Uint8Array;
    const text = textOf(isBytes ? rest : { ...rest, body: body ?? null });
    const draft: Draft = {
      to,
      text,
      // A copy: its owner may go on with it.
      ...(isBytes && { bytes: body.slice() }),
      messageId,
      size: text.length + (isBytes ? body.byteLength : 0),
      tab: this.tab,
      storedAtMs: Date.now(),
    };
    const confirmed = Promise.withResolvers<SendResult>();
    // Whoever does not ask for it need not handle its failure.
    confirmed.promise.catch(() => {});
    await new Promise<void>((resolve, reject) => {
      const keep = (place: number) => {
        this.#waiters.set(place, { ...confirmed, to, messageId });
        resolve();
      };
      this.#drafts.push({ draft, resolve: keep, reject });
      this.#storing ??= this.#store();
    });
    this.#tell({ is: "stored", to, messageId });
    return { messageId, confirmed: confirmed.promise };
  }

  /** Stores what has come, all of a turn in one transaction. */
  async #store(): Promise<void> {
    await undefined;
    while (this.#drafts.length > 0) {
      const taken = this.#drafts;
      this.#drafts = [];
      try {
        const drafts = taken.map(({ draft }) => draft);
        const { places, totals } = await this.store.put(drafts, this.#limits);
        for (const [index, { resolve, reject }] of taken.entries()) {
          const place = places[index];
          if (place === undefined) reject(this.#fullError(totals));
          else resolve(place);
        }
        this.#heard(totals);
        this.#pump.wake();
        this.#tellOthers();
      } catch (cause) {
        for (const { reject } of taken) reject(storageError(cause));
      }
    }
    this.#storing = undefined;
  }

  async #takeRefused(place: number, again: boolean): Promise<boolean> {
    const taken = await this.store.takeRefused(place, again);
    this.#heard(taken.totals);
    this.#pump.wake();
    this.#tellOthers();
    return taken.place !== undefined;
  }

  /** Another tab stored or sent something: looks once more, if it looks already. */
  #changedElsewhere(): void {
    this.#pump.wake();
    this.#isStale = true;
    this.#looking ??= this.#look().catch((error: unknown) => this.#failed(error));
  }

  async #look(): Promise<void> {
    while (this.#isStale && !this.#ending.signal.aborted) {
      this.#isStale = false;
      // What is just being stored may have been sent already.
      await this.#storing;
      const { ended, totals } = await this.store.fates([...this.#waiters.keys()]);
      this.#heard(totals);
      for (const { place, end } of ended) {
        const waiter = this.#waiters.get(place);
        if (waiter) this.#end({ ...waiter, place, end });
      }
    }
    this.#looking = undefined;
  }

  #end({ place, to, messageId, end }: Ended): void {
    const waiter = this.#waiters.get(place);
    this.#waiters.delete(place);
    if ("kind" in end) {
      const error = errorOf(end);
      waiter?.reject(error);
      this.#tell({ is: "refused", to, messageId, error });
    } else {
      waiter?.resolve({ ...end, messageId });
      this.#tell({ is: "confirmed", to, messageId });
    }
  }

  /** IndexedDB failed. What is stored is sent by another tab, or when the page is loaded again. */
  #failed(cause: unknown): void {
    if (this.#ending.signal.aborted) return;
    queueMicrotask(() => {
      throw storageError(cause);
    });
  }

  #heard(totals: Totals): void {
    this.#totals = totals;
    if (totals.waiting > 0) return;
    const waiting = this.#whenDrained;
    this.#whenDrained = [];
    for (const resolve of waiting) resolve();
  }

  #tell(progress: Omit<OutboxProgress, "pending">): void {
    const onProgress = this.#onProgress;
    if (!onProgress) return;
    const { pending } = this;
    // A mistake in the application's function shows as an uncaught error, and does not stop the outbox in the middle of its work.
    queueMicrotask(() => onProgress({ ...progress, pending }));
  }

  #tellOthers(): void {
    if (!this.#ending.signal.aborted) this.#channel.postMessage(0);
  }

  #fullError({ waiting, refused, bytes }: Totals): DunlinError {
    const { maxMessages, maxBytes } = this.#limits;
    const has = `${waiting} messages wait and ${refused} were refused, of ${bytes} bytes together`;
    const message = `The outbox is full: ${has}; the limits are ${maxMessages} messages and ${maxBytes} bytes`;
    return new DunlinError(message, { kind: "outbox-full", retry: "after", afterMs: 1_000 });
  }
}

function textOf(fields: object): string {
  try {
    return JSON.stringify(fields);
  } catch (cause) {
    throw new DunlinError(`The body cannot be written as JSON: ${String(cause)}`, { kind: "bad-body" });
  }
}

function errorOf({ message, ...detail }: Refusal): DunlinError {
  return new DunlinError(message, detail);
}

function storageError(cause: unknown): DunlinError {
  return new DunlinError(`IndexedDB failed: ${String(cause)}`, { kind: "storage" });
}

/** 100 random bits in digits and letters. */
function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(20)), (byte) => (byte & 31).toString(32)).join("");
}
