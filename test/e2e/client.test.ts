// The client in Node against the real broker: what its users rely on. What only its own timing decides is in test/unit/client/,
// browsers, Workers and bad networks are in test/browser/.
import { describe, expect } from "vitest";
import { type ConnectOptions, connect, type Dunlin, DunlinError, type Message } from "../../client/index.ts";
import { eventually, queuePath, type World, withBroker } from "./harness.ts";

const it = withBroker().extend<{ open: (options?: ConnectOptions) => Dunlin }>({
  open: async ({ world }, use) => {
    const clients: Dunlin[] = [];
    await use((options = {}) => {
      const dunlin = connect(world.broker.url, { namespace: world.ns, ...options });
      clients.push(dunlin);
      return dunlin;
    });
    await Promise.all(clients.map((dunlin) => dunlin.close({ timeoutMs: 2_000 })));
  },
});

type Messages = AsyncIterableIterator<Message<number>, undefined>;

async function take(messages: Messages): Promise<Message<number>> {
  const { value, done } = await messages.next();
  if (done) throw new Error("the consumer has ended");
  return value;
}

function sendAll(dunlin: Dunlin, queue: string, count: number) {
  return dunlin.queue(queue).sendBatch(Array.from({ length: count }, (_, body) => ({ body })));
}

/** The error that a promise rejects with. */
async function errorOf(work: Promise<unknown>): Promise<DunlinError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(DunlinError);
  return error as DunlinError;
}

const settled = (world: World, queue: string) => world.stats(queue).then((stats) => stats.settled);

describe("sending", () => {
  it("[CLI2] [PUB2] resolves with the broker's receipt", async ({ open }) => {
    const jobs = open().queue("jobs");
    const first = await jobs.send({ n: 1 }, { messageId: "one" });
    expect(first).toEqual({ messageId: "one", seq: 1, epoch: expect.any(Number), duplicate: false });
    expect(await jobs.send({ n: 1 }, { messageId: "one" })).toEqual({ ...first, duplicate: true });
    const batch = await jobs.sendBatch([
      { body: 2 },
      { body: 3, messageId: "three" },
      { body: 4, messageId: "one" },
    ]);
    expect(batch.map(({ seq, duplicate }) => [seq, duplicate])).toEqual([
      [2, false],
      [3, false],
      [1, true],
    ]);
  });

  it("[CLI4] sends of one turn are accepted in their order", async ({ open }) => {
    const jobs = open().queue("jobs");
    const receipts = await Promise.all(Array.from({ length: 2_500 }, (_, n) => jobs.send(n)));
    expect(receipts.map(({ seq }) => seq)).toEqual(Array.from({ length: 2_500 }, (_, n) => n + 1));
  });

  it("[CLI13] a refusal reaches the caller with code, kind and retry, and disturbs no other send", async ({
    open,
    world,
  }) => {
    await world.declare("full", { maxMessages: 1 });
    const dunlin = open();
    const results = await Promise.allSettled([
      dunlin.queue("full").send(1),
      dunlin.queue("full").send(2),
      dunlin.queue("other").send(3, { priority: 10 }),
      dunlin.queue("other").send("x".repeat(1_048_577)),
      dunlin.queue("other").send(5),
    ]);
    const [first, full, field, large, last] = results;
    expect(first!.status).toBe("fulfilled");
    expect(full).toMatchObject({
      reason: { code: 303, kind: "queue-full", retry: "after", afterMs: expect.any(Number) },
    });
    expect(field).toMatchObject({
      reason: { kind: "bad-field", retry: "none", message: expect.stringContaining("priority") },
    });
    expect(large).toMatchObject({ reason: { code: 300, kind: "message-too-large", retry: "none" } });
    expect(last!.status).toBe("fulfilled");
  });

  it("[CLI1] [CLI3] sends made before and while the broker is away are stored once it is there", async ({
    open,
    world,
  }) => {
    const dunlin = open();
    const jobs = dunlin.queue("jobs");
    await jobs.send(0);
    await world.broker.kill();
    const sent = [1, 2, 3].map((n) => jobs.send(n));
    const late = open();
    sent.push(late.queue("late").send(4));
    await world.broker.restart();
    const receipts = await Promise.all(sent);
    expect(receipts.map(({ seq, duplicate }) => [seq, duplicate])).toEqual([
      [2, false],
      [3, false],
      [4, false],
      [1, false],
    ]);
  });
});

describe("consuming", () => {
  it("[CLI6] [SUB2] gets at most its credit, and more as it settles", async ({ open, world }) => {
    const dunlin = open();
    await sendAll(dunlin, "jobs", 10);
    const messages: Messages = dunlin.queue<number>("jobs").consume({ credit: 3 });
    const out = [await take(messages), await take(messages), await take(messages)];
    expect(await world.stats("jobs")).toMatchObject({ leased: 3, ready: 7 });
    expect(await out[0]!.ack()).toBe(true);
    expect((await take(messages)).body).toBe(3);
    await eventually(async () =>
      expect(await world.stats("jobs")).toMatchObject({ leased: 3, ready: 6, settled: 1 }),
    );
  });

  it("[CLI8] [SET2] [SET3] [SET4] release, fail and dead do what they say", async ({ open, world }) => {
    const dunlin = open();
    await dunlin.queue("jobs").send(7);
    const messages: Messages = dunlin.queue<number>("jobs").consume();
    const seen: number[] = [];
    for (const settle of [
      (message: Message<number>) => message.release(),
      (message: Message<number>) => message.fail({ reason: "busy", delayMs: 1 }),
      (message: Message<number>) => message.dead("hopeless"),
    ]) {
      const message = await take(messages);
      seen.push(message.attempt);
      expect(message.redelivered).toBe(message.attempt > 1);
      expect(await settle(message)).toBe(true);
    }
    expect(seen).toEqual([1, 2, 3]);
    const [dead] = await eventually(async () => {
      const letters = await world.peek("jobs.dead");
      expect(letters).toHaveLength(1);
      return letters;
    });
    expect(dead!.deaths).toMatchObject([{ queue: "jobs", reason: "rejected", detail: "hopeless" }]);
  });

  it("[CLI7] a job that takes three leases is not given to another", async ({ open }) => {
    const dunlin = open();
    await sendAll(dunlin, "jobs", 2);
    const slow: Messages = dunlin.queue<number>("jobs").consume({ leaseMs: 1_500, credit: 2 });
    const first = await take(slow);
    const other: Messages = open().queue<number>("jobs").consume();
    const stolen = other.next().then(() => "stolen");
    const worked = new Promise((resolve) => setTimeout(() => resolve("kept"), 4_500));
    expect(await Promise.race([stolen, worked])).toBe("kept");
    expect(await first.ack()).toBe(true);
    const second = await take(slow);
    expect(second.attempt).toBe(1);
    expect(await second.ack()).toBe(true);
  });

  it("[CLI8] [LEA6] a lost lease shows as false, from ack and from extend", async ({ open }) => {
    const dunlin = open();
    await sendAll(dunlin, "jobs", 2);
    const hanging: Messages = dunlin.queue<number>("jobs").consume({ leaseMs: 1_000, maxHoldMs: 0 });
    const held = [await take(hanging), await take(hanging)];
    await hanging.next().then(async ({ value }) => {
      expect(value!.attempt).toBe(2);
      await value!.ack();
    });
    expect(await held[0]!.extend(5_000)).toBe(false);
    expect(await held[0]!.ack()).toBe(false);
    expect(await held[1]!.ack()).toBe(false);
  });

  it("[CLI11] [SUB7] leaving the loop gives back what was not settled, at once", async ({ open, world }) => {
    const dunlin = open();
    await sendAll(dunlin, "jobs", 10);
    for await (const message of dunlin.queue<number>("jobs").consume()) {
      if (message.body === 2) break;
      await message.ack();
    }
    await eventually(async () =>
      expect(await world.stats("jobs")).toMatchObject({ settled: 2, leased: 0, ready: 8 }),
    );
    const bodies: number[] = [];
    for await (const message of dunlin.queue<number>("jobs").consume()) {
      bodies.push(message.body);
      void message.ack();
      if (bodies.length === 8) break;
    }
    expect(bodies.sort((a, b) => a - b)).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
    await eventually(async () => expect(await settled(world, "jobs")).toBe(10));
  });

  it("[CLI11] an abort gives back the buffered messages, and lets handlers finish with theirs", async ({
    open,
    world,
  }) => {
    const dunlin = open();
    await sendAll(dunlin, "jobs", 10);
    const stop = new AbortController();
    const handlers: Promise<boolean>[] = [];
    const givenBack = Promise.withResolvers<void>();
    stop.signal.addEventListener("abort", () =>
      eventually(async () => expect(await world.stats("jobs")).toMatchObject({ leased: 3, ready: 7 })).then(
        givenBack.resolve,
        givenBack.reject,
      ),
    );
    for await (const message of dunlin.queue<number>("jobs").consume({ signal: stop.signal })) {
      // No handler settles before all have seen what was given back.
      handlers.push(givenBack.promise.then(() => message.ack()));
      if (handlers.length === 3) stop.abort();
    }
    expect(await Promise.all(handlers)).toEqual([true, true, true]);
    await eventually(async () =>
      expect(await world.stats("jobs")).toMatchObject({ settled: 3, leased: 0, ready: 7, consumers: 0 }),
    );
  });

  it("[CLI11] closing the client gives back what it held, and settles what it had acked", async ({
    open,
    world,
  }) => {
    const dunlin = open();
    await sendAll(dunlin, "jobs", 5);
    const messages: Messages = dunlin.queue<number>("jobs").consume();
    const acked = (await take(messages)).ack();
    await take(messages);
    await dunlin.close();
    expect(await acked).toBe(true);
    expect(await messages.next()).toEqual({ done: true, value: undefined });
    await eventually(async () =>
      expect(await world.stats("jobs")).toMatchObject({ settled: 1, leased: 0, ready: 4 }),
    );
  });

  it("[CLI13] [QUE7] a deleted queue ends the loop with an error", async ({ open, world }) => {
    const dunlin = open();
    await dunlin.queue("jobs").send(1);
    const messages: Messages = dunlin.queue<number>("jobs").consume();
    await take(messages);
    const next = errorOf(messages.next());
    expect((await world.call("DELETE", queuePath("jobs"))).status).toBe(204);
    expect((await next).kind).toBe("gone");
  });

  it("[CLI13] a wrong option of consume is thrown out of the loop", async ({ open }) => {
    const messages = open().queue("jobs").consume({ credit: 10_001 });
    const error = await errorOf(messages.next());
    expect(error).toMatchObject({ code: 102, kind: "bad-field", retry: "none" });
  });

  it("[GRP1] [GRP2] handles a group in order, one at a time, over several consumers", async ({ open }) => {
    const dunlin = open();
    const groups = ["a", "b", "c"];
    await dunlin
      .queue("jobs")
      .sendBatch(Array.from({ length: 60 }, (_, body) => ({ body, group: groups[body % 3]! })));
    const seen: Record<string, number[]> = { a: [], b: [], c: [] };
    const busy = new Set<string>();
    const stop = new AbortController();
    const loop = async (client: Dunlin) => {
      for await (const message of client.queue<number>("jobs").consume({ credit: 4, signal: stop.signal })) {
        const group = message.group!;
        expect(busy.has(group)).toBe(false);
        busy.add(group);
        seen[group]!.push(message.body);
        await new Promise((resolve) => setImmediate(resolve));
        busy.delete(group);
        await message.ack();
      }
    };
    const loops = [open(), open()].map(loop);
    await eventually(() => expect(Object.values(seen).flat()).toHaveLength(60));
    stop.abort();
    await Promise.all(loops);
    for (const [index, group] of groups.entries()) {
      expect(seen[group]).toEqual(Array.from({ length: 20 }, (_, n) => 3 * n + index));
    }
  });
});

describe("connections", () => {
  it("[CLI1] [SES13] a second client under the same id ends the first", async ({ open }) => {
    const first = open({ client: "same" });
    await first.ready();
    const waiting = errorOf(first.queue("jobs").consume().next());
    const second = open({ client: "same" });
    await second.ready();
    expect(await waiting).toMatchObject({ code: 4409, kind: "taken-over" });
    expect(first.state).toBe("closed");
    expect(second.state).toBe("open");
  });

  it("[CLI5] [SES17] a handler goes on over a restart of the broker, and its ack counts", async ({
    open,
    world,
  }) => {
    const dunlin = open();
    await sendAll(dunlin, "jobs", 3);
    const messages: Messages = dunlin.queue<number>("jobs").consume();
    const first = await take(messages);
    await world.broker.kill();
    await world.broker.restart();
    await dunlin.ready();
    const bodies = [first.body, (await take(messages)).body];
    expect(await first.ack()).toBe(true);
    const last = await take(messages);
    bodies.push(last.body);
    expect(bodies).toEqual([0, 1, 2]);
    expect(last.attempt).toBe(1);
    await dunlin.queue("jobs").send(3);
    expect((await take(messages)).body).toBe(3);
    expect(await settled(world, "jobs")).toBe(1);
  });
});
