// The sessions of a gateway in Node: the real sessions, tables and fan-out, with sockets, queues and Topic objects that only take notes.
import { ANYONE } from "../../worker/auth/principal.ts";
import { Writer } from "../../worker/bytes/writer.ts";
import { attachedSession } from "../../worker/gateway/attachment.ts";
import { Connection, type Protocol } from "../../worker/gateway/connection.ts";
import { Fanout, type TopicRun } from "../../worker/gateway/fanout.ts";
import type { Groups } from "../../worker/gateway/groups.ts";
import type { Queues } from "../../worker/gateway/queues.ts";
import { Recent } from "../../worker/gateway/recent.ts";
import type {
  QueueSubscription,
  Session,
  SubscriptionOptions,
  TopicSubscription,
  Will,
} from "../../worker/gateway/session.ts";
import { SessionStore } from "../../worker/gateway/session-store.ts";
import { type Hello, Sessions } from "../../worker/gateway/sessions.ts";
import type { Topics } from "../../worker/gateway/topics.ts";
import { Writes } from "../../worker/gateway/writes.ts";
import { RecordView, writeMessage } from "../../worker/message/record.ts";
import { message } from "./message.ts";
import { NodeSql } from "./node-sql.ts";

const NEVER = Number.POSITIVE_INFINITY;
const NAMESPACE = "default";
const PRINCIPAL = ANYONE;

/** A message as one client gets it: through which of its subscriptions, by their numbers. */
export interface Delivered {
  client: string;
  topic: string;
  body: string;
  subs: number[];
}

/** One gateway's sessions, with a clock that only the test moves. */
export class SessionWorld {
  readonly sql = new NodeSql();
  now = 1_000_000;
  sessions!: Sessions;
  fanout!: Fanout;
  store!: SessionStore;
  /** Bodies of the wills that were published since the last look. */
  wills: string[] = [];
  delivered: Delivered[] = [];
  takenOver: string[] = [];
  ended: string[] = [];
  /** What was asked of queues: `pause 7`, `attach 7`, `detach 7`. */
  queueCalls: string[] = [];
  /** Filters that were left behind by sessions that are no more. */
  abandoned: string[] = [];
  readonly #protocol: Protocol;
  #connections = new Map<string, Connection>();
  #lastRef = 0;
  #lastId = 0;

  constructor() {
    const notes = {
      names: ["test"],
      nextDeadline: NEVER,
      fanout: (run: TopicRun) => this.#note(run),
      takenOver: ({ id }: Connection) => this.takenOver.push(id),
      ended: ({ client }: Session) => this.ended.push(client),
    };
    this.#protocol = notes as unknown as Protocol;
    this.#open();
    this.sessions.restore([], this.now);
  }

  connection(client: string): Connection | undefined {
    return this.#connections.get(client);
  }

  /** A client connects. @returns whether its session goes on */
  begin(client: string, hello: Partial<Hello> & { will?: Will | undefined }): boolean {
    const connection = this.#connect();
    const begun = this.sessions.begin(connection, {
      ...{ namespace: NAMESPACE, client, principal: PRINCIPAL, expirySeconds: 0, clean: false },
      ...{ newId: `id-${++this.#lastId}`, will: undefined, ...hello },
    });
    if ("kind" in begun) throw new Error(begun.message);
    this.#connections.set(client, connection);
    return begun.resumed;
  }

  /** Its socket is gone. */
  lose(client: string): void {
    const connection = this.#connections.get(client);
    this.#connections.delete(client);
    if (connection !== undefined) this.sessions.lost(connection, this.now);
  }

  /** It says goodbye: no will, perhaps another expiry. */
  leave(client: string, expirySeconds?: number): void {
    const { session } = this.#connections.get(client)!;
    session!.will = undefined;
    if (expirySeconds !== undefined) session!.expirySeconds = expirySeconds;
    this.lose(client);
  }

  subscribe(client: string, sub: number, filter: string, options: SubscriptionOptions): void {
    const session = this.sessions.find(NAMESPACE, client)!;
    const known = session.subscriptions.get(sub) as TopicSubscription | undefined;
    const durable = options.qos > 0 && session.expirySeconds > 0;
    const subscription: TopicSubscription = known ?? {
      ...{ kind: "topic", ref: ++this.#lastRef, sub, session, filter, selector: undefined, options, durable },
      ...{ credit: NEVER, skipped: 0, woken: undefined, behind: undefined },
    };
    Object.assign(subscription, { options, durable });
    session.subscriptions.set(sub, subscription);
    this.store.saveSubscription(subscription);
    if (known === undefined) this.fanout.add(subscription);
    else this.fanout.changed(subscription);
  }

  /** A subscription to a queue; returns its ref. */
  consume(client: string, sub: number, queue: string): number {
    const session = this.sessions.find(NAMESPACE, client)!;
    const options = { qos: 1 as const, noLocal: false, retainAsPublished: false, subscriptionId: 0 };
    const subscription: QueueSubscription = {
      ...{
        kind: "queue",
        ref: ++this.#lastRef,
        sub,
        session,
        options,
        credit: 1,
        leaseMs: undefined,
        filter: "",
      },
      ...{ address: { kind: "queue", name: queue }, target: `${NAMESPACE}:${queue}`, generation: 1 },
      settled: new Recent(),
    };
    session.subscriptions.set(sub, subscription);
    this.store.saveSubscription(subscription);
    return subscription.ref;
  }

  unsubscribe(client: string, sub: number): void {
    const subscription = this.sessions.find(NAMESPACE, client)?.subscriptions.get(sub);
    if (subscription !== undefined) this.sessions.unsubscribe(subscription);
  }

  /** Hands messages of topics to the fan-out. @returns topics that nobody wants, and who got what */
  publish(topics: string[]): { unwanted: string[]; delivered: Delivered[] } {
    const records = new Writer(256);
    for (const [at, topic] of topics.entries()) {
      writeMessage(records, message({ topic, body: `${at}`, seq: at + 1, epoch: ++this.now }));
    }
    this.delivered = [];
    const unwanted = this.fanout.deliver(NAMESPACE, records.take());
    return { unwanted, delivered: this.delivered };
  }

  pass(ms: number): void {
    this.now += ms;
    if (this.sessions.nextDeadline <= this.now) this.sessions.expire(this.now);
  }

  /** The gateway's object wakes anew; sockets that are not in `kept` went while it was away. */
  restart(kept: (client: string) => boolean): void {
    const live: Session[] = [];
    for (const [client, { session }] of [...this.#connections]) {
      const connection = this.#connect();
      if (!kept(client)) {
        this.#connections.delete(client);
        continue;
      }
      const { expirySeconds, ...plain } = structuredClone(attachedSession(session!));
      connection.session = {
        ...{ ...plain, protocol: this.#protocol, connection, will: undefined, endsAt: NEVER },
        ...{ expirySeconds: expirySeconds ?? NEVER, subscriptions: new Map() },
      };
      this.#connections.set(client, connection);
      live.push(connection.session);
    }
    this.#open();
    this.sessions.restore(live, this.now);
  }

  #open(): void {
    this.store = new SessionStore(this.sql);
    this.fanout = new Fanout(() => undefined);
    this.sessions = new Sessions({
      store: this.store,
      topics: this.#topics(),
      queues: this.#queues(),
      groups: {
        release: (_: string, queue: string) => this.queueCalls.push(`release ${queue}`),
      } as unknown as Groups,
      attendance: { leaveAll: () => undefined, authorize: () => undefined },
      protocol: () => this.#protocol,
      presence: () => undefined,
      publishWill: (_, { record }) => this.wills.push(String(new RecordView(record).decode().body)),
    });
  }

  #topics(): Topics {
    const notes = {
      restore: (subscription: TopicSubscription) => this.fanout.add(subscription),
      abandon: (_: string, filter: string) => this.abandoned.push(filter),
      unsubscribe: (subscription: TopicSubscription) => {
        subscription.session.subscriptions.delete(subscription.sub);
        this.fanout.remove(subscription);
        this.store.removeSubscription(subscription.ref);
      },
    };
    return notes as unknown as Topics;
  }

  #queues(): Queues {
    const restored = new Map<number, QueueSubscription>();
    const notes = {
      restore: (
        session: Session,
        ref: number,
        saved: { sub: number; address: QueueSubscription["address"] },
      ) => {
        const { sub, address } = saved;
        const subscription = { kind: "queue", ref, sub, session, address } as unknown as QueueSubscription;
        restored.set(ref, subscription);
        session.subscriptions.set(sub, subscription);
      },
      disown: (_: string, refs: number[]) => this.queueCalls.push(`detach ${refs.join()}`),
      pause: ({ ref }: QueueSubscription) => this.queueCalls.push(`pause ${ref}`),
      attachAgain: ({ ref }: QueueSubscription) => this.queueCalls.push(`attach ${ref}`),
      unsubscribe: ({ session, sub, ref }: QueueSubscription, done?: () => void) => {
        session.subscriptions.delete(sub);
        this.store.removeSubscription(ref);
        this.queueCalls.push(`detach ${ref}`);
        done?.();
      },
    };
    return notes as unknown as Queues;
  }

  #connect(): Connection {
    const writes = new Writes({ remember: () => undefined, sent: () => undefined, flush: () => undefined });
    const socket = { readyState: 1, send: () => undefined, close: () => undefined };
    const facts = {
      id: `${++this.#lastId}`,
      protocol: this.#protocol,
      urlNamespace: "",
      principal: undefined,
    };
    return new Connection(socket, writes, facts);
  }

  #note({ topic, bytes, start, end, matches }: TopicRun): void {
    for (const view = new RecordView(bytes, start); view.at < end; view.next()) {
      const body = String(view.decode().body);
      for (const { session, subscriptions } of matches) {
        const subs = subscriptions.map(({ sub }) => sub).sort((a, b) => a - b);
        this.delivered.push({ client: session.client, topic, body, subs });
      }
    }
  }
}

/** A will whose body tells it. */
export function will(body: string, delaySeconds: number): Will {
  const record = new Writer(256);
  writeMessage(record, message({ topic: "wills", body }));
  return {
    namespace: NAMESPACE,
    address: "topic:wills",
    record: record.take(),
    ttlMs: 0,
    delaySeconds,
    dueAt: NEVER,
  };
}
