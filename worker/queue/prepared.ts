// Messages that are stored and that nobody sees yet, because their publisher has not decided over them.
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import { MAX_CHECK_WAIT_MS } from "../limits.ts";
import { type Preparation, readPreparation, writePreparation } from "../link/preparation.ts";
import { Book } from "./book.ts";

/** A message that waits for its decision. Its record is in the table `prepared`. */
export interface PreparedMessage extends Preparation {
  messageId: string;
  /** Its place in the table; rises. */
  readonly key: number;
  readonly bytes: number;
  /** How often it was asked for. */
  asked: number;
  /** When it is asked for next, or rolled back after the last time, ms since the epoch. */
  checkAt: number;
}

/* PERSISTED. A fact: u8 kind, text16 messageId, then
 *   1 prepared   f64 key, u32 bytes, preparation (link/preparation.ts), u32 asked, f64 checkAt
 *   2 asked      f64 now       3 decided       4 abandoned
 * In a checkpoint: f64 last key, f64 abandoned, u32 × { text16 messageId, as 1 }.
 */
const PREPARED = 1;
const ASKED = 2;
const DECIDED = 3;
const ABANDONED = 4;

/** All such messages of one queue. */
export class Prepared extends Book {
  readonly number = 22;
  /** Oldest first. */
  readonly #byId = new Map<string, PreparedMessage>();
  #lastKey = 0;
  bytes = 0;
  /** Messages that were rolled back as nobody decided. */
  abandoned = 0;

  get size(): number {
    return this.#byId.size;
  }

  /** The key for the next one. */
  get nextKey(): number {
    return this.#lastKey + 1;
  }

  /** When the first one is asked for, Infinity when none is. */
  get deadline(): number {
    let deadline = Number.POSITIVE_INFINITY;
    for (const { checkAt } of this.#byId.values()) deadline = Math.min(deadline, checkAt);
    return deadline;
  }

  get(messageId: string): PreparedMessage | undefined {
    return this.#byId.get(messageId);
  }

  /** Oldest first. */
  values(): IterableIterator<PreparedMessage> {
    return this.#byId.values();
  }

  add(message: PreparedMessage): void {
    this.note((to) => {
      to.u8(PREPARED);
      write(to, message);
    });
    this.#add(message);
  }

  /** It is asked for once more, and then after a wait twice as long as the last. */
  ask(message: PreparedMessage, now: number): void {
    this.note((to) => {
      to.u8(ASKED);
      to.text16(message.messageId);
      to.f64(now);
    });
    const { checkAfterMs } = message;
    message.asked++;
    const wait = checkAfterMs * 2 ** Math.min(message.asked, 40);
    message.checkAt = now + Math.min(wait, Math.max(checkAfterMs, MAX_CHECK_WAIT_MS));
  }

  /** Its publisher has decided, or nobody did in time. */
  end(message: PreparedMessage, abandoned: boolean): void {
    this.note((to) => {
      to.u8(abandoned ? ABANDONED : DECIDED);
      to.text16(message.messageId);
    });
    this.#byId.delete(message.messageId);
    this.bytes -= message.bytes;
    if (abandoned) this.abandoned++;
  }

  replay(fact: Reader): void {
    const kind = fact.u8();
    if (kind === PREPARED) return this.#add(read(fact));
    const message = this.#byId.get(fact.text16())!;
    if (kind === ASKED) this.ask(message, fact.f64());
    else this.end(message, kind === ABANDONED);
  }

  save(to: Writer): void {
    to.f64(this.#lastKey);
    to.f64(this.abandoned);
    to.u32(this.#byId.size);
    for (const message of this.#byId.values()) write(to, message);
  }

  load(from: Reader): void {
    const lastKey = from.f64();
    this.abandoned = from.f64();
    for (let left = from.u32(); left > 0; left--) this.#add(read(from));
    this.#lastKey = lastKey;
  }

  #add(message: PreparedMessage): void {
    this.#byId.set(message.messageId, { ...message });
    this.#lastKey = message.key;
    this.bytes += message.bytes;
  }
}

function write(to: Writer, message: PreparedMessage): void {
  to.text16(message.messageId);
  to.f64(message.key);
  to.u32(message.bytes);
  writePreparation(to, message);
  to.u32(message.asked);
  to.f64(message.checkAt);
}

function read(from: Reader): PreparedMessage {
  const messageId = from.text16();
  const key = from.f64();
  const bytes = from.u32();
  return { messageId, key, bytes, ...readPreparation(from), asked: from.u32(), checkAt: from.f64() };
}
