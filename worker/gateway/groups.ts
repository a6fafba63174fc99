// The queues behind shared and durable subscriptions: bound to their filter before anyone consumes, and those of shared ones ended with
// their last member.
import { groupOf, queueObjectName } from "../address.ts";
import { type Env, queueObject } from "../env.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { registerFilter, unbindQueue } from "../topic/register.ts";
import { gatewayCount } from "./placement.ts";
import type { Queues } from "./queues.ts";

/** What this part needs of its gateway. */
export interface GroupsOwner {
  env: Env;
  queues: Queues;
  /** Runs after what an answer brought about. */
  afterAnswer: () => void;
}

/** The groups that sessions of one gateway take part in. */
export class Groups {
  readonly #owner: GroupsOwner;
  /** Members that are about to consume, by the queue's object. */
  readonly #joining = new Map<string, number>();
  /** Ends that are under way, by the queue's object: a new member waits for them. */
  readonly #ending = new Map<string, Promise<void>>();

  constructor(owner: GroupsOwner) {
    this.#owner = owner;
  }

  /** Makes topics feed a queue; `done` hears why not, and begins to consume at once if nothing is wrong. */
  bind(namespace: string, filter: string, queue: string, done: (refusal: Refusal | undefined) => void): void {
    const target = queueObjectName(namespace, queue);
    this.#join(target, 1);
    this.#bind(namespace, filter, queue)
      .catch((error: unknown) => {
        console.error("a binding failed:", error);
        return refuse("unavailable", "the topics could not be reached; repeat the call");
      })
      .then((refusal) => {
        // It consumes from here on, or does not: what `done` gives up at once is not in use any more.
        this.#join(target, -1);
        done(refusal);
      })
      .catch((error: unknown) => console.error("a subscription to a bound queue failed:", error))
      .finally(this.#owner.afterAnswer);
  }

  /**
   * The member consumes. Another gateway's last member may have ended the group in between: with several gateways the binding is made
   * once more, which changes nothing if it stands.
   */
  confirm(
    namespace: string,
    filter: string,
    queue: string,
    done: (refusal: Refusal | undefined) => void,
  ): void {
    if (gatewayCount(this.#owner.env.GATEWAYS) === 1) done(undefined);
    else this.bind(namespace, filter, queue, done);
  }

  /** A member of a shared subscription has left: with the last one its binding and its queue end. */
  release(namespace: string, queue: string): void {
    const target = queueObjectName(namespace, queue);
    if (this.#ending.has(target)) return;
    const ending = this.#end(namespace, queue, target)
      .catch((error: unknown) => console.error("a shared subscription's queue could not be ended:", error))
      .finally(() => this.#ending.delete(target));
    this.#ending.set(target, ending);
  }

  async #bind(namespace: string, filter: string, queue: string, inTurn = true): Promise<Refusal | undefined> {
    if (inTurn) await this.#ending.get(queueObjectName(namespace, queue));
    const outcome = await registerFilter(this.#owner.env, namespace, `queue:${queue}`, filter, true);
    return isRefusal(outcome) ? outcome : undefined;
  }

  async #end(namespace: string, queue: string, target: string): Promise<void> {
    const { env, queues } = this.#owner;
    const isUsed = () => this.#joining.has(target) || queues.consumes(target);
    if (isUsed()) return;
    const object = queueObject(env, namespace, queue);
    const described = await object.describe();
    // What is bound and was never consumed is no queue yet, and would become one with its first message.
    const isBoundOnly = isRefusal(described) && described.kind === "not-found";
    // Members at other gateways are the queue's consumers.
    const isOthers = !isBoundOnly && (isRefusal(described) || described.stats.consumers > 0);
    if (isOthers || isUsed()) return;
    await unbindQueue(env, namespace, queue);
    // A member at another gateway may have come meanwhile: for it the group goes on.
    const filter = groupOf(queue)?.filter;
    if (!(await object.removeUnused()) && filter !== undefined)
      await this.#bind(namespace, filter, queue, false);
  }

  #join(target: string, by: 1 | -1): void {
    const count = (this.#joining.get(target) ?? 0) + by;
    if (count > 0) this.#joining.set(target, count);
    else this.#joining.delete(target);
  }
}
