import "fake-indexeddb/auto";
import { expect, it } from "vitest";
import { judge } from "../../../../client/durable/judge.ts";
import { OutboxStore } from "../../../../client/durable/outbox-store.ts";

let number = 0;
const LIMITS = { maxMessages: 100, maxBytes: 1_000 };
const ROUND = { messages: 100, bytes: 1_000 };
const draft = (to: string, tab = "one", size = 1) => ({
  to,
  text: "{}",
  messageId: "m",
  size,
  tab,
  storedAtMs: 0,
});

async function opened(bounds?: { results: number; addresses: number }) {
  number += 1;
  return OutboxStore.open(`store-${number}`, bounds);
}

/** Everything that waits is sent and confirmed. */
async function confirmAll(store: OutboxStore, ownTab = "one") {
  const claimed = await store.claim(ROUND, () => false, "p");
  const judgements = claimed.map((message) =>
    judge([{ ...message, answer: { messageId: "m", seq: message.place, epoch: 1, duplicate: false } }]),
  );
  await store.settle(judgements, { freshId: "new", ownTab, nowMs: 0 });
  return claimed;
}

it("[OBX4] an address that was forgotten for others counts from 1 in an epoch that it never had", async () => {
  const store = await opened({ results: 10, addresses: 2 });
  const epochs: Record<string, string[]> = {};
  for (const to of ["a", "a", "b", "c", "a", "d", "b", "a"]) {
    await store.put([draft(to)], LIMITS);
    for (const { producer } of await confirmAll(store)) {
      const list = epochs[to] ?? [];
      epochs[to] = list;
      list.push(`${producer.epoch}.${producer.seq}`);
    }
  }
  for (const list of Object.values(epochs)) expect(new Set(list).size, list.join(" ")).toBe(list.length);
  expect(epochs.a!.slice(0, 2)).toEqual(["1.1", "1.2"]);
  expect(epochs.a!.slice(2).every((place) => Number(place.split(".")[0]) > 1)).toBe(true);
  store.close();
});

it("[OBX9] results wait for other tabs within a bound, and are told once; of older ones it is told that they went", async () => {
  const store = await opened({ results: 2, addresses: 10 });
  const { places } = await store.put(
    [draft("a", "two"), draft("a", "two"), draft("a", "two"), draft("a", "one")],
    LIMITS,
  );
  await confirmAll(store);
  const { ended } = await store.fates(places as number[]);
  const seqs = ended.map(({ end }) => ("seq" in end ? end.seq : undefined));
  expect(seqs).toEqual([0, places[1], places[2], 0]);
  const again = await store.fates([places[1]!]);
  expect(again.ended).toMatchObject([{ end: { seq: 0 } }]);
  store.close();
});

it("[OBX5] a round ends before the message that would make it too large, and takes one of any size", async () => {
  const store = await opened();
  await store.put([draft("a", "one", 600), draft("b", "one", 500), draft("a", "one", 1)], {
    ...LIMITS,
    maxBytes: 9_000,
  });
  const bytes = { messages: 100, bytes: 1_000 };
  expect((await store.claim(bytes, () => false, "p")).map(({ size }) => size)).toEqual([600]);
  expect(
    (await store.claim({ messages: 2, bytes: 9_000 }, () => false, "p")).map(({ size }) => size),
  ).toEqual([600, 500]);
  expect(
    (await store.claim({ messages: 2, bytes: 100 }, (to) => to === "a", "p")).map(({ size }) => size),
  ).toEqual([500]);
  store.close();
});
