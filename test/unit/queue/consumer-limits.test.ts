// How many may consume from a queue, and how much their filters may hold.
import { describe, expect, it } from "vitest";
import {
  MAX_CONSUMER_FILTER_CHARS,
  MAX_CONSUMER_FILTERS,
  MAX_CONSUMERS,
  MAX_SELECTOR_CHARS,
} from "../../../worker/limits.ts";
import type { TurnCommand } from "../../../worker/queue/carry-out.ts";
import { Machine } from "../../support/machine.ts";

const TOO_MANY = { type: "refused", refusal: { kind: "too-many" } };

function attaching(ref: number, filter = ""): TurnCommand {
  const consumer = { ref, gateway: "gateway-0", client: "c", filter, credit: 0, leaseMs: undefined };
  return { type: "attach", consumer: { ...consumer, generation: 1, resend: false } };
}

function waiting(ref: number, filter = ""): TurnCommand {
  return { type: "receive", ref, max: 1, leaseMs: undefined, filter, wait: true };
}

/** A selector of the greatest length. */
function long(number: number): string {
  const start = `a = ${number} OR a = '`;
  return `${start}${"x".repeat(MAX_SELECTOR_CHARS - start.length - 1)}'`;
}

describe("the consumers of a queue", () => {
  it("[INP11] are limited, calls that wait among them; who leaves makes room", () => {
    const machine = new Machine();
    const refs = Array.from({ length: MAX_CONSUMERS }, (_, at) => at + 1);
    machine.turn(...refs.map((ref) => (ref % 2 === 0 ? attaching(ref) : waiting(-ref))));
    const more = () => machine.turn(attaching(MAX_CONSUMERS + 2), waiting(-MAX_CONSUMERS - 1)).results;
    expect(more()).toMatchObject([TOO_MANY, TOO_MANY]);
    machine.turn({ type: "withdraw", ref: -1 });
    expect(more()).toMatchObject([{ type: "done" }, TOO_MANY]);
    // One that is known may change.
    expect(machine.turn(attaching(2)).results).toMatchObject([{ type: "done" }]);
  });

  it("[INP11] have a limited number of different filters; one that others have is none more", () => {
    const machine = new Machine();
    for (let ref = 1; ref <= MAX_CONSUMER_FILTERS; ref++) machine.turn(attaching(ref, `a = ${ref}`));
    machine.reopen();
    const outcomes = (...commands: TurnCommand[]) =>
      machine
        .turn(...commands)
        .results.map((result) => (result.type === "refused" ? result.refusal.kind : "ok"));
    expect(outcomes(attaching(1_001, "b = 1"), waiting(-1, "b = 1"), attaching(1_001, "a = 1"))).toEqual([
      "too-many",
      "too-many",
      "ok",
    ]);
    // Its filter is another's too, so that changing it would be one more; then it is nobody else's.
    expect(outcomes(attaching(1_001, "b = 1"), attaching(2, "b = 1"), attaching(1_001, "b = 1"))).toEqual([
      "too-many",
      "ok",
      "ok",
    ]);
    machine.turn({ type: "detach", refs: [3] });
    expect(outcomes(attaching(3, "c = 1"), attaching(4))).toEqual(["ok", "ok"]);
    expect(outcomes(waiting(-2, "d = 1"), waiting(-3, "e = 1"))).toEqual(["ok", "too-many"]);
  });

  it("[INP11] have a limited number of characters in their filters, after an eviction too", () => {
    const machine = new Machine();
    const count = MAX_CONSUMER_FILTER_CHARS / MAX_SELECTOR_CHARS;
    for (let ref = 1; ref <= count; ref++) {
      expect(machine.turn(attaching(ref, long(ref))).results).toMatchObject([{ type: "done" }]);
    }
    machine.reopen();
    expect(machine.turn(attaching(count + 1, "a = 1"), waiting(-1, "a = 1")).results).toMatchObject([
      TOO_MANY,
      TOO_MANY,
    ]);
    expect(machine.turn(attaching(1, "a = 1"), attaching(count + 1, "a = 1")).results).toMatchObject([
      { type: "done" },
      { type: "done" },
    ]);
    machine.turn({ type: "detach", refs: [1, 2, 3] });
    expect(machine.turn(attaching(2, long(1))).results).toMatchObject([{ type: "done" }]);
  });
});
