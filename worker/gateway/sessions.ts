// The sessions of a gateway: how they begin, lose their connection, come back, and end; and the wills they leave. Time and random
// numbers come in with each call.
import { groupOf, splitObjectName } from "../address.ts";
import { permits } from "../auth/permission.ts";
import type { Principal } from "../auth/principal.ts";
import { type Refusal, refuse } from "../errors.ts";
import { fromBase64 } from "../message/base64.ts";
import { selectorOf } from "../selector/selector.ts";
import type { Attendance } from "./attendance.ts";
import type { Connection, Protocol } from "./connection.ts";
import type { Groups } from "./groups.ts";
import type { Queues } from "./queues.ts";
import { PLAIN_OPTIONS, type Session, type Subscription, sessionKey, type Will } from "./session.ts";
import type { SavedSession, SavedSubscription, SessionStore } from "./session-store.ts";
import type { Topics } from "./topics.ts";

/** Who says hello, and for how long its session should last. */
export interface Hello {
  namespace: string;
  client: string;
  principal: Principal;
  /** Infinity: for ever. */
  expirySeconds: number;
  /** Nothing of an earlier session goes on [MQTT-3.1.2-4]. */
  clean: boolean;
  will: Will | undefined;
  /** The id that a new session gets. */
  newId: string;
}

/** How a client's connection began. */
export interface Begun {
  session: Session;
  resumed: boolean;
  /** Subscriptions of the resumed session that its new token does not allow. */
  revoked: Subscription[];
}

const NEVER = Number.POSITIVE_INFINITY;

/** What the sessions need of their gateway. */
export interface SessionsOwner {
  store: SessionStore;
  queues: Queues;
  topics: Topics;
  groups: Groups;
  attendance: Pick<Attendance, "leaveAll" | "authorize">;
  /** Finds an adapter by its first name. */
  protocol: (name: string | undefined) => Protocol;
  /** A session has got a connection, or lost it. */
  presence: (session: Session, event: "connected" | "disconnected") => void;
  /** Publishes a will. */
  publishWill: (session: Session, will: Will) => void;
}

/** All sessions of one gateway. */
export class Sessions {
  readonly #owner: SessionsOwner;
  readonly #byKey = new Map<string, Session>();
  /** No session ends and no will is due before this; Infinity when none waits. */
  nextDeadline = NEVER;

  constructor(owner: SessionsOwner) {
    this.#owner = owner;
  }

  /** Sessions of a namespace. */
  *of(namespace: string): Generator<Session> {
    for (const session of this.#byKey.values()) if (session.namespace === namespace) yield session;
  }

  /** The ids of all sessions. */
  *ids(): Generator<string> {
    for (const { id } of this.#byKey.values()) yield id;
  }

  /** The session of a client. */
  find(namespace: string, client: string): Session | undefined {
    return this.#byKey.get(sessionKey(namespace, client));
  }

  /**
   * Rebuilds the sessions when the gateway's object wakes: from its tables, and from the sessions that its live sockets carry.
   * What has neither ended while the object was away.
   */
  restore(live: Session[], now: number): void {
    const { store, topics, queues } = this.#owner;
    for (const session of live) this.#byKey.set(sessionKey(session.namespace, session.client), session);
    const cut: Session[] = [];
    for (const saved of store.sessions()) {
      const session = this.#byKey.get(sessionKey(saved.namespace, saved.client));
      if (session?.id === saved.id) session.will = willOf(saved);
      if (session !== undefined) continue;
      const revived = this.#revive(saved);
      if (saved.connected ?? saved.endsAt === null) cut.push(revived);
    }
    const orphans: SavedSubscription[] = [];
    for (const { ref, ...saved } of store.subscriptions()) {
      const session = this.#byKey.get(saved.session);
      const { sub, options = PLAIN_OPTIONS, credit } = saved;
      if (session === undefined) {
        store.removeSubscription(ref);
        orphans.push(saved);
        if (saved.target !== undefined) queues.disown(saved.target, [ref]);
      } else if (saved.address.kind === "queue") {
        queues.restore(session, ref, saved, options);
      } else {
        const filter = saved.address.name;
        const durable = options.qos > 0 && session.expirySeconds > 0;
        const place = { durable, credit: credit ?? NEVER, skipped: 0, woken: undefined, behind: undefined };
        const selector = selectorOf(saved.filter ?? "");
        const subscription = {
          kind: "topic" as const,
          ref,
          sub,
          session,
          filter,
          selector,
          options,
          ...place,
        };
        session.subscriptions.set(sub, subscription);
        topics.restore(subscription);
      }
    }
    for (const { session, address } of orphans) {
      const { namespace } = splitObjectName(session);
      if (address.kind === "topic") topics.abandon(namespace, address.name);
    }
    // Sockets that were lost with the object itself had no close event.
    for (const session of cut) this.#disconnect(session, now);
    this.expire(now);
  }

  /** A connection said hello: its client's session goes on, or a new one begins. A client id belongs to its token's subject. */
  begin(connection: Connection, hello: Hello): Begun | Refusal {
    const { namespace, client, principal, expirySeconds, newId, will } = hello;
    const key = sessionKey(namespace, client);
    const known = this.#byKey.get(key);
    if (known !== undefined && known.principal.subject !== principal.subject) {
      return refuse("forbidden", "the client id has a session of another subject");
    }
    const { protocol } = connection;
    const resumed =
      known !== undefined && known.expirySeconds > 0 && !hello.clean && known.protocol === protocol;
    const replaced = known?.connection;
    if (known !== undefined && replaced !== undefined) this.#takeOver(known, replaced, resumed);
    if (known !== undefined && !resumed) this.end(known);
    const session: Session = resumed
      ? known
      : { id: newId, namespace, client, principal, protocol, ...detached() };
    const wasKept = resumed;
    Object.assign(session, { principal, expirySeconds, connection, endsAt: NEVER, will });
    connection.session = session;
    this.#byKey.set(key, session);
    this.#owner.presence(session, "connected");
    if (isKept(session)) this.#owner.store.saveSession(session);
    else if (wasKept) this.#owner.store.removeSession(session);
    const revoked = this.authorize(session, principal);
    if (resumed) {
      for (const subscription of session.subscriptions.values()) {
        if (subscription.kind === "queue") this.#owner.queues.attachAgain(subscription);
      }
    }
    return { session, resumed, revoked };
  }

  /** A session has a fresh token: subscriptions that it does not allow end, and are returned. */
  authorize(session: Session, principal: Principal): Subscription[] {
    session.principal = principal;
    this.#owner.attendance.authorize(session);
    const revoked = [...session.subscriptions.values()].filter(
      (subscription) => checkSubscription(principal, subscription) !== undefined,
    );
    for (const subscription of revoked) this.unsubscribe(subscription);
    return revoked;
  }

  /** Writes down that a session's expiry or will has changed. */
  changed(session: Session): void {
    if (isKept(session)) this.#owner.store.saveSession(session);
    else this.#owner.store.removeSession(session);
  }

  /** A connection ended. Its session waits for the client, or ends as well; its will is published in its time. */
  lost(connection: Connection, now: number): void {
    const { session } = connection;
    connection.session = undefined;
    if (session === undefined || session.connection !== connection) return;
    this.#owner.presence(session, "disconnected");
    this.#disconnect(session, now);
  }

  /** Ends a session with all its subscriptions; a will that waits is published now [MQTT-3.1.3-9]. */
  end(session: Session): void {
    this.#byKey.delete(sessionKey(session.namespace, session.client));
    if (session.connection !== undefined) session.connection.session = undefined;
    session.connection = undefined;
    for (const subscription of [...session.subscriptions.values()]) this.unsubscribe(subscription);
    // Whatever it is now: it may have been on disk for a will or an expiry that it has no more.
    this.#owner.store.removeSession(session);
    this.#publishWill(session);
    this.#owner.attendance.leaveAll(session);
    session.protocol.ended(session);
  }

  /** Ends a subscription to whatever; the queue of a shared one ends with its last member. */
  unsubscribe(subscription: Subscription): void {
    const { queues, topics, groups } = this.#owner;
    if (subscription.kind === "topic") return topics.unsubscribe(subscription);
    const { name } = subscription.address;
    const { namespace } = subscription.session;
    const shared = groupOf(name)?.kind === "share";
    queues.unsubscribe(subscription, () => {
      if (shared) groups.release(namespace, name);
    });
  }

  /** Ends the sessions whose time without a connection is over, and publishes the wills that are due. */
  expire(now: number): void {
    this.nextDeadline = NEVER;
    for (const session of [...this.#byKey.values()]) {
      if (session.endsAt <= now) {
        this.end(session);
        continue;
      }
      if (session.will !== undefined && session.will.dueAt <= now) {
        this.#publishWill(session);
        this.changed(session);
      }
      this.#watch(session);
    }
  }

  #revive(saved: SavedSession): Session {
    const { id, namespace, client, principal, expirySeconds, endsAt } = saved;
    const session: Session = {
      ...{ id, namespace, client, principal, protocol: this.#owner.protocol(saved.protocol) },
      ...detached(),
      expirySeconds: expirySeconds ?? NEVER,
      endsAt: endsAt ?? NEVER,
      will: willOf(saved),
    };
    this.#byKey.set(sessionKey(namespace, client), session);
    return session;
  }

  #takeOver(session: Session, replaced: Connection, resumed: boolean): void {
    replaced.session = undefined;
    session.connection = undefined;
    // The old connection ends without a DISCONNECT: its will is due, unless the delay lets the new one come in time.
    if (!resumed || session.will?.delaySeconds === 0) this.#publishWill(session);
    replaced.protocol.takenOver(replaced);
  }

  #disconnect(session: Session, now: number): void {
    session.connection = undefined;
    if (session.expirySeconds === 0) {
      this.end(session);
      return;
    }
    session.endsAt = now + session.expirySeconds * 1_000;
    if (session.will !== undefined) session.will.dueAt = now + session.will.delaySeconds * 1_000;
    if (session.will !== undefined && session.will.dueAt <= now) this.#publishWill(session);
    this.#watch(session);
    this.#owner.store.saveSession(session);
    for (const subscription of session.subscriptions.values()) {
      if (subscription.kind === "queue") this.#owner.queues.pause(subscription);
    }
  }

  #publishWill(session: Session): void {
    const { will } = session;
    session.will = undefined;
    if (will !== undefined) this.#owner.publishWill(session, will);
  }

  #watch({ endsAt, will }: Session): void {
    this.nextDeadline = Math.min(this.nextDeadline, endsAt, will?.dueAt ?? NEVER);
  }
}

/** Sessions that outlive their connection are on disk, and those with a will: it must not be lost with the object. */
function isKept({ expirySeconds, will }: Session): boolean {
  return expirySeconds > 0 || will !== undefined;
}

function detached(): Pick<Session, "expirySeconds" | "connection" | "endsAt" | "subscriptions" | "will"> {
  return {
    expirySeconds: 0,
    connection: undefined,
    endsAt: NEVER,
    subscriptions: new Map(),
    will: undefined,
  };
}

function willOf({ namespace, will }: SavedSession): Will | undefined {
  if (will === undefined) return undefined;
  const { record, dueAt, ...rest } = will;
  return { ...rest, namespace, record: fromBase64(record)!, dueAt: dueAt ?? NEVER };
}

/** Why a principal may not have a subscription. A group's queue is as its filter. */
function checkSubscription(principal: Principal, subscription: Subscription): Refusal | undefined {
  const filter =
    subscription.kind === "topic" ? subscription.filter : groupOf(subscription.address.name)?.filter;
  if (filter !== undefined) return permits(principal, "subscribe", `topic:${filter}`);
  return subscription.kind === "queue"
    ? permits(principal, "consume", `queue:${subscription.address.name}`)
    : undefined;
}
