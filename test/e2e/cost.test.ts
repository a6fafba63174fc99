// What a message costs in rows written, from publish to ack, against the targets.
import { describe, expect } from "vitest";
import type { WireClient } from "../support/wire-client.ts";
import { eventually, take, type World, withBroker } from "./harness.ts";

const it = withBroker();

/** Publishes, delivers and acks `count` messages in batches of `size`, one batch after the other; returns rows per message. */
async function rowsPerMessage(world: World, count: number, size: number): Promise<number> {
  const producer = await world.connect();
  const consumer = await world.connect();
  await consumer.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: size });
  const cycle = (batch: number) => publishAndAck(producer, consumer, batch);
  // The first messages also pay for creating the queue.
  await cycle(size);
  const before = await world.stats("q");
  for (let done = 0; done < count; done += size) await cycle(size);
  const after = await eventually(async () => {
    const stats = await world.stats("q");
    expect(stats.settled - before.settled).toBe(count);
    return stats;
  });
  return (after.rowsWritten - before.rowsWritten) / count;
}

async function publishAndAck(producer: WireClient, consumer: WireClient, size: number): Promise<void> {
  const body = "x".repeat(100);
  const confirmed = producer.requestAll(
    Array.from({ length: size }, () => ({ op: "publish", to: "queue:q", body })),
  );
  const got = await take(consumer, size);
  await Promise.all(confirmed);
  await consumer.ok({ op: "settle", sub: 1, ack: got.map((m) => m.delivery) });
}

describe("rows written per message", () => {
  it("[CST1] at most 0.05 in batches of 100", async ({ world }) => {
    expect(await rowsPerMessage(world, 5_000, 100)).toBeLessThanOrEqual(0.05);
  });

  it("[CST2] at most 0.4 in batches of 10", async ({ world }) => {
    expect(await rowsPerMessage(world, 1_000, 10)).toBeLessThanOrEqual(0.4);
  });

  it("[CST3] at most 2 one at a time, with a consumer waiting", async ({ world }) => {
    expect(await rowsPerMessage(world, 200, 1)).toBeLessThanOrEqual(2);
  });
});
