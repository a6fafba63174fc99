// Filters with values: what a topic finds, what stays after removals, and how long it takes.
import { beforeEach, describe, expect, it } from "vitest";
import { FilterTrie } from "../../../worker/filter/trie.ts";
import { createRandom } from "../../support/random.ts";
import { slowMatches } from "./reference.ts";

let trie: FilterTrie<string>;
beforeEach(() => {
  trie = new FilterTrie();
});

describe("the trie of filters", () => {
  it("[FIL8] a value comes once for each of its filters that match", () => {
    expect(trie.add("a/+", "ann")).toBe(true);
    expect(trie.add("a/+", "ann")).toBe(false);
    expect(trie.add("a/+", "bob")).toBe(true);
    expect(trie.add("a/#", "ann")).toBe(true);
    expect(trie.match("a/b").sort()).toEqual(["ann", "ann", "bob"]);
    expect(trie.match("a")).toEqual(["ann"]);
    expect(trie.match("b")).toEqual([]);
    expect(trie.size).toBe(2);
  });

  it("[FIL8] a removed value is found no more, and the filter goes with its last value", () => {
    trie.add("a/+/#", "ann");
    trie.add("a/+/#", "bob");
    expect(trie.has("a/+/#")).toBe(true);
    expect(trie.remove("a/+/#", "cat")).toBe(false);
    expect(trie.remove("a/+", "ann")).toBe(false);
    expect(trie.remove("x/y", "ann")).toBe(false);
    expect(trie.remove("a/+/#", "ann")).toBe(true);
    expect(trie.remove("a/+/#", "ann")).toBe(false);
    expect(trie.get("a/+/#")).toEqual(["bob"]);
    expect(trie.remove("a/+/#", "bob")).toBe(true);
    expect(trie.has("a/+/#")).toBe(false);
    expect([...trie]).toEqual([]);
    expect(trie.size).toBe(0);
  });

  it("[FIL8] it lists every filter as it was added", () => {
    const filters = ["#", "+", "/", "//", "/#", "+/#", "a", "a/", "a/#", "a/+/b", "$SYS/#", "日本/+"];
    for (const filter of filters) trie.add(filter, `on ${filter}`);
    const listed = [...trie].map(([filter, values]) => {
      expect(values).toEqual([`on ${filter}`]);
      return filter;
    });
    expect(listed.sort()).toEqual(filters.sort());
  });

  it("[FIL8] filters of hundreds of levels are filters like others", () => {
    const deep = "/".repeat(511);
    trie.add(`${"+/".repeat(255)}#`, "plus");
    trie.add(deep, "exact");
    expect(trie.match(deep).sort()).toEqual(["exact", "plus"]);
    expect([...trie]).toHaveLength(2);
  });

  it("[FIL5] [FIL6] [FIL7] [FIL8] finds what the plain reading of the rules finds, through additions and removals", () => {
    const random = createRandom();
    const path = (levels: string[]) =>
      Array.from({ length: random.integer(1, 4) }, () => random.pick(levels)).join("/");
    const held = new Map<string, Set<number>>();
    const numbers = new FilterTrie<number>();
    for (let round = 0; round < 10_000; round += 1) {
      const filter = path(["", "a", "b", "c", "+", "$x"]) + (random.chance(0.3) ? "/#" : "");
      const value = random.integer(1, 4);
      const values = held.get(filter) ?? new Set();
      if (random.chance(0.45)) {
        expect(numbers.remove(filter, value), `seed ${random.seed}`).toBe(values.delete(value));
      } else {
        expect(numbers.add(filter, value), `seed ${random.seed}`).toBe(!values.has(value));
        values.add(value);
      }
      if (values.size > 0) held.set(filter, values);
      else held.delete(filter);
      if (round % 10 !== 0) continue;
      const topic = path(["", "a", "b", "c", "$x"]) || "/";
      const expected = [...held].flatMap(([one, set]) => (slowMatches(one, topic) ? [...set] : []));
      expect(numbers.match(topic).sort(), `${topic}, seed ${random.seed}`).toEqual(expected.sort());
    }
    expect(numbers.size).toBe(held.size);
    const listed = new Map([...numbers].map(([filter, values]) => [filter, new Set(values)]));
    expect(listed).toEqual(held);
  });

  it("[FIL11] a topic finds its filters among 10,000 in microseconds", () => {
    for (let index = 0; index < 10_000; index += 1) trie.add(`home/${index}/+/temperature`, `${index}`);
    trie.add("home/#", "all");
    const rounds = 20_000;
    const begin = performance.now();
    let found = 0;
    for (let round = 0; round < rounds; round += 1) {
      found += trie.match(`home/${round % 10_000}/kitchen/temperature`).length;
    }
    const microseconds = ((performance.now() - begin) * 1_000) / rounds;
    expect(found).toBe(2 * rounds);
    // A look at every filter takes more than a hundred times as long.
    expect(microseconds).toBeLessThan(50);
  });
});
