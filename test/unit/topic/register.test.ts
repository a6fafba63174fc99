// Registering filters: whom it tells, how many at once, and what a failure on the way leaves.
import { beforeEach, describe, expect, it } from "vitest";
import { TopicRegistry } from "../../../worker/directory/registry.ts";
import type { Env } from "../../../worker/env.ts";
import { isRefusal } from "../../../worker/errors.ts";
import { registerFilter, unbindQueue, unregisterFilter } from "../../../worker/topic/register.ts";
import { NodeSql } from "../../support/node-sql.ts";

/** Topic objects that only remember who told them what, and a Directory without a platform. */
class Fakes {
  readonly registry = new TopicRegistry(new NodeSql(), "ns");
  readonly interests = new Map<string, Set<string>>();
  readonly unreachable = new Set<string>();
  running = 0;
  mostRunning = 0;

  readonly env = {
    TOPIC_BUCKETS: "2",
    DIRECTORY: { getByName: () => asAsync(this.registry) },
    TOPIC: { getByName: (name: string) => this.#object(name) },
  } as unknown as Env;

  /** What an object was told and not told back, as `target filter`. */
  at(object: string): string[] {
    return [...(this.interests.get(object) ?? [])].sort();
  }

  #object(name: string) {
    const interests = this.interests.get(name) ?? new Set<string>();
    this.interests.set(name, interests);
    return {
      subscribe: async ({ target, filter }: { target: string; filter: string }) => {
        await this.#call(name);
        interests.add(`${target} ${filter}`);
        return { packet: new Uint8Array(0), retained: 0, topics: [] };
      },
      unsubscribe: async (target: string, filters: string[]) => {
        await this.#call(name);
        for (const filter of filters) interests.delete(`${target} ${filter}`);
      },
    };
  }

  async #call(name: string): Promise<void> {
    this.running += 1;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    await Promise.resolve();
    this.running -= 1;
    if (this.unreachable.has(name)) throw new Error(`${name} is gone`);
  }
}

/** The Directory's calls as they look from another object. */
function asAsync(registry: TopicRegistry) {
  return {
    addFilter: async (...filter: Parameters<TopicRegistry["addFilter"]>) => registry.addFilter(...filter),
    removeFilter: async (filter: string, target: string) => registry.removeFilter(filter, target),
    objectsFor: async (filter: string) => registry.objectsFor(filter),
    bindings: async (queue: string) => registry.filtersOf(`queue:${queue}`),
  };
}

let fakes: Fakes;
beforeEach(() => {
  fakes = new Fakes();
});

describe("registering", () => {
  it("[FIL12] an exact filter of a gateway is its one object's business", async () => {
    const registered = await registerFilter(fakes.env, "ns", "gateway-0", "a/b", false);
    if (isRefusal(registered)) throw new Error(registered.message);
    expect(registered).toHaveLength(1);
    expect(fakes.at(registered[0]!.objectName)).toEqual(["gateway-0 a/b"]);
    expect(fakes.registry.filtersOf("gateway-0").map(({ filter }) => filter)).toEqual([]);
    expect(await unregisterFilter(fakes.env, "ns", "gateway-0", "a/b")).toEqual({ removed: true });
    expect(fakes.at(registered[0]!.objectName)).toEqual([]);
  });

  it("[FIL12] a wildcard stands in the books and is told to every object it can match, 32 at a time", async () => {
    for (let index = 0; index < 100; index += 1)
      fakes.registry.enter(`ns:t/${index}`, [`t/${index}`], true, 1);
    fakes.registry.enter("ns:other", ["other"], true, 1);
    const registered = await registerFilter(fakes.env, "ns", "gateway-0", "t/+", true);
    expect(registered).toHaveLength(100);
    expect(fakes.mostRunning).toBe(32);
    expect(fakes.at("ns:t/99")).toEqual(["gateway-0 t/+"]);
    expect(fakes.at("ns:other")).toEqual([]);
    expect(fakes.registry.filtersOf("gateway-0").map(({ filter }) => filter)).toEqual(["t/+"]);
    expect(await unregisterFilter(fakes.env, "ns", "gateway-0", "t/+")).toEqual({ removed: true });
    expect(fakes.at("ns:t/99")).toEqual([]);
    expect(fakes.registry.filtersOf("gateway-0").map(({ filter }) => filter)).toEqual([]);
  });

  it("[BNDH1] a binding to one topic stands in the books too", async () => {
    fakes.registry.enter("ns:#0", [], true, 1);
    fakes.registry.enter("ns:#1", [], true, 1);
    expect(await registerFilter(fakes.env, "ns", "queue:q", "a", true)).toHaveLength(1);
    expect([...fakes.at("ns:#0"), ...fakes.at("ns:#1")]).toEqual(["queue:q a"]);
    expect(fakes.registry.filtersOf("queue:q").map(({ filter }) => filter)).toEqual(["a"]);
  });
});

describe("objects that cannot be reached", () => {
  beforeEach(() => {
    for (const bucket of [0, 1]) fakes.registry.enter(`ns:#${bucket}`, [], true, 1);
    fakes.unreachable.add("ns:#1");
  });

  it("[BNDH5] a filter that is not effective everywhere is answered `unavailable`, and repeating the call completes it", async () => {
    expect(await registerFilter(fakes.env, "ns", "queue:q", "#", true)).toMatchObject({
      kind: "unavailable",
    });
    fakes.unreachable.clear();
    expect(await registerFilter(fakes.env, "ns", "queue:q", "#", true)).toHaveLength(2);
    expect(fakes.at("ns:#1")).toEqual(["queue:q #"]);
  });

  it("[BNDH5] [BNDH6] a binding stays in the books until every object has let go of it", async () => {
    fakes.unreachable.clear();
    for (const filter of ["#", "a/+"]) await registerFilter(fakes.env, "ns", "queue:q", filter, true);
    fakes.unreachable.add("ns:#1");
    expect(await unregisterFilter(fakes.env, "ns", "queue:q", "#")).toMatchObject({ kind: "unavailable" });
    expect(await unbindQueue(fakes.env, "ns", "q")).toMatchObject({ kind: "unavailable" });
    expect(fakes.registry.filtersOf("queue:q").map(({ filter }) => filter)).toEqual(["#", "a/+"]);
    fakes.unreachable.clear();
    expect(await unbindQueue(fakes.env, "ns", "q")).toBeUndefined();
    expect(fakes.registry.filtersOf("queue:q").map(({ filter }) => filter)).toEqual([]);
    expect([...fakes.at("ns:#0"), ...fakes.at("ns:#1")]).toEqual([]);
    expect(await unregisterFilter(fakes.env, "ns", "queue:q", "#")).toEqual({ removed: false });
  });
});
