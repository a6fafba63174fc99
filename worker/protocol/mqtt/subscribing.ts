// SUBSCRIBE and UNSUBSCRIBE: filters of topics, queues behind $queue/ and $share/, and the answers to them.
import { type Address, checkName, checkQueueName, groupOf, groupQueue } from "../../address.ts";
import { permits } from "../../auth/permission.ts";
import { isRefusal, type Refusal } from "../../errors.ts";
import { checkFilter, parseShare } from "../../filter/filter.ts";
import type { Broker } from "../../gateway/broker.ts";
import type { Session, Subscription, SubscriptionOptions } from "../../gateway/session.ts";
import { MAX_LEASE_MS, MAX_SUBSCRIPTIONS } from "../../limits.ts";
import type { Client } from "./client.ts";
import { CLOSE } from "./close.ts";
import type { Qos, Subscribe, SubscribeFilter, Unsubscribe } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason.ts";
import { subackCodes } from "./codec/reason-sets.ts";
import { QUEUE_PREFIX } from "./messages.ts";
import { reasonIn } from "./reasons.ts";

/** A random number that fits a double exactly: refs of subscriptions. */
const REF_RANGE = 2 ** 48;
/** Messages of one queue that a client holds unacknowledged at most. */
const MAX_QUEUE_CREDIT = 64;

/** Carries out what clients want to get. */
export class Subscribing {
  readonly #broker: Broker;
  readonly #ended: (client: Client, subscription: Subscription) => void;

  /** @param ended hears of each subscription that its client ends */
  constructor(broker: Broker, ended: (client: Client, subscription: Subscription) => void) {
    this.#broker = broker;
    this.#ended = ended;
  }

  /** One SUBACK with a code for each filter, in order [MQTT-3.8.4-6]; retained messages follow it. */
  subscribe(client: Client, { packetId, filters, properties }: Subscribe): void {
    const { session } = client.connection;
    if (session === undefined) return;
    if (filters.some(({ filter, noLocal }) => noLocal && filter.startsWith("$share/"))) {
      // [MQTT-3.8.3-4]
      return client.disconnect(
        ReasonCode.ProtocolError,
        "No Local is not for shared subscriptions",
        CLOSE.protocol,
      );
    }
    if (client.subscribing >= MAX_SUBSCRIPTIONS) {
      const reasonCodes = filters.map(() => ReasonCode.QuotaExceeded);
      return client.send({ type: "suback", packetId, reasonCodes });
    }
    const subscriptionId = properties?.subscriptionIdentifiers?.[0] ?? 0;
    const reasonCodes: number[] = new Array(filters.length);
    let left = filters.length;
    client.subscribing++;
    for (const [index, filter] of filters.entries()) {
      this.#one(client, session, filter, subscriptionId, (outcome) => {
        reasonCodes[index] = isRefusal(outcome) ? filterReason(outcome) : outcome;
        if (--left > 0) return;
        client.send({ type: "suback", packetId, reasonCodes });
        client.subscribing--;
        while (client.subscribing === 0 && client.afterSuback.length > 0) client.afterSuback.shift()!();
      });
    }
  }

  /** Always answered, a code for each filter [MQTT-3.10.4-4, MQTT-3.10.4-5, MQTT-3.11.3-2]. */
  unsubscribe(client: Client, { packetId, filters }: Unsubscribe): void {
    const { session } = client.connection;
    if (session === undefined) return;
    const reasonCodes = filters.map((filter) => {
      const known = find(session, filter);
      if (known === undefined) return ReasonCode.NoSubscriptionExisted;
      this.#broker.sessions.unsubscribe(known);
      this.#ended(client, known);
      return ReasonCode.Success;
    });
    client.send({ type: "unsuback", packetId, reasonCodes });
  }

  #one(
    client: Client,
    session: Session,
    asked: SubscribeFilter,
    subscriptionId: number,
    done: (outcome: Refusal | number) => void,
  ): void {
    const { filter, qos, noLocal, retainAsPublished } = asked;
    const options = { qos, noLocal, retainAsPublished, subscriptionId };
    if (filter.startsWith(QUEUE_PREFIX)) {
      const name = filter.slice(QUEUE_PREFIX.length);
      const wrong = checkName(name) ?? permits(session.principal, "consume", `queue:${name}`);
      if (wrong !== undefined) return done(wrong);
      // A queue knows one answer to a delivery: at QoS 2 there would be two.
      const granted = Math.min(qos, 1) as Qos;
      const address = { kind: "queue" as const, name };
      return this.#consume(client, session, address, { ...options, qos: granted }, undefined, done);
    }
    const share = parseShare(filter);
    if (share !== undefined) return this.#share(client, session, share, options, done);
    const wrong = checkFilter(filter) ?? permits(session.principal, "subscribe", `topic:${filter}`);
    if (wrong !== undefined) return done(wrong);
    const known = find(session, filter);
    // [MQTT-3.3.1-9, MQTT-3.3.1-10, MQTT-3.3.1-11]
    const wanted = asked.retainHandling === 0 || (asked.retainHandling === 1 && known === undefined);
    this.#broker.topics.subscribe(
      session,
      {
        ...{ sub: known?.sub ?? nextSub(session), filter, options, ref: randomRef() },
        ...{ credit: Number.POSITIVE_INFINITY, from: "new", retained: wanted ? "send" : "none" },
        selector: undefined,
      },
      (outcome) => done(isRefusal(outcome) ? outcome : qos),
    );
  }

  /** A shared subscription is a queue that its filter feeds: it keeps what comes while the members are away. */
  #share(
    client: Client,
    session: Session,
    share: ReturnType<typeof parseShare>,
    options: SubscriptionOptions,
    done: (outcome: Refusal | number) => void,
  ): void {
    if (share === undefined || isRefusal(share)) return done(share!);
    const name = groupQueue("share", share.group, share.filter);
    const wrong = checkQueueName(name) ?? permits(session.principal, "subscribe", `topic:${share.filter}`);
    if (wrong !== undefined) return done(wrong);
    this.#broker.groups.bind(session.namespace, share.filter, name, (refusal) => {
      if (refusal !== undefined) return done(refusal);
      if (client.connection.session !== session) return this.#broker.groups.release(session.namespace, name);
      this.#consume(client, session, { kind: "queue", name }, options, MAX_LEASE_MS, (outcome) => {
        if (!isRefusal(outcome)) {
          const { namespace } = session;
          return this.#broker.groups.confirm(namespace, share.filter, name, (wrong) =>
            done(wrong ?? outcome),
          );
        }
        // What was bound for nobody would fill its queue for ever.
        this.#broker.groups.release(session.namespace, name);
        done(outcome);
      });
    });
  }

  #consume(
    client: Client,
    session: Session,
    address: Address,
    options: SubscriptionOptions,
    leaseMs: number | undefined,
    done: (outcome: Refusal | number) => void,
  ): void {
    const known = [...session.subscriptions.values()].find(
      (subscription) => subscription.kind === "queue" && subscription.address.name === address.name,
    );
    const credit = Math.min(client.receiveMaximum, MAX_QUEUE_CREDIT);
    const refusal = this.#broker.queues.subscribe(
      session,
      {
        ...{ sub: known?.sub ?? nextSub(session), address, credit, leaseMs, options, ref: randomRef() },
        filter: "",
      },
      (result) => done(result.type === "refused" ? result.refusal : options.qos),
    );
    if (refusal !== undefined) done(refusal);
  }
}

/** The subscription with exactly this filter [MQTT-3.10.4-1]. */
function find(session: Session, filter: string): Subscription | undefined {
  for (const subscription of session.subscriptions.values()) {
    if (filterOf(subscription) === filter) return subscription;
  }
  return undefined;
}

/** A subscription's filter as the client wrote it. */
function filterOf(subscription: Subscription): string {
  if (subscription.kind === "topic") return subscription.filter;
  const { name } = subscription.address;
  return groupOf(name) === undefined ? QUEUE_PREFIX + name : name;
}

function nextSub({ subscriptions }: Session): number {
  let next = subscriptions.size + 1;
  while (subscriptions.has(next)) next++;
  return next;
}

function randomRef(): number {
  return 1 + Math.floor(Math.random() * REF_RANGE);
}

/** A refusal in a SUBACK; what is wrong with a name is there wrong with a filter. */
function filterReason(refusal: Refusal): number {
  return reasonIn(subackCodes(5), refusal);
}
