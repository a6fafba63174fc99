// Who waits for which reply: requests by the topic of their reply, until the reply comes, their time is over, or who asked is gone.
// Time comes in with each call.
import { type Refusal, refuse } from "../errors.ts";
import { MAX_GATEWAY_REQUESTS, MAX_WAITING_REQUESTS } from "../limits.ts";
import type { Message } from "../message/record.ts";

/** Deadlines are rounded up to a multiple of this, ms: requests of about the same time end together. */
const TICK_MS = 10;

/** One request that waits. */
export interface Waiting {
  namespace: string;
  /** Who asked: its requests are counted together, and end together. */
  owner: string;
  /** When it waits no longer, ms since the epoch. */
  deadline: number;
  /** Hears the reply, or why none came; once, unless the owner is gone before. */
  done: (outcome: Message | Refusal) => void;
}

/**
 * The requests of one gateway that wait for their replies.
 *
 * @example
 * const refusal = replies.open("$reply/gateway-0/gk0…", { namespace, owner, deadline: now + 30_000, done });
 * replies.take(namespace, message); // done(message)
 */
export class Replies {
  readonly #waiting = new Map<string, Waiting>();
  readonly #byOwner = new Map<string, Set<string>>();
  readonly #byDeadline = new Map<number, Set<string>>();
  #nextDeadline = Number.POSITIVE_INFINITY;

  /** Nobody's time is over before this, ms since the epoch; Infinity when nobody waits. */
  get nextDeadline(): number {
    return this.#nextDeadline;
  }

  /** Waits for the reply under a topic that no other request has; why not, when too many wait. */
  open(topic: string, waiting: Waiting): Refusal | undefined {
    if ((this.#byOwner.get(waiting.owner)?.size ?? 0) >= MAX_WAITING_REQUESTS) {
      return refuse("too-many", `${MAX_WAITING_REQUESTS} requests wait for their replies already`, 1_000);
    }
    if (this.#waiting.size >= MAX_GATEWAY_REQUESTS) {
      return refuse("too-many", `${MAX_GATEWAY_REQUESTS} requests wait at this gateway already`, 1_000);
    }
    this.#waiting.set(topic, waiting);
    add(this.#byOwner, waiting.owner, topic);
    const tick = tickOf(waiting.deadline);
    add(this.#byDeadline, tick, topic);
    this.#nextDeadline = Math.min(this.#nextDeadline, tick);
    return undefined;
  }

  /** Hands a reply to who waits under its topic; `not-found` when nobody of this namespace does. */
  take(namespace: string, topic: string, reply: () => Message): Refusal | undefined {
    if (this.#waiting.get(topic)?.namespace !== namespace)
      return refuse("not-found", "nobody waits for this reply");
    this.#end(topic)!.done(reply());
    return undefined;
  }

  /** Ends a request that can have no reply, if it still waits. */
  fail(topic: string, refusal: Refusal): void {
    this.#end(topic)?.done(refusal);
  }

  /** Forgets the requests of an owner that is gone. */
  drop(owner: string): void {
    for (const topic of this.#byOwner.get(owner) ?? []) this.#end(topic);
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
