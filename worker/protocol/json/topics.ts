// The JSON framing's part in topics: publish and subscribe frames, and the frames of what topics deliver.
import { permits } from "../../auth/permission.ts";
import { isRefusal, type Refusal } from "../../errors.ts";
import { checkFilter } from "../../filter/filter.ts";
import { type Broker, topicLink } from "../../gateway/broker.ts";
import type { TopicRun } from "../../gateway/fanout.ts";
import type { PublishDone } from "../../gateway/object-link.ts";
import { PLAIN_OPTIONS, type Session, type TopicSubscription } from "../../gateway/session.ts";
import type { TopicRequest } from "../../gateway/topics.ts";
import { conditionOf } from "../../link/condition.ts";
import { toTopic } from "../../message/fields.ts";
import { messageFields, quote } from "../../message/json.ts";
import { isPresence, noConditions } from "../../message/presence.ts";
import { type Message, RecordView } from "../../message/record.ts";
import { RecordFields } from "../../selector/record-fields.ts";
import { checkFilterField, selectorOf } from "../../selector/selector.ts";
import type { From, TopicPosition } from "../../topic/rpc.ts";
import type { Answer } from "./answers.ts";
import type { CheckedSubscribe, PublishFrame, ResumeEntry } from "./frames.ts";
import { errorFrame, okFrame, publishedFrame } from "./render.ts";

/** A random number that fits a double exactly: refs of subscriptions. */
const REF_RANGE = 2 ** 48;
const TOPIC = "topic:";

/** Publishes to topics, subscribes to them, and writes what they deliver. */
export class JsonTopics {
  readonly #broker: Broker;

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  publish(session: Session, topic: string, fields: Message, frame: PublishFrame, answer: Answer): void {
    const { id } = frame;
    const { messageId } = fields;
    const condition = conditionOf(frame);
    const done: PublishDone = (outcome) => {
      if (isRefusal(outcome)) answer(errorFrame(id, outcome));
      else answer(id === undefined ? undefined : publishedFrame(id, messageId, outcome));
    };
    if (isPresence(topic)) {
      if (condition !== undefined) return done(noConditions());
      return this.#broker.attendance.publish(session, topic, fields, done);
    }
    const message = toTopic(fields, topic, session.client);
    if (isRefusal(message)) done(message);
    else topicLink(this.#broker, session.namespace, topic).publish(message, done, condition);
  }

  /** The answer comes once the subscription is effective, and before its messages. */
  subscribe(session: Session, frame: CheckedSubscribe, filter: string, answer: Answer): void {
    const { id, sub, credit, from = "new" } = frame;
    const selector = selectorOf(frame.filter);
    this.#begin(session, { sub, filter, selector, credit, from: from as From }, (outcome) => {
      if (isRefusal(outcome)) return answer(errorFrame(id, outcome));
      const { epoch, seq, recovered } = place(filter, outcome);
      answer(okFrame(id, { sub, epoch, seq, recovered }));
    });
  }

  /**
   * Takes subscriptions up where an earlier connection left them; an event tells for each whether something is missing. What the
   * session knows of a subscription's selector goes on unless the entry says another.
   */
  resume(session: Session, entries: ResumeEntry[]): void {
    for (const entry of entries) {
      const { sub, to, epoch = 0, seq = 0, credit } = entry;
      if (!to.startsWith(TOPIC)) continue;
      const filter = to.slice(TOPIC.length);
      const known = session.subscriptions.get(sub);
      const before = known?.kind === "topic" && known.filter === filter ? known.selector : undefined;
      if (known !== undefined) this.#broker.sessions.unsubscribe(known);
      const resumed = (outcome: TopicPosition[] | Refusal) => {
        const { connection } = session;
        if (isRefusal(outcome)) {
          const reason = `${outcome.kind}: ${outcome.message}`;
          connection?.write(JSON.stringify({ op: "event", kind: "gone", sub, reason }));
        } else {
          const event = { op: "event", kind: "resumed", sub, ...place(filter, outcome) };
          connection?.write(JSON.stringify(event));
        }
      };
      const text = checkFilterField(entry.filter);
      if (isRefusal(text)) {
        resumed(text);
        continue;
      }
      const selector = entry.filter === undefined ? before : selectorOf(text);
      this.#begin(session, { sub, filter, selector, credit, from: { epoch, seq } }, resumed);
    }
  }

  /** One frame for each message and subscription; what is the same for all is made once. */
  fanout({ bytes, start, end, matches }: TopicRun): void {
    const messages: Live[] = [];
    for (const view = new RecordView(bytes, start); view.at < end; view.next()) {
      messages.push({ epoch: view.epoch, seq: view.seq, text: messageOf(view.decode()) });
    }
    for (const { session, subscriptions } of matches) {
      const { connection } = session;
      for (const subscription of subscriptions) {
        for (const message of messages) {
          if (connection !== undefined) this.#sendLive(subscription, message);
          else if (advance(subscription, message.epoch, message.seq)) subscription.skipped++;
        }
      }
    }
  }

  /** What was before waits for credit, as nothing of it is lost meanwhile. */
  async replay(subscription: TopicSubscription, records: Uint8Array, retained: number): Promise<void> {
    const { session, sub } = subscription;
    let left = retained;
    for (const view = new RecordView(records); view.valid; view.next()) {
      const isRetained = left-- > 0;
      if (subscription.selector?.matches(new RecordFields(view)) === false) continue;
      while (subscription.credit <= 0) {
        this.#broker.flush();
        await new Promise<void>((resolve) => {
          // Other Topic objects may have messages for the same subscription.
          const { woken } = subscription;
          subscription.woken = () => {
            woken?.();
            resolve();
          };
        });
        if (session.subscriptions.get(sub) !== subscription) return;
      }
      advance(subscription, view.epoch, view.seq);
      this.#send(subscription, messageOf(view.decode(), isRetained));
    }
  }

  /** The client grants more. */
  addCredit(subscription: TopicSubscription, add: number): void {
    subscription.credit += add;
    this.tellLag(subscription);
    const { woken } = subscription;
    subscription.woken = undefined;
    woken?.();
  }

  lag(subscription: TopicSubscription, skipped: number): void {
    subscription.skipped += skipped;
    this.tellLag(subscription);
  }

  /** Tells a subscriber how many messages it was not sent. */
  tellLag(subscription: TopicSubscription): void {
    const { session, skipped, sub } = subscription;
    if (skipped === 0 || session.connection === undefined) return;
    subscription.skipped = 0;
    session.connection.write(JSON.stringify({ op: "event", kind: "lag", sub, skipped }));
  }

  /** A Topic object that has woken sends again what it does not know to be confirmed: the subscription may have read it since. */
  #sendLive(subscription: TopicSubscription, { epoch, seq, text }: Live): void {
    const missed = missedBefore(subscription, epoch, seq);
    if (!advance(subscription, epoch, seq)) return;
    // Lost on its way from the topic, with an answer that it rode on: never a silent hole.
    subscription.skipped += missed;
    this.#send(subscription, text, true);
  }

  /** @param live one of many alike: it may wait a little for others */
  #send(subscription: TopicSubscription, message: string, live = false): void {
    const { session, sub } = subscription;
    if (subscription.credit <= 0) {
      subscription.skipped++;
      return;
    }
    subscription.credit--;
    this.tellLag(subscription);
    const frame = `{"op":"message","sub":${sub},${message}`;
    if (live) session.connection?.writeSoon(frame);
    else session.connection?.write(frame);
  }

  #begin(
    session: Session,
    request: Pick<TopicRequest, "sub" | "filter" | "selector" | "from"> & { credit: number | undefined },
    done: (outcome: TopicPosition[] | Refusal) => void,
  ): void {
    const { sub, filter, selector, credit = Number.POSITIVE_INFINITY, from } = request;
    const refusal = checkFilter(filter) ?? permits(session.principal, "subscribe", TOPIC + filter);
    if (refusal !== undefined) return done(refusal);
    const ref = 1 + Math.floor(Math.random() * REF_RANGE);
    const retained = from === "new" || from === "last" ? "send" : "none";
    const options = PLAIN_OPTIONS;
    const wanted = { sub, filter, selector, options, credit, from, retained, ref } as const;
    this.#broker.topics.subscribe(session, wanted, done);
  }
}

/** A live message's place in its topic, and its frame from its `epoch` on. */
interface Live {
  epoch: number;
  seq: number;
  text: string;
}

/** Moves a subscription to one topic on; false when it is there already. With wildcards, and for what has no seq, there is no place. */
function advance({ place }: TopicSubscription, epoch: number, seq: number): boolean {
  if (place === undefined || seq === 0) return true;
  if (place.epoch === epoch && seq <= place.seq) return false;
  place.epoch = epoch;
  place.seq = seq;
  return true;
}

/**
 * How many messages of one topic are missing between what a subscription has got and this one. Nothing can be said of filters with
 * wildcards, nor of a selector: what it leaves out is missing rightly.
 */
function missedBefore({ place, selector }: TopicSubscription, epoch: number, seq: number): number {
  if (place === undefined || selector !== undefined || place.epoch !== epoch) return 0;
  return Math.max(0, seq - place.seq - 1);
}

/** Where a subscription begins; a filter with wildcards has no one place. */
function place(filter: string, positions: TopicPosition[]): Omit<TopicPosition, "topic"> {
  const recovered = positions.every((position) => position.recovered);
  const own = positions.find(({ topic }) => topic === filter);
  return { epoch: own?.epoch ?? 0, seq: own?.seq ?? 0, recovered };
}

/** A message's frame from its `epoch` on. */
function messageOf(message: Message, retained = false): string {
  const flag = retained ? `,"retained":true` : "";
  return `"epoch":${message.epoch},"to":${quote(TOPIC + message.topic)}${flag},${messageFields(message)}}`;
}
