// Who may be in which rooms, and watch them.
import { SignJWT } from "jose";
import { expect } from "vitest";
import { listen } from "../support/topic-wire.ts";
import { eventually, expectError, expectProblem, http, type World, withBroker } from "./harness.ts";

const SECRET = "a secret that only the tests know, of more than 32 bytes";
const it = withBroker({ env: { DUNLIN_AUTH_SECRET: SECRET } });

type Allow = { do: string[]; on: string }[];
const ALL: Allow = [{ do: ["publish", "subscribe"], on: "topic:$presence/#" }];

function sign(sub: string, allow: Allow, ns: string): Promise<string> {
  return new SignJWT({ ns, dunlin: { allow } })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(sub)
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(SECRET));
}

async function as(world: World, sub: string, allow: Allow) {
  return world.connect({ client: sub, token: await sign(sub, allow, world.ns) });
}

async function call(
  world: World,
  token: string,
  method: string,
  path: string,
  body?: object,
  more: Record<string, string> = {},
) {
  const url = new URL(`/v1/topics/${encodeURIComponent("$presence/team/a")}${path}`, world.broker.url);
  return http(method, url, body, { authorization: `Bearer ${token}`, ...more });
}

it("[PRS16] entering needs publish on the room's topic, watching subscribe", async ({ world }) => {
  const enter = { op: "presence", to: "topic:team/a", action: "enter" };
  const member = await as(world, "ann", [{ do: ["publish"], on: "topic:$presence/team/+" }]);
  await member.ok(enter);
  expectError(await member.error({ ...enter, to: "topic:other" }), 2, "forbidden");
  expectError(await member.error({ op: "subscribe", sub: 1, to: "topic:$presence/team/a" }), 2, "forbidden");
  const watcher = await as(world, "eve", [{ do: ["subscribe"], on: "topic:$presence/team/#" }]);
  await listen(watcher, 1, "$presence/team/+");
  expect((await watcher.nextMessage(1)).body).toMatchObject({ members: [{ client: "ann" }] });
  expectError(await watcher.error(enter), 2, "forbidden");
  const everyTopic = await as(world, "bob", [{ do: ["publish", "subscribe"], on: "topic:#" }]);
  expectError(await everyTopic.error(enter), 2, "forbidden");
});

it("[PRS12] a fresh token that does not allow the room any more ends the presence", async ({ world }) => {
  const ann = await as(world, "ann", ALL);
  await ann.ok({ op: "presence", to: "topic:team/a", action: "enter" });
  await ann.ok({ op: "presence", to: "topic:other", action: "enter" });
  const narrower: Allow = [{ do: ["publish"], on: "topic:$presence/other" }];
  await ann.ok({ op: "auth", token: await sign("ann", narrower, world.ns) });
  const eve = await sign("eve", ALL, world.ns);
  await eventually(async () => {
    expect((await call(world, eve, "GET", "/retained")).body).toMatchObject({ body: { count: 0 } });
  });
});

it("[PRS10] over HTTP a member is its token's sub, or begins with it", async ({ world }) => {
  const token = await sign("ann", ALL, world.ns);
  const enter = (more: Record<string, string>, by = token) =>
    call(world, by, "POST", "/messages", { action: "enter" }, { "dunlin-ttl-ms": "60000", ...more });
  expect((await enter({})).status).toBe(201);
  expect((await enter({ "dunlin-client": "ann/phone" })).status).toBe(201);
  expectProblem(await enter({ "dunlin-client": "bob" }), 403, 2, "forbidden");
  expectProblem(await enter({}, await sign("", ALL, world.ns)), 403, 2, "forbidden");
  const { body } = (await call(world, token, "GET", "/retained")).body as { body: object };
  expect(body).toMatchObject({ members: [{ client: "ann" }, { client: "ann/phone" }] });
});
