// Random steps for one queue: every command that its machine takes, one to three of them in a turn, with deliveries and transactions named
// by number: what they stand for is everything-world.ts's.
import fc from "fast-check";
import type { QueueSettingsPatch } from "../../worker/queue/settings.ts";

/** A message to publish. */
export interface DraftStep {
  id: number;
  group: number;
  delayMs: number;
  ttlMs: number;
  bytes: number;
  priority: number;
  odd: boolean;
  receipt: boolean;
  letter: boolean;
}

type Outcome = "ack" | "release" | "fail" | "dead";

/** One command. */
export type Act =
  | { do: "publish"; drafts: DraftStep[] }
  | {
      do: "publish-if";
      draft: DraftStep;
      producer: number;
      next: number;
      expect: boolean;
      responders: boolean;
    }
  | { do: "attach"; ref: number; credit: number; resend: boolean; odd: boolean }
  | { do: "pause" | "detach"; ref: number }
  | { do: "credit"; ref: number; add: number }
  | { do: "settle"; picks: number[]; outcome: Outcome; delayMs: number | undefined; by: number }
  | { do: "extend"; picks: number[]; leaseMs: number }
  | { do: "receive"; max: number; odd: boolean; wait: boolean }
  | { do: "withdraw" | "purge" | "end-redrive" | "nothing" }
  | { do: "transfer"; id: number; published: boolean; draft: DraftStep }
  | {
      do: "commit";
      picks: number[];
      outcome: Outcome;
      held: boolean;
      participant: boolean;
      own: number;
      elsewhere: number;
      expect: boolean;
    }
  | { do: "hold"; picks: number[]; outcome: Outcome; attempt: number }
  | { do: "conclude"; which: number; committed: boolean }
  | { do: "resolve"; which: number }
  | { do: "prepare"; draft: DraftStep; checkAfterMs: number; checks: number }
  | { do: "decide"; id: number; commit: boolean }
  | { do: "configure"; patch: QueueSettingsPatch & { paused?: boolean } }
  | { do: "redrive"; max: number | null; perSecond: number | null; odd: boolean; to: string }
  | { do: "schedule"; id: number; seconds: number; out: boolean }
  | { do: "unschedule"; id: number }
  | { do: "push"; concurrency: number }
  | { do: "confirm"; which: number };

/** What happens next: a turn, time going by, the next deadline, or an eviction. */
export type Step = { do: "turn"; acts: Act[] } | { do: "pass"; ms: number } | { do: "deadline" | "evict" };

const some = <T extends string>(name: T) => fc.constant(name);
const picks = fc.uniqueArray(fc.nat({ max: 11 }), { minLength: 1, maxLength: 4 });
const ref = fc.constantFrom(11, 12, 13);
const draft: fc.Arbitrary<DraftStep> = fc.record({
  id: fc.nat({ max: 12 }),
  group: fc.constantFrom(0, 0, 0, 1, 2),
  delayMs: fc.constantFrom(0, 0, 0, 0, 300, 1_500),
  ttlMs: fc.constantFrom(0, 0, 0, 0, 200, 900),
  bytes: fc.constantFrom(1, 1, 50, 1_000),
  priority: fc.constantFrom(0, 0, 0, 1, 9),
  odd: fc.boolean(),
  receipt: fc.boolean(),
  letter: fc.constantFrom(false, false, true),
});
const outcome = fc.constantFrom<Outcome>("ack", "ack", "release", "fail", "dead");
const delayMs = fc.constantFrom(undefined, undefined, 0, 250);
const patch: fc.Arbitrary<QueueSettingsPatch & { paused?: boolean }> = fc.oneof(
  fc.record({
    maxMessages: fc.constantFrom(null, null, 1, 4),
    overflow: fc.constantFrom("reject", "drop-oldest", "dead-letter"),
  }),
  fc.record({ maxBytes: fc.constantFrom(null, null, 500, 2_500) }),
  fc.record({ ttlMs: fc.constantFrom(null, 400) }),
  fc.record({
    maxFailures: fc.integer({ min: 1, max: 4 }),
    deadLetterTo: fc.constantFrom(null, "crypt", "crypt"),
  }),
  fc.record({ dedupWindowMs: fc.constantFrom(0, 500, 5_000) }),
  fc.record({ leaseMs: fc.constantFrom(1_000, 2_000) }),
  fc.record({ paused: fc.constantFrom(true, false, false) }),
  fc.record({ priorities: fc.constantFrom(true, false, 3) }),
  fc.record({
    backoff: fc.record({
      kind: fc.constantFrom("fixed" as const, "exponential" as const),
      baseMs: fc.constantFrom(0, 200),
      jitter: fc.constantFrom(0, 0.5),
    }),
  }),
);
const mode: fc.Arbitrary<QueueSettingsPatch> = fc.record({
  singleActiveConsumer: fc.boolean(),
  delivery: fc.constantFrom("one", "all", "all"),
});

const weighted = <T>(weight: number, arbitrary: fc.Arbitrary<T>) => ({ weight, arbitrary });
const act: fc.Arbitrary<Act> = fc.oneof(
  weighted(6, fc.record({ do: some("publish"), drafts: fc.array(draft, { minLength: 1, maxLength: 5 }) })),
  weighted(
    1,
    fc.record({
      ...{
        do: some("publish-if"),
        draft,
        producer: fc.nat({ max: 1 }),
        next: fc.integer({ min: 1, max: 4 }),
      },
      ...{ expect: fc.boolean(), responders: fc.boolean() },
    }),
  ),
  weighted(
    4,
    fc.record({
      ...{ do: some("attach"), ref, credit: fc.integer({ min: 0, max: 4 }), resend: fc.boolean() },
      odd: fc.constantFrom(false, false, true),
    }),
  ),
  weighted(2, fc.record({ do: fc.constantFrom("pause" as const, "detach" as const), ref })),
  weighted(1, fc.record({ do: some("credit"), ref, add: fc.integer({ min: 1, max: 3 }) })),
  weighted(7, fc.record({ do: some("settle"), picks, outcome, delayMs, by: fc.constantFrom(0, 11, 12, 13) })),
  weighted(1, fc.record({ do: some("extend"), picks, leaseMs: fc.integer({ min: 1_000, max: 3_000 }) })),
  weighted(
    2,
    fc.record({
      ...{ do: some("receive"), max: fc.integer({ min: 1, max: 3 }) },
      ...{ odd: fc.constantFrom(false, false, true), wait: fc.boolean() },
    }),
  ),
  weighted(2, fc.record({ do: fc.constantFrom("withdraw", "purge", "end-redrive", "nothing") })),
  weighted(
    1,
    fc.record({ do: some("transfer"), id: fc.integer({ min: 1, max: 9 }), published: fc.boolean(), draft }),
  ),
  weighted(
    4,
    fc.record({
      ...{ do: some("commit"), picks, outcome, held: fc.constantFrom(true, true, true, false) },
      ...{ participant: fc.boolean(), own: fc.nat({ max: 2 }), elsewhere: fc.nat({ max: 2 }) },
      expect: fc.constantFrom(false, false, true),
    }),
  ),
  weighted(4, fc.record({ do: some("hold"), picks, outcome, attempt: fc.nat({ max: 1 }) })),
  weighted(3, fc.record({ do: some("conclude"), which: fc.nat({ max: 5 }), committed: fc.boolean() })),
  weighted(1, fc.record({ do: some("resolve"), which: fc.nat({ max: 5 }) })),
  weighted(
    2,
    fc.record({
      ...{ do: some("prepare"), draft, checkAfterMs: fc.constantFrom(1_000, 2_000) },
      checks: fc.integer({ min: 1, max: 2 }),
    }),
  ),
  weighted(2, fc.record({ do: some("decide"), id: fc.nat({ max: 12 }), commit: fc.boolean() })),
  weighted(2, fc.record({ do: some("configure"), patch })),
  weighted(2, fc.record({ do: some("configure"), patch: mode })),
  weighted(
    2,
    fc.record({
      ...{ do: some("redrive"), max: fc.constantFrom(null, 1, 3), perSecond: fc.constantFrom(null, null, 2) },
      ...{ odd: fc.boolean(), to: fc.constantFrom("", "elsewhere") },
    }),
  ),
  weighted(
    1,
    fc.record({
      ...{ do: some("schedule"), id: fc.nat({ max: 1 }), seconds: fc.constantFrom(1, 2) },
      out: fc.boolean(),
    }),
  ),
  weighted(1, fc.record({ do: some("unschedule"), id: fc.nat({ max: 1 }) })),
  weighted(2, fc.record({ do: some("push"), concurrency: fc.nat({ max: 3 }) })),
  weighted(2, fc.record({ do: some("confirm"), which: fc.nat({ max: 5 }) })),
);

const turn = (acts: fc.Arbitrary<Act[]>) => weighted(9, fc.record({ do: some("turn"), acts }));
const times = [
  weighted(3, fc.record({ do: some("pass"), ms: fc.constantFrom(1, 50, 400, 1_000, 2_500, 31_000) })),
  weighted(2, fc.record({ do: some("deadline") })),
];

/** Any step; up to three commands share a turn. */
export const anyStep: fc.Arbitrary<Step> = fc.oneof(
  turn(fc.array(act, { minLength: 1, maxLength: 3 })),
  ...times,
  weighted(1, fc.record({ do: some("evict") })),
);
