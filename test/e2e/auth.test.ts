// The auth seam with an HS256 secret: where tokens come from, which are refused, and what each lets its holder do.
import { SignJWT, UnsecuredJWT } from "jose";
import { describe, expect } from "vitest";
import { WireClient } from "../support/wire-client.ts";
import {
  type Answer,
  closeCode,
  expectError,
  expectProblem,
  http,
  message,
  pass,
  queuePath,
  type World,
  withBroker,
} from "./harness.ts";

const SECRET = "a secret that only the tests know, of more than 32 bytes";
const it = withBroker({ env: { DUNLIN_AUTH_SECRET: SECRET } });

interface Claims {
  sub?: string;
  ns?: string;
  allow?: { do: string[]; on: string }[];
  expiresInSeconds?: number;
  notBeforeInSeconds?: number;
}

const EVERYTHING = [{ do: ["publish", "subscribe", "consume", "manage"], on: "*" }];

function sign(claims: Claims = {}, secret = SECRET, algorithm = "HS256"): Promise<string> {
  const { sub = "ann", ns, allow = EVERYTHING, expiresInSeconds = 3_600, notBeforeInSeconds } = claims;
  const now = Math.floor(Date.now() / 1_000);
  const token = new SignJWT({ dunlin: { allow }, ...(ns === undefined ? {} : { ns }) })
    .setProtectedHeader({ alg: algorithm })
    .setSubject(sub)
    .setExpirationTime(now + expiresInSeconds);
  if (notBeforeInSeconds !== undefined) token.setNotBefore(now + notBeforeInSeconds);
  return token.sign(new TextEncoder().encode(secret));
}

function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}

/** Opens a socket with the token in hello, without the namespace in the URL. */
async function open(world: World, token: string, hello: Record<string, unknown> = {}): Promise<WireClient> {
  return world.connect({ token, ...hello });
}

/** What becomes of a hello with a token that is no good: the error, if any, and the closing code. */
async function refusedHello(world: World, hello: Record<string, unknown>, ns = world.ns) {
  const wire = await world.connect(false, ns);
  wire.send({ op: "hello", id: 1, ...hello });
  const error = await wire.next((frame) => frame.op === "error").catch(() => undefined);
  return { error, code: await closeCode(wire) };
}

async function badTokens(): Promise<[string, string][]> {
  const good = await sign();
  const [header, payload, signature] = good.split(".") as [string, string, string];
  const other = Buffer.from(JSON.stringify({ sub: "eve", dunlin: { allow: EVERYTHING } })).toString(
    "base64url",
  );
  const unsecured = new UnsecuredJWT({ sub: "eve", dunlin: { allow: EVERYTHING } })
    .setExpirationTime("1h")
    .encode();
  return [
    ["of another secret", await sign({}, "another secret, just as long as the first one is")],
    ["expired", await sign({ expiresInSeconds: -60 })],
    ["not valid yet", await sign({ notBeforeInSeconds: 600 })],
    ["of another algorithm", await sign({}, SECRET, "HS512")],
    ["without a signature", unsecured],
    ["with another payload", `${header}.${other}.${signature}`],
    ["cut", `${header}.${payload}.`],
    ["no token at all", "nonsense"],
  ];
}

describe("where tokens come from", () => {
  it("[AUT2] [AUT3] header, URL and hello are all taken", async ({ world }) => {
    const token = await sign();
    expect((await world.call("GET", "/v1/queues", undefined, bearer(token))).status).toBe(200);
    expect((await world.call("GET", `/v1/queues?token=${token}`)).status).toBe(200);
    const byHello = await open(world, token);
    await byHello.ok({ op: "publish", to: "queue:q", body: 1 });
    const byUrl = await WireClient.connect(`${world.broker.wsUrl}?ns=${world.ns}&token=${token}`);
    await byUrl.ok({ op: "publish", to: "queue:q", body: 2 });
    byUrl.cut();
  });

  it("[AUT3] a token in the URL may expect a hello without one, and hello's own comes first", async ({
    world,
  }) => {
    const weak = await sign({ allow: [] });
    const strong = await sign();
    const wire = await WireClient.connect(`${world.broker.wsUrl}?ns=${world.ns}&token=${weak}`, {
      hello: { token: strong },
    });
    await wire.ok({ op: "publish", to: "queue:q", body: 1 });
    wire.cut();
  });

  it("[SES3] welcome tells when the token expires", async ({ world }) => {
    const wire = await open(world, await sign({ expiresInSeconds: 1_000 }));
    expect(wire.welcome!.expiresAt).toBeGreaterThan(Date.now() + 900_000);
    expect(wire.welcome!.expiresAt).toBeLessThan(Date.now() + 1_100_000);
  });

  it("[AUT2] /healthz needs no token", async ({ world }) => {
    expect((await world.call("GET", "/healthz")).status).toBe(200);
  });
});

describe("pages of other origins", () => {
  it("[HTTP19] may call with a token", async ({ world }) => {
    const url = new URL(`${queuePath("q")}/messages?ns=${world.ns}`, world.broker.url);
    const origin = "https://shop.example";
    const preflight = await http("OPTIONS", url, undefined, {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization, content-type, idempotency-key, dunlin-group",
    });
    expect([200, 204]).toContain(preflight.status);
    expect(preflight.headers.get("access-control-allow-origin")).toBe("*");
    expect(preflight.headers.get("access-control-allow-methods")).toContain("POST");
    expect(preflight.headers.get("access-control-allow-headers")?.toLowerCase()).toMatch(
      /idempotency-key|\*/,
    );
    const token = await sign();
    const posted = await http("POST", url, "x", { origin, "content-type": "text/plain", ...bearer(token) });
    expect(posted.status).toBe(201);
    expect(posted.headers.get("access-control-allow-origin")).toBe("*");
    const refused = await http("POST", url, "x", { origin, "content-type": "text/plain" });
    expect(refused.status).toBe(401);
    expect(refused.headers.get("access-control-allow-origin"), "so that the page can read why").toBe("*");
  });
});

describe("tokens that are no good", () => {
  it("[AUT4] [AUT11] are 401 over HTTP, in header and URL", async ({ world }) => {
    for (const [what, token] of await badTokens()) {
      const answers: Answer[] = [
        await world.call("PUT", queuePath("q"), {}, bearer(token)),
        await world.call("PUT", `${queuePath("q")}?token=${encodeURIComponent(token)}`, {}),
      ];
      for (const answer of answers) {
        expect(answer.status, what).toBe(401);
        expectProblem(answer, 401, 2);
        expect(JSON.stringify(answer.body), `${what}: the answer repeats the token`).not.toContain(token);
      }
    }
    expectProblem(await world.call("PUT", queuePath("q"), {}), 401, 2, "unauthenticated");
    expectProblem(await world.call("GET", "/v1/queues", undefined, { authorization: "Basic eDp5" }), 401, 2);
    const list = await world.call("GET", "/v1/queues", undefined, bearer(await sign()));
    expect(list.body).toEqual({ queues: [] });
  });

  it("[AUT4] close a socket with 4401, after an error to its hello", async ({ world }) => {
    for (const [what, token] of [...(await badTokens()), ["missing", undefined] as const]) {
      const { error, code } = await refusedHello(world, token === undefined ? {} : { token });
      expect(code, what).toBe(4401);
      expectError(error, 2);
      expect(JSON.stringify(error)).not.toContain(token ?? "no token");
    }
  });

  it("[AUT4] in the URL close a socket with 4401, or refuse it with 401", async ({ world }) => {
    const url = `${world.broker.wsUrl}?ns=${world.ns}&token=${await sign({ expiresInSeconds: -60 })}`;
    const outcome = await WireClient.connect(url, { hello: false }).then(
      async (wire) => {
        wire.send({ op: "hello", id: 1 });
        return await closeCode(wire);
      },
      (error: Error) => error.message,
    );
    expect(String(outcome)).toMatch(/4?401/);
  });
});

describe("namespaces", () => {
  it("[AUT5] [ADR5] the claim decides, the URL may agree", async ({ world }) => {
    const token = await sign({ ns: world.ns });
    const put = (ns: string) => world.call("PUT", queuePath("q"), {}, bearer(token), ns);
    expect((await put("")).status).toBe(201);
    expect((await put(world.ns)).status).toBe(200);
    const wire = await WireClient.connect(world.broker.wsUrl, { hello: { token } });
    expect(wire.welcome).toMatchObject({ namespace: world.ns });
    await wire.ok({ op: "publish", to: "queue:q", body: 1 });
    wire.cut();
    expect(await world.call("GET", queuePath("q"), undefined, bearer(token))).toMatchObject({
      body: { stats: { ready: 1 } },
    });
  });

  it("[AUT5] [AUT11] a URL that contradicts the claim is 403, and closes with 4403", async ({ world }) => {
    const token = await sign({ ns: `${world.ns}.mine` });
    expectProblem(await world.call("PUT", queuePath("q"), {}, bearer(token)), 403, 2, "wrong-namespace");
    const { error, code } = await refusedHello(world, { token });
    expect(code).toBe(4403);
    expectError(error, 2, "wrong-namespace");
    const free = await sign();
    expect((await world.call("GET", queuePath("q"), undefined, bearer(free))).status).toBe(404);
  });
});

describe("permissions", () => {
  const only = (action: string, on = "queue:q") => sign({ allow: [{ do: [action], on }] });

  it("[AUT6] [AUT7] [AUT8] publish alone: the queue named, and no other op", async ({ world }) => {
    const wire = await open(world, await only("publish"));
    await wire.ok({ op: "publish", to: "queue:q", body: 1 });
    expectError(await wire.error({ op: "publish", to: "queue:other", body: 1 }), 2, "forbidden");
    expectError(await wire.error({ op: "subscribe", sub: 1, to: "queue:q" }), 2, "forbidden");
    await wire.ok({ op: "publish", to: "queue:q", body: 2 });
    const all = bearer(await sign());
    expect((await world.call("GET", queuePath("other"), undefined, all)).status).toBe(404);
    expect(await world.call("GET", queuePath("q"), undefined, all)).toMatchObject({
      body: { stats: { accepted: 2 } },
    });
  });

  it("[AUT6] [FRM13] a forbidden op in an array stands in its place", async ({ world }) => {
    const wire = await open(world, await only("publish"));
    const replies = await Promise.all(
      wire.requestAll(["q", "other", "q"].map((name) => ({ op: "publish", to: `queue:${name}`, body: 1 }))),
    );
    expect(replies.map((reply) => reply.op)).toEqual(["ok", "error", "ok"]);
  });

  it("[AUT6] [AUT7] consume alone: subscribe, receive and settle", async ({ world }) => {
    const token = await only("consume");
    const all = bearer(await sign());
    for (const body of ["1", "2"]) {
      await world.call("POST", `${queuePath("q")}/messages`, body, {
        "content-type": "application/json",
        ...all,
      });
    }
    const wire = await open(world, token);
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 1 });
    const held = message(await wire.nextMessage());
    await wire.ok({ op: "extend", sub: 1, deliveries: [held.delivery], leaseMs: 60_000 });
    await wire.ok({ op: "settle", sub: 1, ack: [held.delivery] });
    await wire.ok({ op: "unsubscribe", sub: 1 });
    const got = await world.call("POST", `${queuePath("q")}/receive`, {}, bearer(token));
    expect(got.status).toBe(200);
    expect((await world.call("POST", `${queuePath("q")}/settle`, {}, bearer(token))).status).toBe(200);
    expectError(await wire.error({ op: "publish", to: "queue:q", body: 1 }), 2, "forbidden");
    expectError(await wire.error({ op: "subscribe", sub: 2, to: "queue:other" }), 2, "forbidden");
    for (const [method, path] of [
      ["POST", "/messages"],
      ["PUT", ""],
      ["DELETE", ""],
      ["POST", "/purge"],
      ["PUT", "/pause"],
    ] as const) {
      const answer = await world.call(method, `${queuePath("q")}${path}`, {}, bearer(token));
      expectProblem(answer, 403, 2, "forbidden");
    }
  });

  it("[AUT7] manage alone: declare, look, purge, pause, delete and list", async ({ world }) => {
    const token = bearer(await only("manage", "*"));
    for (const [method, path, status] of [
      ["PUT", queuePath("q"), 201],
      ["GET", queuePath("q"), 200],
      ["GET", `${queuePath("q")}/messages`, 200],
      ["GET", "/v1/queues", 200],
      ["PUT", `${queuePath("q")}/pause`, 200],
      ["PUT", `${queuePath("q")}/resume`, 200],
      ["POST", `${queuePath("q")}/purge`, 200],
      ["POST", `${queuePath("q")}/messages`, 403],
      ["POST", `${queuePath("q")}/receive`, 403],
      ["POST", `${queuePath("q")}/settle`, 403],
      ["DELETE", queuePath("q"), 204],
    ] as const) {
      const body = method === "GET" || method === "DELETE" ? undefined : {};
      expect((await world.call(method, path, body, token)).status, `${method} ${path}`).toBe(status);
    }
  });

  it("[AUT8] patterns cover levels, and a token without allow allows nothing", async ({ world }) => {
    const wire = await open(world, await sign({ allow: [{ do: ["publish"], on: "queue:eu/#" }] }));
    await wire.ok({ op: "publish", to: "queue:eu/orders", body: 1 });
    await wire.ok({ op: "publish", to: "queue:eu/orders/new", body: 1 });
    expectError(await wire.error({ op: "publish", to: "queue:eux", body: 1 }), 2, "forbidden");
    expectError(await wire.error({ op: "publish", to: "queue:us/orders", body: 1 }), 2, "forbidden");
    const nothing = await open(world, await sign({ allow: [] }));
    expectError(await nothing.error({ op: "publish", to: "queue:q", body: 1 }), 2, "forbidden");
    const plain = await new SignJWT({})
      .setProtectedHeader({ alg: "HS256" })
      .sign(new TextEncoder().encode(SECRET));
    expectProblem(await world.call("PUT", queuePath("q"), {}, bearer(plain)), 403, 2, "forbidden");
  });
});

describe.concurrent("a token's life on a socket", () => {
  it("[AUT9] auth replaces permissions and expiry; a bad one changes nothing", async ({ world }) => {
    const wire = await open(
      world,
      await sign({ allow: [{ do: ["publish"], on: "queue:a" }], expiresInSeconds: 60 }),
    );
    expectError(await wire.error({ op: "publish", to: "queue:b", body: 1 }), 2);
    for (const [what, token] of await badTokens()) {
      expectError(await wire.error({ op: "auth", token }), 2);
      expect(what).toBeDefined();
    }
    expectError(await wire.error({ op: "auth", token: await sign({ sub: "eve" }) }), 2);
    expectError(await wire.error({ op: "auth", token: await sign({ ns: "elsewhere" }) }), 2);
    await wire.ok({ op: "publish", to: "queue:a", body: 1 });
    expectError(await wire.error({ op: "publish", to: "queue:b", body: 1 }), 2);
    await wire.ok({ op: "auth", token: await sign({ allow: [{ do: ["publish"], on: "queue:b" }] }) });
    await wire.ok({ op: "publish", to: "queue:b", body: 1 });
    expectError(await wire.error({ op: "publish", to: "queue:a", body: 1 }), 2);
  });

  it("[AUT10] expiring comes before the token's end, and then 4401", async ({ world }) => {
    const wire = await open(world, await sign({ expiresInSeconds: 4 }));
    const end = wire.welcome!.expiresAt as number;
    const event = await wire.next((frame) => frame.op === "event");
    expect(event).toMatchObject({ kind: "expiring" });
    expect(Date.now()).toBeLessThan(end + 500);
    expect(await closeCode(wire)).toBe(4401);
    // Clocks may differ by a few seconds, and a broker may allow for that.
    expect(Date.now()).toBeGreaterThan(end - 1_000);
    expect(Date.now()).toBeLessThan(end + 15_000);
  });

  it("[AUT9] [AUT10] a fresh token in time keeps the socket", async ({ world }) => {
    const wire = await open(world, await sign({ expiresInSeconds: 3 }));
    await wire.ok({ op: "auth", token: await sign({ expiresInSeconds: 3_600 }) });
    const closed = await Promise.race([wire.closed, pass(6_000)]);
    expect(closed).toBeUndefined();
    await wire.ok({ op: "publish", to: "queue:q", body: 1 });
  });

  it("[SES16] another subject gets no part of a client's session", async ({ world }) => {
    const hello = { client: "c", session: { expirySeconds: 60 } };
    const ann = await open(world, await sign({ sub: "ann" }), hello);
    await ann.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    await ann.ok({ op: "publish", to: "queue:q", body: "ann's" });
    await ann.nextMessage();
    const wire = await world.connect(false);
    const welcome = await wire
      .request({ op: "hello", token: await sign({ sub: "eve" }), ...hello })
      .catch(() => undefined);
    if (welcome?.op === "welcome") {
      expect(welcome.resumed).toBe(false);
      await wire.none((frame) => frame.op === "message");
    }
    await ann.ok({ op: "publish", to: "queue:q", body: 2 });
  });
});
