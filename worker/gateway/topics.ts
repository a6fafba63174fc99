// How sessions subscribe to topics: the filter is registered, what was before is read, then live messages follow without a gap.
import type { Env } from "../env.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { isExact } from "../filter/filter.ts";
import { MAX_SESSION_SELECTOR_CHARS, MAX_SUBSCRIPTIONS } from "../limits.ts";
import { TopicPacketView } from "../link/topic-packet.ts";
import { RecordView } from "../message/record.ts";
import type { Selector } from "../selector/selector.ts";
import type { Registered } from "../topic/register.ts";
import type { From, ReadRequest, TopicPosition } from "../topic/rpc.ts";
import type { Fanout } from "./fanout.ts";
import type { Interest } from "./interest.ts";
import type { Session, SubscriptionOptions, TopicSubscription } from "./session.ts";
import type { SessionStore } from "./session-store.ts";
import { SYS_PREFIX, type Sys } from "./sys.ts";

/** What a client wants of topics. */
export interface TopicRequest {
  sub: number;
  filter: string;
  /** Which messages of these topics; undefined: all. */
  selector: Selector | undefined;
  options: SubscriptionOptions;
  credit: number;
  from: From;
  retained: "send" | "none";
  /** A random ref for a new subscription. */
  ref: number;
}

/** Hears that a subscription is effective, and where its topics stand; its first messages follow. */
export type SubscribedDone = (outcome: TopicPosition[] | Refusal) => void;

/** Bytes of history in one answer. */
const PAGE_BYTES = 1_000_000;

/** What the subscriptions need of their gateway. */
export interface TopicsOwner {
  env: Env;
  store: SessionStore;
  interest: Interest;
  fanout: Fanout;
  sys: Sys;
  /** Hands on what a Topic object answered, after the live packets that it sent before. */
  inOrder: (topicObject: string, packet: Uint8Array, hand: (records: Uint8Array) => void) => void;
  /** Runs after what an answer brought about. */
  afterAnswer: () => void;
}

/** The subscriptions of a gateway's sessions to topics. */
export class Topics {
  readonly #owner: TopicsOwner;

  constructor(owner: TopicsOwner) {
    this.#owner = owner;
  }

  /** Takes up a subscription that was effective before the gateway's object slept. */
  restore(subscription: TopicSubscription): void {
    const { namespace } = subscription.session;
    if (subscription.filter.startsWith(SYS_PREFIX)) this.#owner.sys.watch(namespace, 1, Date.now());
    else this.#owner.interest.restore(namespace, subscription.filter, subscription.durable);
    this.#owner.fanout.add(subscription);
  }

  /** A subscription was lost with its session: its filter is taken back unless others share it. Call after all `restore`. */
  abandon(namespace: string, filter: string): void {
    if (filter.startsWith(SYS_PREFIX)) return;
    this.#owner.interest.restore(namespace, filter, false);
    this.#owner.interest.remove(namespace, filter, false);
  }

  /** Subscribes, or changes the subscription that has this filter and number already. */
  subscribe(session: Session, request: TopicRequest, done: SubscribedDone): void {
    const { sub, filter, selector, options, credit, ref } = request;
    const known = session.subscriptions.get(sub);
    if (known !== undefined && (known.kind !== "topic" || known.filter !== filter)) {
      return done(refuse("conflict", `sub ${sub} is a subscription to something else`));
    }
    if (known === undefined && session.subscriptions.size >= MAX_SUBSCRIPTIONS) {
      return done(refuse("too-many", `a session has at most ${MAX_SUBSCRIPTIONS} subscriptions`));
    }
    const refusal = checkSelectors(session, sub, selector);
    if (refusal !== undefined) return done(refusal);
    // Changed options mean another registration; the new one counts before the old one ends, so nothing is missed between.
    const before = known === undefined ? undefined : { ...known };
    const subscription: TopicSubscription = known ?? {
      ...{ kind: "topic", ref, sub, session, filter, selector, options, credit, skipped: 0 },
      ...{ durable: false, woken: undefined, behind: { records: [], bytes: 0, dropped: 0 } },
      ...(isExact(filter) ? { place: { epoch: 0, seq: 0 } } : {}),
    };
    const durable = options.qos > 0 && session.expirySeconds > 0;
    Object.assign(subscription, { selector, options, credit, durable });
    session.subscriptions.set(sub, subscription);
    if (known === undefined) this.#owner.fanout.add(subscription);
    else this.#owner.fanout.changed(subscription);
    if (filter.startsWith(SYS_PREFIX))
      return this.#subscribeSys(subscription, request, known === undefined, done);
    this.#begin(subscription, request, known !== undefined)
      .catch((error: unknown) => {
        console.error("a subscription failed:", error);
        return refuse("unavailable", "the topic could not be reached; repeat the call");
      })
      .then((outcome) => this.#begun(subscription, request, outcome, done, before))
      .catch((error: unknown) => console.error("a subscription could not begin:", error))
      .finally(this.#owner.afterAnswer);
  }

  /** What the gateway says of itself concerns no Topic object. */
  #subscribeSys(
    subscription: TopicSubscription,
    { filter, retained }: TopicRequest,
    fresh: boolean,
    done: SubscribedDone,
  ): void {
    const { sys, store, fanout, afterAnswer } = this.#owner;
    const { namespace, protocol } = subscription.session;
    const now = Date.now();
    store.saveSubscription(subscription);
    subscription.behind = undefined;
    fanout.changed(subscription);
    if (fresh) sys.watch(namespace, 1, now);
    done([]);
    if (retained === "none") return;
    sys
      .read(namespace, filter, now)
      .then(({ records, count }) => protocol.replay(subscription, records, count))
      .catch((error: unknown) => console.error("the figures could not be read:", error))
      .finally(afterAnswer);
  }

  /** Ends a subscription. */
  unsubscribe(subscription: TopicSubscription): void {
    const { session, sub, ref, filter } = subscription;
    if (session.subscriptions.get(sub) !== subscription) return;
    session.subscriptions.delete(sub);
    this.#owner.fanout.remove(subscription);
    this.#owner.store.removeSubscription(ref);
    subscription.woken?.();
    if (filter.startsWith(SYS_PREFIX)) return this.#owner.sys.watch(session.namespace, -1, 0);
    // One that has not gone live is taken back where it would.
    if (subscription.behind === undefined) {
      this.#owner.interest.remove(session.namespace, filter, subscription.durable);
    }
  }

  #begin(
    subscription: TopicSubscription,
    request: TopicRequest,
    known: boolean,
  ): Promise<Registered[] | Refusal> {
    const { session, filter } = subscription;
    const { from, retained } = request;
    const read: ReadRequest = { filter, from: known ? "new" : from, retained, limitBytes: PAGE_BYTES };
    return this.#owner.interest.add(session.namespace, filter, subscription.durable, read);
  }

  async #begun(
    subscription: TopicSubscription,
    request: TopicRequest,
    outcome: Registered[] | Refusal,
    done: SubscribedDone,
    before: TopicSubscription | undefined,
  ): Promise<void> {
    const { session, filter } = subscription;
    const { interest } = this.#owner;
    const gone = session.subscriptions.get(subscription.sub) !== subscription;
    if (isRefusal(outcome)) {
      this.#fail(subscription, before);
      return done(outcome);
    }
    // One registration stays for a subscription, however often it was made: `unsubscribe` has taken that one back if it has ended.
    if (before !== undefined) interest.remove(session.namespace, filter, before.durable);
    else if (gone) interest.remove(session.namespace, filter, subscription.durable);
    if (gone) return done(refuse("no-subscription", "the subscription was ended meanwhile"));
    this.#owner.store.saveSubscription(subscription);
    done(outcome.flatMap(({ answer }) => answer.topics));
    const seen = new Map<string, TopicPosition>();
    const replays = outcome.map((registered) =>
      this.#replay(subscription, request, registered, seen).catch((error: unknown) => {
        // The client was told that it is subscribed: what is live must reach it all the same.
        console.error("what was before a subscription could not be read to its end:", error);
        session.protocol.lag(subscription, 1);
      }),
    );
    await Promise.all(replays);
    if (before !== undefined) return;
    if (session.subscriptions.get(subscription.sub) === subscription) this.#goLive(subscription, seen);
    else interest.remove(session.namespace, filter, subscription.durable);
  }

  /** Hands on what one Topic object kept, page by page. */
  async #replay(
    subscription: TopicSubscription,
    { from, retained }: TopicRequest,
    { object, objectName, answer: first }: Registered,
    seen: Map<string, TopicPosition>,
  ): Promise<void> {
    const { session, filter, behind } = subscription;
    const read: ReadRequest = { filter, from, retained, limitBytes: PAGE_BYTES };
    const gone = () => session.subscriptions.get(subscription.sub) !== subscription;
    let answer = first;
    for (;;) {
      const { packet, retained: kept } = answer;
      // What was published before the answer comes first: it is known then what live packets and history both hold.
      await new Promise<void>((resolve, reject) => {
        this.#owner.inOrder(objectName, packet, (records) => {
          if (gone()) return resolve();
          const replay = async () => session.protocol.replay(subscription, records, kept);
          replay().then(resolve, reject);
        });
      });
      if (answer === first || kept === 0)
        for (const position of answer.topics) seen.set(position.topic, position);
      else seeRetained(packet, kept, seen);
      if (gone()) return;
      const unfinished = answer.topics.find(({ more }) => more !== undefined);
      if (answer.moreRetained !== undefined) {
        answer = await object.read(this.#owner.interest.gateway, {
          ...read,
          retainedAfter: answer.moreRetained,
        });
      } else if (unfinished !== undefined) {
        answer = await this.#readOn(object, read, unfinished.topic, unfinished.epoch, unfinished.more!);
      } else if (behind !== undefined && behind.dropped > 0 && isExact(filter)) {
        // What is missing is in the history, as far as the topic has one.
        behind.dropped = 0;
        const { topic, epoch, seq } = answer.topics[0]!;
        answer = await this.#readOn(object, read, topic, epoch, seq);
      } else return;
    }
  }

  #readOn(object: Registered["object"], read: ReadRequest, topic: string, epoch: number, seq: number) {
    return object.read(this.#owner.interest.gateway, {
      ...{ filter: topic, retained: "none", limitBytes: read.limitBytes },
      from: { epoch, seq },
    });
  }

  /** What arrived meanwhile and was not read follows; from here on messages come as they are published. */
  #goLive(subscription: TopicSubscription, seen: Map<string, TopicPosition>): void {
    const { behind, session } = subscription;
    subscription.behind = undefined;
    this.#owner.fanout.changed(subscription);
    stand(subscription, seen, behind?.dropped ?? 0);
    if (behind !== undefined && behind.dropped > 0) session.protocol.lag(subscription, behind.dropped);
    for (const record of behind?.records ?? []) {
      const view = new RecordView(record);
      const { topic } = view;
      const position = seen.get(topic);
      if (position?.epoch === view.epoch && view.seq <= position.seq) continue;
      const matches = [{ session, subscriptions: [subscription] }];
      const { namespace } = session;
      session.protocol.fanout({ namespace, topic, bytes: record, start: 0, end: record.length, matches });
    }
  }

  /** What was before a refused change goes on; a subscription that is refused has not begun. */
  #fail(subscription: TopicSubscription, before: TopicSubscription | undefined): void {
    const { subscriptions } = subscription.session;
    if (subscriptions.get(subscription.sub) !== subscription) return;
    if (before !== undefined) {
      const { selector, options, credit, durable } = before;
      Object.assign(subscription, { selector, options, credit, durable });
      this.#owner.fanout.changed(subscription);
      return;
    }
    subscriptions.delete(subscription.sub);
    this.#owner.fanout.remove(subscription);
  }
}

/**
 * A further page of retained messages says nothing of what was published since the first: live messages of that time are there, and only
 * those that the page itself holds have been seen.
 */
function seeRetained(packet: Uint8Array, kept: number, seen: Map<string, TopicPosition>): void {
  const view = new TopicPacketView(packet);
  for (let left = kept; left > 0 && view.valid; left--, view.next()) {
    const { topic, epoch, seq } = view.message;
    const known = seen.get(topic);
    if (known === undefined || epoch > known.epoch || (epoch === known.epoch && seq > known.seq)) {
      seen.set(topic, { topic, epoch, seq, recovered: true });
    }
  }
}

/** The selectors of a session are in memory while it lives: together they have a limit. */
function checkSelectors(session: Session, sub: number, selector: Selector | undefined): Refusal | undefined {
  if (selector === undefined) return undefined;
  let chars = selector.text.length;
  for (const other of session.subscriptions.values()) {
    if (other.kind === "topic" && other.sub !== sub) chars += other.selector?.text.length ?? 0;
  }
  if (chars <= MAX_SESSION_SELECTOR_CHARS) return undefined;
  const limit = `the filters of a session have at most ${MAX_SESSION_SELECTOR_CHARS} characters`;
  return refuse("too-many", `${limit} together, got ${chars}`);
}

/** A subscription to one topic has got, or did not want, what was before; `dropped` that came since are told apart. */
function stand(
  { filter, place }: TopicSubscription,
  seen: ReadonlyMap<string, TopicPosition>,
  dropped: number,
): void {
  const position = seen.get(filter);
  if (place === undefined || position === undefined) return;
  const isAhead = place.epoch === position.epoch && place.seq >= position.seq;
  if (!isAhead) Object.assign(place, { epoch: position.epoch, seq: position.seq });
  place.seq += dropped;
}
