// Who waits for which reply: requests by the topic of their reply, until the reply comes, their time is over, or who asked is gone for
// good. Time comes in with each call.
import { type Refusal, refuse } from "../errors.ts";
import {
  MAX_GATEWAY_REQUESTS,
  MAX_KEPT_REPLY_BYTES,
  MAX_REQUEST_KEY_CHARS,
  MAX_WAITING_REQUESTS,
} from "../limits.ts";
import type { Message } from "../message/record.ts";

/** Deadlines are rounded up to a multiple of this, ms: requests of about the same time end together. */
const TICK_MS = 10;

/** Hears the reply to a request, or why none came; once, unless its owner leaves before. */
export type ReplyDone = (outcome: Message | Refusal) => void;

/** A request that begins to wait. */
export interface Opening {
  namespace: string;
  /** The connection that asked, or another common account: its requests are counted together, and left together. */
  owner: string;
  /** What a repeated request is known by; "" when it cannot be: such a one ends when its owner leaves. */
  key: string;
  /** When it waits no longer, ms since the epoch. */
  deadline: number;
  done: ReplyDone;
}

interface Waiting extends Omit<Opening, "done"> {
  /** undefined: its owner has left, and may ask again. */
  done: ReplyDone | undefined;
  /** What came meanwhile. */
  kept: { reply: Message; bytes: number } | undefined;
}

/**
 * The requests of one gateway that wait for their replies.
 *
 * @example
 * const refusal = replies.open("$reply/gateway-0/gk0…", { namespace, owner, key: "", deadline: now + 30_000, done });
 * replies.take(namespace, "$reply/gateway-0/gk0…", record.size, () => record.decode()); // done(message)
 */
export class Replies {
  readonly #waiting = new Map<string, Waiting>();
  readonly #topicByKey = new Map<string, string>();
  readonly #byOwner = new Map<string, Set<string>>();
  readonly #byDeadline = new Map<number, Set<string>>();
  #keptBytes = 0;
  #keyChars = 0;
  #nextDeadline = Number.POSITIVE_INFINITY;

  /** Nobody's time is over before this, ms since the epoch; Infinity when nobody waits. */
  get nextDeadline(): number {
    return this.#nextDeadline;
  }

  /** Waits for the reply under a topic that no other request has; why not, when too many wait. */
  open(topic: string, opening: Opening): Refusal | undefined {
    if ((this.#byOwner.get(opening.owner)?.size ?? 0) >= MAX_WAITING_REQUESTS) {
      return refuse("too-many", `${MAX_WAITING_REQUESTS} requests wait for their replies already`, 1_000);
    }
    if (this.#waiting.size >= MAX_GATEWAY_REQUESTS) {
      return refuse("too-many", `${MAX_GATEWAY_REQUESTS} requests wait at this gateway already`, 1_000);
    }
    if (this.#keyChars + opening.key.length > MAX_REQUEST_KEY_CHARS) {
      const limit = `the ids of requests that wait at this gateway have ${MAX_REQUEST_KEY_CHARS} characters`;
      return refuse("too-many", `${limit}, which is the limit`, 1_000);
    }
    this.#waiting.set(topic, { ...opening, kept: undefined });
    this.#keyChars += opening.key.length;
    if (opening.key !== "") this.#topicByKey.set(opening.key, topic);
    add(this.#byOwner, opening.owner, topic);
    const tick = tickOf(opening.deadline);
    add(this.#byDeadline, tick, topic);
    this.#nextDeadline = Math.min(this.#nextDeadline, tick);
    return undefined;
  }

  /** Takes the place of whoever asked the same before, if it still waits; that one is told so. */
  goOn({ key, owner, done }: Pick<Opening, "key" | "owner" | "done">): boolean {
    const topic = this.#topicByKey.get(key);
    const waiting = topic === undefined ? undefined : this.#waiting.get(topic);
    if (topic === undefined || waiting === undefined) return false;
    const before = waiting.done;
    remove(this.#byOwner, waiting.owner, topic);
    add(this.#byOwner, owner, topic);
    Object.assign(waiting, { owner, done });
    before?.(refuse("conflict", "the same was asked again: its reply goes to who asked last"));
    if (waiting.kept !== undefined) this.#end(topic)?.done?.(waiting.kept.reply);
    return true;
  }

  /**
   * Hands a reply to who waits under its topic.
   *
   * @returns `not-found` when nobody of this namespace waits; `too-many` when too much waits for those who may ask again
   */
  take(namespace: string, topic: string, bytes: number, read: () => Message): Refusal | undefined {
    const waiting = this.#waiting.get(topic);
    if (waiting === undefined || waiting.namespace !== namespace || waiting.kept !== undefined) {
      return refuse("not-found", "nobody waits for this reply");
    }
    if (waiting.done !== undefined) {
      this.#end(topic);
      waiting.done(read());
      return undefined;
    }
    if (this.#keptBytes + bytes > MAX_KEPT_REPLY_BYTES) {
      return refuse("too-many", `${this.#keptBytes} bytes of replies wait at this gateway already`, 1_000);
    }
    this.#keptBytes += bytes;
    waiting.kept = { reply: read(), bytes };
    return undefined;
  }

  /** Ends a request that can have no reply, if it still waits. */
  fail(topic: string, refusal: Refusal): void {
    this.#end(topic)?.done?.(refusal);
  }

  /** An owner is gone: those of its requests that cannot be asked again end. */
  leave(owner: string): void {
    for (const topic of this.#byOwner.get(owner) ?? []) {
      const waiting = this.#waiting.get(topic)!;
      if (waiting.key === "") this.#end(topic);
      else waiting.done = undefined;
    }
  }

  /** Ends the requests whose time is over. */
  expire(now: number): void {
    if (this.#nextDeadline > now) return;
    for (const [tick, topics] of this.#byDeadline) {
      if (tick > now) continue;
      for (const topic of topics) this.fail(topic, refuse("timeout", "no reply came in time"));
    }
    this.#nextDeadline = least(this.#byDeadline.keys());
  }

  #end(topic: string): Waiting | undefined {
    const waiting = this.#waiting.get(topic);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(topic);
    this.#topicByKey.delete(waiting.key);
    this.#keyChars -= waiting.key.length;
    this.#keptBytes -= waiting.kept?.bytes ?? 0;
    remove(this.#byOwner, waiting.owner, topic);
    remove(this.#byDeadline, tickOf(waiting.deadline), topic);
    if (this.#waiting.size === 0) this.#nextDeadline = Number.POSITIVE_INFINITY;
    return waiting;
  }
}

function tickOf(deadline: number): number {
  return Math.ceil(deadline / TICK_MS) * TICK_MS;
}

function least(numbers: Iterable<number>): number {
  let found = Number.POSITIVE_INFINITY;
  for (const number of numbers) found = Math.min(found, number);
  return found;
}

function add<K>(groups: Map<K, Set<string>>, key: K, topic: string): void {
  const group = groups.get(key);
  if (group === undefined) groups.set(key, new Set([topic]));
  else group.add(topic);
}

function remove<K>(groups: Map<K, Set<string>>, key: K, topic: string): void {
  const group = groups.get(key);
  group?.delete(topic);
  if (group?.size === 0) groups.delete(key);
}
