// Topics, their objects and the filters of a namespace, on SQLite in Node.
import { beforeEach, describe, expect, it } from "vitest";
import { TopicRegistry } from "../../../worker/directory/registry.ts";
import { isRefusal } from "../../../worker/errors.ts";
import { MAX_BINDING_SELECTOR_CHARS } from "../../../worker/limits.ts";
import { NodeSql } from "../../support/node-sql.ts";
import { createRandom } from "../../support/random.ts";
import { slowMatches } from "../filter/reference.ts";

let sql: NodeSql;
let registry: TopicRegistry;
beforeEach(() => {
  sql = new NodeSql();
  registry = new TopicRegistry(sql, "ns");
});

function objectsOf(outcome: ReturnType<TopicRegistry["addFilter"]>): string[] {
  if (isRefusal(outcome)) throw new Error(outcome.message);
  return outcome.objects;
}

describe("topics", () => {
  it("[HTT7] looking at an unknown namespace writes nothing", () => {
    expect(registry.listTopics("", 10)).toEqual({ topics: [] });
    expect(registry.topicObjects()).toEqual([]);
    expect(registry.filtersOf("queue:q").map(({ filter }) => filter)).toEqual([]);
    registry.removeTopic("t", "ns:t");
    registry.removeFilter("#", "gateway-0");
    registry.removeTarget("gateway-0");
    expect(sql.all("SELECT name FROM sqlite_master")).toEqual([]);
  });

  it("[HTT7] are listed by name, page by page, and leave when they are removed", () => {
    registry.enter("ns:#1", ["b", "a/1", "日本"], true, 7);
    registry.enter("ns:a", ["a"], true, 8);
    registry.enter("ns:#1", ["b"], true, 9);
    expect(registry.listTopics("", 2)).toEqual({
      topics: [
        { name: "a", createdAt: 8 },
        { name: "a/1", createdAt: 7 },
      ],
      next: "a/1",
    });
    expect(registry.listTopics("a/1", 2).topics.map(({ name }) => name)).toEqual(["b", "日本"]);
    registry.removeTopic("b", "ns:#1");
    registry.removeTopic("a", "ns:a");
    expect(registry.listTopics("", 9).topics.map(({ name }) => name)).toEqual(["a/1", "日本"]);
    expect(registry.topicObjects()).toEqual(["ns:#1"]);
  });

  it("[HTT8] only declared topics come into being while the namespace asks for it, and the others of the call do not suffer", () => {
    registry.enter("ns:#1", ["old"], true, 1);
    expect(registry.enter("ns:#1", ["old", "new"], false, 2)).toMatchObject({
      refusal: { kind: "not-declared", message: expect.stringContaining("new") },
      refused: ["new"],
    });
    expect(registry.enter("ns:own", ["own"], false, 2)).toMatchObject({ refused: ["own"] });
    expect(registry.enter("ns:#1", ["old"], false, 2)).toEqual({ filters: [] });
    expect(registry.listTopics("", 9).topics.map(({ name }) => name)).toEqual(["old"]);
    expect(registry.topicObjects()).toEqual(["ns:#1"]);
  });
});

describe("filters", () => {
  it("[FIL12] a pool learns all filters, an object of one topic those that match it", () => {
    registry.addFilter("home/#", "gateway-0", false);
    registry.addFilter("home/+", "queue:jobs", true);
    registry.addFilter("work/#", "gateway-1", true);
    expect(registry.enter("ns:#3", [], true, 1).filters).toHaveLength(3);
    expect(registry.enter("ns:home", ["home"], true, 1).filters).toEqual([
      { filter: "home/#", target: "gateway-0", durable: false },
    ]);
    expect(registry.enter("ns:home/a", ["home/a"], true, 1).filters).toHaveLength(2);
    expect(registry.enter("ns:$SYS/home", ["$SYS/home"], true, 1).filters).toEqual([]);
  });

  it("[FIL12] a new filter names the pools and the objects that it can match", () => {
    for (const name of ["#0", "#17", "home", "home/a", "home/a/b", "homes", "home0", "$SYS/a", "a"]) {
      registry.enter(`ns:${name}`, name.startsWith("#") ? [] : [name], true, 1);
    }
    const pools = ["ns:#0", "ns:#17"];
    expect(objectsOf(registry.addFilter("home/#", "g", false))).toEqual([
      ...pools,
      "ns:home",
      "ns:home/a",
      "ns:home/a/b",
    ]);
    expect(objectsOf(registry.addFilter("home/+", "g", false))).toEqual([...pools, "ns:home/a"]);
    expect(objectsOf(registry.addFilter("+", "g", false))).toEqual([
      ...pools,
      ...["ns:a", "ns:home", "ns:home0", "ns:homes"],
    ]);
    expect(objectsOf(registry.addFilter("a", "queue:q", true))).toEqual([...pools, "ns:a"]);
    expect(registry.removeFilter("home/+", "g")).toEqual({ removed: true, objects: [...pools, "ns:home/a"] });
    expect(registry.removeFilter("home/+", "g")).toEqual({
      removed: false,
      objects: [...pools, "ns:home/a"],
    });
  });

  it("[FIL12] names exactly the objects whose topics match, by the plain reading of the rules", () => {
    const random = createRandom();
    const path = (levels: string[]) =>
      Array.from({ length: random.integer(1, 4) }, () => random.pick(levels)).join("/");
    const topics = new Set(Array.from({ length: 300 }, () => path(["", "a", "b0", "b", "é", "$x"]) || "/"));
    for (const topic of topics) registry.enter(`ns:${topic}`, [topic], true, 1);
    for (let round = 0; round < 300; round += 1) {
      const filter = path(["", "a", "b0", "b", "é", "$x", "+"]) + (random.chance(0.4) ? "/#" : "");
      if (filter === "") continue;
      const expected = [...topics]
        .filter((topic) => slowMatches(filter, topic))
        .map((topic) => `ns:${topic}`);
      expect(registry.objectsFor(filter).sort(), `${filter}, seed ${random.seed}`).toEqual(expected.sort());
    }
  });

  it("[BNDH6] a target's filters go with it", () => {
    registry.enter("ns:a", ["a"], true, 1);
    registry.enter("ns:b", ["b"], true, 1);
    for (const filter of ["b", "a/#"]) registry.addFilter(filter, "queue:q", true);
    registry.addFilter("b", "queue:other", true);
    expect(registry.filtersOf("queue:q").map(({ filter }) => filter)).toEqual(["a/#", "b"]);
    expect(registry.removeTarget("queue:q")).toEqual({ filters: ["a/#", "b"], objects: ["ns:a", "ns:b"] });
    expect(registry.filtersOf("queue:q").map(({ filter }) => filter)).toEqual([]);
    expect(registry.filtersOf("queue:other").map(({ filter }) => filter)).toEqual(["b"]);
  });

  it("[FIL13] a namespace holds a limited number of them, and takes one more when one leaves", () => {
    registry = new TopicRegistry(sql, "ns", 2);
    registry.addFilter("a", "queue:q", true);
    registry.addFilter("#", "gateway-0", false);
    expect(registry.addFilter("b", "queue:q", true)).toMatchObject({
      kind: "too-many",
      message: expect.stringContaining("at most 2"),
    });
    expect(registry.addFilter("#", "gateway-0", true)).toEqual({ objects: [] });
    registry.removeFilter("a", "queue:q");
    expect(registry.addFilter("b", "queue:q", true)).toEqual({ objects: [] });
  });

  it("[FIL12] [EVC1] are found again by the next object on the same storage, as they were last", () => {
    registry.enter("ns:#0", ["t"], true, 1);
    registry.addFilter("#", "gateway-0", false);
    registry.addFilter("#", "gateway-0", true);
    registry.addFilter("a/+", "queue:q", true);
    registry.removeFilter("a/+", "queue:q");
    registry = new TopicRegistry(sql, "ns");
    expect(registry.enter("ns:#0", [], true, 2).filters).toEqual([
      { filter: "#", target: "gateway-0", durable: true },
    ]);
    expect(registry.listTopics("", 9).topics).toEqual([{ name: "t", createdAt: 1 }]);
    expect(registry.objectsFor("#")).toEqual(["ns:#0"]);
  });
});

describe("selectors of bindings", () => {
  it("[SEL14] are kept, changed and taken away with their binding, and told to the objects", () => {
    registry.addFilter("a", "queue:q", true, "x = 1");
    registry.addFilter("b", "queue:q", true);
    expect(registry.filtersOf("queue:q").map(({ selector }) => selector)).toEqual(["x = 1", undefined]);
    registry.addFilter("a", "queue:q", true, "x = 2");
    const reopened = new TopicRegistry(sql, "ns");
    expect(reopened.enter("ns:a", ["a"], true, 1).filters).toEqual([
      { filter: "a", target: "queue:q", durable: true, selector: "x = 2" },
    ]);
    reopened.addFilter("a", "queue:q", true);
    expect(new TopicRegistry(sql, "ns").enter("ns:a", ["a"], true, 1).filters).toEqual([
      { filter: "a", target: "queue:q", durable: true },
    ]);
  });

  it("[SEL14] a table of before selectors is read, and takes them", () => {
    const old = new NodeSql();
    old.all(
      "CREATE TABLE filter (filter TEXT NOT NULL, target TEXT NOT NULL, durable INTEGER NOT NULL, PRIMARY KEY (filter, target)) WITHOUT ROWID",
    );
    old.all("INSERT INTO filter VALUES ('a', 'queue:q', 1)");
    const books = new TopicRegistry(old, "ns");
    expect(books.filtersOf("queue:q")).toEqual([{ filter: "a", target: "queue:q", durable: true }]);
    books.addFilter("b", "queue:q", true);
    books.addFilter("a", "queue:q", true, "x = 1");
    books.addFilter("c", "queue:q", true, "x = 3");
    expect(new TopicRegistry(old, "ns").filtersOf("queue:q")).toEqual([
      { filter: "a", target: "queue:q", durable: true, selector: "x = 1" },
      { filter: "b", target: "queue:q", durable: true },
      { filter: "c", target: "queue:q", durable: true, selector: "x = 3" },
    ]);
  });

  it("[SEL8] those of one namespace have a limit together", () => {
    const text = `x = '${"a".repeat(4_000)}'`;
    const fits = Math.floor(MAX_BINDING_SELECTOR_CHARS / text.length);
    for (let n = 0; n < fits; n++) {
      expect(registry.addFilter(`f${n}`, "queue:q", true, text)).toHaveProperty("objects");
    }
    expect(registry.addFilter("more", "queue:q", true, text)).toMatchObject({ kind: "too-many" });
    expect(registry.addFilter("more", "queue:q", true)).toHaveProperty("objects");
    registry.removeFilter("f0", "queue:q");
    expect(registry.addFilter("more", "queue:q", true, text)).toHaveProperty("objects");
  });
});
