// What a request and a reply need permission for.
import { SignJWT } from "jose";
import { expect } from "vitest";
import { expectError, expectProblem, queuePath, type World, withBroker } from "./harness.ts";

const SECRET = "a secret that only the tests know, of more than 32 bytes";
const it = withBroker({ env: { DUNLIN_AUTH_SECRET: SECRET } });

type Allow = { do: string[]; on: string }[];

function sign(allow: Allow): Promise<string> {
  return new SignJWT({ dunlin: { allow } })
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(SECRET));
}

const open = async (world: World, allow: Allow) => world.connect({ token: await sign(allow) });

it("[REQ7] who asks needs publish on the address, who answers nothing", async ({ world }) => {
  const asker = await open(world, [{ do: ["publish"], on: "queue:jobs" }]);
  const responder = await open(world, [{ do: ["consume"], on: "queue:jobs" }]);
  await responder.ok({ op: "subscribe", sub: 1, to: "queue:jobs" });
  const reply = asker.ok({ op: "request", to: "queue:jobs", body: 1 });
  const { replyTo } = await responder.nextMessage();
  await responder.ok({ op: "publish", to: replyTo as string, body: 2 });
  expect(await reply).toMatchObject({ op: "reply", body: 2 });
  for (const to of ["queue:other", "topic:jobs"]) {
    expectError(await asker.error({ op: "request", to, body: 1 }), 2, "forbidden");
  }
  expectError(await responder.error({ op: "request", to: "queue:jobs", body: 1 }), 2, "forbidden");
});

it("[REQ7] over HTTP as well", async ({ world }) => {
  const consumer = { authorization: `Bearer ${await sign([{ do: ["consume"], on: "queue:jobs" }])}` };
  const path = `${queuePath("jobs")}/request`;
  expectProblem(await world.call("POST", path, "x", consumer), 403, 2, "forbidden");
  const asker = await open(world, [{ do: ["publish"], on: "queue:jobs" }]);
  const busy = await open(world, [{ do: ["consume"], on: "queue:jobs" }]);
  await busy.ok({ op: "subscribe", sub: 1, to: "queue:jobs", credit: 0 });
  const reply = asker.ok({ op: "request", to: "queue:jobs", body: 1 });
  const received = await world.call("POST", `${queuePath("jobs")}/receive`, { waitMs: 10_000 }, consumer);
  const [{ replyTo }] = (received.body as { messages: [{ replyTo: string }] }).messages;
  const topic = encodeURIComponent(replyTo.slice("topic:".length));
  const answered = await world.call("POST", `/v1/topics/${topic}/messages`, "yes", {
    ...consumer,
    "content-type": "text/plain",
  });
  expect(answered.status).toBe(201);
  expect(await reply).toMatchObject({ body: "yes" });
});

it("[REQ18] no permission reaches further: replies are not read by anyone else", async ({ world }) => {
  const all = await open(world, [{ do: ["publish", "subscribe", "consume", "manage"], on: "*" }]);
  for (const to of ["topic:$reply/#", "topic:$reply/gateway-0/x"]) {
    expectError(await all.error({ op: "subscribe", sub: 1, to }), 2, "forbidden");
  }
});
