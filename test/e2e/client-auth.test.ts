// The client's tokens against the real broker.
import { SignJWT } from "jose";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connect, type Dunlin, type DunlinError } from "../../client/index.ts";
import { type Broker, startBroker } from "../support/broker.ts";
import { eventually } from "./harness.ts";

const SECRET = "a secret that only the tests know, of more than 32 bytes";
const TIMEOUT_MS = 120_000;

let broker: Broker;
let namespaces = 0;

beforeAll(async () => {
  broker = await startBroker({ env: { DUNLIN_AUTH_SECRET: SECRET } });
}, TIMEOUT_MS);

afterAll(() => broker?.stop(), TIMEOUT_MS);

/** A namespace that nobody has used yet. */
function newNamespace(): string {
  namespaces += 1;
  return `ns-${namespaces}`;
}

function sign(namespace: string, expiresInSeconds: number, secret = SECRET, on = "*"): Promise<string> {
  const allow = [{ do: ["publish", "subscribe", "consume", "manage"], on }];
  return new SignJWT({ ns: namespace, dunlin: { allow } })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject("ann")
    .setExpirationTime(Math.floor(Date.now() / 1_000) + expiresInSeconds)
    .sign(new TextEncoder().encode(secret));
}

function listenTo(dunlin: Dunlin) {
  const states: string[] = [];
  const errors: DunlinError[] = [];
  dunlin.on("state", (state) => states.push(state));
  dunlin.on("error", (error) => errors.push(error));
  return { states, errors };
}

it("[CLI9] [AUT10] a token callback keeps the connection beyond each token's expiry", {
  timeout: TIMEOUT_MS,
}, async () => {
  const ns = newNamespace();
  let tokens = 0;
  const startedAtMs = performance.now();
  const dunlin = connect(broker.url, {
    token: () => {
      tokens += 1;
      return sign(ns, 5);
    },
  });
  const { states, errors } = listenTo(dunlin);
  // At most one a second: the first has expired by the time of the seventh.
  await eventually(() => expect(tokens).toBeGreaterThanOrEqual(7), 60_000);
  expect(performance.now() - startedAtMs).toBeGreaterThan(5_000);
  await dunlin.queue("jobs").send(1);
  expect(states).toEqual(["open"]);
  expect(errors).toEqual([]);
  await dunlin.close();
});

it("[CLI9] a token callback is asked again for the connection after a restart", {
  timeout: TIMEOUT_MS,
}, async () => {
  const ns = newNamespace();
  let tokens = 0;
  const dunlin = connect(broker.url, {
    token: async () => {
      tokens += 1;
      return sign(ns, 3_600);
    },
  });
  await dunlin.queue("jobs").send(1);
  expect(tokens).toBe(1);
  await broker.kill();
  await broker.restart();
  expect((await dunlin.queue("jobs").send(2)).seq).toBe(2);
  expect(tokens).toBeGreaterThanOrEqual(2);
  await dunlin.close();
});

it("[CLI13] [AUT4] a refused token ends the connection with the broker's reason", {
  timeout: TIMEOUT_MS,
}, async () => {
  const ns = newNamespace();
  for (const [token, kind] of [
    [await sign(ns, 3_600, "another secret, also of more than 32 bytes"), "unauthenticated"],
    [await sign(ns, -10), "token-expired"],
  ] as const) {
    const dunlin = connect(broker.url, { token });
    const sent = dunlin.queue("jobs").send(1);
    await expect(dunlin.ready()).rejects.toMatchObject({ kind, retry: "none" });
    await expect(sent).rejects.toMatchObject({ kind });
    expect(dunlin.state).toBe("closed");
  }
});

it("[CLI13] [AUT6] what the token does not allow is refused by itself", { timeout: TIMEOUT_MS }, async () => {
  const ns = newNamespace();
  const dunlin = connect(broker.url, { token: await sign(ns, 3_600, SECRET, "queue:mine") });
  await expect(dunlin.queue("theirs").send(1)).rejects.toMatchObject({ code: 202, kind: "forbidden" });
  await expect(dunlin.queue("theirs").consume().next()).rejects.toMatchObject({
    code: 202,
    kind: "forbidden",
  });
  expect((await dunlin.queue("mine").send(1)).seq).toBe(1);
  await dunlin.close();
});
