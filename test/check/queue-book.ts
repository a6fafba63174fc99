// One queue through the rounds of a run: its history of the present round, what earlier rounds left behind, and the verdict.
import { History } from "../support/history.ts";
import { checkHistory, type ViolationKind } from "../support/history-check.ts";
import { type QueueStats, readStats } from "../support/stats.ts";
import type { Breach } from "./fault-names.ts";
import { ask, type Finding, type World } from "./world.ts";

/** How late this process may see a delivery: a gateway waits up to two seconds for packets that came out of turn or not at all. */
const SLACK_MS = 4_000;
/** Message ids of earlier rounds that may be published again, and for how long: well within the dedup window, whatever the clock does. */
const MAX_CARRIED = 200;
const CARRIED_MS = 100_000;

/** What each violation means for whoever trusts the broker. */
const BREACHES: Record<ViolationKind, Breach> = {
  lost: "lost",
  "seq-hole": "lost",
  "stored-twice": "duplicated",
  "duplicate-flag": "duplicated",
  "seq-reused": "duplicated",
  invented: "duplicated",
  "ended-twice": "duplicated",
  "leased-twice": "unfenced",
  "lease-revoked": "unfenced",
  "stale-handle-accepted": "unfenced",
  "settled-twice": "unfenced",
  "handle-reused": "unfenced",
  "answer-changed": "unfenced",
  "group-overlap": "unfenced",
  "acked-delivered-again": "resurrected",
  "group-order": "reordered",
  "publisher-order": "reordered",
};

/** The books of one queue. */
export class QueueBook {
  readonly queue: string;
  readonly #world: World;
  readonly #carried = new Map<string, { seq: number; atMs: number }>();
  history = new History();
  /** The highest seq of earlier rounds. */
  #settledUpTo = 0;
  #before: QueueStats | undefined;

  constructor(queue: string, world: World) {
    this.queue = queue;
    this.#world = world;
  }

  /** Begins a round with an empty history. */
  begin(): History {
    this.history = new History();
    const now = performance.now();
    for (const [messageId, { seq, atMs }] of this.#carried) {
      if (now - atMs > CARRIED_MS) this.#carried.delete(messageId);
      else this.history.record({ kind: "carried", messageId, seq });
    }
    return this.history;
  }

  /** Keeps a confirmed message's id, to be published again later. */
  keep(messageId: string, seq: number): void {
    if (!this.#world.random.chance(0.1)) return;
    if (this.#carried.size >= MAX_CARRIED) this.#carried.delete(this.#carried.keys().next().value!);
    this.#carried.set(messageId, { seq, atMs: performance.now() });
  }

  /** An id that was kept. */
  again(): string | undefined {
    const now = performance.now();
    const fresh = [...this.#carried].filter(([, { atMs }]) => now - atMs < CARRIED_MS);
    return fresh.length === 0 ? undefined : this.#world.random.pick(fresh)[0];
  }

  /** The queue's figures; undefined when nobody answers just now. Figures that do not add up throw. */
  async stats(): Promise<QueueStats | undefined> {
    try {
      return await readStats(this.#world.broker.url, this.queue);
    } catch (error) {
      if (String(error).includes("add up")) throw error;
      return undefined;
    }
  }

  /** Whether nothing is left in it. */
  async isEmpty(): Promise<boolean> {
    const stats = await this.stats();
    return stats !== undefined && stats.ready + stats.delayed + stats.leased === 0;
  }

  /** Whether every message that was confirmed has come out, or is known to have ended elsewhere. */
  hasAll(): boolean {
    const missing = new Set<string>();
    for (const event of this.history.events) {
      if (event.kind === "publish-confirmed") missing.add(event.messageId);
    }
    for (const event of this.history.events) {
      if (event.kind === "delivered" || event.kind === "carried") missing.delete(event.messageId);
    }
    return missing.size === 0;
  }

  /** Judges the round; every producer must be through. `deadLetters` are expected in the figures. */
  async judge(drained: boolean): Promise<Finding[]> {
    const { events } = this.history;
    const options = {
      drained: true,
      slackMs: SLACK_MS + this.#world.stalledMs,
      ...(this.#settledUpTo > 0 ? { settledUpTo: this.#settledUpTo } : {}),
    };
    const found: Finding[] = checkHistory(events, options).map(({ kind, what }) => {
      return { breach: BREACHES[kind], where: this.queue, what: `${kind}: ${what}` };
    });
    const report = (breach: Finding["breach"], what: string) =>
      found.push({ breach, where: this.queue, what });
    const stats = await this.stats();
    if (stats === undefined) report("problem", "the queue's figures cannot be had");
    else if (!drained) {
      report("lost", `it does not become empty: ${JSON.stringify(stats)}`);
      found.at(-1)!.events = await this.#leftovers();
    } else this.#checkFigures(stats, report);
    this.#before = stats;
    for (const event of events) {
      if (event.kind === "delivered") this.#settledUpTo = Math.max(this.#settledUpTo, event.seq);
    }
    this.#count();
    return found;
  }

  /** Some of what is still in it, with what the history knows of each. */
  async #leftovers(): Promise<unknown[]> {
    const left: unknown[] = [];
    for (const state of ["leased", "ready"]) {
      const path = `/v1/queues/${encodeURIComponent(this.queue)}/messages?state=${state}&limit=4`;
      const answer = (await ask(this.#world, "GET", path)) as { messages: { seq: number }[] };
      for (const message of answer.messages) {
        left.push({ state, ...message });
        left.push(...this.history.events.filter((event) => "seq" in event && event.seq === message.seq));
      }
    }
    return left;
  }

  /** What the queue says that it took is what this round's history knows, and nothing expired. */
  #checkFigures(stats: QueueStats, report: (breach: Finding["breach"], what: string) => void): void {
    const carried = new Set<string>();
    const stored = new Set<string>();
    for (const event of this.history.events) {
      if (event.kind === "carried") carried.add(event.messageId);
      if (event.kind === "delivered" || event.kind === "publish-confirmed") stored.add(event.messageId);
    }
    const expected = [...stored].filter((id) => !carried.has(id)).length;
    const accepted = stats.accepted - (this.#before?.accepted ?? 0);
    if (accepted !== expected) {
      report(accepted < expected ? "lost" : "duplicated", `it took ${accepted} messages of ${expected}`);
    }
    const expired = stats.expired - (this.#before?.expired ?? 0);
    if (expired !== 0) report("lost", `${expired} messages expired that had no time to live`);
  }

  #count(): void {
    const world = this.#world;
    for (const event of this.history.events) {
      if (event.kind === "publish-invoked") world.count("publishes to queues");
      else if (event.kind === "publish-confirmed" && event.duplicate) world.count("duplicates recognised");
      else if (event.kind === "publish-confirmed") world.count("messages stored by queues");
      else if (event.kind === "publish-failed") world.count("calls refused or unanswered");
      else if (event.kind === "delivered") {
        world.count("deliveries of queues");
        if (event.attempt > 1) world.count("redeliveries");
      } else if (event.kind === "ack-confirmed") {
        world.count(event.lost ? "stale settles refused" : "settles confirmed");
      } else if (event.kind === "dead-lettered") world.count("dead letters");
    }
  }
}
