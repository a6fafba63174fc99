import "fake-indexeddb/auto";
import { afterEach, describe, expect, it, vi } from "vitest";
import { DurableOutbox } from "../../../../client/durable/outbox.ts";
import type { OutboxOptions, OutboxProgress } from "../../../../client/durable/outbox-options.ts";
import { OutboxStore } from "../../../../client/durable/outbox-store.ts";
import { DunlinError } from "../../../../client/index.ts";
import { until } from "../scripted-socket.ts";
import { FakeBroker, FakeClient, FakeLocks } from "./fake-broker.ts";

let number = 0;
let open: DurableOutbox[] = [];

afterEach(async () => {
  await Promise.all(open.map((outbox) => outbox.close()));
  open = [];
});

const BAD = new DunlinError("no such field", { kind: "bad-field", code: 102 });
const poison = (_to: string, body: unknown) => (body === "poison" ? BAD : undefined);

/** A site with any number of tabs, all with the same outbox. */
function site(broker = new FakeBroker()) {
  number += 1;
  const name = `box-${number}`;
  const locks = new FakeLocks();
  let tabs = 0;
  const tab = async (options: OutboxOptions & { client?: FakeClient } = {}) => {
    tabs += 1;
    const id = `tab-${tabs}`;
    const client = options.client ?? new FakeClient(broker);
    const store = await OutboxStore.open(name);
    const progress: OutboxProgress[] = [];
    const outbox = new DurableOutbox(client, store, locks.of(id), {
      name,
      onProgress: (told) => progress.push(told),
      ...options,
    });
    await outbox.begin();
    open.push(outbox);
    return { outbox, client, progress, store, die: () => locks.die(id) };
  };
  return { broker, tab, name };
}

const offline = (broker: FakeBroker) => new FakeClient(broker, "connecting");
const sendAll = (outbox: DurableOutbox, bodies: unknown[], queue = "jobs") =>
  Promise.all(bodies.map((body) => outbox.queue(queue).send(body)));

describe("send", () => {
  it("[OBX1] resolves when the message is stored, also without a connection, and it is sent when there is one", async () => {
    const { broker, tab } = site();
    const client = offline(broker);
    const { outbox, progress } = await tab({ client });
    const bytes = new Uint8Array([1, 2, 255]);
    const first = await outbox.queue("jobs").send({ n: 1 }, { messageId: "own", group: "g", priority: 3 });
    const second = await outbox.queue("jobs").send(bytes, { contentType: "image/png" });
    await outbox.topic("news").publish(undefined, { retain: true });
    bytes[0] = 9;
    expect(first.messageId).toBe("own");
    expect(outbox.pending).toBe(3);
    expect(broker.attempts).toBe(0);
    client.goOnline();
    expect(await first.confirmed).toEqual({ messageId: "own", seq: 1, epoch: 1, duplicate: false });
    expect(await second.confirmed).toMatchObject({ messageId: second.messageId, seq: 2 });
    await outbox.drained();
    expect(outbox.pending).toBe(0);
    expect(broker.bodies("queue:jobs")).toEqual([{ n: 1 }, new Uint8Array([1, 2, 255])]);
    expect(broker.options("queue:jobs")).toMatchObject([
      { group: "g", priority: 3 },
      { contentType: "image/png" },
    ]);
    expect(broker.bodies("topic:news")).toEqual([null]);
    expect(broker.options("topic:news")).toMatchObject([{ retain: true, producer: { epoch: 1, seq: 1 } }]);
    expect(progress.map(({ is, pending }) => `${is} ${pending}`)).toEqual([
      "stored 1",
      "stored 2",
      "stored 3",
      "confirmed 0",
      "confirmed 0",
      "confirmed 0",
    ]);
  });

  it("[OBX2] outlives the page: the next one sends what the last one stored, in order", async () => {
    const { broker, tab } = site();
    const first = await tab({ client: offline(broker) });
    await sendAll(first.outbox, [1, 2, 3]);
    first.die();
    const { outbox } = await tab();
    expect(outbox.pending).toBeLessThanOrEqual(3);
    await outbox.queue("jobs").send(4);
    await outbox.drained();
    expect(broker.bodies("queue:jobs")).toEqual([1, 2, 3, 4]);
  });

  it("[OBX3] rejects with outbox-full and the limits when there is no room, and takes more when there is", async () => {
    const { broker, tab } = site();
    const client = offline(broker);
    const { outbox } = await tab({ client, maxMessages: 3, maxBytes: 1_000 });
    await sendAll(outbox, [1, 2]);
    const tooMuch = outbox.queue("jobs").send("x".repeat(1_000));
    await expect(tooMuch).rejects.toMatchObject({
      kind: "outbox-full",
      message: expect.stringContaining("1000 bytes"),
    });
    const three = await Promise.allSettled([3, 4].map((body) => outbox.queue("jobs").send(body)));
    expect(three.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    client.goOnline();
    await outbox.drained();
    await outbox.queue("jobs").send(5);
    await outbox.drained();
    expect(broker.bodies("queue:jobs")).toEqual([1, 2, 3, 5]);
  });

  it("[OBX1] rejects what is no JSON, and anything once the outbox is closed", async () => {
    const { tab } = site();
    const { outbox } = await tab();
    await expect(outbox.queue("jobs").send(1n)).rejects.toMatchObject({ kind: "bad-body" });
    await outbox.close();
    await expect(outbox.queue("jobs").send(1)).rejects.toMatchObject({ kind: "closed" });
  });
});

describe("numbers", () => {
  it("[OBX4] count from 1 at each address, and stay the same over pages and lost answers", async () => {
    const { broker, tab } = site();
    const first = await tab();
    first.client.answers = "never";
    await sendAll(first.outbox, [1, 2]);
    await sendAll(first.outbox, ["a"], "other");
    await until(
      () => broker.attempts >= 2,
      () => `${broker.attempts} attempts`,
    );
    first.die();
    const { outbox } = await tab();
    await sendAll(outbox, [3]);
    await outbox.drained();
    expect(broker.bodies("queue:jobs")).toEqual([1, 2, 3]);
    expect(broker.bodies("queue:other")).toEqual(["a"]);
    expect(broker.options("queue:jobs").map(({ producer }) => producer.seq)).toEqual([1, 2, 3]);
    expect(new Set(broker.options("queue:jobs").map(({ producer }) => producer.id)).size).toBe(1);
  });

  it("[OBX6] a message refused for good is kept with its reason over pages, and does not hold up the rest", async () => {
    const { broker, tab } = site();
    broker.refusal = poison;
    const { outbox, progress } = await tab();
    const receipts = await sendAll(outbox, [1, "poison", 2, "poison", 3]);
    await expect(receipts[1]!.confirmed).rejects.toMatchObject({ kind: "bad-field", code: 102 });
    await outbox.drained();
    expect(broker.bodies("queue:jobs")).toEqual([1, 2, 3]);
    expect(progress.filter(({ is }) => is === "refused")).toMatchObject([{ error: BAD }, { error: BAD }]);
    await outbox.close();
    const next = await tab();
    const refused = await next.outbox.refused();
    expect(refused).toMatchObject([
      { to: "queue:jobs", body: "poison", error: { kind: "bad-field", code: 102, message: "no such field" } },
      { body: "poison", messageId: receipts[3]!.messageId },
    ]);
    expect(await next.outbox.discard(refused[0]!)).toBe(true);
    expect(await next.outbox.discard(refused[0]!)).toBe(false);
    broker.refusal = () => undefined;
    expect(await next.outbox.retry(refused[1]!)).toBe(true);
    await next.outbox.drained();
    expect(await next.outbox.refused()).toEqual([]);
    expect(broker.bodies("queue:jobs")).toEqual([1, 2, 3, "poison"]);
  });

  it("[OBX3] refused messages take room until they are taken out", async () => {
    const { broker, tab } = site();
    broker.refusal = poison;
    const { outbox } = await tab({ maxMessages: 1 });
    await outbox.queue("jobs").send("poison");
    await outbox.drained();
    await expect(outbox.queue("jobs").send(1)).rejects.toMatchObject({ kind: "outbox-full" });
    await outbox.discard((await outbox.refused())[0]!);
    await outbox.queue("jobs").send(2);
    await outbox.drained();
    expect(broker.bodies("queue:jobs")).toEqual([2]);
  });

  it("[OBX7] an address that is full for a while keeps its order, and does not hold up the others", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
    try {
      const { broker, tab } = site();
      const full = new DunlinError("full", { kind: "queue-full", code: 303, retry: "after", afterMs: 5_000 });
      broker.refusal = (to) => (to === "queue:full" ? full : undefined);
      const { outbox } = await tab();
      await sendAll(outbox, [1, 2], "full");
      await sendAll(outbox, [1, 2], "jobs");
      await vi.waitFor(() => expect(outbox.pending).toBe(2));
      expect(broker.bodies("queue:jobs")).toEqual([1, 2]);
      broker.refusal = () => undefined;
      await vi.advanceTimersByTimeAsync(4_000);
      expect(outbox.pending).toBe(2);
      await vi.advanceTimersByTimeAsync(1_500);
      await vi.waitFor(() => expect(outbox.pending).toBe(0));
      expect(broker.bodies("queue:full")).toEqual([1, 2]);
    } finally {
      vi.useRealTimers();
    }
  });

  it("[OBX8] what was never sent goes on when the broker has forgotten the outbox; of what may be stored, the page is told", async () => {
    const { broker, tab } = site();
    const first = await tab();
    await sendAll(first.outbox, [1, 2]);
    await first.outbox.drained();
    broker.forget();
    await sendAll(first.outbox, [3]);
    await first.outbox.drained();
    expect(broker.bodies("queue:jobs")).toEqual([1, 2, 3]);
    first.client.answers = "never";
    await sendAll(first.outbox, [4, 5]);
    await until(
      () => broker.bodies("queue:jobs").length === 5,
      () => String(broker.bodies("queue:jobs")),
    );
    first.die();
    broker.forget();
    const { outbox } = await tab();
    await sendAll(outbox, [6]);
    await outbox.drained();
    expect(await outbox.refused()).toMatchObject([
      { body: 4, error: { kind: "outcome-unknown" } },
      { body: 5, error: { kind: "outcome-unknown" } },
    ]);
    expect(broker.bodies("queue:jobs")).toEqual([1, 2, 3, 4, 5, 6]);
  });
});

describe("several tabs", () => {
  it("[OBX9] one sends for all, and each hears of its own messages", async () => {
    const { broker, tab } = site();
    const one = await tab();
    const two = await tab();
    const receipts = await Promise.all([sendAll(one.outbox, [1, 2]), sendAll(two.outbox, ["a", "b"])]);
    const results = await Promise.all(receipts.flat().map(({ confirmed }) => confirmed));
    expect(results.map(({ seq }) => seq).sort()).toEqual([1, 2, 3, 4]);
    await two.outbox.drained();
    await until(
      () => two.progress.length === 4,
      () => JSON.stringify(two.progress),
    );
    expect(two.progress.filter(({ is }) => is === "confirmed")).toHaveLength(2);
    expect(broker.bodies("queue:jobs")).toHaveLength(4);
  });

  it("[OBX9] a tab that dies hands over without loss or double", async () => {
    const { broker, tab } = site();
    const one = await tab();
    const two = await tab();
    one.client.answers = "never";
    await sendAll(one.outbox, [1, 2]);
    const receipts = await sendAll(two.outbox, [3, 4]);
    await until(
      () => broker.bodies("queue:jobs").length >= 2,
      () => `${broker.attempts} attempts`,
    );
    one.die();
    const results = await Promise.all(receipts.map(({ confirmed }) => confirmed));
    expect(results).toMatchObject([{ seq: 3 }, { seq: 4 }]);
    await two.outbox.drained();
    expect(broker.bodies("queue:jobs")).toEqual([1, 2, 3, 4]);
  });

  it("[OBX9] a tab that wakes up with old answers changes nothing", async () => {
    const { broker, tab } = site();
    const one = await tab();
    broker.refusal = poison;
    const stale: (() => void)[] = [];
    const settle = one.store.settle.bind(one.store);
    one.store.settle = (...args) => new Promise((resolve) => stale.push(() => resolve(settle(...args))));
    await sendAll(one.outbox, ["poison", 1]);
    await until(
      () => stale.length === 1,
      () => "nothing was answered",
    );
    one.die();
    const two = await tab();
    await two.outbox.drained();
    await sendAll(two.outbox, [2]);
    await two.outbox.drained();
    stale[0]!();
    await sendAll(two.outbox, [3]);
    await two.outbox.drained();
    expect(broker.bodies("queue:jobs")).toEqual([1, 2, 3]);
    expect(await two.outbox.refused()).toMatchObject([{ body: "poison" }]);
  });

  it("[OBX10] a client that is closed for good refuses no message: another tab sends them", async () => {
    const { broker, tab } = site();
    const client = new FakeClient(broker);
    const one = await tab({ client });
    client.answers = "lost";
    const send = client.queue.bind(client);
    client.queue = (name) => ({
      send: async (body, options) => {
        client.state = "closed";
        return send(name).send(body, options);
      },
    });
    await sendAll(one.outbox, [1, 2]);
    const two = await tab();
    await two.outbox.drained();
    expect(await two.outbox.refused()).toEqual([]);
    expect(broker.bodies("queue:jobs")).toEqual([1, 2]);
  });
});
