// Rows written inside the runtime, where every row is counted as the platform bills it.
import { afterEach, describe, expect, it } from "vitest";
import { call, type Frame, stats, Wire } from "./support/client.ts";
import { evict, gatewayStub, queueStub } from "./support/objects.ts";

/** An eviction forgets rows that no turn stands for: an alarm, a checkpoint, the outbox. */
const MAX_FORGOTTEN_ROWS = 3;

let runs = 0;
const open: Wire[] = [];

afterEach(() => {
  for (const wire of open.splice(0)) if (wire.closed === undefined) wire.close();
});

/** Publishes, delivers and acks `batches` batches, `between` two of them; returns rows per message. */
async function rowsPerMessage(
  size: number,
  batches: number,
  between: (queue: string) => Promise<void>,
): Promise<number> {
  const queue = `cost-${++runs}`;
  const to = `queue:${queue}`;
  const [producer, consumer] = [await Wire.connect(), await Wire.connect()];
  open.push(producer, consumer);
  await consumer.ask({ op: "subscribe", sub: 1, to, credit: size });
  const cycle = async () => {
    const confirmed = producer.askAll(
      ...Array.from({ length: size }, (): Frame => ({ op: "publish", to, body: 1 })),
    );
    const got = await consumer.take(size);
    await confirmed;
    await consumer.ask({ op: "settle", sub: 1, ack: got.map(({ delivery }) => delivery) });
  };
  await cycle();
  const before = await stats(queue);
  for (let i = 0; i < batches; i++) {
    await between(queue);
    await cycle();
  }
  const after = await stats(queue);
  expect(after.settled! - before.settled!).toBe(size * batches);
  return (after.rowsWritten! - before.rowsWritten!) / (size * batches);
}

describe("rows written", () => {
  it("[CST1] at most 0.05 per message in batches of 100, with the queue evicted between any two", async () => {
    expect(await rowsPerMessage(100, 10, (queue) => evict(queueStub(queue)))).toBeLessThanOrEqual(0.05);
  });

  it("[CST2] at most 0.4 per message in batches of 10, with the gateway evicted between any two", async () => {
    expect(await rowsPerMessage(10, 20, () => evict(gatewayStub()))).toBeLessThanOrEqual(0.4);
  });

  it("[CST4] [OPS2] looking at a queue, and waking it to look, writes none", async () => {
    const queue = `cost-${++runs}`;
    await call(`/v1/queues/${queue}/messages`, { method: "POST", body: "x" });
    await evict(queueStub(queue));
    const { rowsWritten } = await stats(queue);
    for (const state of ["ready", "delayed", "leased"]) {
      await evict(queueStub(queue));
      expect((await call(`/v1/queues/${queue}/messages?state=${state}`)).status).toBe(200);
      expect((await stats(queue)).rowsWritten).toBe(rowsWritten);
    }
  });

  it("[CST4] [EVC1] the figure is that of the queue's life, but for the last few rows beside its turns", async () => {
    const queue = `cost-${++runs}`;
    for (let i = 0; i < 5; i++) {
      const before = await call(`/v1/queues/${queue}/messages`, { method: "POST", body: "x" }).then(() =>
        stats(queue),
      );
      await evict(queueStub(queue));
      const after = await stats(queue);
      expect(after.rowsWritten).toBeLessThanOrEqual(before.rowsWritten!);
      expect(after.rowsWritten).toBeGreaterThanOrEqual(before.rowsWritten! - MAX_FORGOTTEN_ROWS);
    }
  });
});
