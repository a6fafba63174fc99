// The sessions of a gateway: how they begin, lose their connection, come back, and end. Time and random numbers come in with each call.
import type { Address } from "../address.ts";
import { queueObjectName } from "../address.ts";
import type { Principal } from "../auth/principal.ts";
import { type Refusal, refuse } from "../errors.ts";
import { MAX_SUBSCRIPTIONS } from "../limits.ts";
import type { Connection } from "./connection.ts";
import type { Links } from "./links.ts";
import type { CommandDone } from "./queue-link.ts";
import { type Session, type Subscription, sessionKey } from "./session.ts";
import type { SessionStore } from "./session-store.ts";

/** Who says hello, and for how long its session should last. */
export interface Hello {
  namespace: string;
  client: string;
  principal: Principal;
  expirySeconds: number;
  /** The id that a new session gets. */
  newId: string;
}

/** How a client's connection began. */
export interface Begun {
  session: Session;
  resumed: boolean;
  /** The older connection of the same client, which must be closed. */
  replaced: Connection | undefined;
}

/** What a client wants of a queue. */
export interface SubscribeRequest {
  sub: number;
  address: Address;
  credit: number;
  leaseMs: number | undefined;
  /** A random ref for a new subscription. */
  ref: number;
}

const NEVER = Number.POSITIVE_INFINITY;
const ignored: CommandDone = () => undefined;

/** All sessions of one gateway. */
export class Sessions {
  readonly #gateway: string;
  readonly #store: SessionStore;
  readonly #links: Links;
  readonly #byKey = new Map<string, Session>();
  readonly #byRef = new Map<number, Subscription>();
  /** No session ends before this; Infinity when none waits. */
  nextDeadline = NEVER;

  constructor(gateway: string, store: SessionStore, links: Links) {
    this.#gateway = gateway;
    this.#store = store;
    this.#links = links;
  }

  /** The subscription behind a queue's ref. */
  find(ref: number): Subscription | undefined {
    return this.#byRef.get(ref);
  }

  /**
   * Rebuilds the sessions when the gateway's object wakes: from its tables, and from the sessions that its live sockets carry.
   * What has neither ended while the object was away.
   */
  restore(live: Session[], now: number): void {
    for (const session of live) this.#byKey.set(sessionKey(session.namespace, session.client), session);
    for (const saved of this.#store.sessions()) {
      const key = sessionKey(saved.namespace, saved.client);
      if (this.#byKey.get(key)?.id === saved.id) continue;
      const session: Session = {
        ...saved,
        connection: undefined,
        endsAt: saved.endsAt ?? NEVER,
        subscriptions: new Map(),
      };
      this.#byKey.set(key, session);
    }
    for (const { session: key, ref, leaseMs, ...saved } of this.#store.subscriptions()) {
      const session = this.#byKey.get(key);
      if (session === undefined) {
        this.#store.removeSubscription(ref);
        this.#links.to(saved.target).command({ type: "detach", refs: [ref] }, ignored);
        continue;
      }
      this.#keep({ ...saved, ref, leaseMs: leaseMs ?? undefined, session });
    }
    // Sockets that were lost with the object itself had no close event.
    for (const session of this.#byKey.values()) {
      if (session.connection === undefined && session.endsAt === NEVER) this.#disconnect(session, now);
    }
    this.expire(now);
  }

  /** A connection said hello: its client's session goes on, or a new one begins. A client id belongs to its token's subject. */
  begin(connection: Connection, hello: Hello): Begun | Refusal {
    const key = sessionKey(hello.namespace, hello.client);
    const known = this.#byKey.get(key);
    if (known !== undefined && known.principal.subject !== hello.principal.subject) {
      return refuse("forbidden", "the client id has a session of another subject");
    }
    const replaced = known?.connection;
    if (replaced !== undefined) replaced.session = undefined;
    const resumed = known !== undefined && known.expirySeconds > 0;
    if (known !== undefined && !resumed) this.end(known);
    const { namespace, client, principal, expirySeconds, newId } = hello;
    const session: Session = resumed
      ? known
      : {
          id: newId,
          namespace,
          client,
          principal,
          expirySeconds,
          connection,
          endsAt: NEVER,
          subscriptions: new Map(),
        };
    const wasKept = resumed && session.expirySeconds > 0;
    Object.assign(session, { principal, expirySeconds, connection, endsAt: NEVER });
    connection.session = session;
    this.#byKey.set(key, session);
    if (expirySeconds > 0) this.#store.saveSession(session);
    else if (wasKept) this.#store.removeSession(session);
    if (resumed) for (const subscription of session.subscriptions.values()) this.#attachAgain(subscription);
    return { session, resumed, replaced };
  }

  /** A connection ended. Its session waits for the client, or ends as well. */
  lost(connection: Connection, now: number): void {
    const { session } = connection;
    connection.session = undefined;
    if (session === undefined || session.connection !== connection) return;
    this.#disconnect(session, now);
  }

  /** Ends a session with all its subscriptions. */
  end(session: Session): void {
    this.#byKey.delete(sessionKey(session.namespace, session.client));
    if (session.connection !== undefined) session.connection.session = undefined;
    session.connection = undefined;
    for (const subscription of session.subscriptions.values()) this.unsubscribe(subscription, ignored);
    if (session.expirySeconds > 0) this.#store.removeSession(session);
  }

  /** Ends the sessions whose time without a connection is over. */
  expire(now: number): void {
    this.nextDeadline = NEVER;
    for (const session of [...this.#byKey.values()]) {
      if (session.endsAt <= now) this.end(session);
      else this.nextDeadline = Math.min(this.nextDeadline, session.endsAt);
    }
  }

  /** Subscribes, or changes a subscription to the same queue. `done` hears the queue's answer. */
  subscribe(session: Session, request: SubscribeRequest, done: CommandDone): Refusal | undefined {
    const { sub, address, credit, leaseMs, ref } = request;
    const known = session.subscriptions.get(sub);
    if (known !== undefined && known.address.name !== address.name) {
      return refuse("conflict", `sub ${sub} is a subscription to queue:${known.address.name}`);
    }
    if (known === undefined && session.subscriptions.size >= MAX_SUBSCRIPTIONS) {
      return refuse("too-many", `a session has at most ${MAX_SUBSCRIPTIONS} subscriptions`);
    }
    const target = queueObjectName(session.namespace, address.name);
    const subscription = known ?? { ref, sub, session, address, target, credit, leaseMs, generation: 1 };
    Object.assign(subscription, { credit, leaseMs });
    this.#store.saveSubscription(subscription);
    this.#keep(subscription);
    this.#attach(subscription, false, (result, epoch) => {
      if (result.type === "refused" && known === undefined) this.forget(subscription);
      done(result, epoch);
    });
    return undefined;
  }

  /** Raises what a subscription may hold unsettled. */
  addCredit(subscription: Subscription, add: number, done: CommandDone): void {
    subscription.credit += add;
    this.#store.saveSubscription(subscription);
    this.#links.to(subscription.target).command({ type: "credit", ref: subscription.ref, add }, done);
  }

  /** Deliveries of a queue may have been lost on their way: it is asked to send again what its consumers here hold. */
  reattach(target: string): void {
    for (const subscription of this.#byRef.values()) {
      const connected = subscription.session.connection !== undefined;
      if (subscription.target === target && connected) this.#attachAgain(subscription);
    }
  }

  /** A queue delivers to a ref that is not known here (any more). */
  disown(target: string, refs: number[]): void {
    this.#links.to(target).command({ type: "detach", refs }, ignored);
  }

  /** Ends a subscription; what it holds is ready again at once. */
  unsubscribe(subscription: Subscription, done: CommandDone): void {
    this.forget(subscription);
    this.#links.to(subscription.target).command({ type: "detach", refs: [subscription.ref] }, done);
  }

  /** Forgets a subscription that its queue does not know (any more). */
  forget(subscription: Subscription): void {
    subscription.session.subscriptions.delete(subscription.sub);
    this.#byRef.delete(subscription.ref);
    this.#store.removeSubscription(subscription.ref);
  }

  #keep(subscription: Subscription): void {
    subscription.session.subscriptions.set(subscription.sub, subscription);
    this.#byRef.set(subscription.ref, subscription);
  }

  /** Asks for everything the subscription holds, and turns away what is still on its way to it. */
  #attachAgain(subscription: Subscription): void {
    subscription.generation++;
    this.#store.saveSubscription(subscription);
    this.#attach(subscription, true, ignored);
  }

  #attach(subscription: Subscription, resend: boolean, done: CommandDone): void {
    const { ref, credit, leaseMs, target, generation } = subscription;
    const consumer = { ref, gateway: this.#gateway, credit, leaseMs, generation, resend };
    this.#links.to(target).command({ type: "attach", consumer }, done);
  }

  #disconnect(session: Session, now: number): void {
    session.connection = undefined;
    if (session.expirySeconds === 0) {
      this.end(session);
      return;
    }
    session.endsAt = now + session.expirySeconds * 1_000;
    this.nextDeadline = Math.min(this.nextDeadline, session.endsAt);
    this.#store.saveSession(session);
    for (const { ref, target } of session.subscriptions.values()) {
      this.#links.to(target).command({ type: "pause", refs: [ref] }, ignored);
    }
  }
}
