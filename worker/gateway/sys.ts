// `$SYS/…`: what a gateway says of itself and its clients, as topics that can only be read. Nothing of it is stored; the figures are
// those of one gateway and one namespace since the gateway's object woke.
import { Writer } from "../bytes/writer.ts";
import { matches } from "../filter/filter.ts";
import { EMPTY_MESSAGE, type Message, writeMessage } from "../message/record.ts";
import type { Fanout } from "./fanout.ts";
import type { Session } from "./session.ts";

/** Where these topics begin; filters that do concern no Topic object. */
export const SYS_PREFIX = "$SYS/";
const BROKER = "$SYS/broker/";
const VERSION = "Dunlin 0.1.0";
/** How often subscribers get the figures again. */
const INTERVAL_MS = 60_000;
const NEVER = Number.POSITIVE_INFINITY;
/** Minutes over which loads are averaged. */
const LOAD_MINUTES = [1, 5, 15] as const;

/** What has passed through a gateway for one namespace. */
export interface Traffic {
  messagesReceived: number;
  messagesSent: number;
  bytesReceived: number;
  bytesSent: number;
}

type Figure = keyof Traffic;
const FIGURES: [Figure, string][] = [
  ["messagesReceived", "messages/received"],
  ["messagesSent", "messages/sent"],
  ["bytesReceived", "bytes/received"],
  ["bytesSent", "bytes/sent"],
];

interface Namespace {
  traffic: Traffic;
  /** As it was when the loads were last averaged. */
  before: Traffic;
  /** Per minute, by figure and by LOAD_MINUTES. */
  loads: Map<Figure, number[]>;
  /** Subscriptions to `$SYS/…`. */
  watchers: number;
  retained: number;
  /** When `retained` was counted, ms since the epoch. */
  countedAt: number;
}

/** What this part needs of its gateway. */
export interface SysOwner {
  gateway: string;
  fanout: Fanout;
  sessionsOf: (namespace: string) => Iterable<Session>;
  /** How many retained messages the namespace has. */
  countRetained: (namespace: string) => Promise<number>;
  afterAnswer: () => void;
}

/** The `$SYS` topics of one gateway. */
export class Sys {
  readonly #owner: SysOwner;
  readonly #startedAt: number;
  readonly #namespaces = new Map<string, Namespace>();
  /** When `run` wants to be called, ms since the epoch; Infinity while nobody listens. */
  nextDeadline = NEVER;

  constructor(owner: SysOwner, now: number) {
    this.#owner = owner;
    this.#startedAt = now;
  }

  /** What passes through for a namespace: counted up by whoever sees it. */
  traffic(namespace: string): Traffic {
    return this.#namespace(namespace).traffic;
  }

  /** A subscription to `$SYS/…` began (1) or ended (-1). */
  watch(namespace: string, by: 1 | -1, now: number): void {
    this.#namespace(namespace).watchers += by;
    if (by === 1) this.nextDeadline = Math.min(this.nextDeadline, now + INTERVAL_MS);
  }

  /** The figures that a filter matches, as records: retained messages to whoever subscribes. */
  async read(
    namespace: string,
    filter: string,
    now: number,
  ): Promise<{ records: Uint8Array; count: number }> {
    await this.#countRetained(namespace, now);
    const to = new Writer(1024);
    let count = 0;
    for (const [topic, value] of this.#values(namespace, now)) {
      if (!matches(filter, topic)) continue;
      writeMessage(to, messageOf(topic, value, now, true));
      count++;
    }
    return { records: to.take(), count };
  }

  /** A client came or went. */
  presence(session: Session, event: "connected" | "disconnected", now: number): void {
    const { namespace, client, principal } = session;
    if (this.#namespace(namespace).watchers === 0 || /[+#\0]/.test(client)) return;
    const topic = `$SYS/brokers/${this.#owner.gateway}/clients/${client}/${event}`;
    const body = JSON.stringify({ clientid: client, subject: principal.subject, time: now });
    this.#publish(namespace, [[topic, body]], now, false);
  }

  /** Tells the figures again, and averages the loads. */
  run(now: number): void {
    if (now < this.nextDeadline) return;
    this.nextDeadline = NEVER;
    for (const [name, namespace] of this.#namespaces) {
      if (namespace.watchers === 0) continue;
      this.nextDeadline = now + INTERVAL_MS;
      averageLoads(namespace);
      this.#publish(name, this.#values(name, now), now, true);
    }
  }

  /** Asks many objects, so not for every subscriber anew. */
  async #countRetained(name: string, now: number): Promise<void> {
    const namespace = this.#namespace(name);
    if (now - namespace.countedAt < INTERVAL_MS) return;
    namespace.countedAt = now;
    namespace.retained = await this.#owner.countRetained(name);
  }

  #publish(namespace: string, values: [string, string | number][], now: number, retain: boolean): void {
    const to = new Writer(1024);
    for (const [topic, value] of values) writeMessage(to, messageOf(topic, value, now, retain));
    this.#owner.fanout.deliver(namespace, to.take());
  }

  #values(name: string, now: number): [string, string | number][] {
    const { traffic, loads, retained } = this.#namespace(name);
    let [connected, total, subscriptions] = [0, 0, 0];
    for (const session of this.#owner.sessionsOf(name)) {
      total++;
      if (session.connection !== undefined) connected++;
      subscriptions += session.subscriptions.size;
    }
    const values: [string, string | number][] = [
      ["version", VERSION],
      ["uptime", `${Math.floor((now - this.#startedAt) / 1_000)} seconds`],
      ["clients/connected", connected],
      ["clients/disconnected", total - connected],
      ["clients/total", total],
      ["subscriptions/count", subscriptions],
      ["retained messages/count", retained],
    ];
    for (const [figure, topic] of FIGURES) {
      values.push([topic, traffic[figure]]);
      for (const [at, minutes] of LOAD_MINUTES.entries()) {
        values.push([`load/${topic}/${minutes}min`, (loads.get(figure)?.[at] ?? 0).toFixed(2)]);
      }
    }
    return values.map(([topic, value]) => [BROKER + topic, value]);
  }

  #namespace(name: string): Namespace {
    let namespace = this.#namespaces.get(name);
    if (namespace === undefined) {
      const none = { messagesReceived: 0, messagesSent: 0, bytesReceived: 0, bytesSent: 0 };
      namespace = {
        traffic: { ...none },
        before: none,
        loads: new Map(),
        watchers: 0,
        retained: 0,
        countedAt: 0,
      };
      this.#namespaces.set(name, namespace);
    }
    return namespace;
  }
}

/** Exponentially weighted means, taken once in each interval of one minute. */
function averageLoads(namespace: Namespace): void {
  const { traffic, before, loads } = namespace;
  for (const [figure] of FIGURES) {
    const passed = traffic[figure] - before[figure];
    const means = loads.get(figure) ?? LOAD_MINUTES.map(() => 0);
    loads.set(
      figure,
      means.map((mean, at) => mean + (passed - mean) * (1 - Math.exp(-1 / LOAD_MINUTES[at]!))),
    );
  }
  namespace.before = { ...traffic };
}

function messageOf(topic: string, value: string | number, now: number, retain: boolean): Message {
  return { ...EMPTY_MESSAGE, topic, contentType: "text/plain", body: String(value), retain, time: now };
}
