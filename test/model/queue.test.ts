// The machine of a queue against the reference, under random commands, with an eviction possible between any two of them.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../worker/errors.ts";
import { QueueStore } from "../../worker/log/store.ts";
import type { QueueSettingsPatch } from "../../worker/queue/settings.ts";
import { type Delivered, Machine, messagesIn } from "../support/machine.ts";
import { type ModelSettings, Reference } from "./reference.ts";
import { SharedReference } from "./shared-reference.ts";

/** What a run is about. */
interface Variant {
  settings: QueueSettingsPatch & ModelSettings;
  /** Whether consumers have selectors. */
  selecting?: true;
}

const SETTINGS = { leaseMs: 1_000, maxFailures: 3, dedupWindowMs: 2_000, priorities: 3 };
const RUNS = Number(process.env.MODEL_RUNS ?? 400);

interface Published {
  id: number;
  group: number;
  delayMs: number;
  ttlMs: number;
  priority: number;
  colour: string;
}

type Step =
  | { do: "publish"; messages: Published[] }
  | { do: "attach"; ref: number; credit: number; colour: string }
  | { do: "pause" | "detach"; ref: number }
  | { do: "credit"; ref: number; add: number }
  | { do: "settle"; pick: number; outcome: "ack" | "release" | "fail" | "dead"; delayMs: number | undefined }
  | { do: "extend"; pick: number; leaseMs: number }
  | { do: "pass"; ms: number }
  | { do: "reopen" };

const ref = fc.integer({ min: 1, max: 3 });
const pick = fc.nat({ max: 1_000_000 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("publish" as const),
      messages: fc.array(
        fc.record({
          id: fc.integer({ min: 0, max: 12 }),
          group: fc.integer({ min: 0, max: 3 }),
          delayMs: fc.constantFrom(0, 0, 0, 300),
          ttlMs: fc.constantFrom(0, 0, 0, 0, 700),
          priority: fc.constantFrom(0, 0, 0, 1, 2, 9),
          colour: fc.constantFrom("red", "blue"),
        }),
        { minLength: 1, maxLength: 5 },
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("attach" as const),
      ref,
      credit: fc.integer({ min: 0, max: 4 }),
      colour: fc.constantFrom("", "red", "blue"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("pause" as const, "detach" as const), ref }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("credit" as const), ref, add: fc.integer({ min: 1, max: 3 }) }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("settle" as const),
      pick,
      outcome: fc.constantFrom(
        "ack" as const,
        "ack" as const,
        "release" as const,
        "fail" as const,
        "dead" as const,
      ),
      delayMs: fc.constantFrom(undefined, 0, 250),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("extend" as const),
      pick,
      leaseMs: fc.integer({ min: 1_000, max: 3_000 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 900 }) }),
  },
  { weight: 2, arbitrary: fc.constant({ do: "reopen" as const }) },
);

/** The machine and the reference side by side. */
class Pair {
  readonly machine: Machine;
  readonly reference: Reference;
  readonly #selecting: boolean;
  /** Every delivery ever made: settles pick among them, so most are stale. */
  readonly known: Delivered[] = [];

  constructor({ settings, selecting = false }: { settings: Variant["settings"]; selecting?: boolean }) {
    this.machine = new Machine("jobs", settings);
    this.reference = settings.delivery === "all" ? new SharedReference(settings) : new Reference(settings);
    this.#selecting = selecting;
  }

  run(step: Step): void {
    const { machine, reference } = this;
    reference.tick(machine.now + (step.do === "pass" ? step.ms : 0));
    switch (step.do) {
      case "publish":
        this.#publish(step.messages);
        break;
      case "attach": {
        const known = reference.consumers.get(step.ref);
        const colour = this.#selecting ? step.colour : "";
        reference.consumers.set(step.ref, { credit: step.credit, paused: false, colour });
        if (known === undefined) expect(reference.held(step.ref)).toBe(0);
        machine.attach(step.ref, step.credit, { filter: colour === "" ? "" : `colour = '${colour}'` });
        break;
      }
      case "pause": {
        const consumer = reference.consumers.get(step.ref);
        if (consumer !== undefined) consumer.paused = true;
        machine.turn({ type: "pause", refs: [step.ref] });
        break;
      }
      case "detach":
        reference.detached(step.ref);
        machine.turn({ type: "detach", refs: [step.ref] });
        break;
      case "credit": {
        const consumer = reference.consumers.get(step.ref);
        if (consumer !== undefined) consumer.credit += step.add;
        machine.turn({ type: "credit", ref: step.ref, add: step.add });
        break;
      }
      case "settle":
      case "extend":
        this.#answer(step);
        break;
      case "pass":
        machine.pass(step.ms);
        break;
      case "reopen":
        machine.reopen();
        return;
    }
    reference.delivered(machine.delivered, machine.now);
    this.known.push(...machine.delivered);
    reference.checkBusy(machine.now);
    this.#invariants();
  }

  #publish(messages: Published[]): void {
    const { machine, reference } = this;
    const drafts = messages.map(({ id, group, delayMs, ttlMs, priority, colour }) => ({
      messageId: id > 8 ? "" : `id-${id}`,
      publisherId: id <= 8,
      group: group === 0 ? "" : `g${group}`,
      dueAt: delayMs > 0 ? machine.now + delayMs : 0,
      expiresAt: ttlMs > 0 ? machine.now + ttlMs : 0,
      priority,
      colour,
      headers: JSON.stringify({ colour }),
      body: "1",
    }));
    for (const [index, outcome] of machine.publish(...drafts).entries()) {
      if (isRefusal(outcome)) throw new Error(outcome.message);
      reference.published(drafts[index]!, outcome.seq, outcome.duplicate, machine.now);
    }
  }

  #answer(step: Extract<Step, { do: "settle" | "extend" }>): void {
    const { machine, reference, known } = this;
    const handle =
      known.length === 0 ? undefined : known[known.length - 1 - (step.pick % Math.min(known.length, 12))]!;
    if (handle === undefined) {
      machine.turn();
    } else if (step.do === "settle") {
      const { outcome, delayMs } = step;
      const told = reference.toldOf(handle, handle.ref);
      const by = { by: handle.ref };
      const answer = machine.settle(handle, outcome, delayMs === undefined ? by : { ...by, delayMs });
      const words = machine.told.filter((word) => word.includes("settled"));
      expect(words.sort(), "[DEV3] who is told").toEqual(
        told.map((ref) => `${ref} settled ${handle.position}.${handle.lease}`).sort(),
      );
      reference.settled(handle, outcome, delayMs, answer, machine.now);
    } else {
      const result = machine.turn({ type: "extend", handles: [handle], leaseMs: step.leaseMs }).results[0]!;
      reference.extended(
        handle,
        step.leaseMs,
        result.type === "settled" && result.settled[0] === true,
        machine.now,
      );
    }
  }

  #invariants(): void {
    const { counts } = this.machine.queue.ledger;
    const { accepted, ready, delayed, leased, settled, expired, deadLettered } = counts;
    expect(accepted, "[STA1] the equation").toBe(ready + delayed + leased + settled + expired + deadLettered);
    expect(accepted, "[STA1] accepted").toBe(this.reference.messages.size);
    expect(deadLettered, "[DLQ] dead letters").toBe(this.reference.dead);
    const out = [...this.reference.messages.values()].filter((message) => message.state === "leased");
    expect(leased, "[LEA] leased").toBe(out.length);
    const books = this.machine.books();
    const live = this.machine.queue;
    this.machine.reopen();
    expect(this.machine.books(), "[EVC1] the books after an eviction").toBe(books);
    this.machine.queue = live;
  }
}

function check(variant: Variant, runs: number): void {
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60, size: "max" }), (steps) => {
      const pair = new Pair(variant);
      for (const next of steps) pair.run(next);
    }),
    { numRuns: runs, verbose: 1 },
  );
}

describe("a queue against its reference", () => {
  it("[STA1] [LEA1] [GRP1] [SET1] [DED1] [EVC1] [PRI1] [PRI3] keeps every rule under random commands, evicted between any two of them", () => {
    check({ settings: SETTINGS }, RUNS);
  });

  it("[SAC1] [SAC2] [SAC3] [EVC1] the same with a single active consumer", () => {
    check({ settings: { ...SETTINGS, singleActiveConsumer: true } }, RUNS / 2);
  });

  it("[QSL1] [QSL3] [QSL4] [EVC1] the same with consumers that have selectors", () => {
    check({ settings: SETTINGS, selecting: true }, RUNS / 2);
  });

  it("[DEV1] [DEV2] [DEV3] [DEV4] [DEV5] [DEV6] [EVC1] the same with delivery to all", () => {
    check({ settings: { ...SETTINGS, delivery: "all" } }, RUNS / 2);
  });

  it("[DUR1] whatever was accepted is delivered, dead or expired in the end, each message once", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 40, size: "max" }), (steps) => {
        const pair = new Pair({ settings: SETTINGS });
        for (const next of steps) pair.run(next);
        const { machine } = pair;
        const store = new QueueStore(machine.sql);
        const deadBefore = machine.queue.ledger.counts.deadLettered;
        for (const ref of [1, 2, 3]) pair.run({ do: "detach", ref });
        pair.run({ do: "attach", ref: 1, credit: 100, colour: "" });
        for (
          let round = 0;
          round < 40 &&
          machine.queue.ledger.counts.ready +
            machine.queue.ledger.counts.delayed +
            machine.queue.ledger.counts.leased >
            0;
          round++
        ) {
          for (const delivery of [...pair.known])
            if (machine.settle(delivery, "ack")) pair.known.push(...machine.delivered);
          machine.pass(400);
          pair.known.push(...machine.delivered);
        }
        const { accepted, settled, expired, deadLettered } = machine.queue.ledger.counts;
        expect(accepted).toBe(settled + expired + deadLettered);
        expect(deadLettered).toBeGreaterThanOrEqual(deadBefore);
        let outgoing = 0;
        for (let row = store.nextOutbox(); row !== undefined; row = store.nextOutbox()) {
          outgoing += messagesIn(row.data).length;
          store.removeOutbox(row.id);
        }
        expect(outgoing, "[DLQ] every dead letter is on its way").toBe(deadLettered);
      }),
      { numRuns: Math.ceil(RUNS / 4), verbose: 1 },
    );
  });
});
