// What a client has at its gateway: a session that may outlive its connection, the session's subscriptions and its will.
import type { Address } from "../address.ts";
import type { Principal } from "../auth/principal.ts";
import type { Qos } from "../message/record.ts";
import type { Selector } from "../selector/selector.ts";
import type { Connection, Protocol } from "./connection.ts";
import type { Recent } from "./recent.ts";

/** A client's session. */
export interface Session {
  readonly id: string;
  readonly namespace: string;
  /** Stable over reconnects when the client chose it. */
  readonly client: string;
  /** The adapter that its connections speak. */
  readonly protocol: Protocol;
  principal: Principal;
  /** How long it outlives its connection, seconds; 0: it ends with it; Infinity: it never ends by itself. */
  expirySeconds: number;
  connection: Connection | undefined;
  /** When it ends without a connection, ms since the epoch; Infinity while it has one. */
  endsAt: number;
  /** By the number that the client (or its adapter) gave each. */
  readonly subscriptions: Map<number, Subscription>;
  /** What is published when its connection is lost. */
  will: Will | undefined;
}

/** A message that its session leaves behind. */
export interface Will {
  namespace: string;
  /** `topic:NAME` or `queue:NAME`. */
  address: string;
  /** One record (message/record.ts); its time and expiry are set when it is published. */
  record: Uint8Array;
  /** Time to live from when it is published, ms; 0: none. */
  ttlMs: number;
  /** How long it waits for the client to come back, seconds. */
  delaySeconds: number;
  /** When it is published unless the client comes back, ms since the epoch; Infinity while connected. */
  dueAt: number;
}

/** What a subscriber of a topic asks for; from a queue only `qos` and `subscriptionId` count. */
export interface SubscriptionOptions {
  /** The most that messages are delivered with. */
  qos: Qos;
  /** Not what the same client published [MQTT-3.8.3-3]. */
  noLocal: boolean;
  /** Live messages keep the publisher's retain flag [MQTT-3.3.1-12, MQTT-3.3.1-13]. */
  retainAsPublished: boolean;
  /** The number that comes back with each message, 0: none. */
  subscriptionId: number;
}

/** What a protocol without these words asks for. */
export const PLAIN_OPTIONS: SubscriptionOptions = {
  qos: 0,
  noLocal: false,
  retainAsPublished: false,
  subscriptionId: 0,
};

interface SubscriptionBase {
  /** Random, so that no two of any gateway are the same: a queue knows it by this. */
  readonly ref: number;
  /** What the client knows it by. */
  readonly sub: number;
  readonly session: Session;
  options: SubscriptionOptions;
}

/** One subscription of a session to a queue. */
export interface QueueSubscription extends SubscriptionBase {
  readonly kind: "queue";
  readonly address: Address;
  /** Name of the queue's object. */
  readonly target: string;
  credit: number;
  leaseMs: number | undefined;
  /** A selector that its messages must match, "" for all. */
  filter: string;
  /** Rises whenever its queue is asked to send again what it holds. */
  generation: number;
  /** Leases that were settled since that was first asked: what was sent again before that must not be shown after it. */
  readonly settled: Recent;
}

/** One subscription of a session to the topics that a filter matches. */
export interface TopicSubscription extends SubscriptionBase {
  readonly kind: "topic";
  readonly filter: string;
  /** Which of their messages it takes; undefined: all. */
  selector: Selector | undefined;
  /** Whether topics must store for it what it has not taken yet: its session outlives its connection. */
  durable: boolean;
  /** Messages it may still be sent; Infinity: the client wants all. */
  credit: number;
  /** Messages that it was not sent for want of credit since it was last told. */
  skipped: number;
  /** Goes on with what waits for credit, or ends it with the subscription. */
  woken: (() => void) | undefined;
  /** The last message that a subscription to one topic was sent, where its protocol keeps to the order of `seq`. */
  readonly place?: { epoch: number; seq: number };
  /** Live messages that arrive while it is still reading what was before them; undefined once it is up to date. */
  behind: Behind | undefined;
}

/** What waits while a subscription reads history. */
export interface Behind {
  records: Uint8Array[];
  bytes: number;
  /** How many were dropped since more arrived than is kept. */
  dropped: number;
}

export type Subscription = QueueSubscription | TopicSubscription;

/** The key of a client's session: unique over all namespaces of a gateway. */
export function sessionKey(namespace: string, client: string): string {
  return `${namespace}:${client}`;
}
