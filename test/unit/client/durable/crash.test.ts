// The page dies before or after any one transaction of the outbox, and another opens the same outbox: whatever was stored is at the broker
// once, in order, and what the broker refuses is told.
import "fake-indexeddb/auto";
import fc from "fast-check";
import { expect, it } from "vitest";
import { DurableOutbox } from "../../../../client/durable/outbox.ts";
import { OutboxStore } from "../../../../client/durable/outbox-store.ts";
import { DunlinError } from "../../../../client/index.ts";
import { FakeBroker, FakeClient, FakeLocks } from "./fake-broker.ts";

const never = new Promise<never>(() => {});
let number = 0;

/** A page that dies at a step: what it does in IndexedDB before that counts, and nothing of it afterwards. */
class MortalPage {
  readonly client: FakeClient;
  readonly died: Promise<void>;
  outbox!: DurableOutbox;
  #steps: number;
  #die!: () => void;

  constructor(broker: FakeBroker, stepsToLive: number) {
    this.client = new FakeClient(broker);
    this.#steps = stepsToLive;
    this.died = new Promise((resolve) => {
      this.#die = resolve;
    });
  }

  async open(name: string, locks: FakeLocks, tab: string): Promise<void> {
    const store = await OutboxStore.open(name);
    const kill = () => {
      this.client.answers = "never";
      locks.die(tab);
      this.#die();
    };
    // Half a step is what is done and not heard of.
    const step = async (work: () => Promise<unknown>): Promise<unknown> => {
      if (this.#steps <= 0) return never;
      this.#steps -= 1;
      if (this.#steps === 0) {
        kill();
        return never;
      }
      const result = await work();
      if (this.#steps === 0) return never;
      this.#steps -= 1;
      if (this.#steps > 0) return result;
      kill();
      return never;
    };
    const mortal = new Proxy(store, {
      get(target, key: keyof OutboxStore) {
        if (key === "close") return () => {};
        return (...args: never[]) =>
          step(() => (target[key] as (...all: never[]) => Promise<unknown>)(...args));
      },
    });
    this.outbox = new DurableOutbox(this.client, mortal, locks.of(tab), { name });
    await Promise.race([this.outbox.begin(), this.died]);
  }
}

const ADDRESSES = ["a", "b"];
const isPoison = (body: unknown) => String(body).startsWith("poison");

/** Lives as long as it may, sending bodies one after another; then a second page does the rest. */
async function survives(bodies: readonly string[], stepsToLive: number, atOnce: number): Promise<boolean> {
  number += 1;
  const name = `crash-${number}`;
  const broker = new FakeBroker();
  broker.refusal = (_to, body) =>
    isPoison(body) ? new DunlinError("poisonous", { kind: "bad-field", code: 102 }) : undefined;
  const locks = new FakeLocks();
  const promised: string[] = [];
  const work = async (page: MortalPage, list: readonly string[]) => {
    for (let at = 0; at < list.length; at += atOnce) {
      const some = list.slice(at, at + atOnce).map(async (body) => {
        await page.outbox.queue(ADDRESSES[body.length % 2]!).send(body);
        promised.push(body);
      });
      await Promise.all(some);
    }
    await page.outbox.drained();
  };
  const mortal = new MortalPage(broker, stepsToLive);
  await mortal.open(name, locks, "mortal");
  const hasDied = await Promise.race([work(mortal, bodies).then(() => false), mortal.died.then(() => true)]);
  locks.die("mortal");
  const second = new MortalPage(broker, Number.POSITIVE_INFINITY);
  await second.open(name, locks, "second");
  await work(second, ["last", "last!"]);

  const stored = ADDRESSES.map((address) => broker.bodies(`queue:${address}`) as string[]);
  const refused = (await second.outbox.refused()).map(({ body, error }) => ({ body, kind: error.kind }));
  for (const list of stored) {
    const order = [...bodies, "last", "last!"].filter((body) => list.includes(body));
    expect(list, "each once, in order").toEqual(order);
  }
  for (const body of promised) {
    if (isPoison(body)) expect(refused).toContainEqual({ body, kind: "bad-field" });
    else expect(stored.flat()).toContain(body);
  }
  expect(refused.filter(({ body }) => !isPoison(body))).toEqual([]);
  expect(new Set(refused.map(({ body }) => body)).size).toBe(refused.length);
  return hasDied;
}

it("[OBX2] [OBX4] [OBX6] loses and doubles nothing when the page dies at any step", async () => {
  const bodies = ["1", "22", "3", "poison1", "44", "poison22", "5", "66", "7"];
  for (const atOnce of [1, 4, 9]) {
    let steps = 1;
    while (await survives(bodies, steps, atOnce)) steps += 1;
    expect(steps, "steps that a page may die at").toBeGreaterThan(5);
  }
});

it("[OBX4] [OBX6] nor with other messages, dying elsewhere", async () => {
  const body = fc.tuple(fc.constantFrom("", "poison"), fc.constantFrom("x", "xx"));
  await fc.assert(
    fc.asyncProperty(
      fc.array(body, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 12 }),
      async (kinds, steps, atOnce) => {
        const bodies = kinds.map(([kind, text], index) => `${kind}${text}${String(index).padStart(2, "0")}`);
        await survives(bodies, steps, atOnce);
      },
    ),
    { numRuns: 60 },
  );
});

it("[OBX1] a message of which a transaction fails half-way is not stored, nor counted", async () => {
  number += 1;
  const store = await OutboxStore.open(`crash-${number}`);
  const draft = { to: "queue:a", text: "1", messageId: "m", size: 1, tab: "t", storedAtMs: 0 };
  const limits = { maxMessages: 10, maxBytes: 100 };
  const uncloneable = { ...draft, text: (() => {}) as unknown as string };
  await expect(store.put([draft, uncloneable], limits)).rejects.toThrow();
  await new Promise((resolve) => setTimeout(resolve, 5));
  await store.put([draft], limits);
  expect(await store.totals()).toEqual({ waiting: 1, refused: 0, bytes: 1 });
  expect(await store.claim({ messages: 10, bytes: 100 }, () => false, "p")).toHaveLength(1);
  store.close();
});
