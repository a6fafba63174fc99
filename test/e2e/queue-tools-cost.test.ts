// What a queue's tools cost in rows written: receipts, pushes, runs of schedules, numbered producers.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect } from "vitest";
import { eventually, queuePath, take, type World, withBroker } from "./harness.ts";

const it = withBroker();

/** Rows that a queue writes while something is done, once it has settled so many messages. */
async function rows(
  world: World,
  queue: string,
  settles: number,
  work: () => Promise<unknown>,
): Promise<number> {
  const before = await world.stats(queue);
  await work();
  return eventually(async () => {
    const after = await world.stats(queue);
    expect(after).toMatchObject({ settled: before.settled + settles, leased: 0 });
    return after.rowsWritten - before.rowsWritten;
  });
}

/** A URL that takes everything. */
async function receiver(): Promise<{ url: string; close: () => void }> {
  const server = createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(204).end());
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function publishMany(world: World, queue: string, count: number): Promise<void> {
  const wire = await world.connect();
  const message = { op: "publish", to: `queue:${queue}`, body: "x" };
  await Promise.all(wire.requestAll(Array.from({ length: count }, () => message)));
}

describe("rows written", () => {
  it("[CST5] a push: 2 for a message alone, 0.5 in bursts of 100", async ({ world }) => {
    const { url, close } = await receiver();
    await world.call("PUT", `${queuePath("q")}/push`, { url, concurrency: 100 });
    await rows(world, "q", 1, () => world.publish("q", "first"));
    const alone = await rows(world, "q", 20, async () => {
      for (let n = 0; n < 20; n++) await rows(world, "q", 1, () => world.publish("q", n));
    });
    const burst = await rows(world, "q", 500, async () => {
      for (let n = 0; n < 5; n++) await rows(world, "q", 100, () => publishMany(world, "q", 100));
    });
    close();
    expect({ alone: alone / 20, burst: burst / 500 }).toEqual({
      alone: expect.closeTo(2, 0),
      burst: expect.any(Number),
    });
    expect(burst / 500).toBeLessThanOrEqual(0.5);
  });

  it("[CST6] receipts: at most 3 more for a batch and its target, whatever its size, and 1 there", async ({
    world,
  }) => {
    const producer = await world.connect();
    const consumer = await world.connect();
    await consumer.ok({ op: "subscribe", sub: 1, to: "queue:jobs", credit: 100 });
    const cycle = async (receiptTo?: string) => {
      const message = { op: "publish", to: "queue:jobs", body: 1, ...(receiptTo ? { receiptTo } : {}) };
      const sent = producer.requestAll(Array.from({ length: 100 }, () => message));
      const got = await take(consumer, 100);
      await Promise.all(sent);
      await consumer.ok({ op: "settle", sub: 1, ack: got.map(({ delivery }) => delivery) });
    };
    await cycle("queue:told");
    await eventually(async () => expect(await world.stats("told")).toMatchObject({ ready: 100 }));
    const plain = await rows(world, "jobs", 500, async () => {
      for (let n = 0; n < 5; n++) await cycle();
    });
    const told = await world.stats("told");
    const asked = await rows(world, "jobs", 500, async () => {
      for (let n = 0; n < 5; n++) await cycle("queue:told");
      await eventually(async () => expect(await world.stats("told")).toMatchObject({ ready: 600 }));
    });
    expect((asked - plain) / 5).toBeLessThanOrEqual(3);
    expect(((await world.stats("told")).rowsWritten - told.rowsWritten) / 5).toBeLessThanOrEqual(1);
  });

  it("[CST7] a schedule's run: at most 2 besides its message's end, the alarm among them", async ({
    world,
  }) => {
    const path = `${queuePath("clock")}/schedules/a`;
    await world.call("PUT", path, { cron: "* * * * * *", message: { body: 1 } });
    const runs = async () => ((await world.call("GET", path)).body as { runs: number }).runs;
    await eventually(async () => expect(await runs()).toBe(1));
    const before = await world.stats("clock");
    await eventually(async () => expect(await runs()).toBe(4));
    const after = await world.stats("clock");
    expect((after.rowsWritten - before.rowsWritten) / 3).toBeLessThanOrEqual(2);
  });

  it("[CST8] numbered producers cost a queue nothing more", async ({ world }) => {
    const publish = (seq: number, numbered: boolean) =>
      rows(world, "plain", 0, async () => {
        const wire = await world.connect();
        const producer = { id: "shop", epoch: 1, seq };
        await wire.ok({ op: "publish", to: "queue:plain", body: 1, ...(numbered ? { producer } : {}) });
      });
    await world.declare("plain");
    expect([await publish(1, true), await publish(2, true), await publish(0, false)]).toEqual([1, 1, 1]);
  });
});
