// What a token must allow for a commit and for prepared messages, over JSON and HTTP.
import { SignJWT } from "jose";
import { describe, expect } from "vitest";
import { expectError, expectProblem, queuePath, type World, withBroker } from "./harness.ts";

const SECRET = "a secret that only the tests know, of more than 32 bytes";
const it = withBroker({ env: { DUNLIN_AUTH_SECRET: SECRET } });

function tokenOf(world: World, allow: { do: string[]; on: string }[]): Promise<string> {
  return new SignJWT({ dunlin: { allow }, ns: world.ns })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject("ann")
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(SECRET));
}

describe("permissions", () => {
  it("[CMT16] a commit needs to consume where it settles and to publish where it publishes", async ({
    world,
  }) => {
    const token = await tokenOf(world, [
      { do: ["consume", "publish"], on: "queue:in" },
      { do: ["publish"], on: "queue:out" },
      { do: ["publish"], on: "queue:closed" },
    ]);
    const headers = { authorization: `Bearer ${token}` };
    const call = (path: string, body: unknown) => world.call("POST", path, body, headers);
    await call(`${queuePath("in")}/messages`, { n: 1 });
    const received = await call(`${queuePath("in")}/receive`, {});
    const [{ delivery }] = (received.body as { messages: [{ delivery: string }] }).messages;
    const settle = [{ queue: "in", ack: [delivery] }];
    for (const body of [
      { settle, publish: [{ to: "queue:other", body: 1 }] },
      { settle, publish: [{ to: "topic:t", body: 1 }] },
      { settle, publish: [{ to: "queue:out", body: 1, receiptTo: "queue:other" }] },
      { settle: [...settle, { queue: "closed", ack: ["1.1"] }] },
    ]) {
      expectProblem(await call("/v1/commit", body), 403, 2, "forbidden");
    }
    const wire = await world.connect({ token });
    const frame = { op: "commit", publish: [{ to: "queue:other", body: 1 }] };
    expectError(await wire.error(frame), 2, "forbidden");
    const prepare = { checkTo: "queue:other" };
    expectError(await wire.error({ op: "publish", to: "queue:out", body: 1, prepare }), 2, "forbidden");
    const decide = { op: "decide", to: "queue:other", messageId: "m", outcome: "commit" };
    expectError(await wire.error(decide), 2, "forbidden");
    expectProblem(await call(`${queuePath("other")}/prepared/m`, { outcome: "commit" }), 403, 2, "forbidden");
    const done = await call("/v1/commit", { settle, publish: [{ to: "queue:out", body: 1 }] });
    expect(done, "nothing had happened").toMatchObject({ status: 200, body: { published: [{ seq: 1 }] } });
  });
});
