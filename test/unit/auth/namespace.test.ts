// Claim and URL: which namespace a request is about.
import { expect, it } from "vitest";
import { resolveNamespace } from "../../../worker/auth/namespace.ts";
import { ANYONE } from "../../../worker/auth/principal.ts";

const free = ANYONE;
const bound = { ...ANYONE, namespace: "shop" };

it("[ADR5] the claim, else ?ns=, else default", () => {
  expect(resolveNamespace(bound, null)).toBe("shop");
  expect(resolveNamespace(bound, "")).toBe("shop");
  expect(resolveNamespace(bound, "shop")).toBe("shop");
  expect(resolveNamespace(free, "other")).toBe("other");
  expect(resolveNamespace(free, null)).toBe("default");
  expect(resolveNamespace(free, "")).toBe("default");
});

it("[AUT5] a URL that contradicts the claim is refused", () => {
  expect(resolveNamespace(bound, "Shop")).toMatchObject({ kind: "wrong-namespace" });
});

it("[ADR7] a name that no namespace can have is refused", () => {
  for (const name of ["a b", "-a", "a:b", "ü", "a/b", "x".repeat(65)]) {
    expect(resolveNamespace(free, name), name).toMatchObject({ kind: "bad-address" });
  }
});
