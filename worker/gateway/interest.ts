// Which filters this gateway has told to the Topic objects: each once, however many of its subscriptions share it.
import { directoryObject, type Env } from "../env.ts";
import { isRefusal, type Refusal } from "../errors.ts";
import { type Registered, registerFilter, unregisterFilter } from "../topic/register.ts";
import type { ReadRequest } from "../topic/rpc.ts";

/** How many subscriptions share a filter, and how many of them want what they miss to be stored. */
interface Shared {
  count: number;
  durable: number;
  /** The last call about this filter: they run one after the other, so that none overtakes another. */
  last: Promise<unknown>;
}

/** The filters of one gateway. */
export class Interest {
  readonly #env: Env;
  /** The gateway's name. */
  readonly gateway: string;
  readonly #filters = new Map<string, Shared>();

  constructor(env: Env, gateway: string) {
    this.#env = env;
    this.gateway = gateway;
  }

  /** Counts a subscription that was registered in an earlier life of the gateway's object. */
  restore(namespace: string, filter: string, durable: boolean): void {
    this.#count(namespace, filter, durable, 1);
  }

  /**
   * Registers a filter for one more subscription, and reads what it wants to begin with. Effective when it resolves with what was
   * registered; otherwise it counts for nothing.
   */
  async add(
    namespace: string,
    filter: string,
    durable: boolean,
    read: ReadRequest,
  ): Promise<Registered[] | Refusal> {
    const shared = this.#count(namespace, filter, durable, 1);
    const call = () =>
      registerFilter(this.#env, namespace, this.gateway, filter, shared.durable > 0, { read });
    let effective = false;
    try {
      const outcome = await this.#inTurn(shared, call);
      effective = !isRefusal(outcome);
      return outcome;
    } finally {
      if (!effective) this.remove(namespace, filter, durable);
    }
  }

  /** A subscription ended: with the last one the filter is taken back. */
  remove(namespace: string, filter: string, durable: boolean): void {
    const shared = this.#count(namespace, filter, durable, -1);
    if (shared.count > 0) return;
    const ended = this.#inTurn(shared, async () => {
      if (shared.count === 0) await unregisterFilter(this.#env, namespace, this.gateway, filter);
    });
    const { last } = shared;
    ended
      .catch((error: unknown) => console.error("an interest could not be taken back:", error))
      .finally(() => {
        // Forgotten only when no call waits behind this one: it must not run beside those of a new count.
        if (shared.count === 0 && shared.last === last) this.#filters.delete(keyOf(namespace, filter));
      });
  }

  #count(namespace: string, filter: string, durable: boolean, by: number): Shared {
    const key = keyOf(namespace, filter);
    let shared = this.#filters.get(key);
    if (shared === undefined) {
      shared = { count: 0, durable: 0, last: Promise.resolve() };
      this.#filters.set(key, shared);
    }
    shared.count += by;
    if (durable) shared.durable += by;
    return shared;
  }

  #inTurn<T>(shared: Shared, call: () => Promise<T>): Promise<T> {
    const next = shared.last.then(call, call);
    shared.last = next.catch(() => undefined);
    return next;
  }
}

/** Topic objects that are asked for their counts at most: more of them would take too long. */
const MAX_COUNTED = 100;

/** How many retained messages a namespace has, as far as its first Topic objects know. */
export async function countRetained(env: Env, namespace: string): Promise<number> {
  const objects = await directoryObject(env, namespace).topicObjects();
  const counts = await Promise.all(
    objects.slice(0, MAX_COUNTED).map((name) => env.TOPIC.getByName(name).counts()),
  );
  return counts.reduce((sum, { retained }) => sum + retained, 0);
}

/** A namespace has no colon. */
function keyOf(namespace: string, filter: string): string {
  return `${namespace}:${filter}`;
}
