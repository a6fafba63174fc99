// All commands of a queue together, at random: whatever they make of each other, the books are right after every turn, and a queue that
// forgets everything before every turn cannot be told from one that does not.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { QueueSettingsPatch } from "../../worker/queue/settings.ts";
import { outbox } from "../support/commits.ts";
import { type Act, anyStep, type Step } from "./everything-steps.ts";
import { World } from "./everything-world.ts";

const RUNS = Math.ceil(Number(process.env.MODEL_RUNS ?? 400) / 4);

/** Whose turn it is among several consumers of equal rights is remembered only roughly over an eviction: where there are some, one gets
 * all, or all get each. */
const MODES: Record<string, QueueSettingsPatch> = {
  "one consumer": {},
  "one active consumer": { singleActiveConsumer: true },
  "delivery to all": { delivery: "all" },
};

/** A step of which two queues can be compared: no call waits over an eviction, and nothing changes whose turn it is. */
function comparable(step: Step, mode: string): Step {
  if (step.do !== "turn") return step;
  const acts = step.acts.map((act) => comparableAct(act, mode));
  const call = mode === "one consumer" ? acts.find((act) => act.do === "receive") : undefined;
  return { ...step, acts: call === undefined ? acts : [call] };
}

function comparableAct(act: Act, mode: string): Act {
  if (act.do === "receive") return { ...act, wait: false };
  if (act.do === "configure" && "delivery" in act.patch) return { do: "nothing" };
  if (mode !== "one consumer") return act;
  if (act.do === "push") return { do: "nothing" };
  return "ref" in act ? { ...act, ref: 11 } : act;
}

function seen({ machine, results }: World): unknown {
  const { delivered, told, queue } = machine;
  const entries = [...queue.ledger.entries.values()];
  return { results, delivered, told, entries, deadline: queue.nextDeadline, sent: outbox(machine) };
}

describe("everything that a queue can be asked", () => {
  it("[STA2] [EVC1] [CMT1] [CMT8] [RCP2] [PSH7] goes together", () => {
    fc.assert(
      fc.property(fc.array(anyStep, { minLength: 5, maxLength: 60, size: "max" }), (steps) => {
        const world = new World();
        for (const step of steps) world.run(step);
      }),
      { numRuns: RUNS },
    );
  });

  it.for(Object.entries(MODES))(
    "[EVC1] [EVC2] [DUR2] is answered the same by one that forgets everything: %s",
    ([mode, settings]) => {
      fc.assert(
        fc.property(fc.array(anyStep, { minLength: 5, maxLength: 50, size: "max" }), (steps) => {
          const [awake, evicted] = [new World(settings), new World(settings)];
          for (const [number, step] of steps.entries()) {
            const same = comparable(step, mode);
            evicted.machine.reopen();
            awake.run(same);
            evicted.run(same);
            expect(seen(evicted), `what is seen after step ${number}`).toEqual(seen(awake));
          }
        }),
        { numRuns: Math.ceil(RUNS / 4) },
      );
    },
  );
});
