// Which filters a gateway has told to the Topic objects, while calls take their time.
import { describe, expect, it } from "vitest";
import type { Env } from "../../../worker/env.ts";
import { Interest } from "../../../worker/gateway/interest.ts";
import type { ReadRequest } from "../../../worker/topic/rpc.ts";

const READ: ReadRequest = { filter: "t", from: "new", retained: "none", limitBytes: 1 };

/** Lets everything happen that waits for nothing. */
function settled(): Promise<void> {
  return new Promise((done) => setImmediate(done));
}

/** An interest, the calls it made, and what answers them. */
class Bench {
  readonly calls: string[] = [];
  /** Answers of calls that wait. */
  readonly waiting: (() => void)[] = [];
  fails = false;
  readonly interest: Interest;

  constructor() {
    const call = (text: string) => {
      this.calls.push(text);
      const { fails } = this;
      return new Promise<object>((resolve, reject) =>
        this.waiting.push(() => (fails ? reject(new Error("the test has cut this off")) : resolve({}))),
      );
    };
    const object = {
      subscribe: ({ filter, durable }: { filter: string; durable: boolean }) =>
        call(`subscribe ${filter}${durable ? " durable" : ""}`),
      unsubscribe: (_: string, filters: string[]) => call(`unsubscribe ${filters.join()}`),
    };
    this.interest = new Interest({ TOPIC: { getByName: () => object } } as unknown as Env, "gateway-0");
  }

  add(durable = false) {
    return this.interest.add("n", "t", durable, READ);
  }

  remove(durable = false): void {
    this.interest.remove("n", "t", durable);
  }

  /** Answers what waits, until nothing does; returns the calls since the last look. */
  async made(): Promise<string[]> {
    await settled();
    while (this.waiting.length > 0) {
      this.waiting.shift()!();
      await settled();
    }
    return this.calls.splice(0);
  }
}

describe("a filter that subscriptions share", () => {
  it("[SSN13] is taken back with the last of them", async () => {
    const bench = new Bench();
    bench.interest.restore("n", "t", false);
    void bench.add();
    expect(await bench.made()).toEqual(["subscribe t"]);
    bench.remove();
    expect(await bench.made()).toEqual([]);
    bench.remove();
    expect(await bench.made()).toEqual(["unsubscribe t"]);
  });

  it("[SSN13] is stored for while one of them wants that", async () => {
    const bench = new Bench();
    void bench.add();
    void bench.add(true);
    void bench.add();
    expect((await bench.made()).slice(1)).toEqual(["subscribe t durable", "subscribe t durable"]);
  });

  it("[SSN13] is told and taken back in the order of the wishes, however long a call takes", async () => {
    const bench = new Bench();
    void bench.add();
    await bench.made();
    bench.remove();
    await settled();
    expect(bench.calls.splice(0)).toEqual(["unsubscribe t"]);
    void bench.add();
    await settled();
    // The one before has not been answered.
    expect(bench.calls).toEqual([]);
    expect(await bench.made()).toEqual(["subscribe t"]);
    bench.remove();
    void bench.add();
    expect(await bench.made()).toEqual(["subscribe t"]);
    bench.remove();
    expect(await bench.made()).toEqual(["unsubscribe t"]);
  });

  it("[SSN13] counts for nothing when it was refused", async () => {
    const bench = new Bench();
    bench.fails = true;
    const added = bench.add();
    expect(await bench.made()).toEqual(["subscribe t", "unsubscribe t"]);
    expect(await added).toMatchObject({ kind: "unavailable" });
    bench.fails = false;
    void bench.add();
    expect(await bench.made()).toEqual(["subscribe t"]);
    bench.remove();
    expect(await bench.made()).toEqual(["unsubscribe t"]);
  });
});
