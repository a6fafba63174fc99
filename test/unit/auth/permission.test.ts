// What a principal's permissions cover, checked against a plain rendering of the matching rules.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { permits } from "../../../worker/auth/permission.ts";
import { type Action, ANYONE, type Principal } from "../../../worker/auth/principal.ts";

function holder(...allow: { do: string[]; on: string }[]): Principal {
  return { subject: "ann", namespace: undefined, expiresAt: undefined, allow };
}

function allowed(on: string, address: string): boolean {
  return permits(holder({ do: ["publish"], on }), "publish", address) === undefined;
}

describe("actions", () => {
  it("[AUT6] [AUT7] an action must be allowed on the very address", () => {
    const ann = holder({ do: ["publish", "consume"], on: "queue:a" }, { do: ["manage"], on: "queue:b" });
    const may = (action: Action, address: string) => permits(ann, action, address) === undefined;
    expect(may("publish", "queue:a")).toBe(true);
    expect(may("consume", "queue:a")).toBe(true);
    expect(may("manage", "queue:a")).toBe(false);
    expect(may("manage", "queue:b")).toBe(true);
    expect(may("publish", "queue:b")).toBe(false);
    expect(may("publish", "topic:a")).toBe(false);
    expect(may("manage", "*")).toBe(false);
  });

  it("[AUT6] the refusal names the action and the address", () => {
    expect(permits(holder(), "consume", "queue:orders")).toEqual({
      kind: "forbidden",
      message: 'the token does not allow consume on "queue:orders"',
    });
  });

  it("[AUT8] * covers everything, the namespace itself too", () => {
    for (const address of ["queue:a", "topic:a/b", "queue:$x", "topic:#", "*"]) {
      expect(allowed("*", address), address).toBe(true);
      expect(permits(ANYONE, "manage", address)).toBeUndefined();
    }
    expect(allowed("queue:#", "*")).toBe(false);
  });
});

describe("patterns", () => {
  const cases: [string, string, boolean][] = [
    ["queue:a/#", "queue:a/b/c", true],
    ["queue:a/#", "queue:a", true],
    ["queue:a/#", "queue:ab", false],
    ["queue:#", "queue:anything/at all", true],
    ["queue:#", "topic:a", false],
    ["queue:a/+", "queue:a/b", true],
    ["queue:a/+", "queue:a/b/c", false],
    ["queue:a/+", "queue:a", false],
    ["queue:+/b", "queue:a/b", true],
    ["queue:a+b", "queue:a+b", true],
    ["queue:a/", "queue:a", false],
    ["topic:#", "topic:$SYS/broker", false],
    ["topic:+/broker", "topic:$SYS/broker", false],
    ["topic:$SYS/#", "topic:$SYS/broker", true],
    ["topic:news/#", "topic:news/+", true],
    ["topic:news/#", "topic:news/#", true],
    ["topic:news/+", "topic:news/#", false],
    ["topic:news/today", "topic:news/+", false],
    ["topic:+/+", "topic:#", false],
  ];
  it.for(cases)("[AUT8] %s over %s: %s", ([on, address, expected]) => {
    expect(allowed(on, address)).toBe(expected);
  });

  it("[AUT8] agrees with the rules written as a regular expression", () => {
    const level = fc.constantFrom("a", "b", "", "$a", "a.b");
    const name = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join("/"));
    const pattern = fc
      .tuple(fc.array(fc.oneof(level, fc.constant("+")), { minLength: 1, maxLength: 3 }), fc.boolean())
      .map(([levels, rest]) => [...levels, ...(rest ? ["#"] : [])].join("/"));
    fc.assert(
      fc.property(pattern, name, (on, address) => {
        const source = on
          .replace(/[.$]/g, "\\$&")
          .replace(/(^|\/)\+/g, "$1[^/]*")
          .replace(/\/#$/, "(/.*)?");
        const expected =
          new RegExp(`^${source}$`).test(address) && (!address.startsWith("$") || on.startsWith("$"));
        expect(allowed(`queue:${on}`, `queue:${address}`)).toBe(expected);
      }),
    );
  });
});
