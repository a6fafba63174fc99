// Conditions of a publish over JSON and HTTP, and over a SIGKILL of the broker.
import { describe, expect } from "vitest";
import { expectError, queuePath, withBroker } from "./harness.ts";

const it = withBroker();

describe("a producer's sequence", () => {
  it("[PRD1] [PRD3] [PRD4] holds over both protocols and a SIGKILL", async ({ world }) => {
    const wire = await world.connect();
    const message = (epoch: number, seq: number) => ({
      ...{ to: "queue:q", body: seq },
      producer: { id: "shop", epoch, seq },
    });
    const first = await wire.ok({ op: "publish", ...message(1, 1) });
    expect(first).toMatchObject({ seq: 1, duplicate: false });
    await world.broker.restart();
    const again = await world.connect();
    expect(await again.ok({ op: "publish", ...message(1, 1) })).toMatchObject({ seq: 1, duplicate: true });
    expectError(await again.error({ op: "publish", ...message(1, 3) }), 4, "out-of-sequence");
    const batch = await world.call(
      "POST",
      `${queuePath("q")}/messages`,
      { messages: [message(1, 2), message(2, 1), message(1, 3)] },
      { "content-type": "application/vnd.dunlin.batch+json" },
    );
    expect(batch.body).toMatchObject([{ seq: 2 }, { seq: 3 }, { kind: "fenced" }]);
    expect(await world.stats("q")).toMatchObject({ ready: 3 });
  });
});

describe("expectSeq", () => {
  it("[CND1] is answered with conflict over JSON and 409 over HTTP", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "publish", to: "queue:q", body: 1, expectSeq: 0 });
    expectError(await wire.error({ op: "publish", to: "queue:q", body: 2, expectSeq: 0 }), 4, "conflict");
    const publish = (expectSeq: number) =>
      world.call("POST", `${queuePath("q")}/messages`, 2, { "dunlin-expect-seq": String(expectSeq) });
    expect((await publish(0)).status).toBe(409);
    expect((await publish(1)).status).toBe(201);
  });
});
