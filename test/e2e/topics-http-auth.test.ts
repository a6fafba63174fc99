// What a token lets its holder do with topics, bindings and events over HTTP.
import { SignJWT } from "jose";
import { describe, expect } from "vitest";
import { EventStream } from "../support/event-stream.ts";
import { type Answer, expectProblem, type World, withBroker } from "./harness.ts";

const SECRET = "a secret that only the tests know, of more than 32 bytes";
const it = withBroker({ env: { DUNLIN_AUTH_SECRET: SECRET } });

/** Calls with a token of the test's namespace that allows some actions. */
async function caller(world: World, allow: { do: string[]; on: string }[], expiresInSeconds = 3_600) {
  const token = await new SignJWT({ dunlin: { allow }, ns: world.ns })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject("ann")
    .setExpirationTime(Math.floor(Date.now() / 1_000) + expiresInSeconds)
    .sign(new TextEncoder().encode(SECRET));
  const headers = { authorization: `Bearer ${token}` };
  const call = (method: string, path: string, body?: unknown): Promise<Answer> =>
    world.call(method, path, body, headers);
  return { call, headers };
}

function forbidden(answer: Answer): void {
  expectProblem(answer, 403, 2, "forbidden");
}

describe("permissions", () => {
  it("[HTT9] publish, read and manage are allowed one by one", async ({ world }) => {
    const publisher = await caller(world, [{ do: ["publish"], on: "topic:a/#" }]);
    const reader = await caller(world, [{ do: ["subscribe"], on: "topic:a/#" }]);
    const manager = await caller(world, [{ do: ["manage"], on: "topic:a/#" }]);
    const all = await caller(world, [{ do: ["manage"], on: "*" }]);
    const path = "/v1/topics/a%2Fb";
    expect(await publisher.call("POST", `${path}/messages`, "1")).toMatchObject({ status: 201 });
    for (const answer of await Promise.all([
      publisher.call("GET", path),
      publisher.call("GET", `${path}/messages`),
      publisher.call("POST", "/v1/topics/b/messages", "1"),
      reader.call("POST", `${path}/messages`, "1"),
      reader.call("PUT", path, {}),
      reader.call("DELETE", path),
      reader.call("GET", "/v1/topics/b/retained"),
      manager.call("POST", `${path}/messages`, "1"),
      manager.call("GET", "/v1/topics"),
    ])) {
      forbidden(answer);
    }
    expect(await reader.call("GET", `${path}/messages`)).toMatchObject({ status: 200 });
    expect(await reader.call("GET", path)).toMatchObject({ status: 200 });
    expect(await manager.call("PUT", path, {})).toMatchObject({ status: 200 });
    expect(await all.call("GET", "/v1/topics")).toMatchObject({ body: { topics: [{ name: "a/b" }] } });
    expect(await manager.call("DELETE", path)).toMatchObject({ status: 204 });
  });

  it("[BNDH7] who binds manages the queue and may subscribe to the filter", async ({ world }) => {
    const path = "/v1/queues/q/bindings/a%2F%2B";
    const manager = await caller(world, [{ do: ["manage"], on: "queue:q" }]);
    const reader = await caller(world, [{ do: ["subscribe"], on: "topic:#" }]);
    const narrow = await caller(world, [
      { do: ["manage"], on: "queue:q" },
      { do: ["subscribe"], on: "topic:a/b" },
    ]);
    const both = await caller(world, [
      { do: ["manage"], on: "queue:q" },
      { do: ["subscribe"], on: "topic:a/#" },
    ]);
    for (const { call } of [manager, reader, narrow]) {
      forbidden(await call("PUT", path));
      forbidden(await call("DELETE", path));
    }
    forbidden(await reader.call("GET", "/v1/queues/q/bindings"));
    expect(await both.call("PUT", path)).toMatchObject({ status: 201 });
    expect(await manager.call("GET", "/v1/queues/q/bindings")).toMatchObject({
      body: { bindings: [{ filter: "a/+" }] },
    });
    expect(await both.call("DELETE", path)).toMatchObject({ status: 204 });
  });

  it("[SSE7] events are for whoever may subscribe to the filter", async ({ world }) => {
    const { call, headers } = await caller(world, [
      { do: ["subscribe"], on: "topic:a/+" },
      { do: ["publish"], on: "topic:a/b" },
    ]);
    forbidden(await call("GET", "/v1/events?topic=b"));
    forbidden(await call("GET", `/v1/events?topic=${encodeURIComponent("a/#")}`));
    const url = new URL(`/v1/events?topic=${encodeURIComponent("a/+")}`, world.broker.url);
    const refused = await fetch(url);
    expect(refused.status).toBe(401);
    const events = await EventStream.open(url, headers);
    await events.next("subscribed");
    await call("POST", "/v1/topics/a%2Fb/messages", "1");
    expect((await events.next("message")).data).toMatchObject({ to: "topic:a/b", seq: 1 });
    events.close();
  });

  it("[SSE5] a stream is told that its token ends, and ends with it", async ({ world }) => {
    const { headers } = await caller(world, [{ do: ["subscribe"], on: "topic:t" }], 3);
    const events = await EventStream.open(new URL("/v1/events?topic=t", world.broker.url), headers);
    await events.next("subscribed");
    expect((await events.next("expiring")).data).toMatchObject({ expiresAt: expect.any(Number) });
    await events.ended;
  });
});
