// Which tokens are accepted, and what is said of those that are not. The key set comes from a real server on loopback.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ANYONE, type Principal } from "../../../worker/auth/principal.ts";
import { type AuthEnv, authenticate } from "../../../worker/auth/token.ts";

const SECRET = "a secret that only the tests know, of more than 32 bytes";
const bySecret: AuthEnv = { DUNLIN_AUTH_SECRET: SECRET };

interface Options {
  algorithm?: string;
  key?: CryptoKey | Uint8Array;
  keyId?: string;
  expiresInSeconds?: number;
  notBeforeInSeconds?: number;
}

function sign(claims: Record<string, unknown>, options: Options = {}): Promise<string> {
  const {
    algorithm = "HS256",
    key = bytes(SECRET),
    keyId,
    expiresInSeconds = 600,
    notBeforeInSeconds,
  } = options;
  const now = Math.floor(Date.now() / 1_000);
  const token = new SignJWT(claims)
    .setProtectedHeader({ alg: algorithm, ...(keyId === undefined ? {} : { kid: keyId }) })
    .setExpirationTime(now + expiresInSeconds);
  if (notBeforeInSeconds !== undefined) token.setNotBefore(now + notBeforeInSeconds);
  return token.sign(key);
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

describe("nothing configured", () => {
  it("[AUT1] everyone is accepted on loopback, with or without a token", async () => {
    expect(await authenticate(undefined, { DUNLIN_OPEN: "loopback" })).toEqual(ANYONE);
    expect(await authenticate("whatever", { DUNLIN_OPEN: "loopback" })).toEqual(ANYONE);
  });

  it("[AUT1] nobody is accepted elsewhere, and the refusal names what to set", async () => {
    for (const env of [{}, { DUNLIN_OPEN: "yes" }, { DUNLIN_AUTH_SECRET: "", DUNLIN_JWKS_URL: "" }]) {
      expect(await authenticate(await sign({}), env)).toMatchObject({
        kind: "unauthenticated",
        message: expect.stringContaining("DUNLIN_AUTH_SECRET"),
      });
    }
  });

  it("[AUT2] a secret closes a loopback broker too", async () => {
    expect(await authenticate(undefined, { ...bySecret, DUNLIN_OPEN: "loopback" })).toMatchObject({
      kind: "unauthenticated",
    });
  });
});

describe("by secret", () => {
  it("[AUT2] a good token becomes its principal", async () => {
    const allow = [{ do: ["publish", "consume"], on: "queue:orders/#" }];
    const token = await sign({ sub: "ann", ns: "shop", dunlin: { allow } });
    const who = (await authenticate(token, bySecret)) as Principal;
    expect(who).toMatchObject({ subject: "ann", namespace: "shop", allow });
    expect(who.expiresAt! - Date.now()).toBeGreaterThan(590_000);
    expect(who.expiresAt! - Date.now()).toBeLessThanOrEqual(600_000);
  });

  it("[AUT2] a token may have no claims at all, and then allows nothing", async () => {
    const token = await new SignJWT({}).setProtectedHeader({ alg: "HS256" }).sign(bytes(SECRET));
    expect(await authenticate(token, bySecret)).toEqual({
      subject: "",
      namespace: undefined,
      expiresAt: undefined,
      allow: [],
    });
  });

  it("[AUT4] an expired token is told from a wrong one; a few seconds are let pass", async () => {
    expect(await authenticate(await sign({}, { expiresInSeconds: -60 }), bySecret)).toMatchObject({
      kind: "token-expired",
    });
    expect(await authenticate(await sign({ sub: "ann" }, { expiresInSeconds: -2 }), bySecret)).toMatchObject({
      subject: "ann",
    });
  });

  it("[AUT4] wrong tokens are refused with a reason that does not repeat them", async () => {
    const good = await sign({ sub: "ann" });
    const [header, payload, signature] = good.split(".");
    const forged = Buffer.from(JSON.stringify({ sub: "eve" })).toString("base64url");
    const { privateKey } = await generateKeyPair("ES256");
    const wrong: Record<string, string> = {
      "of another secret": await sign({}, { key: bytes("another secret, just as long as the first one") }),
      "not valid yet": await sign({}, { notBeforeInSeconds: 600 }),
      "of another algorithm": await sign({}, { algorithm: "HS512", key: bytes(SECRET.repeat(2)) }),
      "signed with a private key": await sign({}, { algorithm: "ES256", key: privateKey }),
      unsigned: new UnsecuredJWT({ sub: "eve" }).encode(),
      "with another payload": `${header}.${forged}.${signature}`,
      "without signature": `${header}.${payload}.`,
      cut: good.slice(0, -10),
      "no token": "nonsense",
      empty: "",
      dots: "....",
    };
    for (const [what, token] of Object.entries(wrong)) {
      const refusal = await authenticate(token, bySecret);
      expect(refusal, what).toMatchObject({ kind: "unauthenticated" });
      if (token.length > 8) expect(JSON.stringify(refusal), what).not.toContain(token);
    }
  });

  const malformed: [string, Record<string, unknown>][] = [
    ["sub", { sub: 7 }],
    ["ns", { ns: 7 }],
    ["ns", { ns: "two words" }],
    ["ns", { ns: "" }],
    ["dunlin", { dunlin: "all" }],
    ["dunlin.allow", { dunlin: { allow: {} } }],
    ["dunlin.allow[0]", { dunlin: { allow: ["*"] } }],
    ["dunlin.allow[0].on", { dunlin: { allow: [{ do: ["publish"] }] } }],
    ["dunlin.allow[0].do", { dunlin: { allow: [{ do: "publish", on: "*" }] } }],
    ["dunlin.allow[0].do[0]", { dunlin: { allow: [{ do: [7], on: "*" }] } }],
    ["on", { dunlin: { allow: [{ do: ["publish"], on: "orders" }] } }],
    ["on", { dunlin: { allow: [{ do: ["publish"], on: "queue:a#" }] } }],
    ["on", { dunlin: { allow: [{ do: ["publish"], on: "topic:#/a" }] } }],
    ["on", { dunlin: { allow: [{ do: ["publish"], on: "topic:a+/b" }] } }],
    [
      "8192 bytes",
      { dunlin: { allow: Array.from({ length: 300 }, (_, i) => ({ do: ["publish"], on: `queue:${i}` })) } },
    ],
  ];
  it.for(malformed)(
    "[AUT4] malformed claims are refused, naming the claim: %s in %j",
    async ([name, claims]) => {
      expect(await authenticate(await sign(claims), bySecret)).toMatchObject({
        kind: "unauthenticated",
        message: expect.stringContaining(name),
      });
    },
  );

  it("[AUT6] an action of a later version does not spoil the token", async () => {
    const allow = [{ do: ["publish", "teleport"], on: "*" }];
    expect(await authenticate(await sign({ dunlin: { allow } }), bySecret)).toMatchObject({ allow });
  });
});

describe("by key set", () => {
  let server: Server;
  let env: AuthEnv;
  let privateKey: CryptoKey;
  let fetches = 0;

  beforeAll(async () => {
    const pair = await generateKeyPair("ES256");
    privateKey = pair.privateKey;
    const keys = [{ ...(await exportJWK(pair.publicKey)), kid: "one", alg: "ES256", use: "sig" }];
    server = createServer((_, response) => {
      fetches += 1;
      response.setHeader("content-type", "application/json").end(JSON.stringify({ keys }));
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    env = { DUNLIN_JWKS_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys` };
  });
  afterAll(() => server.close());

  const good = (claims = {}) => sign(claims, { algorithm: "ES256", key: privateKey, keyId: "one" });

  it("[AUT2] a token signed by a key of the set is accepted, and the set is fetched once", async () => {
    for (let i = 0; i < 5; i += 1) {
      expect(await authenticate(await good({ sub: "ann" }), env)).toMatchObject({ subject: "ann" });
    }
    expect(fetches).toBe(1);
  });

  it("[AUT4] a token of a key that is not in the set is refused", async () => {
    const other = await generateKeyPair("ES256");
    for (const keyId of ["one", "two"]) {
      const token = await sign({}, { algorithm: "ES256", key: other.privateKey, keyId });
      expect(await authenticate(token, env)).toMatchObject({ kind: "unauthenticated" });
    }
  });

  it("[AUT4] a public key is never taken for a secret", async () => {
    expect(await authenticate(await sign({}), env)).toMatchObject({ kind: "unauthenticated" });
  });

  it("[AUT2] secret and key set may stand side by side, each with its own algorithms", async () => {
    const both = { ...env, ...bySecret };
    expect(await authenticate(await good({ sub: "ann" }), both)).toMatchObject({ subject: "ann" });
    expect(await authenticate(await sign({ sub: "bob" }), both)).toMatchObject({ subject: "bob" });
    expect(await authenticate("nonsense", both)).toMatchObject({ kind: "unauthenticated" });
  });

  it("[AUT4] a key set out of reach is the broker's trouble, not the token's", async () => {
    const nowhere = { DUNLIN_JWKS_URL: "http://127.0.0.1:1/keys" };
    expect(await authenticate(await good(), nowhere)).toMatchObject({ kind: "unavailable" });
  });
});
