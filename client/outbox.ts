// Everything sent and not yet answered, in order, within limits: what leaves in which frame, and what leaves again after a lost
// socket. Knows neither sockets nor what the requests mean.
import { DunlinError, isPassing } from "./errors.ts";
import { MAX_BATCH, type Reply } from "./wire.ts";

/** A request on its way to its answer. */
export interface Entry {
  readonly id: number;
  /** The frame as JSON text. */
  readonly text: string;
  /** 1 for a publish, which the outbox counts against its limits; 0 for the rest, which other limits bound. */
  readonly counted: 0 | 1;
  /** Whether it is sent again after a lost socket. */
  readonly kept: boolean;
  /** When it first left, in milliseconds since 1970; undefined until then. The outbox writes it. */
  sentAtMs?: number;
  /** Takes the broker's answer. Called at most once, and never after `abandon`. */
  reply(frame: Reply): void;
  /** No answer will come any more. */
  abandon(error: DunlinError): void;
}

/** Upper bounds of an outbox. */
export interface OutboxLimits {
  maxMessages: number;
  maxBytes: number;
  /** A message that first left longer ago than this is not sent again: the broker may have forgotten that it has it. */
  retryForMs: number;
}

// A character is at most three bytes of UTF-8, so this many stay well below the broker's frame limit of 4 MiB.
const MAX_FRAME_CHARS = 1_048_576;
/** Together with the doubling wait: how long a broker may be in trouble before a caller hears of it (about 25 s). */
const MAX_TRIES = 9;
const TRY_AGAIN_MS = 100;

/** The unanswered requests of a client. */
export class Outbox {
  readonly #limits: OutboxLimits;
  readonly #tryAgain: (run: () => void, afterMs: number) => void;
  /** In the order of sending: a Map keeps it, and forgets an answered one without a search. */
  readonly #entries = new Map<number, Entry>();
  readonly #tries = new Map<number, number>();
  #unsent: Entry[] = [];
  #messages = 0;
  #bytes = 0;
  #whenEmpty: (() => void)[] = [];

  /**
   * @param tryAgain runs a callback after a time, and then sends what `takeFrames` gives
   */
  constructor(limits: OutboxLimits, tryAgain: (run: () => void, afterMs: number) => void) {
    this.#limits = limits;
    this.#tryAgain = tryAgain;
  }

  /** Requests without an answer. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether this many more messages, of about so many bytes together, are within the limits. */
  hasRoom(messages: number, bytes: number): boolean {
    const { maxMessages, maxBytes } = this.#limits;
    return this.#messages + messages <= maxMessages && this.#bytes + bytes <= maxBytes;
  }

  /** Takes a request to send it with the next frames. */
  add(entry: Entry): void {
    this.#entries.set(entry.id, entry);
    this.#unsent.push(entry);
    this.#count(entry, 1);
  }

  /** Hands an answer to its request; a refusal that will pass is tried again instead. */
  answer(frame: Reply): void {
    const entry = this.#entries.get(frame.id!);
    // A request sent twice over two sockets may be answered twice.
    if (!entry) return;
    if (frame.op === "error" && isPassing(frame) && this.#repeat(entry, frame.afterMs)) return;
    this.#forget(entry);
    entry.reply(frame);
    if (this.#entries.size === 0) this.#announceEmpty();
  }

  /**
   * The socket was lost and another is open: everything kept is to be sent again, oldest first.
   *
   * @param first requests that go before all others, such as the subscriptions whose deliveries the others settle
   */
  rewind(first: Entry[], nowMs: number): void {
    const old = [...this.#entries.values()];
    this.#unsent = [];
    for (const entry of first) this.add(entry);
    for (const entry of old) {
      const error = this.#reasonToAbandon(entry, nowMs);
      if (!error) this.#unsent.push(entry);
      else {
        this.#forget(entry);
        entry.abandon(error);
      }
    }
    if (this.#entries.size === 0) this.#announceEmpty();
  }

  /** The unsent requests as frames: each as full as the broker's limits on a batch allow. */
  takeFrames(nowMs: number): string[] {
    const frames: string[] = [];
    let parts: string[] = [];
    let chars = 0;
    for (const entry of this.#unsent) {
      const { text } = entry;
      entry.sentAtMs ??= nowMs;
      if (parts.length === MAX_BATCH || (parts.length > 0 && chars + text.length > MAX_FRAME_CHARS)) {
        frames.push(frameOf(parts));
        parts = [];
        chars = 0;
      }
      parts.push(text);
      chars += text.length;
    }
    if (parts.length > 0) frames.push(frameOf(parts));
    this.#unsent = [];
    return frames;
  }

  /** Resolves once every request has its answer. */
  async drained(): Promise<void> {
    if (this.#entries.size > 0) await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
  }

  /** Ends: nothing will be answered any more. */
  abandon(error: DunlinError): void {
    const entries = [...this.#entries.values()];
    this.#unsent = [];
    for (const entry of entries) {
      this.#forget(entry);
      entry.abandon(error);
    }
    this.#announceEmpty();
  }

  #reasonToAbandon(entry: Entry, nowMs: number): DunlinError | undefined {
    if (!entry.kept) return new DunlinError("The connection was lost", { kind: "lost" });
    const isTooLate = entry.counted && nowMs - (entry.sentAtMs ?? nowMs) > this.#limits.retryForMs;
    if (!isTooLate) return undefined;
    const message = `Unconfirmed for more than ${this.#limits.retryForMs} ms: whether the message was stored is unknown`;
    return new DunlinError(message, { kind: "outcome-unknown" });
  }

  #repeat(entry: Entry, askedMs = 0): boolean {
    const tries = this.#tries.get(entry.id) ?? 1;
    if (tries === MAX_TRIES) return false;
    this.#tries.set(entry.id, tries + 1);
    const afterMs = Math.max(askedMs, TRY_AGAIN_MS * 2 ** (tries - 1));
    this.#tryAgain(() => {
      // Answered meanwhile, when a reconnection sent it as well.
      if (this.#entries.has(entry.id)) this.#unsent.push(entry);
    }, afterMs);
    return true;
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.id);
    if (this.#tries.size > 0) this.#tries.delete(entry.id);
    this.#count(entry, -1);
  }

  #count(entry: Entry, sign: 1 | -1): void {
    if (entry.counted === 0) return;
    this.#messages += sign;
    this.#bytes += sign * entry.text.length;
  }

  #announceEmpty(): void {
    const waiting = this.#whenEmpty;
    this.#whenEmpty = [];
    for (const resolve of waiting) resolve();
  }
}

function frameOf(parts: string[]): string {
  return parts.length === 1 ? parts[0]! : `[${parts.join(",")}]`;
}
