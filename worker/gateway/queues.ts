// The subscriptions of a gateway's sessions to queues: attached, paused and detached at their queues through the links.
import { type Address, queueObjectName } from "../address.ts";
import { type Refusal, refuse } from "../errors.ts";
import { MAX_SUBSCRIPTIONS } from "../limits.ts";
import type { Links } from "./links.ts";
import type { CommandDone } from "./object-link.ts";
import { Recent } from "./recent.ts";
import type { QueueSubscription, Session, SubscriptionOptions } from "./session.ts";
import type { SavedSubscription, SessionStore } from "./session-store.ts";

/** What a client wants of a queue. */
export interface SubscribeRequest {
  sub: number;
  address: Address;
  credit: number;
  leaseMs: number | undefined;
  /** A selector that its messages must match, "" for all. */
  filter: string;
  options: SubscriptionOptions;
  /** A random ref for a new subscription. */
  ref: number;
}

const ignored: CommandDone = () => undefined;

/** All subscriptions of one gateway to queues. */
export class Queues {
  readonly #gateway: string;
  readonly #store: SessionStore;
  readonly #links: Links;
  readonly #byRef = new Map<number, QueueSubscription>();

  constructor(gateway: string, store: SessionStore, links: Links) {
    this.#gateway = gateway;
    this.#store = store;
    this.#links = links;
  }

  /** The subscription behind a queue's ref. */
  find(ref: number): QueueSubscription | undefined {
    return this.#byRef.get(ref);
  }

  /**
   * Whether a delivery is to be shown. What was on its way to an older connection comes again with all that the session holds, as soon
   * as it has a new one; and what was sent again may have been settled before it came.
   */
  shows(
    subscription: QueueSubscription,
    { generation, lease }: { generation: number; lease: number },
  ): boolean {
    return generation === subscription.generation && !subscription.settled.has(lease);
  }

  /** The queue has confirmed that these leases are settled. */
  settled({ generation, settled }: QueueSubscription, leases: Iterable<number>): void {
    // Nothing was ever sent again to a subscription of the first generation.
    if (generation > 1) for (const lease of leases) settled.add(lease);
  }

  /** Whether a session here consumes from the queue of an object. */
  consumes(target: string): boolean {
    for (const subscription of this.#byRef.values()) if (subscription.target === target) return true;
    return false;
  }

  /** Takes up a subscription from the tables. */
  restore(session: Session, ref: number, saved: SavedSubscription, options: SubscriptionOptions): void {
    const { sub, address, target = "", credit, leaseMs, filter = "", generation = 1 } = saved;
    this.#keep({
      ...{ kind: "queue", ref, sub, session, address, target, filter, options, generation },
      settled: new Recent(),
      credit: credit ?? 0,
      leaseMs: leaseMs ?? undefined,
    });
  }

  /** Subscribes, or changes a subscription to the same queue. `done` hears the queue's answer. */
  subscribe(session: Session, request: SubscribeRequest, done: CommandDone): Refusal | undefined {
    const { sub, address, credit, leaseMs, filter, options, ref } = request;
    const known = session.subscriptions.get(sub);
    if (known !== undefined && (known.kind !== "queue" || known.address.name !== address.name)) {
      return refuse("conflict", `sub ${sub} is a subscription to something else`);
    }
    if (known === undefined && session.subscriptions.size >= MAX_SUBSCRIPTIONS) {
      return refuse("too-many", `a session has at most ${MAX_SUBSCRIPTIONS} subscriptions`);
    }
    const target = queueObjectName(session.namespace, address.name);
    const subscription: QueueSubscription = known ?? {
      ...{ kind: "queue", ref, sub, session, address, target, credit, leaseMs, filter, options },
      generation: 1,
      settled: new Recent(),
    };
    Object.assign(subscription, { credit, leaseMs, filter, options });
    this.#store.saveSubscription(subscription);
    this.#keep(subscription);
    this.#attach(subscription, false, (result, epoch) => {
      if (result.type === "refused" && known === undefined) this.forget(subscription);
      done(result, epoch);
    });
    return undefined;
  }

  /** Raises what a subscription may hold unsettled. */
  addCredit(subscription: QueueSubscription, add: number, done: CommandDone): void {
    subscription.credit += add;
    this.#store.saveSubscription(subscription);
    this.#links.queue(subscription.target).command({ type: "credit", ref: subscription.ref, add }, done);
  }

  /** Deliveries of a queue may have been lost on their way: it is asked to send again what its consumers here hold. */
  reattach(target: string): void {
    for (const subscription of this.#byRef.values()) {
      const connected = subscription.session.connection !== undefined;
      if (subscription.target === target && connected) this.attachAgain(subscription);
    }
  }

  /** Asks for everything the subscription holds, and turns away what is still on its way to it. */
  attachAgain(subscription: QueueSubscription): void {
    subscription.generation++;
    this.#store.saveSubscription(subscription);
    this.#attach(subscription, true, ignored);
  }

  /** The connection was lost: nothing comes until it is attached again. */
  pause({ ref, target }: QueueSubscription): void {
    this.#links.queue(target).command({ type: "pause", refs: [ref] }, ignored);
  }

  /** A queue delivers to a ref that is not known here (any more). */
  disown(target: string, refs: number[]): void {
    this.#links.queue(target).command({ type: "detach", refs }, ignored);
  }

  /** Ends a subscription; what it holds is ready again at once. */
  unsubscribe(subscription: QueueSubscription, done: CommandDone = ignored): void {
    this.forget(subscription);
    this.#links.queue(subscription.target).command({ type: "detach", refs: [subscription.ref] }, done);
  }

  /** Forgets a subscription that its queue does not know (any more). */
  forget(subscription: QueueSubscription): void {
    subscription.session.subscriptions.delete(subscription.sub);
    this.#byRef.delete(subscription.ref);
    this.#store.removeSubscription(subscription.ref);
  }

  #keep(subscription: QueueSubscription): void {
    subscription.session.subscriptions.set(subscription.sub, subscription);
    this.#byRef.set(subscription.ref, subscription);
  }

  #attach(subscription: QueueSubscription, resend: boolean, done: CommandDone): void {
    const { ref, session, credit, leaseMs, filter, target, generation } = subscription;
    const { client } = session;
    const consumer = { ref, gateway: this.#gateway, client, filter, credit, leaseMs, generation, resend };
    this.#links.queue(target).command({ type: "attach", consumer }, done);
  }
}
