// Two machines get the same random commands; one of them forgets everything before every turn. Nobody could tell them apart.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { QueueSettingsPatch } from "../../worker/queue/settings.ts";
import { type Delivered, Machine, records } from "../support/machine.ts";

const RUNS = Math.ceil(Number(process.env.MODEL_RUNS ?? 400) / 2);

type Step =
  | {
      do: "publish";
      messages: { id: number; group: number; delayMs: number; ttlMs: number; bytes: number }[];
    }
  | { do: "attach"; ref: number; credit: number; resend: boolean }
  | { do: "pause" | "detach"; ref: number }
  | { do: "credit"; ref: number; add: number }
  | {
      do: "settle";
      picks: number[];
      outcome: "ack" | "release" | "fail" | "dead";
      delayMs: number | undefined;
    }
  | { do: "extend"; picks: number[]; leaseMs: number }
  | { do: "receive"; max: number }
  | { do: "configure"; patch: QueueSettingsPatch & { paused?: boolean } }
  | { do: "transfer"; id: number }
  | { do: "purge" | "confirm" }
  | { do: "pass"; ms: number };

const constant = <T extends string>(value: T) => fc.constant(value);
// Whose turn it is among several consumers is remembered only roughly over an eviction, so there is one.
const ref = fc.constant(1);
const picks = fc.array(fc.nat({ max: 1_000 }), { minLength: 1, maxLength: 4 });
const published = fc.record({
  id: fc.integer({ min: 0, max: 12 }),
  group: fc.integer({ min: 0, max: 3 }),
  delayMs: fc.constantFrom(0, 0, 0, 300, 1_500),
  ttlMs: fc.constantFrom(0, 0, 0, 200, 900),
  bytes: fc.constantFrom(1, 1, 50, 1_000),
});
const patch: fc.Arbitrary<QueueSettingsPatch & { paused?: boolean }> = fc.oneof(
  fc.record({
    maxMessages: fc.constantFrom(null, 1, 4),
    overflow: fc.constantFrom("reject", "drop-oldest", "dead-letter"),
  }),
  fc.record({ maxBytes: fc.constantFrom(null, 500, 2_500) }),
  fc.record({ ttlMs: fc.constantFrom(null, 400) }),
  fc.record({ maxFailures: fc.integer({ min: 1, max: 4 }), deadLetterTo: fc.constantFrom(null, "graves") }),
  fc.record({ dedupWindowMs: fc.constantFrom(0, 500, 5_000) }),
  fc.record({ leaseMs: fc.constantFrom(1_000, 2_000) }),
  fc.record({ paused: fc.boolean() }),
  fc.record({
    backoff: fc.record({
      kind: fc.constantFrom("fixed" as const, "linear" as const, "exponential" as const),
      baseMs: fc.constantFrom(0, 200),
      jitter: fc.constantFrom(0, 0.5),
    }),
  }),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: constant("publish"),
      messages: fc.array(published, { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: constant("attach"),
      ref,
      credit: fc.integer({ min: 0, max: 5 }),
      resend: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("pause" as const, "detach" as const), ref }) },
  { weight: 1, arbitrary: fc.record({ do: constant("credit"), ref, add: fc.integer({ min: 1, max: 3 }) }) },
  {
    weight: 7,
    arbitrary: fc.record({
      do: constant("settle"),
      picks,
      outcome: fc.constantFrom("ack" as const, "release" as const, "fail" as const, "dead" as const),
      delayMs: fc.constantFrom(undefined, undefined, 0, 250),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: constant("extend"), picks, leaseMs: fc.integer({ min: 1_000, max: 3_000 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: constant("receive"), max: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ do: constant("configure"), patch }) },
  { weight: 1, arbitrary: fc.record({ do: constant("transfer"), id: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("purge" as const, "confirm" as const) }) },
  { weight: 3, arbitrary: fc.record({ do: constant("pass"), ms: fc.integer({ min: 1, max: 900 }) }) },
);

/** Carries a step out; returns what its caller is answered. */
function run(machine: Machine, next: Step, known: Delivered[], number: number): unknown {
  const picked = (of: number[]) =>
    of.flatMap((pick) =>
      known.length === 0 ? [] : [known[known.length - 1 - (pick % Math.min(known.length, 10))]!],
    );
  switch (next.do) {
    case "publish":
      return machine.publish(
        ...next.messages.map(({ id, group, delayMs, ttlMs, bytes }) => ({
          messageId: id > 8 ? "" : `id-${id}`,
          publisherId: id <= 8,
          group: group === 0 ? "" : `g${group}`,
          dueAt: delayMs > 0 ? machine.now + delayMs : 0,
          expiresAt: ttlMs > 0 ? machine.now + ttlMs : 0,
          body: "x".repeat(bytes),
        })),
      );
    case "attach":
      return machine.attach(next.ref, next.credit, { resend: next.resend });
    case "pause":
    case "detach":
      return machine.turn({ type: next.do, refs: [next.ref] }).results;
    case "credit":
      return machine.turn({ type: "credit", ref: next.ref, add: next.add }).results;
    case "settle": {
      const { outcome, delayMs } = next;
      const settlements = picked(next.picks).map(({ position, lease }) => ({
        ...{ position, lease, outcome, delayMs },
        reason: "no",
      }));
      return machine.turn({ type: "settle", settlements }).results;
    }
    case "extend":
      return machine.turn({ type: "extend", handles: picked(next.picks), leaseMs: next.leaseMs }).results;
    case "receive":
      // Each call has a ref of its own, in every life of the object.
      return machine.turn({
        type: "receive",
        ref: -number - 1,
        max: next.max,
        leaseMs: undefined,
        wait: false,
      }).results;
    case "configure":
      return machine.turn({ type: "configure", patch: next.patch }).results;
    case "transfer":
      return machine.turn({
        type: "transfer",
        source: "default:other",
        id: next.id,
        published: false,
        records: records({ body: "t" }),
      }).results;
    case "purge":
      return machine.turn({ type: "purge" }).results;
    case "confirm": {
      const row = machine.queue.store.nextOutbox();
      return row === undefined ? [] : machine.turn({ type: "confirmed", outboxId: row.id }).results;
    }
    case "pass":
      return machine.pass(next.ms).results;
  }
}

/** Everything that anyone outside can see of a queue, and what it will go on from. */
function seen(machine: Machine): unknown {
  const { counts, settings, entries } = machine.queue.ledger;
  return {
    entries: [...entries.values()],
    delivered: machine.delivered,
    counts: { ...counts },
    settings,
    deadline: machine.queue.nextDeadline,
    outbox: machine.queue.store.nextOutbox(),
  };
}

describe("a queue that forgets everything before every turn", () => {
  it("[EVC1] [EVC2] [DUR2] answers, delivers and counts as one that never slept", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 50, size: "max" }), (steps) => {
        const awake = new Machine("jobs", { leaseMs: 1_000, dedupWindowMs: 2_000 });
        const evicted = new Machine("jobs", { leaseMs: 1_000, dedupWindowMs: 2_000 });
        const known: Delivered[] = [];
        for (const [number, next] of steps.entries()) {
          evicted.reopen();
          const answers = [run(awake, next, known, number), run(evicted, next, known, number)];
          expect(answers[1], `the answer to step ${number}, ${next.do}`).toEqual(answers[0]);
          expect(seen(evicted), `what is seen after step ${number}, ${next.do}`).toEqual(seen(awake));
          known.push(...awake.delivered);
        }
      }),
      { numRuns: RUNS, verbose: 1 },
    );
  });
});
