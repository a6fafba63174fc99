// Slow subscribers: the credit of a topic's subscription, and that what is skipped is told before what follows it.
import { describe, expect } from "vitest";
import { hear, hearUntil, listen, tell, tellNumbers } from "../support/topic-wire.ts";
import { expectError, noMessage, withBroker } from "./harness.ts";

const it = withBroker();

const upTo = (count: number, from = 1) => Array.from({ length: count }, (_, i) => from + i);

describe("credit", () => {
  it("[TJS31] at most credit messages come until credit adds more; what is skipped is told before the next one", async ({
    world,
  }) => {
    const wire = await world.connect();
    await listen(wire, 1, "a", { credit: 2 });
    await tellNumbers(wire, "a", 1, 5);
    expect((await hear(wire, 1, 2)).map(({ seq }) => seq)).toEqual([1, 2]);
    await noMessage(wire);
    await wire.ok({ op: "credit", sub: 1, add: 10 });
    await tell(wire, "a", 6);
    const { seqs, skipped } = await hearUntil(wire, 1, 6);
    expect([...seqs].slice(-1)).toEqual([6]);
    expect(seqs.length + skipped).toBe(4);
  });

  it("[TJS31] one that took nothing for long has no silent hole, and slows nobody", async ({ world }) => {
    const publisher = await world.connect();
    const slow = await world.connect();
    const quick = await world.connect();
    await listen(slow, 1, "a/#", { credit: 1 });
    await listen(quick, 1, "a/#", { credit: 10_000 });
    for (let n = 1; n <= 1_901; n += 100) await tellNumbers(publisher, "a/b", n, n + 99);
    expect((await hear(quick, 1, 2_000)).map(({ seq }) => seq)).toEqual(upTo(2_000));
    await slow.ok({ op: "credit", sub: 1, add: 10_000 });
    await tell(publisher, "a/b", 2_001);
    const { seqs, skipped, untold } = await hearUntil(slow, 1, 2_001);
    expect(seqs[0]).toBe(1);
    expect(untold).toBe(0);
    expect(seqs.length + skipped).toBe(2_001);
  });

  it("[TJS31] credit 0 delivers nothing, and without credit all comes", async ({ world }) => {
    const wire = await world.connect();
    await listen(wire, 1, "a", { credit: 0 });
    await listen(wire, 2, "a");
    for (let n = 1; n <= 401; n += 100) await tellNumbers(wire, "a", n, n + 99);
    expect((await hear(wire, 2, 500)).map(({ seq }) => seq)).toEqual(upTo(500));
    await noMessage(wire, 1);
  });

  it("[TJS32] a credit out of its range, or for a subscription that is not there, is refused", async ({
    world,
  }) => {
    const wire = await world.connect();
    for (const credit of [-1, 1.5, 10_001, "many"]) {
      expectError(await wire.error({ op: "subscribe", sub: 1, to: "topic:a", credit }), 1, "bad-field");
    }
    await listen(wire, 1, "a", { credit: 5 });
    for (const add of [0, -1, 10_001]) {
      expectError(await wire.error({ op: "credit", sub: 1, add }), 1, "bad-field");
    }
    expectError(await wire.error({ op: "credit", sub: 2, add: 1 }), 4, "no-subscription");
  });
});
