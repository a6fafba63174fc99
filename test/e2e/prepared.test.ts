// Prepared messages: stored unseen, then committed, rolled back, or asked for.
import { describe, expect } from "vitest";
import { eventually, expectError, expectProblem, queuePath, type World, withBroker } from "./harness.ts";

const it = withBroker();

const CHECK = { checkTo: "queue:checks" };

function decide(world: World, messageId: string, outcome: string) {
  return world.call("POST", `${queuePath("q")}/prepared/${encodeURIComponent(messageId)}`, { outcome });
}

async function figures(world: World): Promise<unknown> {
  return (await world.call("GET", queuePath("q"))).body;
}

describe("prepared messages", () => {
  it("[PRE1] [PRE2] [PRE3] are seen by nobody before they are committed, and have a seq from then on", async ({
    world,
  }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const prepared = await wire.ok({ op: "publish", to: "queue:q", body: 1, messageId: "m", prepare: CHECK });
    expect(prepared).toMatchObject({ messageId: "m", prepared: true, seq: 0, duplicate: false });
    const again = await wire.ok({ op: "publish", to: "queue:q", body: 1, messageId: "m" });
    expect(again, "a prepared id is taken").toMatchObject({ prepared: true, seq: 0, duplicate: true });
    await wire.none((frame) => frame.op === "message");
    expect(await figures(world)).toMatchObject({ stats: { accepted: 0 }, prepared: { waiting: 1 } });
    await world.broker.restart();
    const decision = { op: "decide", to: "queue:q", messageId: "m", outcome: "commit" };
    const late = await world.connect();
    await late.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    expect(await late.ok(decision)).toMatchObject({ messageId: "m", seq: 1, duplicate: false });
    expect(await late.nextMessage(1)).toMatchObject({ messageId: "m", body: 1, seq: 1, attempt: 1 });
    expect(await late.ok(decision)).toMatchObject({ messageId: "m", seq: 1, duplicate: true });
    expectError(await late.error({ ...decision, outcome: "rollback" }), 4, "conflict");
    expectError(await late.error({ ...decision, messageId: "x" }), 4, "not-found");
    expect(await figures(world)).toMatchObject({ stats: { accepted: 1 }, prepared: { waiting: 0 } });
  });

  it("[PRE4] [PRE5] over HTTP they are prepared, listed in pages, and rolled back", async ({ world }) => {
    const headers = {
      "dunlin-check-to": "queue:checks",
      "dunlin-check-after-ms": "5000",
      "dunlin-checks": "3",
    };
    for (const id of ["a", "b/c d", "c"]) {
      expect(await world.publish("q", id, { ...headers, "idempotency-key": id })).toMatchObject({
        prepared: true,
        seq: 0,
      });
    }
    const batch = await world.call(
      "POST",
      `${queuePath("q")}/messages`,
      { messages: [{ body: 1, prepare: CHECK }, { body: 2 }] },
      { "content-type": "application/vnd.dunlin.batch+json" },
    );
    expect(batch.body).toMatchObject([{ prepared: true, seq: 0 }, { seq: 1 }]);
    const page = await world.call("GET", `${queuePath("q")}/prepared?limit=2`);
    expect(page.body).toMatchObject({
      prepared: [
        { messageId: "a", checkTo: "queue:checks", asked: 0, checks: 3 },
        { messageId: "b/c d", checkAt: expect.any(Number), bytes: expect.any(Number) },
      ],
    });
    const { next } = page.body as { next: number };
    const rest = await world.call("GET", `${queuePath("q")}/prepared?limit=2&after=${next}`);
    expect(rest.body).toMatchObject({ prepared: [{ messageId: "c" }, {}] });
    expect(rest.body).not.toHaveProperty("next");

    expect(await decide(world, "b/c d", "rollback")).toMatchObject({
      status: 200,
      body: { outcome: "rollback" },
    });
    expect(await decide(world, "b/c d", "rollback"), "repeated").toMatchObject({ status: 200 });
    expectProblem(await decide(world, "b/c d", "commit"), 409, 4, "conflict");
    expect(await decide(world, "a", "commit")).toMatchObject({
      status: 200,
      body: { seq: 2, duplicate: false },
    });
    expectProblem(await decide(world, "zzz", "commit"), 404, 4, "not-found");
    expectProblem(await decide(world, "c", "maybe"), 400, 1, "bad-field");
    expect(await figures(world)).toMatchObject({ stats: { accepted: 2 }, prepared: { waiting: 2 } });
  });

  it("[PRE6] are asked for when nobody decides", async ({ world }) => {
    const prepare = { checkTo: "queue:checks", checkAfterMs: 1_000, checks: 1 };
    const wire = await world.connect();
    await wire.ok({ op: "publish", to: "queue:q", body: 1, messageId: "m", prepare });
    await eventually(async () => {
      const [check] = await world.peek("checks");
      expect(check).toMatchObject({ body: { messageId: "m", to: "queue:q", check: 1 } });
    });
    await eventually(async () =>
      expect(await figures(world)).toMatchObject({ prepared: { waiting: 0, abandoned: 1 } }),
    );
    expectProblem(await decide(world, "m", "commit"), 409, 4, "conflict");
  });

  it("[PRE7] what cannot be prepared is refused", async ({ world }) => {
    const wire = await world.connect();
    const refused = (frame: object) => wire.error({ op: "publish", to: "queue:q", body: 1, ...frame });
    expectError(await refused({ to: "topic:t", prepare: CHECK }), 5, "not-supported");
    expectError(await refused({ prepare: { checkTo: "topic:t" } }), 5, "not-supported");
    expectError(await refused({ prepare: { checkTo: "nowhere" } }), 1, "bad-address");
    expectError(await refused({ prepare: {} }), 1, "bad-field");
    expectError(await refused({ prepare: { ...CHECK, checkAfterMs: 999 } }), 1, "bad-field");
    expectError(await refused({ prepare: { ...CHECK, checks: 0 } }), 1, "bad-field");
    expectError(await refused({ prepare: CHECK, expectSeq: 0 }), 5, "not-supported");
    const request = { op: "request", to: "queue:q", body: 1, prepare: CHECK };
    expectError(await wire.error(request), 5, "not-supported");
    const decision = { op: "decide", messageId: "m", outcome: "commit" };
    expectError(await wire.error({ ...decision, to: "topic:t" }), 5, "not-supported");
    expectError(await wire.error({ ...decision, to: "queue:none" }), 4, "not-found");
    const http = await world.call("POST", "/v1/topics/t/messages", 1, { "dunlin-check-to": "queue:checks" });
    expectProblem(http, 501, 5, "not-supported");
  });
});
