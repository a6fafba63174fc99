// Everything at once: random messages, consumers that settle at random, forget, vanish and come back. At the end every message
// must have come to exactly one end. The seed of a failed run is in its message; SEED repeats it.
import { describe, expect } from "vitest";
import type { WireClient } from "../support/wire-client.ts";
import { eventually, expectBalance, type Message, message, type World, withBroker } from "./harness.ts";

const it = withBroker();

const MESSAGES = 3_000;
const CONSUMERS = 5;
const GROUPS = 30;

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
  /** Seq of the last message of each group that came to its end. */
  readonly lastOfGroup = new Map<string, number>();
  readonly wrong: string[] = [];
}

class Consumer {
  readonly #world: World;
  readonly #log: Log;
  readonly #random: () => number;
  readonly #client: string;
  #wire: WireClient | undefined;
  stopped = false;

  constructor(world: World, log: Log, random: () => number, client: string) {
    this.#world = world;
    this.#log = log;
    this.#random = random;
    this.#client = client;
  }

  async connect(): Promise<void> {
    const expirySeconds = this.#random() < 0.5 ? 0 : 2;
    const handles = new Set<string>();
    const early: Message[] = [];
    let wire: WireClient | undefined;
    const hello = { client: this.#client, session: { expirySeconds } };
    wire = await this.#world.connect(hello, this.#world.ns, {
      onFrame: (frame) => {
        if (frame.op !== "message") return undefined;
        const got = message(frame);
        if (handles.has(got.delivery))
          this.#log.wrong.push(`${got.delivery} of ${got.messageId} twice on one socket`);
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
  }

  async #handle(got: Message, wire: WireClient): Promise<void> {
    const choice = this.#random();
    const { delivery, messageId } = got;
    if (choice < 0.01 && !this.stopped) {
      wire.cut();
      await this.connect();
      return;
    }
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
    const answer = await wire.ok({ op: "settle", sub: 1, ...outcome }).catch(() => undefined);
    if (answer?.settled !== 1) return;
    if ("ack" in outcome) {
      this.#log.acked.set(messageId, (this.#log.acked.get(messageId) ?? new Set()).add(delivery));
      this.#ended(got);
    }
    if ("dead" in outcome) {
      this.#log.rejected.add(messageId);
      this.#ended(got);
    }
  }

  /** Within a group, ends come in the order of publishing. */
  #ended({ group, seq }: Message): void {
    if (group === undefined) return;
    const last = this.#log.lastOfGroup.get(group) ?? 0;
    if (seq < last) this.#log.wrong.push(`group ${group}: ${seq} ended after ${last}`);
    this.#log.lastOfGroup.set(group, seq);
  }

  stop(): void {
    this.stopped = true;
    this.#wire?.cut();
  }
}

async function publishAll(world: World, random: () => number): Promise<string[]> {
  const wire = await world.connect();
  const ids: string[] = [];
  for (let at = 0; at < MESSAGES; ) {
    const size = 1 + Math.floor(random() * 100);
    const frames = Array.from({ length: Math.min(size, MESSAGES - at) }, (_, i) => {
      const kind = random();
      const messageId = `m${at + i}`;
      ids.push(messageId);
      return {
        op: "publish",
        to: "queue:q",
        body: { n: at + i, pad: "x".repeat(Math.floor(random() * 2_000)) },
        messageId,
        ...(kind < 0.4 ? { group: `g${Math.floor(random() * GROUPS)}` } : {}),
        ...(kind > 0.8 ? { delayMs: Math.floor(random() * 1_500) } : {}),
        ...(kind > 0.5 && kind < 0.55 ? { ttlMs: 1 + Math.floor(random() * 500) } : {}),
      };
    });
    const replies = await Promise.all(wire.requestAll(frames));
    expect(replies.filter((reply) => reply.op !== "ok")).toEqual([]);
    // Sent once more, as after a lost confirm.
    if (random() < 0.3) {
      const again = await Promise.all(wire.requestAll(frames));
      expect(again.filter((reply) => reply.duplicate !== true)).toEqual([]);
    }
    at += frames.length;
  }
  return ids;
}

describe("random traffic", () => {
  it("[STA2] [SET1] [SES9] [GRP1] [DED1] [DLQ8] every message comes to exactly one end", async ({
    world,
  }) => {
    const seed = Number(process.env.SEED ?? Date.now() % 2 ** 32);
    const random = randomFrom(seed);
    await world.declare("q", {
      leaseMs: 1_000,
      maxFailures: 4,
      backoff: { kind: "exponential", baseMs: 10, maxMs: 100, jitter: 0.5 },
    });
    const log = new Log();
    const consumers = Array.from({ length: CONSUMERS }, (_, i) => new Consumer(world, log, random, `c${i}`));
    await Promise.all(consumers.map((consumer) => consumer.connect()));
    const ids = await publishAll(world, random);
    await eventually(async () => {
      expect(await world.stats("q"), `SEED=${seed}`).toMatchObject({ ready: 0, delayed: 0, leased: 0 });
      await expectBalance(world);
    }, 40_000);
    for (const consumer of consumers) consumer.stop();

    const stats = await world.stats("q");
    const { deadLettered, accepted, settled, expired } = stats;
    expect(accepted, `SEED=${seed}`).toBe(MESSAGES);
    await eventually(async () =>
      expect(await world.stats("q.dead")).toMatchObject({ accepted: deadLettered }),
    );
    const dead = (await world.peek("q.dead", "ready", 1_000)).map((m) => m.messageId);
    const ends = [...log.acked.keys(), ...dead];
    const context = `SEED=${seed} ${JSON.stringify(stats)}`;
    expect(log.wrong, context).toEqual([]);
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
    expect(ids.length - expired - ends.length, context).toBe(settled - log.acked.size);
  });
});
