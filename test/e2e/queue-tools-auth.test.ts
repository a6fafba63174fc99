// Who may use a queue's tools: managing needs manage, and whatever sends somewhere needs publish there.
import { SignJWT } from "jose";
import { describe, expect } from "vitest";
import { eventually, expectError, expectProblem, queuePath, type World, withBroker } from "./harness.ts";

const SECRET = "a secret that only the tests know, of more than 32 bytes";
const it = withBroker({ env: { DUNLIN_AUTH_SECRET: SECRET } });

type Allow = { do: string[]; on: string }[];
const EVERYTHING: Allow = [{ do: ["publish", "subscribe", "consume", "manage"], on: "*" }];
const MANAGER: Allow = [{ do: ["manage"], on: "queue:q" }];
const SCHEDULE = { cron: "* * * * *", message: { body: 1 } };

function sign(allow: Allow): Promise<string> {
  return new SignJWT({ dunlin: { allow } })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject("ann")
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(SECRET));
}

/** Calls on the queue `q` with these permissions. */
async function caller(world: World, allow: Allow) {
  const headers = { authorization: `Bearer ${await sign(allow)}` };
  return (method: string, path: string, body?: unknown, more: Record<string, string> = {}) =>
    world.call(method, `${queuePath("q")}${path}`, body, { ...headers, ...more });
}

describe("permissions of a queue's tools", () => {
  it("[AUT6] redrive, schedules and push need manage, and nothing less will do", async ({ world }) => {
    const manager = await caller(world, MANAGER);
    const others = await caller(world, [{ do: ["publish", "subscribe", "consume"], on: "*" }]);
    const calls: [string, string, unknown, number][] = [
      ["PUT", "/schedules/a", SCHEDULE, 201],
      ["GET", "/schedules", undefined, 200],
      ["GET", "/schedules/a", undefined, 200],
      ["DELETE", "/schedules/a", undefined, 204],
      ["PUT", "/push", { url: "http://127.0.0.1:9/" }, 201],
      ["GET", "/push", undefined, 200],
      ["DELETE", "/push", undefined, 204],
    ];
    for (const [method, path, body, status] of calls) {
      expectProblem(await others(method, path, body), 403, 2, "forbidden");
      expect((await manager(method, path, body)).status, `${method} ${path}`).toBe(status);
    }
    for (const [method, body] of [["POST", {}], ["GET"], ["DELETE"]] as const) {
      expectProblem(await others(method, "/redrive", body), 403, 2, "forbidden");
    }
  });

  it("[RDV9] redrive of a queue's own letters needs manage where they are, `to` publish there", async ({
    world,
  }) => {
    const all = await caller(world, EVERYTHING);
    expect((await all("PUT", "", {})).status).toBe(201);
    const manager = await caller(world, MANAGER);
    expectProblem(await manager("POST", "/redrive", {}), 403, 2, "forbidden");
    expectProblem(await manager("POST", "/redrive", { to: "other" }), 403, 2, "forbidden");
    const both = [...MANAGER, { do: ["manage"], on: "queue:q.dead" }, { do: ["publish"], on: "queue:other" }];
    expect((await (await caller(world, both))("POST", "/redrive", { to: "other" })).status).toBe(200);
  });

  it("[INP10] deadLetterTo needs publish or manage there, unless it is the queue's own", async ({
    world,
  }) => {
    const manager = await caller(world, MANAGER);
    for (const deadLetterTo of ["payments", "q.dead/x", "$SYS"]) {
      expectProblem(await manager("PUT", "", { deadLetterTo }), 403, 2, "forbidden");
    }
    for (const deadLetterTo of ["q.dead", null]) {
      expect((await manager("PUT", "", { deadLetterTo })).status).toBeLessThan(300);
    }
    for (const action of ["publish", "manage"]) {
      const more = await caller(world, [...MANAGER, { do: [action], on: "queue:payments" }]);
      expect((await more("PUT", "", { deadLetterTo: "payments" })).status).toBe(200);
    }
  });

  it("[RCR9] a schedule needs publish where it sends, and where its receipts go", async ({ world }) => {
    const manager = await caller(world, [...MANAGER, { do: ["publish"], on: "topic:news" }]);
    const put = (more: object, message: object = {}) =>
      manager("PUT", "/schedules/a", { ...SCHEDULE, ...more, message: { ...SCHEDULE.message, ...message } });
    for (const wrong of [put({ to: "queue:other" }), put({}, { receiptTo: "queue:other" })]) {
      expectProblem(await wrong, 403, 2, "forbidden");
    }
    expect((await put({ to: "topic:news" }, { receiptTo: "topic:news" })).status).toBe(201);
  });

  it("[RCP6] receiptTo needs publish there, over both protocols, in batches and in a will", async ({
    world,
  }) => {
    const allow = [
      { do: ["publish"], on: "queue:q" },
      { do: ["publish"], on: "topic:told" },
    ];
    const publish = await caller(world, allow);
    const batch = { "content-type": "application/vnd.dunlin.batch+json" };
    expectProblem(
      await publish("POST", "/messages", 1, { "dunlin-receipt-to": "queue:x" }),
      403,
      2,
      "forbidden",
    );
    const many = await publish(
      "POST",
      "/messages",
      { messages: [{ body: 1, receiptTo: "queue:x" }, { body: 2 }] },
      batch,
    );
    expectProblem(many, 403, 2, "forbidden");
    expect((await publish("POST", "/messages", 1, { "dunlin-receipt-to": "topic:told" })).status).toBe(201);
    const token = await sign(allow);
    const wire = await world.connect({ token });
    const message = { to: "queue:q", body: 1 };
    expectError(await wire.error({ op: "publish", ...message, receiptTo: "queue:x" }), 2, "forbidden");
    await wire.ok({ op: "publish", ...message, receiptTo: "topic:told" });
    const refused = await world.connect(false);
    refused.send({ op: "hello", id: 1, token, will: { ...message, receiptTo: "queue:x" } });
    expectError(await refused.next(({ op }) => op === "error"), 2, "forbidden");
  });

  it("[RCP1] a will may ask for a receipt", async ({ world }) => {
    const token = await sign(EVERYTHING);
    const hearer = await world.connect({ token });
    await hearer.ok({ op: "subscribe", sub: 1, to: "topic:told" });
    const dying = await world.connect({
      token,
      will: { to: "queue:q", body: "gone", correlationId: "will-1", receiptTo: "topic:told" },
    });
    dying.cut();
    const all = await caller(world, EVERYTHING);
    const delivery = await eventually(async () => {
      const { body } = await all("POST", "/receive", { max: 1, waitMs: 1_000 });
      const [message] = (body as { messages: { delivery: string; body: string }[] }).messages;
      expect(message?.body).toBe("gone");
      return message!.delivery;
    });
    await all("POST", "/settle", { ack: [delivery] });
    expect(await hearer.nextMessage()).toMatchObject({
      correlationId: "will-1",
      body: { outcome: "ack", queue: "q" },
    });
  });
});
