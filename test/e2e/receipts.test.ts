// Receipts end to end: a publisher over JSON or HTTP hears, in a queue or on a topic, who settled its message.
import { describe, expect } from "vitest";
import { expectError, expectProblem, message, queuePath, withBroker } from "./harness.ts";

const it = withBroker();

describe("receipts", () => {
  it("[RCP1] [RCP2] reach a queue and a topic", async ({ world }) => {
    const publisher = await world.connect();
    await publisher.ok({ op: "subscribe", sub: 1, to: "topic:done/#" });
    await publisher.ok({ op: "publish", to: "queue:q", body: 1, messageId: "a", receiptTo: "topic:done/a" });
    await world.publish("q", 2, { "idempotency-key": "b", "dunlin-receipt-to": "queue:done" });
    const worker = await world.connect({ client: "worker-7" });
    await worker.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const ack = [message(await worker.nextMessage()).delivery, message(await worker.nextMessage()).delivery];
    await worker.ok({ op: "settle", sub: 1, ack });
    expect(message(await publisher.nextMessage())).toMatchObject({
      to: "topic:done/a",
      body: { messageId: "a", queue: "q", seq: 1, outcome: "ack", client: "worker-7", attempt: 1 },
    });
    const [told] = await world.receive("done", { waitMs: 5_000 });
    expect(told).toMatchObject({ body: { messageId: "b", client: "worker-7" } });
  });

  it("[RCP6] an address that cannot be is refused", async ({ world }) => {
    const wire = await world.connect();
    expectError(
      await wire.error({ op: "publish", to: "queue:q", body: 1, receiptTo: "done" }),
      1,
      "bad-field",
    );
    const answer = await world.call("POST", `${queuePath("q")}/messages`, 1, { "dunlin-receipt-to": "a:b" });
    expectProblem(answer, 400, 1, "bad-field");
  });
});
