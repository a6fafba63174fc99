// What every part of a run shares: the broker, a pipe for each client, the record of findings and counts.
import type { Broker } from "../support/broker.ts";
import { createRandom, type Random } from "../support/random.ts";
import type { Breach } from "./fault-names.ts";
import { openPipe, type Pipe } from "./pipe.ts";

/** Something that a correct broker would not have done. */
export interface Finding {
  breach: Breach | "problem";
  /** Where: a queue, or the topics. */
  where: string;
  what: string;
  /** The events that show it, when they are not in the words. */
  events?: unknown[];
}

const WEATHER = { delayMs: 15, stalled: 0.02 };

/** What was counted over a run, by name. */
export type Counts = Record<string, number>;

/** One run's surroundings. */
export class World {
  readonly broker: Broker;
  readonly random: Random;
  readonly counts: Counts = {};
  /** How long the machine stood still in this round: deliveries may be seen so much later than their leases began. */
  stalledMs = 0;
  readonly #pipes = new Map<string, Pipe>();

  constructor(broker: Broker, seed: number) {
    this.broker = broker;
    this.random = createRandom(seed);
  }

  /** Opens a pipe of its own for each client. */
  async openPipes(clients: readonly string[]): Promise<void> {
    for (const client of clients) {
      this.#pipes.set(
        client,
        await openPipe(this.broker.port, WEATHER, createRandom(this.random.integer(1, 1e9))),
      );
    }
  }

  get clients(): string[] {
    return [...this.#pipes.keys()];
  }

  /** `http://127.0.0.1:PORT` of a client's pipe. The part of a run that a client's name ends with (`@3`, `@3-2`) does not count. */
  url(client: string): string {
    const pipe = this.#pipes.get(client.replace(/@.*$/, ""));
    if (pipe === undefined) throw new Error(`the client ${client} has no pipe`);
    return `http://127.0.0.1:${pipe.port}`;
  }

  wsUrl(client: string): string {
    return `${this.url(client).replace("http", "ws")}/ws`;
  }

  /** With the client's name, as a session is found only so when there are several gateways. */
  mqttUrl(client: string): string {
    return `${this.url(client).replace("http", "ws")}/mqtt?client=${client}`;
  }

  /** Cuts a client's connections. */
  cut(client: string): void {
    this.count("connections cut", this.#pipes.get(client)!.cut());
  }

  count(what: string, by = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + by;
  }

  async close(): Promise<void> {
    for (const pipe of this.#pipes.values()) await pipe.close();
  }
}

/** A part of the traffic with its own checks. */
export interface Flow {
  /** Its clients, each of which gets a pipe. */
  readonly clients: readonly string[];
  /** Its queues and topics, which may be evicted. */
  readonly rooms: readonly { room: "queue" | "topic"; name: string }[];
  /** Makes what must be there before anything is sent. */
  prepare(world: World): Promise<void>;
  /** Begins a round. */
  begin(round: number): void;
  /** Comes before a client's connection ends, or every connection when no client is named. */
  beforeCut(client?: string): void;
  /** Comes before an object is ended. */
  beforeEviction(): void;
  /** Comes before the broker's clock is stepped. */
  beforeStep(byMs: number): void;
  /** Sends nothing new, waits until all has arrived or time is over, and judges the round. */
  end(deadlineMs: number): Promise<Finding[]>;
  /** Ends every client. */
  stop(): Promise<void>;
}

/** Calls the broker itself, around the pipes, again until it answers. */
export async function ask(world: World, method: string, path: string, body?: unknown): Promise<unknown> {
  for (let tries = 0; ; tries += 1) {
    try {
      const response = await fetch(world.broker.url + path, {
        method,
        ...(body === undefined
          ? {}
          : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
      });
      const text = await response.text();
      if (response.ok) return text === "" ? undefined : JSON.parse(text);
      if (response.status < 500)
        throw new TypeError(`${method} ${path} was answered ${response.status}: ${text}`);
    } catch (error) {
      if (error instanceof TypeError && !String(error).includes("fetch failed")) throw error;
    }
    if (tries > 100) throw new Error(`${method} ${path} finds nobody`);
    await sleep(100);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until something holds, or the deadline (on `performance.now()`) has passed. Returns whether it holds. */
export async function until(holds: () => boolean | Promise<boolean>, deadlineMs: number): Promise<boolean> {
  for (;;) {
    if (await holds()) return true;
    if (performance.now() > deadlineMs) return false;
    await sleep(100);
  }
}
