// The shell of a Topic object inside the runtime: rows as the platform bills them, eviction, lost answers, alarms, its calls to others.
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { Writer } from "../../worker/bytes/writer.ts";
import type { DirectoryRpc } from "../../worker/directory/rpc.ts";
import { isRefusal } from "../../worker/errors.ts";
import { CommandWriter } from "../../worker/link/commands.ts";
import { readResults } from "../../worker/link/results.ts";
import { TopicPacketView } from "../../worker/link/topic-packet.ts";
import { type Message, writeMessage } from "../../worker/message/record.ts";
import type { Applied, QueueRpc } from "../../worker/queue/rpc.ts";
import type { TopicRpc, TopicSubscribed } from "../../worker/topic/rpc.ts";
import { message } from "../support/message.ts";
import { eventually } from "./support/client.ts";
import { evict } from "./support/objects.ts";

interface Bindings {
  TOPIC: DurableObjectNamespace;
  GATEWAY: DurableObjectNamespace;
  QUEUE: DurableObjectNamespace;
  DIRECTORY: DurableObjectNamespace;
}

const bindings = env as unknown as Bindings;
let runs = 0;
const undo: (() => void)[] = [];

afterEach(() => {
  for (const each of undo.splice(0)) each();
});

/** The object of a topic of its own, in a namespace of its own. */
class Subject {
  readonly namespace = `topic-${++runs}`;
  readonly stub: DurableObjectStub;
  readonly rpc: TopicRpc;
  readonly objectName: string;

  constructor(name = "news") {
    this.objectName = `${this.namespace}:${name}`;
    this.stub = bindings.TOPIC.getByName(this.objectName);
    this.rpc = this.stub as unknown as TopicRpc;
  }

  get directory(): DirectoryRpc {
    return bindings.DIRECTORY.getByName(this.namespace) as unknown as DirectoryRpc;
  }

  queue(name: string): QueueRpc {
    return bindings.QUEUE.getByName(`${this.namespace}:${name}`) as unknown as QueueRpc;
  }

  apply(gateway: string | undefined, ...drafts: Partial<Message>[]): Promise<Applied> {
    const records = new Writer();
    for (const draft of drafts) writeMessage(records, message({ topic: "news", body: "x", ...draft }));
    const packet = new CommandWriter();
    packet.command({ type: "publish", records: records.take() });
    return this.rpc.apply(packet.take(), gateway);
  }

  async publish(...drafts: Partial<Message>[]) {
    const { results } = readResults((await this.apply(undefined, ...drafts)).results);
    const [result] = results;
    if (result?.type !== "published") throw new Error("not published");
    return result.messages;
  }

  async stats() {
    const description = await this.rpc.describe("news");
    if (isRefusal(description)) throw new Error(description.message);
    return description.stats;
  }

  alarm(): Promise<number | null> {
    return runInDurableObject(this.stub, (_, state) => state.storage.getAlarm());
  }

  async evict(): Promise<void> {
    await evict(this.stub);
  }
}

/** A gateway whose `topicDeliver` is the test's own. It has the memory for ids that a gateway has. */
class FakeGateway {
  readonly name = `gateway-${1_000 + ++runs}`;
  up = true;
  answers = true;
  unwanted: string[] = [];
  calls = 0;
  readonly bodies: string[] = [];
  readonly numbers: number[] = [];
  #lastId = 0;

  take(packet: Uint8Array): { unwanted: string[] } {
    if (!this.up) throw new Error("the test has cut this gateway off");
    this.calls++;
    const view = new TopicPacketView(packet);
    this.numbers.push(view.number);
    if (view.id === 0 || view.id > this.#lastId) {
      this.#lastId = Math.max(this.#lastId, view.id);
      for (; view.valid; view.next()) this.bodies.push(String(view.message.decode().body));
    }
    if (!this.answers) throw new Error("the test has lost this answer");
    return { unwanted: this.unwanted };
  }
}

const fakes = new Map<string, FakeGateway>();

/** Puts a fake in the place of a gateway. */
async function fakeGateway(): Promise<FakeGateway> {
  const fake = new FakeGateway();
  fakes.set(fake.name, fake);
  const stub = bindings.GATEWAY.getByName(fake.name);
  await patch(stub, "topicDeliver", (original) => {
    return function (this: { ctx: DurableObjectState }, ...given: unknown[]) {
      const found = fakes.get(this.ctx.id.name!);
      if (found === undefined) return original.apply(this, given);
      return Promise.resolve().then(() => found.take(given[1] as Uint8Array));
    };
  });
  return fake;
}

type Method = (...given: unknown[]) => unknown;

/** Changes a method of an object's class until the test is over. */
async function patch(stub: DurableObjectStub, name: string, change: (original: Method) => Method) {
  await runInDurableObject(stub, (instance) => {
    const prototype = Object.getPrototypeOf(instance) as Record<string, Method>;
    const original = prototype[name]!;
    prototype[name] = change(original);
    undo.push(() => {
      prototype[name] = original;
    });
  });
}

function bodiesOf({ packet }: TopicSubscribed): string[] {
  const found: string[] = [];
  for (const view = new TopicPacketView(packet); view.valid; view.next()) {
    found.push(String(view.message.decode().body));
  }
  return found;
}

async function subscribed(subject: Subject, request: Parameters<TopicRpc["subscribe"]>[0]) {
  const answer = await subject.rpc.subscribe(request);
  if (isRefusal(answer)) throw new Error(answer.message);
  return answer;
}

describe("rows written", () => {
  it("[TOP5] none for live subscribers, whether they call or are called", async () => {
    const subject = new Subject();
    const [a, b] = [await fakeGateway(), await fakeGateway()];
    await subscribed(subject, { target: a.name, filter: "news", durable: false });
    await subscribed(subject, { target: b.name, filter: "news", durable: false });
    await subject.publish({ body: "0" });
    const { rowsWritten } = await subject.stats();
    for (let i = 1; i <= 5; i++) {
      const { deliveries } = await subject.apply(a.name, { body: `${i}` });
      expect(new TopicPacketView(deliveries!).number).toBe(i + 1);
    }
    expect((await subject.stats()).rowsWritten).toBe(rowsWritten);
    expect(await subject.alarm()).toBeNull();
    await eventually("all at b", () => (b.bodies.length === 6 ? true : undefined));
    expect(b.bodies).toEqual(["0", "1", "2", "3", "4", "5"]);
    expect(a.bodies).toEqual(["0"]);
  });

  it("[TOP6] one for each batch with durable subscribers, whatever their number", async () => {
    const subject = new Subject();
    const gateways = [await fakeGateway(), await fakeGateway(), await fakeGateway()];
    for (const { name } of gateways) {
      await subscribed(subject, { target: name, filter: "news", durable: true });
    }
    await subject.publish({ body: "first" });
    const { rowsWritten } = await subject.stats();
    for (let i = 0; i < 20; i++) {
      await subject.publish(...Array.from({ length: 10 }, (_, n) => ({ body: `${i}-${n}` })));
    }
    expect((await subject.stats()).rowsWritten - rowsWritten).toBe(20);
    for (const gateway of gateways) {
      await eventually("all", () => (gateway.bodies.length === 201 ? true : undefined));
    }
  });

  it("[TOP10] an interest is remembered over an eviction", async () => {
    const subject = new Subject();
    const gateway = await fakeGateway();
    await subscribed(subject, { target: gateway.name, filter: "news", durable: false });
    await subject.evict();
    await subject.publish({ body: "a" });
    await eventually("a", () => gateway.bodies[0]);
    gateway.unwanted = ["news"];
    await subject.publish({ body: "b" });
    await eventually("no interest", async () =>
      (await subject.stats()).interested === 0 ? true : undefined,
    );
    await subject.evict();
    await subject.publish({ body: "c" });
    expect((await subject.stats()).interested).toBe(0);
  });
});

describe("what must arrive", () => {
  it("[TOP13] survives an eviction and is sent again in order", async () => {
    const subject = new Subject();
    const gateway = await fakeGateway();
    await subscribed(subject, { target: gateway.name, filter: "news", durable: true });
    gateway.up = false;
    await subject.publish({ body: "a" });
    await subject.publish({ body: "b" });
    expect(await subject.alarm()).not.toBeNull();
    await subject.evict();
    gateway.up = true;
    // The alarm wakes the object, though nobody publishes.
    await runDurableObjectAlarm(subject.stub);
    await eventually("both", () => (gateway.bodies.length === 2 ? true : undefined));
    await subject.publish({ body: "c" });
    await eventually("all", () => (gateway.bodies.length === 3 ? true : undefined));
    expect(gateway.bodies).toEqual(["a", "b", "c"]);
  });

  it("[TOP13] comes once when an answer was lost", async () => {
    const subject = new Subject();
    const gateway = await fakeGateway();
    await subscribed(subject, { target: gateway.name, filter: "news", durable: true });
    gateway.answers = false;
    await subject.publish({ body: "a" });
    await eventually("a", () => gateway.bodies[0]);
    await subject.evict();
    gateway.answers = true;
    await subject.publish({ body: "b" });
    await eventually("b", () => gateway.bodies[1]);
    expect(gateway.bodies).toEqual(["a", "b"]);
  });

  it("[TOP17] the alarm ends when everything is confirmed", async () => {
    const subject = new Subject();
    const gateway = await fakeGateway();
    await subscribed(subject, { target: gateway.name, filter: "news", durable: true });
    await subject.publish({ body: "a" });
    await eventually("a", () => gateway.bodies[0]);
    for (let i = 0; i < 2; i++) await runDurableObjectAlarm(subject.stub);
    expect(await subject.alarm()).toBeNull();
  });
});

describe("bindings", () => {
  it("[BND1] [BND3] a message reaches the queue once when the transfer's answer is lost and the object is evicted", async () => {
    const subject = new Subject();
    await subject.directory.addFilter("#", "queue:jobs", true);
    const queueStub = bindings.QUEUE.getByName(`${subject.namespace}:jobs`);
    let lost = 0;
    await patch(queueStub, "transfer", (original) => {
      return async function (this: unknown, ...given: unknown[]) {
        const answer = await original.apply(this, given);
        if (lost++ < 2) throw new Error("the test has lost this answer");
        return answer;
      };
    });
    await subject.publish({ body: "a", qos: 0 }, { body: "b" });
    await eventually("a lost answer", () => (lost >= 1 ? true : undefined));
    await subject.evict();
    await subject.publish({ body: "c" });
    await eventually("another", () => (lost >= 2 ? true : undefined));
    await subject.evict();
    await runDurableObjectAlarm(subject.stub);
    const accepted = await eventually("all of it", async () => {
      const description = await subject.queue("jobs").describe();
      if (isRefusal(description)) throw new Error(description.message);
      return description.stats.accepted >= 3 ? description.stats.accepted : undefined;
    });
    expect(accepted).toBe(3);
  });

  it("[BND4] once an unbinding has returned, nothing brings a deleted queue back", async () => {
    const subject = new Subject();
    await subject.directory.addFilter("news", "queue:jobs", true);
    await subject.publish({ body: "a" });
    await subject.directory.removeFilter("news", "queue:jobs");
    await subject.rpc.unsubscribe("queue:jobs", ["news"]);
    expect(await subject.queue("jobs").remove()).toBeUndefined();
    await subject.evict();
    await subject.publish({ body: "b" });
    await runDurableObjectAlarm(subject.stub);
    expect(await subject.queue("jobs").describe()).toMatchObject({ kind: "not-found" });
  });
});

describe("reading", () => {
  it("[REP6] the answer tells its place among the live packets", async () => {
    const subject = new Subject();
    const gateway = await fakeGateway();
    await subject.rpc.declare("news", { retention: { maxMessages: 10 } });
    await subject.publish({ body: "a" }, { body: "b" });
    const answer = await subscribed(subject, {
      target: gateway.name,
      filter: "news",
      durable: false,
      read: { filter: "news", from: "first", retained: "none", limitBytes: 10_000 },
    });
    expect(bodiesOf(answer)).toEqual(["a", "b"]);
    expect(new TopicPacketView(answer.packet).number).toBe(0);
    expect(answer.topics).toMatchObject([{ topic: "news", seq: 2, recovered: true }]);
    const [, page] = await Promise.all([
      subject.publish({ body: "c" }),
      subject.rpc.read(gateway.name, { filter: "news", from: "last", retained: "none", limitBytes: 10_000 }),
      subject.publish({ body: "d" }),
    ]);
    await eventually("both", () => (gateway.bodies.length === 2 ? true : undefined));
    expect(gateway.numbers).toEqual([1, 2]);
    expect(new TopicPacketView(page.packet).number).toBe(1);
    expect(bodiesOf(page)).toEqual(["c"]);
  });

  it("[TOP2] [REP1] [TOP4] history, epoch, seq and ids survive an eviction", async () => {
    const subject = new Subject();
    await subject.rpc.declare("news", { retention: { maxMessages: 10 } });
    const [first] = await subject.publish({ body: "a", messageId: "1", publisherId: true, retain: true });
    await subject.evict();
    const [again] = await subject.publish({ body: "a", messageId: "1", publisherId: true });
    expect(again).toEqual({ ...first, duplicate: true });
    expect(await subject.rpc.history("news", "first", 10)).toMatchObject({ seq: 1, recovered: true });
    expect(await subject.rpc.retained("news")).toBeDefined();
    expect(await subject.rpc.counts()).toMatchObject({ retained: 1 });
    expect(await subject.rpc.remove("news")).toBeUndefined();
    expect(await subject.rpc.describe("news")).toMatchObject({ kind: "not-found" });
    expect(await subject.directory.listTopics("", 10)).toEqual({ topics: [] });
  });
});

describe("the Directory", () => {
  it("[TOP12] a wildcard that stood there before the topic came is found, in a pool too", async () => {
    for (const name of ["news", "#7"]) {
      const subject = new Subject(name);
      const gateway = await fakeGateway();
      await subject.directory.addFilter("#", gateway.name, false);
      await Promise.all([subject.publish({ body: "a" }), subject.publish({ body: "b" })]);
      await eventually("both", () => (gateway.bodies.length === 2 ? true : undefined));
      expect(gateway.bodies).toEqual(["a", "b"]);
      expect(await subject.directory.addFilter("+", gateway.name, false)).toMatchObject({
        objects: [subject.objectName],
      });
    }
  });

  it("[TOP18] where topics must be declared first, others are refused and the rest of the batch goes on", async () => {
    const subject = new Subject("#1");
    await subject.directory.configure({ declareFirst: true });
    await subject.rpc.declare("news", {});
    const outcomes = await subject.publish({ body: "a" }, { topic: "other", body: "b" }, { body: "c" });
    expect(outcomes).toMatchObject([{ seq: 1 }, { kind: "not-declared" }, { seq: 2 }]);
    expect(await subject.publish({ topic: "other" })).toMatchObject([{ kind: "not-declared" }]);
  });
});
