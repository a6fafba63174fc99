// Scripts of MQTT sessions that run twice, once undisturbed and once with objects evicted between their steps: both must see the same.
import { runInDurableObject } from "cloudflare:test";
import { afterAll, beforeAll } from "vitest";
import type { Packet } from "../../../worker/protocol/mqtt/codec/packets.ts";
import { type ConnectFields, MqttWire, plain } from "./mqtt.ts";
import { evict, gatewayStub, topicStub } from "./objects.ts";

let runs = 0;

/** What a step waits for: so many packets at a connection. */
type Expected = [wire: MqttWire, count: number];

/** One run of a script. */
export class MqttScript {
  // Names of one length: lengths are compared as well.
  readonly #id = `run-${String(++runs).padStart(5, "0")}`;
  readonly seen: string[] = [];
  readonly wires: MqttWire[] = [];
  readonly #between: (script: MqttScript, step: number) => Promise<void>;
  steps = 0;

  constructor(between: (script: MqttScript, step: number) => Promise<void>) {
    this.#between = between;
  }

  /** A name of this run alone. */
  name(what: string): string {
    return `${what}-${this.#id}`;
  }

  get topic(): string {
    return this.name("topic");
  }

  /** A place for an eviction. */
  async pause(): Promise<void> {
    await this.#between(this, this.steps++);
  }

  /** Connects, which is a step. */
  async connect(client: string, fields: ConnectFields = {}, more = 0): Promise<MqttWire> {
    await this.pause();
    const [wire, connack] = await MqttWire.connect(this.name(client), fields);
    this.wires.push(wire);
    this.#note(client, [{ ...connack, properties: {} }]);
    if (more > 0) this.#note(client, await wire.take(more));
    return wire;
  }

  /** One step: sends something, then waits for what comes of it. */
  async step(send: () => unknown, ...expected: Expected[]): Promise<Packet[]> {
    await this.pause();
    await send();
    const all: Packet[] = [];
    for (const [wire, count] of expected) {
      const packets = await wire.take(count);
      this.#note(String(this.wires.indexOf(wire)), packets);
      all.push(...packets);
    }
    return all;
  }

  /** A socket ends, once everything before has been written, and the gateway knows. */
  async end(wire: MqttWire, how: "drop" | "disconnect"): Promise<void> {
    await this.pause();
    await writeLazy();
    await (how === "drop" ? wire.drop() : wire.disconnect(4));
    await writeLazy();
  }

  /** Nothing but what was taken has come. */
  async quiet(): Promise<void> {
    await this.pause();
    for (const [at, wire] of this.wires.entries()) {
      if (wire.closed === undefined) this.#note(`${at} unasked`, await wire.rest());
    }
  }

  close(): void {
    for (const wire of this.wires) wire.close();
  }

  #note(where: string, packets: Packet[]): void {
    for (const packet of packets) {
      const text = JSON.stringify(plain(packet)).replaceAll(this.#id, "run");
      this.seen.push(`${this.steps} ${where}: ${text}`);
    }
  }
}

/** What may be evicted between two steps. */
export const EVICTIONS: Record<string, (script: MqttScript) => Promise<void>> = {
  "the gateway": evictGateway,
  "the topic": ({ topic }) => evict(topicStub(topic)),
  "the topic, then the gateway": async ({ topic }) => {
    await evict(topicStub(topic));
    await evictGateway();
  },
};

/** Runs a script to its end. */
export async function runScript(
  script: (run: MqttScript) => Promise<void>,
  between: (run: MqttScript, step: number) => Promise<void> = async () => undefined,
): Promise<MqttScript> {
  const run = new MqttScript(between);
  try {
    await script(run);
    await run.quiet();
  } finally {
    run.close();
  }
  return run;
}

/** The gateway writes what may wait after this. */
const LAZY_MS = 1_000;
let waiting: (() => void)[] = [];

/**
 * In this file, facts that may wait are written to the log only by `writeLazy`: an eviction before finds them in the attachments alone.
 * It also goes faster, as an eviction waits for timers.
 */
export function lazyByHand(): void {
  const { setTimeout: original } = globalThis;
  beforeAll(() => {
    globalThis.setTimeout = ((work: () => void, ms?: number, ...given: unknown[]) => {
      if (ms !== LAZY_MS) return Reflect.apply(original, globalThis, [work, ms, ...given]) as unknown;
      waiting.push(work);
      return 0;
    }) as unknown as typeof setTimeout;
  });
  afterAll(() => {
    globalThis.setTimeout = original;
  });
}

/** Lets the time pass after which the gateway has written everything; it sleeps only later than that. */
export async function writeLazy(): Promise<void> {
  await runInDurableObject(gatewayStub(), () => {
    for (const work of waiting.splice(0)) work();
  });
}

async function evictGateway(): Promise<void> {
  await evict(gatewayStub());
  waiting = [];
}
