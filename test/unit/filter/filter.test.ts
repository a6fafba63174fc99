// Topic filters: which text is one, what it matches, and shared subscriptions.
import { describe, expect, it } from "vitest";
import { checkFilter, isExact, matches, parseShare } from "../../../worker/filter/filter.ts";
import { createRandom } from "../../support/random.ts";
import { slowMatches } from "./reference.ts";

describe("what is a filter", () => {
  it.each([
    "a",
    "/",
    "//",
    "a/",
    "/a",
    "+",
    "#",
    "+/+",
    "+/#",
    "a/+/b",
    "a/b/#",
    "/#",
    "$SYS/#",
    "日本/+",
    " ",
  ])("[FIL1] %j is one", (filter) => {
    expect(checkFilter(filter)).toBeUndefined();
  });

  it.each(["##", "a#", "#a", "a/#/b", "#/", "#/#", "a/b#", "a/#b"])(
    "[FIL2] %j is none: # is the last level, whole",
    (filter) => {
      expect(checkFilter(filter)).toMatchObject({
        kind: "bad-address",
        message: expect.stringContaining("# stands"),
      });
    },
  );

  it.each(["a+", "+a", "++", "a/+b", "a/b+/c"])("[FIL3] %j is none: + is a whole level", (filter) => {
    expect(checkFilter(filter)).toMatchObject({
      kind: "bad-address",
      message: expect.stringContaining("+ stands"),
    });
  });

  it("[FIL4] it has 1 to 512 bytes, no NUL and no lone surrogate", () => {
    expect(checkFilter("")).toMatchObject({ kind: "bad-address", message: expect.stringContaining("got 0") });
    expect(checkFilter("x".repeat(512))).toBeUndefined();
    expect(checkFilter("x".repeat(513))?.message).toContain("got 513");
    expect(checkFilter("日".repeat(170))).toBeUndefined();
    expect(checkFilter("日".repeat(171))?.message).toContain("got 513");
    expect(checkFilter("a\0b")?.kind).toBe("bad-address");
    expect(checkFilter("a\ud800b")?.kind).toBe("bad-address");
  });

  it("[FIL1] a filter without wildcards is exact", () => {
    expect(["a", "a/b", "/", "$SYS"].filter(isExact)).toHaveLength(4);
    expect(["+", "#", "a/+", "a/#"].filter(isExact)).toEqual([]);
  });
});

describe("what a filter matches", () => {
  const cases: [filter: string, topic: string, expected: boolean][] = [
    ["sport/tennis/player1/#", "sport/tennis/player1", true],
    ["sport/tennis/player1/#", "sport/tennis/player1/ranking", true],
    ["sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true],
    ["sport/tennis/player1/#", "sport/tennis/player10", false],
    ["sport/#", "sport", true],
    ["#", "a", true],
    ["#", "/", true],
    ["#", "/a", true],
    ["a/#", "a/", true],
    ["a/#", "b", false],
    ["a/#", "ab", false],
    ["+/#", "a", true],
    ["a/+/#", "a", false],
    ["a/+/#", "a/b", true],
  ];
  it.each(cases)("[FIL5] %j on %j: %j (# is the level above it and all below)", (filter, topic, expected) => {
    expect(matches(filter, topic)).toBe(expected);
    expect(slowMatches(filter, topic)).toBe(expected);
  });

  const single: [filter: string, topic: string, expected: boolean][] = [
    ["sport/tennis/+", "sport/tennis/player1", true],
    ["sport/tennis/+", "sport/tennis/player1/ranking", false],
    ["sport/+", "sport", false],
    ["sport/+", "sport/", true],
    ["+/+", "/finance", true],
    ["/+", "/finance", true],
    ["+", "/finance", false],
    ["+", "finance", true],
    ["+/b/+", "a/b/", true],
    ["a//b", "a//b", true],
    ["a//b", "a/b", false],
    ["a/+/b", "a//b", true],
    ["A", "a", false],
  ];
  it.each(single)("[FIL6] %j on %j: %j (+ is one level, which may be empty)", (filter, topic, expected) => {
    expect(matches(filter, topic)).toBe(expected);
    expect(slowMatches(filter, topic)).toBe(expected);
  });

  const dollar: [filter: string, topic: string, expected: boolean][] = [
    ["#", "$SYS/a", false],
    ["+/a", "$SYS/a", false],
    ["+", "$", false],
    ["$SYS/#", "$SYS/a/b", true],
    ["$SYS/+", "$SYS/a", true],
    ["$SYS/#", "$SYS", true],
    ["#", "a/$SYS", true],
    ["+/+", "a/$b", true],
  ];
  it.each(dollar)(
    "[FIL7] %j on %j: %j (a leading wildcard matches no $ topic)",
    (filter, topic, expected) => {
      expect(matches(filter, topic)).toBe(expected);
      expect(slowMatches(filter, topic)).toBe(expected);
    },
  );

  it("[FIL5] [FIL6] [FIL7] agrees with the plain reading of the rules on 50,000 random pairs", () => {
    const random = createRandom();
    const level = (levels: string[]) =>
      Array.from({ length: random.integer(1, 5) }, () => random.pick(levels)).join("/");
    let agreed = 0;
    for (let round = 0; round < 50_000; round += 1) {
      const filter = level(["", "a", "b", "+", "+", "$x"]) + (random.chance(0.4) ? "/#" : "");
      const topic = level(["", "a", "b", "$x"]);
      if (topic === "") continue;
      const expected = slowMatches(filter, topic);
      expect(matches(filter, topic), `${filter} on ${topic}, seed ${random.seed}`).toBe(expected);
      if (expected) agreed += 1;
    }
    expect(agreed).toBeGreaterThan(1_000);
  });
});

describe("shared subscriptions", () => {
  it("[FIL9] $share/GROUP/FILTER names the group and the filter", () => {
    expect(parseShare("$share/workers/jobs/+")).toEqual({ group: "workers", filter: "jobs/+" });
    expect(parseShare("$share/g//a")).toEqual({ group: "g", filter: "/a" });
    expect(parseShare("$share/g/$SYS/#")).toEqual({ group: "g", filter: "$SYS/#" });
    for (const other of ["a", "$share", "$shared/g/a", "a/$share/g", "#"]) {
      expect(parseShare(other)).toBeUndefined();
    }
  });

  it.each(["$share/", "$share/g", "$share//a", "$share/g+/a", "$share/+/a", "$share/#/a", "$share/g#/a"])(
    "[FIL10] %j is refused for its group",
    (text) => {
      expect(parseShare(text)).toMatchObject({ kind: "bad-address" });
    },
  );

  it.each([
    "$share/g/",
    "$share/g/a#",
    "$share/g/#/a",
    `$share/g/${"x".repeat(512)}`,
    `$share/g/${"x".repeat(504)}`,
  ])("[FIL10] %j is refused for its filter or its length", (text) => {
    expect(parseShare(text)).toMatchObject({ kind: "bad-address" });
  });
});
