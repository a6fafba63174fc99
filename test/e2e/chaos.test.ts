// Everything at once: random messages, consumers that settle at random, forget, vanish and come back. At the end every message
// must have come to exactly one end. The seed of a failed run is in its message; SEED repeats it.
import { describe, expect } from "vitest";
import type { WireClient, WireFrame } from "../support/wire-client.ts";
import {
  eventually,
  expectBalance,
  type Message,
  message,
  pass,
  queuePath,
  type World,
  withBroker,
} from "./harness.ts";

const it = withBroker();

const MESSAGES = 3_000;
const CONSUMERS = 5;
const GROUPS = 30;
const RETRY_MS = 50;

function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What the consumers saw and did. */
class Log {
  /** Handles of confirmed acks by message id. */
  readonly acked = new Map<string, Set<string>>();
  /** Message ids that were confirmed dead. */
  readonly rejected = new Set<string>();
  readonly wrong: string[] = [];
  readonly #ends: { group: string; seq: number; askedAt: number }[] = [];
  #clock = 0;

  /** A moment, in the order of this process. */
  now(): number {
    this.#clock += 1;
    return this.#clock;
  }

  ack(got: Message, askedAt: number): void {
    this.acked.set(got.messageId, (this.acked.get(got.messageId) ?? new Set()).add(got.delivery));
    this.#ended(got, askedAt);
  }

  reject(got: Message, askedAt: number): void {
    this.rejected.add(got.messageId);
    this.#ended(got, askedAt);
  }

  /**
   * Ends of a group that were asked for in another order than that of publishing. (Answers may overtake each other on their ways
   * to different consumers; asking cannot, since the next message of a group is delivered only after the end of the one before.)
   */
  disorder(): string[] {
    const last = new Map<string, number>();
    const found: string[] = [];
    for (const { group, seq } of this.#ends.sort((a, b) => a.askedAt - b.askedAt)) {
      if (seq < (last.get(group) ?? 0)) found.push(`group ${group}: ${seq} ended after ${last.get(group)}`);
      last.set(group, seq);
    }
    return found;
  }

  #ended({ group, seq }: Message, askedAt: number): void {
    if (group !== undefined) this.#ends.push({ group, seq, askedAt });
  }
}

/** A JSON consumer that comes back whenever its socket is gone. */
class Consumer {
  readonly #world: World;
  readonly #log: Log;
  readonly #random: () => number;
  readonly #client: string;
  #wire: WireClient | undefined;
  #stopped = false;

  constructor(world: World, log: Log, random: () => number, client: string) {
    this.#world = world;
    this.#log = log;
    this.#random = random;
    this.#client = client;
  }

  async run(): Promise<void> {
    while (!this.#stopped) {
      // The broker may be down just now.
      const wire = await this.#connect().catch(later);
      await wire?.closed;
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#wire?.cut();
  }

  async #connect(): Promise<WireClient> {
    const expirySeconds = this.#random() < 0.5 ? 0 : 2;
    const handles = new Set<string>();
    const early: Message[] = [];
    let wire: WireClient | undefined;
    const hello = { client: this.#client, session: { expirySeconds } };
    wire = await this.#world.connect(hello, this.#world.ns, {
      onFrame: (frame) => {
        if (frame.op !== "message") return undefined;
        const got = message(frame);
        if (handles.has(got.delivery)) {
          this.#log.wrong.push(`${got.delivery} of ${got.messageId} twice on one socket`);
        }
        handles.add(got.delivery);
        // A resumed session's messages may come together with the welcome.
        if (wire) void this.#handle(got, wire);
        else early.push(got);
        return true;
      },
    });
    this.#wire = wire;
    for (const got of early) void this.#handle(got, wire);
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 20 }).catch(() => undefined);
    return wire;
  }

  async #handle(got: Message, wire: WireClient): Promise<void> {
    const choice = this.#random();
    const { delivery } = got;
    if (choice < 0.01) return wire.cut();
    // Forgotten: its lease runs out.
    if (choice < 0.03) return;
    const outcome =
      choice < 0.75
        ? { ack: [delivery] }
        : choice < 0.85
          ? { release: [delivery] }
          : choice < 0.97
            ? { fail: [{ delivery, ...(choice < 0.9 ? { delayMs: Math.floor(this.#random() * 100) } : {}) }] }
            : { dead: [{ delivery, reason: "chaos" }] };
    const askedAt = this.#log.now();
    const answer = await wire.ok({ op: "settle", sub: 1, ...outcome }).catch(() => undefined);
    if (answer?.settled !== 1) return;
    if ("ack" in outcome) this.#log.ack(got, askedAt);
    if ("dead" in outcome) this.#log.reject(got, askedAt);
  }
}

/** An HTTP consumer: long polls, and acks what it gets. */
class Poller {
  #stopped = false;

  async run(world: World, log: Log): Promise<void> {
    while (!this.#stopped) {
      try {
        const got = await world.receive("q", { max: 10, waitMs: 300, leaseMs: 1_000 });
        const askedAt = log.now();
        const { lost } = await world.settle("q", { ack: got.map((m) => m.delivery) });
        for (const each of got) if (!lost.includes(each.delivery)) log.ack(each, askedAt);
      } catch {
        await pass(RETRY_MS);
      }
    }
  }

  stop(): void {
    this.#stopped = true;
  }
}

/** What to do when the broker is down: nothing, for a moment. */
async function later(): Promise<undefined> {
  await pass(RETRY_MS);
  return undefined;
}

type Frame = WireFrame & { messageId: string };

function randomFrames(from: number, count: number, random: () => number): Frame[] {
  return Array.from({ length: count }, (_, i) => {
    const kind = random();
    return {
      op: "publish",
      to: "queue:q",
      body: { n: from + i, pad: "x".repeat(Math.floor(random() * 2_000)) },
      messageId: `m${from + i}`,
      ...(kind < 0.4 ? { group: `g${Math.floor(random() * GROUPS)}` } : {}),
      ...(kind > 0.8 ? { delayMs: Math.floor(random() * 1_500) } : {}),
      ...(kind > 0.5 && kind < 0.55 ? { ttlMs: 1 + Math.floor(random() * 500) } : {}),
    };
  });
}

/** Publishes everything; what was not confirmed is sent again under its id, as a client does. */
async function publishAll(world: World, random: () => number, pauseMs: number): Promise<void> {
  let wire: WireClient | undefined;
  for (let at = 0; at < MESSAGES; ) {
    const frames = randomFrames(at, Math.min(1 + Math.floor(random() * 100), MESSAGES - at), random);
    // Some are sent once more, as after a lost confirm.
    let left = random() < 0.3 ? [...frames, ...frames] : frames;
    while (left.length > 0) {
      wire ??= await world.connect().catch(later);
      if (!wire) continue;
      const outcomes = await Promise.allSettled(wire.requestAll(left));
      left = left.filter((_, i) => {
        const outcome = outcomes[i]!;
        return outcome.status === "rejected" || outcome.value.op !== "ok";
      });
      if (left.length > 0) wire = undefined;
    }
    at += frames.length;
    await pass(random() * pauseMs);
  }
}

/** Runs the traffic with whatever `disturb` does meanwhile, until nothing is left, and checks every message's end. */
async function runTraffic(
  world: World,
  pauseMs: number,
  disturb: (random: () => number) => Promise<void>,
): Promise<void> {
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 32);
  const random = randomFrom(seed);
  await world.declare("q", {
    leaseMs: 1_000,
    maxFailures: 4,
    backoff: { kind: "exponential", baseMs: 10, maxMs: 100, jitter: 0.5 },
  });
  const log = new Log();
  const consumers = Array.from({ length: CONSUMERS }, (_, i) => new Consumer(world, log, random, `c${i}`));
  const poller = new Poller();
  const running = [...consumers.map((consumer) => consumer.run()), poller.run(world, log)];
  await Promise.all([publishAll(world, random, pauseMs), disturb(random)]);
  await eventually(async () => {
    expect(await world.stats("q"), `SEED=${seed}`).toMatchObject({ ready: 0, delayed: 0, leased: 0 });
  }, 40_000);
  for (const consumer of [...consumers, poller]) consumer.stop();
  await Promise.all(running);
  await checkEnds(world, log, `SEED=${seed}`);
}

async function checkEnds(world: World, log: Log, seed: string): Promise<void> {
  await expectBalance(world);
  const stats = await world.stats("q");
  const context = `${seed} ${JSON.stringify(stats)}`;
  const { deadLettered, accepted, settled, expired } = stats;
  expect(accepted, context).toBe(MESSAGES);
  await eventually(async () =>
    expect(await world.stats("q.dead"), context).toMatchObject({
      accepted: deadLettered,
      ready: deadLettered,
    }),
  );
  const dead = (await world.peek("q.dead", "ready", 1_000)).map((m) => m.messageId);
  const ends = [...log.acked.keys(), ...dead];
  expect([...log.wrong, ...log.disorder()], context).toEqual([]);
  expect(
    [...log.acked].filter(([, handles]) => handles.size !== 1),
    context,
  ).toEqual([]);
  expect(new Set(ends).size, context).toBe(ends.length);
  expect(
    [...log.rejected].filter((id) => !dead.includes(id)),
    context,
  ).toEqual([]);
  expect(dead.length, context).toBe(deadLettered);
  // An ack whose answer was lost with its socket counts at the broker alone.
  expect(settled, context).toBeGreaterThanOrEqual(log.acked.size);
  expect(MESSAGES - expired - ends.length, context).toBe(settled - log.acked.size);
}

describe("random traffic", () => {
  it("[STA2] [SET1] [SES9] [GRP1] [DED1] [DLQ8] every message comes to exactly one end", async ({
    world,
  }) => {
    await runTraffic(world, 0, async () => {});
  });

  it("[DUR1] [DUR3] [DUR4] [OPS3] [OPS4] … through kills, pauses and purges as well", async ({ world }) => {
    await runTraffic(world, 120, async (random) => {
      for (let kill = 0; kill < 3; kill += 1) {
        await pass(500 + random() * 800);
        await world.call("PUT", `${queuePath("q")}/pause`);
        await pass(random() * 200);
        if (random() < 0.5) await world.call("POST", `${queuePath("q")}/purge`);
        if (random() < 0.5) await world.call("PUT", `${queuePath("q")}/resume`);
        await world.broker.kill();
        await world.broker.restart();
        await world.call("PUT", `${queuePath("q")}/resume`);
      }
    });
  });
});
