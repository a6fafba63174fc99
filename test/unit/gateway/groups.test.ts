// How the groups of shared and durable subscriptions begin and end, while the calls that it takes are under way.
import { describe, expect, it, vi } from "vitest";
import type { Env } from "../../../worker/env.ts";
import { isRefusal, type Refusal, refuse } from "../../../worker/errors.ts";
import { Groups } from "../../../worker/gateway/groups.ts";
import type { Queues } from "../../../worker/gateway/queues.ts";

const FILTER = "t";
const QUEUE = "$share/g/t";
const TARGET = `n:${QUEUE}`;

/** Lets everything happen that waits for nothing. */
function settled(): Promise<void> {
  return new Promise((done) => setImmediate(done));
}

/** Groups of one gateway; every call on an object waits until the test answers it. */
class Bench {
  /** Calls that were not answered, oldest first. */
  readonly calls: { text: string; answer: () => void; fail: () => void }[] = [];
  readonly made: string[] = [];
  readonly bindings = new Set<string>();
  /** Consumers at this gateway, and at others. */
  here = 0;
  elsewhere = 0;
  /** A queue comes into being with its first consumer or message. */
  exists = false;
  events = 0;
  readonly groups: Groups;

  constructor() {
    const call = <T>(text: string, work: () => T) => {
      this.made.push(text);
      return new Promise<T>((resolve, reject) => {
        const fail = () => reject(new Error("the test has cut this off"));
        this.calls.push({ text, answer: () => resolve(work()), fail });
      });
    };
    const directory = {
      addFilter: (filter: string) =>
        call("bind", () => {
          this.bindings.add(filter);
          return { objects: [] };
        }),
      removeFilter: (filter: string) =>
        call("unbind", () => ({ removed: this.bindings.delete(filter), objects: [] })),
      objectsFor: () => call("objects", () => []),
      bindings: () => call("bindings", () => [...this.bindings].map((filter) => ({ filter }))),
    };
    const topic = {
      subscribe: () => call("subscribe", () => ({})),
      unsubscribe: () => call("unsubscribe", () => undefined),
    };
    const queue = {
      describe: () => call("describe", () => this.#describe()),
      removeUnused: () => call("remove", () => this.#removeUnused()),
    };
    this.groups = new Groups({
      env: {
        DIRECTORY: { getByName: () => directory },
        QUEUE: { getByName: () => queue },
        TOPIC: { getByName: () => topic },
      } as unknown as Env,
      queues: { consumes: (target: string) => target === TARGET && this.here > 0 } as Queues,
      afterAnswer: () => this.events++,
    });
  }

  /** A client joins, unless it is gone by the time it may. */
  join(stays = true): void {
    this.groups.bind("n", FILTER, QUEUE, (refusal) => {
      if (refusal !== undefined) return;
      if (!stays) return this.groups.release("n", QUEUE);
      this.here++;
      this.exists = true;
    });
  }

  leave(): void {
    this.here--;
    this.groups.release("n", QUEUE);
  }

  /** Answers calls, oldest first, until none waits or the next is `text`. */
  async until(text?: string): Promise<void> {
    await settled();
    while (this.calls.length > 0 && this.calls[0]!.text !== text) {
      this.calls.shift()!.answer();
      await settled();
    }
  }

  /** Whether the group is as it must be: bound and with a queue while it has members, gone without. */
  expectMembers(members: number): void {
    expect({ members: this.here, bound: this.bindings.size > 0, exists: this.exists }).toEqual({
      ...{ members, bound: members > 0, exists: members > 0 },
    });
  }

  #describe() {
    const refusal: Refusal = refuse("not-found", "there is no such queue");
    return this.exists ? { stats: { consumers: this.here + this.elsewhere } } : refusal;
  }

  #removeUnused(): boolean {
    if (this.here + this.elsewhere > 0) return false;
    this.exists = false;
    return true;
  }
}

describe("a group", () => {
  it("[REG4] is bound before its first member consumes, and ends with its last", async () => {
    const bench = new Bench();
    bench.join();
    await settled();
    expect(bench.here).toBe(0);
    await bench.until();
    bench.join();
    await bench.until();
    bench.expectMembers(2);
    bench.leave();
    await bench.until();
    bench.expectMembers(1);
    bench.leave();
    await bench.until();
    bench.expectMembers(0);
    expect(bench.events).toBe(2);
  });

  it("[REG4] goes on for members of other gateways", async () => {
    const bench = new Bench();
    bench.join();
    await bench.until();
    bench.elsewhere = 1;
    bench.leave();
    await bench.until();
    expect([bench.bindings.size, bench.exists]).toEqual([1, true]);
  });

  for (const call of ["describe", "bindings", "objects", "unsubscribe", "unbind", "remove"]) {
    it(`[REG4] a member that joins while the last one's end waits for "${call}" finds it bound`, async () => {
      const bench = new Bench();
      bench.join();
      await bench.until();
      bench.made.length = 0;
      bench.leave();
      await bench.until(call);
      expect(bench.made.at(-1)).toBe(call);
      bench.join();
      await bench.until();
      bench.expectMembers(1);
      bench.leave();
      await bench.until();
      bench.expectMembers(0);
    });
  }

  it("[REG4] a member that leaves while another joins ends nothing", async () => {
    const bench = new Bench();
    bench.join();
    await bench.until();
    bench.join();
    await bench.until("subscribe");
    bench.leave();
    await bench.until();
    bench.expectMembers(1);
    expect(bench.made).not.toContain("describe");
  });

  it("[REG3] ends when a client that is gone before it may consume was alone", async () => {
    const bench = new Bench();
    bench.join(false);
    await bench.until();
    bench.expectMembers(0);
    expect(bench.made).toContain("unbind");
    bench.join();
    bench.join(false);
    await bench.until();
    bench.expectMembers(1);
  });

  it("[REG3] a call that fails refuses the member, and the next one may join", async () => {
    const errors = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const bench = new Bench();
    let outcome: Refusal | undefined;
    bench.groups.bind("n", FILTER, QUEUE, (refusal) => {
      outcome = refusal;
    });
    await settled();
    bench.calls.shift()!.fail();
    await bench.until();
    expect(isRefusal(outcome)).toBe(true);
    expect(outcome).toMatchObject({ kind: "unavailable" });
    bench.join();
    await bench.until();
    bench.expectMembers(1);
    // An end that fails half-way is taken up by the next.
    bench.leave();
    await bench.until("describe");
    bench.calls.shift()!.fail();
    await bench.until();
    bench.join();
    await bench.until();
    bench.leave();
    await bench.until();
    bench.expectMembers(0);
    errors.mockRestore();
  });
});
