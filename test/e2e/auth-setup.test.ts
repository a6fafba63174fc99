// What a broker's configuration makes of authentication: a key set, or nothing at all. Each test starts a broker of its own.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { describe, expect, it, vi } from "vitest";
import { startBroker } from "../support/broker.ts";
import { WireClient } from "../support/wire-client.ts";
import { closeCode, expectProblem, http } from "./harness.ts";

vi.setConfig({ testTimeout: 120_000 });

describe("a key set", () => {
  it("[AUT2] [AUT4] DUNLIN_JWKS_URL takes tokens signed by its keys, and no others", async () => {
    const { publicKey, privateKey } = await generateKeyPair("ES256");
    const foreign = await generateKeyPair("ES256");
    const keys = JSON.stringify({
      keys: [{ ...(await exportJWK(publicKey)), kid: "k1", alg: "ES256", use: "sig" }],
    });
    const keyServer = createServer((_, response) => {
      response.setHeader("content-type", "application/json").end(keys);
    });
    await new Promise<void>((listening) => keyServer.listen(0, "127.0.0.1", listening));
    const { port } = keyServer.address() as AddressInfo;
    const broker = await startBroker({ env: { DUNLIN_JWKS_URL: `http://127.0.0.1:${port}/keys` } });
    const signed = (key: CryptoKey) =>
      new SignJWT({ dunlin: { allow: [{ do: ["publish", "manage"], on: "*" }] } })
        .setProtectedHeader({ alg: "ES256", kid: "k1" })
        .setExpirationTime("1h")
        .sign(key);
    const list = (token: string) =>
      http("GET", new URL("/v1/queues", broker.url), undefined, { authorization: `Bearer ${token}` });
    try {
      const good = await signed(privateKey);
      expect((await list(good)).status).toBe(200);
      expectProblem(await list(await signed(foreign.privateKey)), 401, 2);
      const shared = new SignJWT({}).setProtectedHeader({ alg: "HS256" }).setExpirationTime("1h");
      expectProblem(await list(await shared.sign(new TextEncoder().encode(keys))), 401, 2);
      const wire = await WireClient.connect(broker.wsUrl, { hello: { token: good } });
      await wire.ok({ op: "publish", to: "queue:q", body: 1 });
      wire.cut();
    } finally {
      await broker.stop();
      keyServer.close();
    }
  });
});

describe("nothing configured", () => {
  // 127.0.0.1 as one number: no name of this machine's own to the broker, and yet nothing beyond it can connect.
  const UNKNOWN_SPELLING = "2130706433";

  it("[AUT1] on what is not known as a loopback address nobody is let in, and the broker says so", async () => {
    const broker = await startBroker({ env: { HOST: UNKNOWN_SPELLING } });
    try {
      for (const path of ["/v1/queues", "/v1/queues/q"]) {
        const answer = await http("GET", new URL(path, broker.url));
        expectProblem(answer, 401, 2, "unauthenticated");
      }
      const wire = await WireClient.connect(broker.wsUrl, { hello: false }).catch(() => undefined);
      if (wire) {
        wire.send({ op: "hello", id: 1 });
        expect(await closeCode(wire)).toBe(4401);
        expect(wire.pushes.map((frame) => frame.op)).not.toContain("welcome");
      }
      expect(broker.output()).toMatch(/DUNLIN_AUTH_SECRET/);
    } finally {
      await broker.stop();
    }
  });
});
