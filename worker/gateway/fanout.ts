// Who of this gateway's sessions gets a topic's messages: a filter trie per namespace, and what it said of each topic last.
import { isExact, matches } from "../filter/filter.ts";
import { FilterTrie } from "../filter/trie.ts";
import { RecordView } from "../message/record.ts";
import { RecordFields } from "../selector/record-fields.ts";
import type { Selector } from "../selector/selector.ts";
import type { Protocol } from "./connection.ts";
import { Selection } from "./selection.ts";
import type { Session, TopicSubscription } from "./session.ts";

/** One session that wants messages of a topic, with all of its subscriptions that take the same of them. */
export interface Match {
  readonly session: Session;
  readonly subscriptions: TopicSubscription[];
}

/** Consecutive messages of one topic, and the sessions of one protocol that want them. */
export interface TopicRun {
  readonly namespace: string;
  readonly topic: string;
  /** Holds the records (message/record.ts) from `start` up to `end`. */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** The same array while nobody's subscriptions change: what was made for its members may be kept with it. */
  readonly matches: readonly Match[];
}

/** The sessions of one protocol whose subscriptions take the same messages of a topic. */
interface Group {
  readonly protocol: Protocol;
  /** What they let through; undefined: everything. */
  readonly selector: Selector | undefined;
  readonly matches: Match[];
}

/** What is known of a topic. */
interface Place {
  /** Of the namespace's subscriptions when `groups` was made. */
  version: number;
  groups: Group[];
  /** Subscriptions that are still reading what was before. */
  behind: TopicSubscription[];
  epoch: number;
  seq: number;
}

/** The subscriptions of one namespace. */
interface Interested {
  trie: FilterTrie<TopicSubscription>;
  version: number;
  places: Map<string, Place>;
}

/** Topics whose subscribers are remembered, per namespace; others are looked up again. */
const MAX_PLACES = 100_000;
/** Bytes of live messages kept for a subscription that reads history. */
const MAX_BEHIND_BYTES = 1_000_000;

/** Finds the subscribers of messages. */
export class Fanout {
  readonly #sent: (namespace: string, messages: number) => void;
  readonly #namespaces = new Map<string, Interested>();

  /** @param sent hears how many messages go to sessions */
  constructor(sent: (namespace: string, messages: number) => void) {
    this.#sent = sent;
  }

  add(subscription: TopicSubscription): void {
    const { namespace } = subscription.session;
    let interested = this.#namespaces.get(namespace);
    if (interested === undefined) {
      interested = { trie: new FilterTrie(), version: 0, places: new Map() };
      this.#namespaces.set(namespace, interested);
    }
    interested.trie.add(subscription.filter, subscription);
    interested.version++;
  }

  remove(subscription: TopicSubscription): void {
    const { namespace } = subscription.session;
    const interested = this.#namespaces.get(namespace);
    if (interested === undefined) return;
    const { trie, places } = interested;
    const { filter } = subscription;
    trie.remove(filter, subscription);
    interested.version++;
    if (trie.size === 0) this.#namespaces.delete(namespace);
    if (trie.has(filter)) return;
    // What nobody here follows any more may go on elsewhere: it begins anew with its next subscriber, without a gap.
    const topics = isExact(filter) ? [filter] : [...places.keys()].filter((topic) => matches(filter, topic));
    for (const topic of topics) if (trie.match(topic).length === 0) places.delete(topic);
  }

  /** A subscription has read what was before, or its options are others. */
  changed(subscription: TopicSubscription): void {
    const interested = this.#namespaces.get(subscription.session.namespace);
    if (interested !== undefined) interested.version++;
  }

  /**
   * Hands records to the protocols of those who want them.
   *
   * @returns topics among them that nobody here wants
   */
  deliver(namespace: string, records: Uint8Array): string[] {
    const unwanted = new Set<string>();
    const interested = this.#namespaces.get(namespace);
    const view = new RecordView(records);
    while (view.valid) {
      const { topic } = view;
      const start = view.at;
      const place = interested === undefined ? undefined : this.#place(interested, topic);
      const missing = place === undefined ? 0 : follow(place, view);
      let count = 0;
      do {
        count++;
        if (place !== undefined) {
          if (place.epoch !== view.epoch || view.seq > place.seq) place.seq = view.seq;
          for (const subscription of place.behind) hold(subscription, view);
        }
        view.next();
      } while (view.valid && view.topic === topic);
      if (place === undefined || (place.groups.length === 0 && place.behind.length === 0)) {
        unwanted.add(topic);
        // What comes until the topic has a subscriber again is not missing to that one.
        interested?.places.delete(topic);
        continue;
      }
      let selection: Selection | undefined;
      const whole = { start, end: view.at, count };
      for (const { protocol, selector, matches } of place.groups) {
        if (missing > 0) tellMissing(protocol, matches, missing);
        if (selector !== undefined) selection ??= new Selection(records, start, view.at);
        const stretches = selector === undefined ? [whole] : selection!.stretches(selector);
        for (const stretch of stretches) {
          this.#sent(namespace, stretch.count * matches.length);
          protocol.fanout({
            namespace,
            topic,
            bytes: records,
            start: stretch.start,
            end: stretch.end,
            matches,
          });
        }
      }
    }
    return [...unwanted];
  }

  #place(interested: Interested, topic: string): Place {
    const { places, version, trie } = interested;
    let place = places.get(topic);
    if (place === undefined) {
      if (places.size >= MAX_PLACES) places.delete(places.keys().next().value!);
      place = { version: -1, groups: [], behind: [], epoch: 0, seq: 0 };
      places.set(topic, place);
    }
    if (place.version !== version) {
      place.version = version;
      const subscriptions = trie.match(topic);
      place.groups = groupsOf(subscriptions);
      place.behind = subscriptions.filter((subscription) => subscription.behind !== undefined);
    }
    return place;
  }
}

/** The subscriptions that are up to date, by what they let through and by protocol. */
function groupsOf(subscriptions: TopicSubscription[]): Group[] {
  const current = subscriptions.filter(({ behind }) => behind === undefined);
  const bySelector = Map.groupBy(current, ({ selector }) => selector);
  return [...bySelector].flatMap(([selector, list]) => {
    const byProtocol = Map.groupBy(
      Map.groupBy(list, ({ session }) => session),
      ([{ protocol }]) => protocol,
    );
    return [...byProtocol].map(([protocol, sessions]): Group => {
      const matches = sessions.map(([session, own]) => ({ session, subscriptions: own }));
      return { protocol, selector, matches };
    });
  });
}

/** Notes where a topic is; returns how many messages are missing before this one. */
function follow(place: Place, view: RecordView): number {
  const { epoch, seq } = view;
  if (place.epoch === epoch) return Math.max(0, seq - place.seq - 1);
  place.epoch = epoch;
  place.seq = 0;
  return 0;
}

function tellMissing(protocol: Protocol, matches: Match[], missing: number): void {
  for (const { subscriptions } of matches) {
    for (const subscription of subscriptions) {
      // One to a single topic knows its own place, from before the first message that came here.
      if (subscription.place === undefined || subscription.selector !== undefined) {
        protocol.lag(subscription, missing);
      }
    }
  }
}

function hold({ behind, selector }: TopicSubscription, view: RecordView): void {
  if (behind === undefined || selector?.matches(new RecordFields(view)) === false) return;
  const { record } = view;
  if (behind.dropped > 0 || behind.bytes + record.length > MAX_BEHIND_BYTES) {
    // What was kept would not follow what is read without a gap: the history is read on instead.
    behind.dropped += behind.records.length + 1;
    behind.records = [];
    behind.bytes = 0;
    return;
  }
  behind.records.push(record.slice());
  behind.bytes += record.length;
}
