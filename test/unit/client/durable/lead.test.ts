import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { lead, pause } from "../../../../client/durable/lead.ts";
import type { OutboxStore } from "../../../../client/durable/outbox-store.ts";

beforeEach(() => vi.useFakeTimers({ now: 1_000_000 }));
afterEach(() => vi.useRealTimers());

/** The lease row alone. */
function leaseRow() {
  let held: { owner: string; untilMs: number } | undefined;
  const asleep = new Set<string>();
  const store = {
    async lease(owner: string, nowMs: number, untilMs: number) {
      if (asleep.has(owner)) await new Promise(() => {});
      const isFree = !held || held.owner === owner || held.untilMs <= nowMs;
      if (isFree) held = { owner, untilMs };
      return isFree;
    },
  } as OutboxStore;
  return { store, asleep, owner: () => held?.owner };
}

function tabs() {
  const { store, asleep } = leaseRow();
  const leading: string[] = [];
  const tab = (name: string) => {
    const stop = new AbortController();
    const options = { locks: undefined, store, tab: name, signal: stop.signal };
    const ended = lead("box", options, async (signal) => {
      leading.push(name);
      await pause(undefined, signal);
      leading.splice(leading.indexOf(name), 1);
    });
    return { stop: () => stop.abort(), ended };
  };
  return { tab, leading, asleep };
}

it("[OBX9] without Web Locks one tab leads by a row that it renews, and another when it ends", async () => {
  const { tab, leading } = tabs();
  const one = tab("one");
  await vi.advanceTimersByTimeAsync(10);
  const two = tab("two");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(leading).toEqual(["one"]);
  one.stop();
  await one.ended;
  await vi.advanceTimersByTimeAsync(3_000);
  expect(leading).toEqual(["two"]);
  two.stop();
  await two.ended;
  expect(leading).toEqual([]);
});

it("[OBX9] without Web Locks a tab that sleeps loses the lead within ten seconds, stops when it wakes up, and waits in line", async () => {
  const { tab, leading, asleep } = tabs();
  const one = tab("one");
  await vi.advanceTimersByTimeAsync(10);
  const two = tab("two");
  asleep.add("one");
  await vi.advanceTimersByTimeAsync(14_000);
  expect(leading).toContain("two");
  asleep.delete("one");
  await vi.advanceTimersByTimeAsync(6_000);
  expect(leading).toEqual(["two"]);
  two.stop();
  await vi.advanceTimersByTimeAsync(6_000);
  expect(leading).toEqual(["one"]);
  one.stop();
  await Promise.all([one.ended, two.ended]);
});
