// The client's topics against the real broker: what subscribers in a page rely on, on good days and bad ones. What only the
// client's own timing decides is in test/unit/client/topic.test.ts.
import { describe, expect } from "vitest";
import {
  type ConnectOptions,
  connect,
  type Dunlin,
  type Gap,
  type TopicMessage,
} from "../../client/index.ts";
import { type Network, networkTo } from "../support/network.ts";
import { eventually, type World, withBroker } from "./harness.ts";

const it = withBroker().extend<{ open: (options?: ConnectOptions & { url?: string }) => Dunlin }>({
  open: async ({ world }, use) => {
    const clients: Dunlin[] = [];
    await use(({ url = world.broker.url, ...options } = {}) => {
      const dunlin = connect(url, { namespace: world.ns, pingMs: 2_000, ...options });
      clients.push(dunlin);
      return dunlin;
    });
    await Promise.all(clients.map((dunlin) => dunlin.close({ timeoutMs: 2_000 })));
  },
});

const MESSAGES = 3_000;

type Messages = AsyncIterableIterator<TopicMessage<number>, undefined>;

/** The next message that is no marker of `begun`. */
async function take(messages: Messages): Promise<TopicMessage<number>> {
  for (;;) {
    const { value, done } = await messages.next();
    if (done) throw new Error("the subscription has ended");
    if (value.body !== 0) return value;
  }
}

async function bodies(messages: Messages, count: number): Promise<number[]> {
  const seen: number[] = [];
  while (seen.length < count) seen.push((await take(messages)).body);
  return seen;
}

/** Publishes markers until the subscription hears one, and returns that: it is effective. */
async function begun(dunlin: Dunlin, topic: string, messages: Messages): Promise<TopicMessage<number>> {
  let first: TopicMessage<number> | undefined;
  const hearing = messages.next().then(({ value }) => {
    first = value;
  });
  await eventually(async () => {
    await dunlin.topic(topic).publish(0);
    expect(first).toBeDefined();
  });
  await hearing;
  return first!;
}

async function keep(world: World, topic: string, maxMessages: number): Promise<void> {
  const answer = await world.call("PUT", `/v1/topics/${encodeURIComponent(topic)}`, {
    retention: { maxMessages },
  });
  expect([200, 201]).toContain(answer.status);
}

const upTo = (count: number, from = 1) => Array.from({ length: count }, (_, i) => from + i);

/** Publishes the numbers from 1 on, and brings trouble over the network while it does. */
async function publishThrough(publisher: Dunlin, topic: string, network: Network): Promise<void> {
  const lines = publisher.topic(topic);
  for (let n = 1; n <= MESSAGES; n += 10) {
    await lines.publishBatch(upTo(10, n).map((body) => ({ body })));
    if (n % 500 === 1) network.cut();
  }
}

describe("publishing and subscribing", () => {
  it("[TCL1] [TCL3] a publish resolves with its receipt, and reaches the loop with its topic", async ({
    open,
  }) => {
    const dunlin = open();
    const messages: Messages = dunlin.topic<number>("news/#").subscribe();
    await begun(dunlin, "news/sports", messages);
    const sports = dunlin.topic("news/sports");
    const receipt = await sports.publish(7, { headers: { h: "1" }, messageId: "m" });
    const { seq, epoch } = receipt;
    expect(receipt).toEqual({ messageId: "m", seq, epoch, duplicate: false });
    expect(await take(messages)).toMatchObject({
      body: 7,
      to: "topic:news/sports",
      topic: "news/sports",
      seq,
      epoch,
      headers: { h: "1" },
      retained: false,
      messageId: "m",
    });
    expect(await sports.publish(7, { messageId: "m" })).toEqual({ ...receipt, duplicate: true });
  });

  it("[TCL3] from: first reads the history, and the retained message comes first to others", async ({
    open,
    world,
  }) => {
    await keep(world, "log", 100);
    const dunlin = open();
    const log = dunlin.topic<number>("log");
    await log.publishBatch([{ body: 1 }, { body: 2, retain: true }, { body: 3 }]);
    expect(await bodies(log.subscribe({ from: "first" }), 3)).toEqual([1, 2, 3]);
    expect(await bodies(log.subscribe({ from: { last: 1 } }), 1)).toEqual([3]);
    const fresh = log.subscribe();
    expect(await take(fresh)).toMatchObject({ body: 2, retained: true });
  });

  it("[TCL2] bytes arrive as bytes, and an empty retained message clears", async ({ open }) => {
    const lamp = open().topic("lamp");
    await lamp.publish(new Uint8Array([1, 2, 255]), { retain: true });
    const { value } = await lamp.subscribe().next();
    expect(value).toMatchObject({ body: new Uint8Array([1, 2, 255]), retained: true });
    await lamp.publish(new Uint8Array(0), { retain: true });
    const dunlin = open();
    const after: Messages = dunlin.topic<number>("lamp").subscribe();
    expect(await begun(dunlin, "lamp", after)).toMatchObject({ body: 0, retained: false });
  });

  it("[TCL11] a refused filter and a refused topic reach the caller", async ({ open }) => {
    const dunlin = open();
    await expect(dunlin.topic("a/#/b").subscribe().next()).rejects.toMatchObject({ retry: "none" });
    await expect(dunlin.topic("a/#").publish(1)).rejects.toMatchObject({ retry: "none" });
  });

  it("[TCL10] leaving the loop ends the subscription alone", async ({ open }) => {
    const dunlin = open();
    const news = dunlin.topic<number>("news");
    const left: Messages = news.subscribe();
    const other: Messages = news.subscribe();
    await begun(dunlin, "news", left);
    await begun(dunlin, "news", other);
    const seen: number[] = [];
    const loop = (async () => {
      for await (const { body } of left) {
        seen.push(body);
        if (body === 1) break;
      }
    })();
    await news.publish(1);
    await loop;
    await news.publish(2);
    expect(await bodies(other, 2)).toEqual([1, 2]);
    expect(await left.next()).toEqual({ done: true, value: undefined });
    expect(seen.at(-1)).toBe(1);
  });
});

describe("bad days", () => {
  it("[TCL5] [TCL4] a topic with retention comes whole, in order and once, through cuts", async ({
    open,
    world,
  }) => {
    await keep(world, "log", 10 * MESSAGES);
    const network = await networkTo(world.broker.port);
    const gaps: Gap[] = [];
    const reader = open({ url: network.url });
    const messages: Messages = reader
      .topic<number>("log")
      .subscribe({ from: "first", onGap: (gap) => gaps.push(gap) });
    const all = bodies(messages, MESSAGES);
    await publishThrough(open(), "log", network);
    expect(await all).toEqual(upTo(MESSAGES));
    expect(gaps).toEqual([]);
    await reader.close();
    await network.close();
  });

  it("[TCL5] [TCL1] a killed broker takes nothing of a topic with retention, and doubles nothing", async ({
    open,
    world,
  }) => {
    await keep(world, "log", 10 * MESSAGES);
    const dunlin = open();
    const messages: Messages = dunlin.topic<number>("log").subscribe({ from: "first" });
    const first = bodies(messages, 1_000);
    const log = open().topic("log");
    await Promise.all(upTo(1_000).map((n) => log.publish(n)));
    expect(await first).toEqual(upTo(1_000));
    const sent = upTo(1_000, 1_001).map((n) => log.publish(n));
    await world.broker.kill();
    await world.broker.restart();
    const receipts = await Promise.all(sent);
    const seqs = receipts.map(({ seq }) => seq);
    expect(new Set(seqs).size).toBe(1_000);
    expect(await bodies(messages, 1_000)).toEqual(upTo(1_000, 1_001));
  });

  it("[TCL7] [TCL8] of a filter without retention, nothing is missing that no gap tells of", async ({
    open,
    world,
  }) => {
    const network = await networkTo(world.broker.port);
    let gaps = 0;
    const reader = open({ url: network.url });
    const onGap = () => {
      gaps += 1;
    };
    const messages: Messages = reader.topic<number>("log/#").subscribe({ onGap });
    const publisher = open();
    const seqs = [(await begun(publisher, "log/a", messages)).seq];
    const reading = (async () => {
      for await (const { seq, body } of messages) {
        seqs.push(seq);
        if (body === -1) return;
      }
    })();
    await publishThrough(publisher, "log/a", network);
    let ended = false;
    void reading.then(() => {
      ended = true;
    });
    // The subscription may be on its way into a new session yet.
    await eventually(async () => {
      await publisher.topic("log/a").publish(-1);
      expect(ended).toBe(true);
    });
    expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b));
    const expected = seqs.at(-1)! - seqs[0]! + 1;
    if (seqs.length < expected) expect(gaps).toBeGreaterThan(0);
    await reader.close();
    await network.close();
  });

  it("[TCL9] [TCL8] a loop that takes nothing is told how much it missed, and goes on", async ({ open }) => {
    const dunlin = open();
    let skipped = 0;
    const onGap = (gap: Gap) => {
      expect(gap.reason).toBe("lag");
      skipped += gap.skipped!;
    };
    const messages: Messages = dunlin.topic<number>("fast").subscribe({ credit: 100, onGap });
    const fast = open().topic("fast");
    const first = await begun(dunlin, "fast", messages);
    for (let n = 1; n <= MESSAGES; n += 1_000) {
      await fast.publishBatch(upTo(1_000, n).map((body) => ({ body })));
    }
    let heard = 1;
    let seq = first.seq;
    const hearing = (async () => {
      for await (const message of messages) {
        expect(message.seq).toBeGreaterThan(seq);
        heard += 1;
        seq = message.seq;
        if (message.body === -1) return;
      }
    })();
    let ended = false;
    void hearing.then(() => {
      ended = true;
    });
    await eventually(async () => {
      await fast.publish(-1);
      expect(ended).toBe(true);
    });
    await hearing;
    expect(skipped).toBeGreaterThan(MESSAGES - 200);
    await eventually(() => expect(heard + skipped).toBe(seq - first.seq + 1));
  });
});
