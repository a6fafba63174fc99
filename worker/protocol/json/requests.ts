// The JSON framing, second half: what each request does to queues and subscriptions, and how its answer reads.
import { type Address, checkQueueName, groupQueue, parseAddress, queueObjectName } from "../../address.ts";
import { permits } from "../../auth/permission.ts";
import type { Action, Principal } from "../../auth/principal.ts";
import { maxMessageBytes } from "../../env.ts";
import { isRefusal, type Refusal, refuse } from "../../errors.ts";
import { checkFilter } from "../../filter/filter.ts";
import type { Broker } from "../../gateway/broker.ts";
import type { Connection } from "../../gateway/connection.ts";
import { PLAIN_OPTIONS, type QueueSubscription, type Session } from "../../gateway/session.ts";
import { DEFAULT_CREDIT, DEFAULT_REQUEST_TIMEOUT_MS, MAX_CREDIT } from "../../limits.ts";
import { conditionOf } from "../../link/condition.ts";
import { parseHandle } from "../../link/handle.ts";
import type { QueueResult } from "../../link/results.ts";
import { settlementsOf } from "../../link/settle-fields.ts";
import { type PublishFields, toMessage, toTopic } from "../../message/fields.ts";
import { PRESENCE_PREFIX } from "../../message/presence.ts";
import type { Message } from "../../message/record.ts";
import { checkFilterField } from "../../selector/selector.ts";
import type { Answer } from "./answers.ts";
import {
  type ByeFrame,
  type CheckedSubscribe,
  type CommitFrame,
  type CreditFrame,
  checkFrom,
  type DecideFrame,
  type ExtendFrame,
  type PresenceFrame,
  type PublishFrame,
  type RequestFrame,
  type SettleFrame,
  type SubscribeFrame,
  type UnsubscribeFrame,
} from "./frames.ts";
import { errorFrame, okFrame, publishedFrame, replyFrame } from "./render.ts";
import type { JsonTopics } from "./topics.ts";
import { Transactions } from "./transactions.ts";

const TOPIC = "topic:";
/** A random number that fits a double exactly: refs of subscriptions. */
const REF_RANGE = 2 ** 48;

/** Carries out the requests of connections that have said hello. */
export class Requests {
  readonly #broker: Broker;
  readonly #topics: JsonTopics;
  readonly #transactions: Transactions;
  readonly #maxMessageBytes: number;

  constructor(broker: Broker, topics: JsonTopics) {
    this.#broker = broker;
    this.#transactions = new Transactions(broker);
    this.#topics = topics;
    this.#maxMessageBytes = maxMessageBytes(broker.env);
  }

  /** Runs a frame that passed the check of its fields. */
  run(connection: Connection, op: string, frame: object, answer: Answer): void {
    const session = connection.session!;
    switch (op) {
      case "publish":
        return this.#publish(session, frame as PublishFrame, answer);
      case "request":
        return this.#request(connection, session, frame as RequestFrame, answer);
      case "presence":
        return this.#presence(session, frame as PresenceFrame, answer);
      case "settle":
        return this.#settle(session, frame as SettleFrame, answer);
      case "extend":
        return this.#extend(session, frame as ExtendFrame, answer);
      case "commit":
        return this.#transactions.commit(session, frame as CommitFrame, answer);
      case "decide":
        return this.#transactions.decide(session, frame as DecideFrame, answer);
      case "subscribe":
        return this.#subscribe(session, frame as SubscribeFrame, answer);
      case "credit":
        return this.#credit(session, frame as CreditFrame, answer);
      case "unsubscribe":
        return this.#unsubscribe(session, frame as UnsubscribeFrame, answer);
      case "bye":
        return this.#bye(connection, frame as ByeFrame, answer);
    }
  }

  #publish(session: Session, frame: PublishFrame, answer: Answer): void {
    const { id, to } = frame;
    const address = addressOf(to, session.principal, "publish");
    if (isRefusal(address)) return answer(errorFrame(id, address));
    const message = this.#messageOf(session, frame);
    if (isRefusal(message)) return answer(errorFrame(id, message));
    this.#broker.traffic(session.namespace).messagesReceived++;
    if (frame.prepare !== undefined) {
      return this.#transactions.prepare(session, address, message, frame, answer);
    }
    if (address.kind === "topic") return this.#topics.publish(session, address.name, message, frame, answer);
    const { messageId } = message;
    this.#broker.links.queue(queueObjectName(session.namespace, address.name)).publish(
      message,
      (outcome) => {
        if (isRefusal(outcome)) answer(errorFrame(id, outcome));
        else answer(id === undefined ? undefined : publishedFrame(id, messageId, outcome));
      },
      conditionOf(frame),
    );
  }

  #request(connection: Connection, session: Session, frame: RequestFrame, answer: Answer): void {
    const { id, to, timeoutMs = DEFAULT_REQUEST_TIMEOUT_MS } = frame;
    const address = addressOf(to, session.principal, "publish");
    if (isRefusal(address)) return answer(errorFrame(id, address));
    const fields =
      frame.prepare === undefined
        ? this.#messageOf(session, frame)
        : refuse("not-supported", "a request cannot be prepared");
    const message =
      address.kind === "queue" || isRefusal(fields) ? fields : toTopic(fields, address.name, session.client);
    if (isRefusal(message)) return answer(errorFrame(id, message));
    const { requester, traffic } = this.#broker;
    traffic(session.namespace).messagesReceived++;
    // What was asked for behind it does not wait for its reply.
    answer(undefined);
    const { namespace, client, principal } = session;
    const asker = JSON.stringify([principal.subject, client]);
    const asked = { namespace, owner: connection.id, asker, address: to, message, timeoutMs };
    requester.ask({ ...asked, condition: conditionOf(frame) }, (outcome) => {
      connection.write(isRefusal(outcome) ? errorFrame(id, outcome) : replyFrame(id, outcome));
    });
  }

  #messageOf({ principal }: Session, fields: PublishFields): Message | Refusal {
    return (
      (fields.receiptTo && permits(principal, "publish", fields.receiptTo)) ||
      toMessage(fields, Date.now(), this.#maxMessageBytes)
    );
  }

  /** A publish to the room's topic, in fewer words. */
  #presence(session: Session, { id, to, action, data }: PresenceFrame, answer: Answer): void {
    if (!to.startsWith(TOPIC)) {
      return answer(errorFrame(id, refuse("bad-address", `a room is topic:ROOM, got ${JSON.stringify(to)}`)));
    }
    const topic = PRESENCE_PREFIX + to.slice(TOPIC.length);
    const asked = id === undefined ? {} : { id };
    this.#publish(session, { ...asked, to: TOPIC + topic, body: { action, data } }, answer);
  }

  #settle(session: Session, frame: SettleFrame, answer: Answer): void {
    const { id } = frame;
    const subscription = this.#subscription(session, frame, answer);
    if (subscription === undefined) return;
    const settles = settlementsOf(frame);
    if (isRefusal(settles)) return answer(errorFrame(id, settles));
    const { deliveries, settlements } = settles;
    const { ref, target } = subscription;
    this.#broker.links.queue(target).command({ type: "settle", settlements, by: ref }, (result) => {
      const lost = lostOf(deliveries, result);
      this.#broker.queues.settled(subscription, settledOf(settlements, result));
      answer(answerFrame(id, result, () => ({ settled: deliveries.length - lost.length, lost })));
    });
  }

  #extend(session: Session, frame: ExtendFrame, answer: Answer): void {
    const { id, deliveries, leaseMs } = frame;
    const subscription = this.#subscription(session, frame, answer);
    if (subscription === undefined) return;
    const handles = deliveries.map(parseHandle);
    this.#broker.links.queue(subscription.target).command({ type: "extend", handles, leaseMs }, (result) => {
      const lost = lostOf(deliveries, result);
      answer(answerFrame(id, result, () => ({ extended: deliveries.length - lost.length, lost })));
    });
  }

  #subscribe(session: Session, frame: SubscribeFrame, answer: Answer): void {
    const { id, to, durable, from } = frame;
    const wrong = checkFrom(from);
    if (wrong !== undefined) return answer(errorFrame(id, refuse("bad-field", wrong)));
    const filter = checkFilterField(frame.filter);
    if (isRefusal(filter)) return answer(errorFrame(id, filter));
    const checked = { ...frame, filter };
    if (to.startsWith(TOPIC)) {
      const topicFilter = to.slice(TOPIC.length);
      if (durable === undefined) return this.#topics.subscribe(session, checked, topicFilter, answer);
      return this.#subscribeDurably(session, checked, topicFilter, durable, answer);
    }
    const address = addressOf(to, session.principal, "consume");
    if (isRefusal(address)) return answer(errorFrame(id, address));
    this.#consume(session, checked, address, answer);
  }

  /**
   * A durable subscription is a queue that the topics feed: whoever consumes under its name shares what it keeps. So its binding
   * carries everything, and each consumer has a selector of its own.
   */
  #subscribeDurably(
    session: Session,
    frame: CheckedSubscribe,
    filter: string,
    name: string,
    answer: Answer,
  ): void {
    const { id } = frame;
    const queue = groupQueue("durable", name, filter);
    const refusal =
      checkFilter(filter) ??
      permits(session.principal, "subscribe", TOPIC + filter) ??
      (/[/+#]/.test(name) ? refuse("bad-field", "durable must not hold / + #") : undefined) ??
      checkQueueName(queue);
    if (refusal !== undefined) return answer(errorFrame(id, refusal));
    this.#broker.groups.bind(session.namespace, filter, queue, (outcome) => {
      if (outcome !== undefined) return answer(errorFrame(id, outcome));
      if (session.connection === undefined) return answer(undefined);
      this.#consume(session, frame, { kind: "queue", name: queue }, answer);
    });
  }

  #consume(session: Session, frame: CheckedSubscribe, address: Address, answer: Answer): void {
    const { id, sub, credit = DEFAULT_CREDIT, leaseMs, filter } = frame;
    const ref = 1 + Math.floor(Math.random() * REF_RANGE);
    const refusal = this.#broker.queues.subscribe(
      session,
      { sub, address, credit, leaseMs, filter, options: PLAIN_OPTIONS, ref },
      (result, epoch) => {
        const seq = result.type === "done" ? result.seq : 0;
        // A queue keeps what was not settled: nothing can be missing.
        answer(answerFrame(id, result, () => ({ sub, epoch, seq, recovered: true })));
      },
    );
    if (refusal !== undefined) answer(errorFrame(id, refusal));
  }

  #credit(session: Session, frame: CreditFrame, answer: Answer): void {
    const { id, add } = frame;
    const topic = session.subscriptions.get(frame.sub);
    if (topic?.kind === "topic") {
      this.#topics.addCredit(topic, add);
      return answer(id === undefined ? undefined : okFrame(id, { credit: topic.credit }));
    }
    const subscription = this.#subscription(session, frame, answer);
    if (subscription === undefined) return;
    const credit = subscription.credit + add;
    if (credit > MAX_CREDIT) {
      const text = `add must leave the credit at ${MAX_CREDIT} or less, got ${subscription.credit} + ${add}`;
      return answer(errorFrame(id, refuse("bad-field", text)));
    }
    this.#broker.queues.addCredit(subscription, add, (result) => {
      answer(answerFrame(id, result, () => ({ credit })));
    });
  }

  #unsubscribe(session: Session, frame: UnsubscribeFrame, answer: Answer): void {
    const { id, sub } = frame;
    const topic = session.subscriptions.get(sub);
    if (topic?.kind === "topic") {
      this.#broker.sessions.unsubscribe(topic);
      return answer(okFrame(id, { sub }));
    }
    const subscription = this.#subscription(session, frame, answer);
    if (subscription === undefined) return;
    this.#broker.queues.unsubscribe(subscription, (result) => {
      answer(answerFrame(id, result, () => ({ sub })));
    });
  }

  #bye(connection: Connection, { id }: ByeFrame, answer: Answer): void {
    answer(id === undefined ? undefined : okFrame(id, {}));
    if (connection.session !== undefined) {
      connection.session.will = undefined;
      this.#broker.attendance.leaveAll(connection.session);
    }
    this.#broker.sessions.lost(connection, Date.now());
    connection.close(1000, "bye");
  }

  #subscription(
    session: Session,
    frame: { id?: number; sub: number },
    answer: Answer,
  ): QueueSubscription | undefined {
    const subscription = session.subscriptions.get(frame.sub);
    if (subscription?.kind === "topic") {
      const refusal = refuse(
        "bad-state",
        `subscription ${frame.sub} is to topics: there is nothing to settle`,
      );
      answer(errorFrame(frame.id, refusal));
      return undefined;
    }
    if (subscription === undefined) {
      answer(errorFrame(frame.id, refuse("no-subscription", `there is no subscription ${frame.sub}`)));
    }
    return subscription;
  }
}

/** The answer that a result makes; none for success without an id. */
function answerFrame(
  id: number | undefined,
  result: QueueResult,
  fields: () => Record<string, unknown>,
): string | undefined {
  if (result.type === "refused") return errorFrame(id, result.refusal);
  return id === undefined ? undefined : okFrame(id, fields());
}

/** The handles whose lease was lost. */
function lostOf(deliveries: string[], result: QueueResult): string[] {
  return result.type === "settled" ? deliveries.filter((_, index) => !result.settled[index]) : deliveries;
}

/** The leases that are settled. */
function settledOf(settlements: readonly { lease: number }[], result: QueueResult): number[] {
  if (result.type !== "settled") return [];
  return settlements.filter((_, index) => result.settled[index]).map(({ lease }) => lease);
}

/** The queue or topic that a frame names, if there can be one and the client may do this to it. */
function addressOf(to: string, principal: Principal, action: Action): Address | Refusal {
  const address = parseAddress(to);
  if (isRefusal(address)) return address;
  return permits(principal, action, to) ?? address;
}
