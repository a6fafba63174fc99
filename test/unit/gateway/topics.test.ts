// Subscriptions to topics that are made again, refused or ended while the calls that they take are under way.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Env } from "../../../worker/env.ts";
import type { Refusal } from "../../../worker/errors.ts";
import { Fanout } from "../../../worker/gateway/fanout.ts";
import { Interest } from "../../../worker/gateway/interest.ts";
import type { Session, TopicSubscription } from "../../../worker/gateway/session.ts";
import type { SessionStore } from "../../../worker/gateway/session-store.ts";
import type { Sys } from "../../../worker/gateway/sys.ts";
import { Topics } from "../../../worker/gateway/topics.ts";
import type { Qos } from "../../../worker/message/record.ts";
import type { TopicPosition } from "../../../worker/topic/rpc.ts";

/** Lets everything happen that waits for nothing. */
function settled(): Promise<void> {
  return new Promise((done) => setImmediate(done));
}

/** One gateway's subscriptions to the topic `t`; every call on its object waits until the test answers it. */
class Bench {
  readonly calls: string[] = [];
  readonly waiting: { answer: () => void; fail: () => void }[] = [];
  readonly saved: Qos[] = [];
  /** What the subscribers were told: the number of topics, or why not. */
  readonly told: (number | string)[] = [];
  readonly topics: Topics;

  constructor() {
    const call = (text: string) => {
      this.calls.push(text);
      const answered = { packet: new Uint8Array(), retained: 0, topics: [] };
      return new Promise<object>((resolve, reject) =>
        this.waiting.push({
          answer: () => resolve(answered),
          fail: () => reject(new Error("the test has cut this off")),
        }),
      );
    };
    const object = {
      subscribe: ({ durable }: { durable: boolean }) => call(durable ? "subscribe durably" : "subscribe"),
      unsubscribe: () => call("unsubscribe"),
    };
    this.topics = new Topics({
      env: {} as Env,
      store: {
        saveSubscription: ({ options }: TopicSubscription) => this.saved.push(options.qos),
        removeSubscription: () => undefined,
      } as unknown as SessionStore,
      interest: new Interest({ TOPIC: { getByName: () => object } } as unknown as Env, "gateway-0"),
      fanout: new Fanout(() => undefined),
      sys: {} as Sys,
      inOrder: (_object, packet, hand) => hand(packet),
      afterAnswer: () => undefined,
    });
  }

  session(client: string): Session {
    const protocol = { replay: () => undefined, lag: () => undefined, fanout: () => undefined };
    const fields = { id: client, client, namespace: "n", protocol, expirySeconds: 300 };
    return { ...fields, subscriptions: new Map() } as unknown as Session;
  }

  subscribe(session: Session, qos: Qos): void {
    const options = { qos, noLocal: false, retainAsPublished: qos > 0, subscriptionId: qos };
    const request = {
      sub: 1,
      filter: "t",
      selector: undefined,
      options,
      credit: 10 + qos,
      from: "new" as const,
      ref: 1,
    };
    this.topics.subscribe(session, { ...request, retained: "none" }, (outcome: TopicPosition[] | Refusal) =>
      this.told.push("kind" in outcome ? outcome.kind : outcome.length),
    );
  }

  unsubscribe(session: Session): void {
    const subscription = session.subscriptions.get(1);
    if (subscription?.kind === "topic") this.topics.unsubscribe(subscription);
  }

  /** Answers what waits, until nothing does; returns the calls since the last look. */
  async made(): Promise<string[]> {
    await settled();
    while (this.waiting.length > 0) {
      this.waiting.shift()!.answer();
      await settled();
    }
    return this.calls.splice(0);
  }

  async fail(): Promise<void> {
    await settled();
    this.waiting.shift()!.fail();
    await settled();
  }
}

beforeEach(() => void vi.spyOn(console, "error").mockImplementation(() => undefined));
afterEach(() => void vi.restoreAllMocks());

describe("a subscription to a topic", () => {
  it("[REG12] whose change is refused goes on as it was, and ends as any other", async () => {
    const bench = new Bench();
    const session = bench.session("ann");
    bench.subscribe(session, 0);
    expect(await bench.made()).toEqual(["subscribe"]);
    bench.subscribe(session, 2);
    await bench.fail();
    expect(bench.told).toEqual([0, "unavailable"]);
    expect(session.subscriptions.get(1)).toMatchObject({
      ...{ credit: 10, durable: false, behind: undefined },
      options: { qos: 0, retainAsPublished: false, subscriptionId: 0 },
    });
    expect(bench.saved).toEqual([0]);
    expect(await bench.made()).toEqual(["subscribe durably"]);
    bench.unsubscribe(session);
    expect(await bench.made()).toEqual(["unsubscribe"]);
  });

  it("[REG12] that is refused has not begun, and leaves another's alone", async () => {
    const bench = new Bench();
    const [ann, bob] = [bench.session("ann"), bench.session("bob")];
    bench.subscribe(ann, 1);
    await bench.made();
    bench.subscribe(bob, 1);
    await bench.fail();
    expect(bob.subscriptions.size).toBe(0);
    bench.unsubscribe(bob);
    expect((await bench.made()).filter((call) => call === "unsubscribe")).toEqual([]);
    bench.unsubscribe(ann);
    expect(await bench.made()).toEqual(["unsubscribe"]);
  });

  it.for([1, 2, 5])("[MQS10] that was made %i times again ends once, and only its own", async (times) => {
    const bench = new Bench();
    const [ann, bob] = [bench.session("ann"), bench.session("bob")];
    bench.subscribe(bob, 1);
    for (let n = 0; n <= times; n++) bench.subscribe(ann, (n % 3) as Qos);
    await bench.made();
    bench.unsubscribe(ann);
    expect(await bench.made()).toEqual([]);
    bench.unsubscribe(bob);
    expect(await bench.made()).toEqual(["unsubscribe"]);
  });

  it.for([0, 1])(
    "[MQS10] that ends before it was answered is taken back once (made again: %i)",
    async (again) => {
      const bench = new Bench();
      const session = bench.session("ann");
      for (let n = 0; n <= again; n++) bench.subscribe(session, 1);
      bench.unsubscribe(session);
      const calls = await bench.made();
      expect(calls.filter((call) => call === "unsubscribe")).toHaveLength(1);
      expect(calls.at(-1)).toBe("unsubscribe");
      expect(bench.told).toEqual(Array.from({ length: again + 1 }, () => "no-subscription"));
      bench.subscribe(session, 1);
      expect(await bench.made()).toEqual(["subscribe durably"]);
    },
  );
});
