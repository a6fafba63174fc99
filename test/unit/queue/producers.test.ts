// Conditions of a publish: the last seq, somebody to answer, and the sequences of producers with their fencing.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../../worker/errors.ts";
import type { Condition } from "../../../worker/link/condition.ts";
import { Machine, records } from "../../support/machine.ts";

/** Publishes one message on a condition: `new 3`, `again 3`, or the kind of the refusal. */
function publish(machine: Machine, condition: Condition, messageId?: string): string {
  const draft = { body: "x", ...(messageId === undefined ? {} : { messageId, publisherId: true }) };
  const { results } = machine.turn({ type: "publish", records: records(draft), condition });
  const [result] = results;
  const outcome = result?.type === "published" ? result.messages[0]! : undefined;
  if (outcome === undefined) throw new Error("a publish was answered otherwise");
  return isRefusal(outcome) ? outcome.kind : `${outcome.duplicate ? "again" : "new"} ${outcome.seq}`;
}

const from = (epoch: number, seq: number, id = "shop"): Condition => ({ producer: { id, epoch, seq } });

describe("expectSeq", () => {
  it("[CND1] stores only after exactly that last seq", () => {
    const machine = new Machine();
    expect(publish(machine, { expectSeq: 1 })).toBe("conflict");
    expect(publish(machine, { expectSeq: 0 })).toBe("new 1");
    expect(publish(machine, { expectSeq: 0 })).toBe("conflict");
    expect(publish(machine, { expectSeq: 1 })).toBe("new 2");
    expect(machine.queue.ledger.counts.accepted).toBe(2);
  });

  it("[CND2] a repeated messageId is answered as such, whatever its condition says now", () => {
    const machine = new Machine();
    expect(publish(machine, { expectSeq: 0 }, "a")).toBe("new 1");
    machine.reopen();
    expect(publish(machine, { expectSeq: 0 }, "a")).toBe("again 1");
  });
});

describe("responders", () => {
  it("[CND3] without a consumer nothing is stored", () => {
    const machine = new Machine();
    expect(publish(machine, { responders: true })).toBe("no-responders");
    machine.attach(1, 0);
    expect(publish(machine, { responders: true })).toBe("new 1");
    machine.turn({ type: "pause", refs: [1] });
    expect(publish(machine, { responders: true })).toBe("no-responders");
  });
});

describe("a producer's sequence", () => {
  it("[PRD1] [PRD2] [PRD3] stores each number once, in order, and refuses a gap", () => {
    const machine = new Machine();
    expect(publish(machine, from(1, 2))).toBe("out-of-sequence");
    expect(publish(machine, from(1, 1))).toBe("new 1");
    expect(publish(machine, from(1, 2))).toBe("new 2");
    expect(publish(machine, from(1, 1))).toBe("again 1");
    expect(publish(machine, from(1, 4))).toBe("out-of-sequence");
    expect(publish(machine, from(1, 1, "other"))).toBe("new 3");
    expect(publish(machine, from(1, 3))).toBe("new 4");
    expect(publish(machine, from(1, 2))).toBe("again 2");
  });

  it("[PRD4] a later epoch begins at 1 and fences the former ones", () => {
    const machine = new Machine();
    publish(machine, from(5, 1));
    expect(publish(machine, from(6, 2))).toBe("out-of-sequence");
    expect(publish(machine, from(5, 2))).toBe("new 2");
    expect(publish(machine, from(6, 1))).toBe("new 3");
    expect(publish(machine, from(5, 3))).toBe("fenced");
    expect(publish(machine, from(5, 1))).toBe("fenced");
    machine.reopen();
    expect(publish(machine, from(5, 3))).toBe("fenced");
    expect(publish(machine, from(6, 1))).toBe("again 3");
  });

  it("[PRD3] what was refused for another reason keeps its number", () => {
    const machine = new Machine("orders", { maxMessages: 1 });
    expect(publish(machine, from(1, 1))).toBe("new 1");
    expect(publish(machine, from(1, 2))).toBe("queue-full");
    expect(publish(machine, from(1, 3))).toBe("out-of-sequence");
    machine.turn({ type: "purge" });
    expect(publish(machine, from(1, 2))).toBe("new 2");
  });

  it("[PRD5] a messageId that came before takes its number, and is stored once", () => {
    const machine = new Machine();
    machine.publish({ body: "x", messageId: "a", publisherId: true });
    expect(publish(machine, from(1, 1), "a")).toBe("again 1");
    expect(publish(machine, from(1, 2), "b")).toBe("new 2");
    machine.now += 86_400_000;
    expect(publish(machine, from(1, 1), "a"), "long after the dedup window").toBe("again 1");
  });

  it("[PRD2] [PRD4] [EVC1] is as a plain list says, over evictions between any two publishes", () => {
    const step = fc.record({
      id: fc.constantFrom("a", "b"),
      epoch: fc.integer({ min: 1, max: 3 }),
      seq: fc.integer({ min: 1, max: 5 }),
      plain: fc.boolean(),
      evict: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
        const machine = new Machine();
        const stored: { id: string; epoch: number; seq: number; at: number }[] = [];
        let accepted = 0;
        for (const { id, epoch, seq, plain, evict } of steps) {
          if (plain) {
            machine.publish({ body: "y" });
            accepted++;
          }
          const own = stored.filter((other) => other.id === id);
          const newest = Math.max(0, ...own.map((other) => other.epoch));
          const last = own.filter((other) => other.epoch === epoch).length;
          const known = own.find((other) => other.epoch === epoch && other.seq === seq);
          const expected =
            epoch < newest
              ? "fenced"
              : known !== undefined
                ? `again ${known.at}`
                : seq === last + 1
                  ? `new ${++accepted}`
                  : "out-of-sequence";
          if (expected.startsWith("new")) stored.push({ id, epoch, seq, at: accepted });
          expect(publish(machine, from(epoch, seq, id))).toBe(expected);
          if (evict) machine.reopen();
        }
        expect(machine.queue.ledger.counts.accepted).toBe(accepted);
      }),
    );
  });
});
