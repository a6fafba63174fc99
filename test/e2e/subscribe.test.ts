// Subscriptions and their credit: who gets which message, when, and how many at once.
import { describe, expect } from "vitest";
import type { WireClient } from "../support/wire-client.ts";
import { eventually, expectError, message, noMessage, take, type World, withBroker } from "./harness.ts";

const it = withBroker();

async function fill(world: World, queue: string, count: number): Promise<void> {
  const wire = await world.connect();
  const frames = Array.from({ length: count }, (_, i) => ({ op: "publish", to: `queue:${queue}`, body: i }));
  for (let at = 0; at < count; at += 500) await Promise.all(wire.requestAll(frames.slice(at, at + 500)));
}

function ack(wire: WireClient, sub: number, deliveries: string[]) {
  return wire.ok({ op: "settle", sub, ack: deliveries });
}

describe("subscribe", () => {
  it("[SUB1] is answered with sub, epoch, seq and recovered", async ({ world }) => {
    const wire = await world.connect();
    const first = await wire.ok({ op: "subscribe", sub: 7, to: "queue:q" });
    expect(first).toMatchObject({
      sub: 7,
      epoch: expect.any(Number),
      seq: expect.any(Number),
      recovered: expect.any(Boolean),
    });
    const { epoch } = await world.publish("q", 1);
    expect(first.epoch).toBe(epoch);
  });

  it("[SUB10] [SUB15] a message frame carries all that the contract names", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 3, to: "queue:q" });
    const receipt = await wire.ok({
      op: "publish",
      to: "queue:q",
      body: { a: 1 },
      messageId: "m",
      headers: { h: "1" },
      group: "g",
    });
    expect(await wire.nextMessage()).toEqual({
      op: "message",
      sub: 3,
      seq: 1,
      epoch: receipt.epoch,
      messageId: "m",
      time: expect.any(Number),
      to: "queue:q",
      body: { a: 1 },
      headers: { h: "1" },
      group: "g",
      delivery: expect.any(String),
      attempt: 1,
      redelivered: false,
    });
  });

  it("[SUB11] [SUB2] a single consumer gets everything in the order of seq", async ({ world }) => {
    await fill(world, "q", 1_000);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 10 });
    const seen: number[] = [];
    while (seen.length < 1_000) {
      const got = message(await wire.nextMessage());
      seen.push(got.seq);
      wire.send({ op: "settle", sub: 1, ack: [got.delivery] });
    }
    expect(seen).toEqual(Array.from({ length: 1_000 }, (_, i) => i + 1));
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ settled: 1_000, leased: 0 }));
  });

  it("[SUB13] a waiting consumer gets a message without asking again", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    for (let i = 0; i < 5; i += 1) {
      await world.publish("q", i);
      expect(message(await wire.nextMessage()).body).toBe(i);
    }
  });

  it("[SUB12] one session holds subscriptions to several queues, and several to one", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:a", credit: 2 });
    await wire.ok({ op: "subscribe", sub: 2, to: "queue:a", credit: 3 });
    await wire.ok({ op: "subscribe", sub: 0, to: "queue:b", credit: 1 });
    await fill(world, "a", 10);
    await fill(world, "b", 10);
    await take(wire, 2, 1);
    await take(wire, 3, 2);
    await take(wire, 1, 0);
    await noMessage(wire);
  });

  it("[SUB14] a sub in use: another address is a conflict, the same address replaces its credit", async ({
    world,
  }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:a", credit: 1 });
    expectError(await wire.error({ op: "subscribe", sub: 1, to: "queue:b", credit: 1 }), 4, "conflict");
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:a", credit: 2 });
    await fill(world, "a", 4);
    const got = await take(wire, 2);
    expect(new Set(got.map((m) => m.seq)).size).toBe(2);
    await noMessage(wire);
  });

  it("[SUB16] [SUB2] large messages all arrive, in frames that a client can take", async ({ world }) => {
    const wire = await world.connect();
    let largest = 0;
    wire.socket.on("message", (data) => {
      largest = Math.max(largest, Buffer.byteLength(String(data)));
    });
    const base64 = Buffer.alloc(1_000_000, 7).toString("base64");
    for (let i = 0; i < 20; i += 1) await wire.ok({ op: "publish", to: "queue:q", base64 });
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const got = await take(wire, 20);
    expect(got.map((m) => m.seq)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    expect(got.every((m) => m.base64 === base64)).toBe(true);
    expect(largest).toBeLessThanOrEqual(4_194_304);
  });

  it("[LIM7] a session has at most 1,000 subscriptions", async ({ world }) => {
    const wire = await world.connect();
    const subscribe = (sub: number) => ({ op: "subscribe", sub, to: "queue:q", credit: 0 });
    await Promise.all(wire.requestAll(Array.from({ length: 1_000 }, (_, sub) => subscribe(sub))));
    expectError(await wire.error(subscribe(1_000)), 3, "too-many");
    await wire.ok({ op: "unsubscribe", sub: 7 });
    await wire.ok(subscribe(1_000));
    expect(await world.stats("q")).toMatchObject({ consumers: 1_000 });
  });

  it("[SUB8] an op on a sub that is not there is an error of its own", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    for (const frame of [
      { op: "credit", sub: 2, add: 1 },
      { op: "settle", sub: 2, ack: ["1.1"] },
      { op: "extend", sub: 2, deliveries: ["1.1"], leaseMs: 1_000 },
      { op: "unsubscribe", sub: 2 },
    ]) {
      expectError(await wire.error(frame), 4, "no-subscription");
    }
    await world.publish("q", 1);
    await take(wire, 1);
  });
});

describe("credit", () => {
  it("[SUB2] the default is 64", async ({ world }) => {
    await fill(world, "q", 100);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    await take(wire, 64);
    await noMessage(wire);
    expect(await world.stats("q")).toMatchObject({ leased: 64, ready: 36 });
  });

  it("[SUB2] [SUB3] the window slides with each settled, released or failed delivery", async ({ world }) => {
    await fill(world, "q", 8);
    await world.declare("q", { backoff: { kind: "fixed", baseMs: 60_000 } });
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 3 });
    const first = await take(wire, 3);
    await noMessage(wire);
    await ack(wire, 1, [first[0]!.delivery]);
    expect((await take(wire, 1))[0]!.seq).toBe(4);
    await wire.ok({ op: "settle", sub: 1, fail: [{ delivery: first[1]!.delivery }] });
    expect((await take(wire, 1))[0]!.seq).toBe(5);
    await wire.ok({ op: "settle", sub: 1, release: [first[2]!.delivery] });
    expect((await take(wire, 1))[0]).toMatchObject({ attempt: expect.any(Number) });
    await noMessage(wire);
    expect(await world.stats("q")).toMatchObject({ leased: 3 });
  });

  it("[SUB4] credit add raises the window at once, for good", async ({ world }) => {
    await fill(world, "q", 20);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 2 });
    const got = await take(wire, 2);
    wire.send({ op: "credit", sub: 1, add: 3 });
    got.push(...(await take(wire, 3)));
    await noMessage(wire);
    await ack(
      wire,
      1,
      got.map((m) => m.delivery),
    );
    await take(wire, 5);
    await noMessage(wire);
  });

  it("[SUB5] [SUB4] credit 0 gets nothing until credit is added", async ({ world }) => {
    await fill(world, "q", 3);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 0 });
    await noMessage(wire);
    expect(await wire.ok({ op: "credit", sub: 1, add: 2 })).toMatchObject({ op: "ok" });
    await take(wire, 2);
    await noMessage(wire);
  });

  it("[SUB6] [SUB2] a window of 10,000 is filled and no further", async ({ world }) => {
    await fill(world, "q", 10_001);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 10_000 });
    const seqs = new Set((await take(wire, 10_000)).map((m) => m.seq));
    expect(seqs.size).toBe(10_000);
    await noMessage(wire);
  });

  it("[SUB6] a window grows to 10,000 and no further", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 9_999 });
    await wire.ok({ op: "credit", sub: 1, add: 1 });
    expect(await wire.error({ op: "credit", sub: 1, add: 1 })).toMatchObject({ op: "error" });
    expect(await wire.error({ op: "credit", sub: 1, add: 10_000 })).toMatchObject({ op: "error" });
  });

  it("[SUB2] a message that came while all credit was used is not lost", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 1 });
    await fill(world, "q", 2);
    const [first] = await take(wire, 1);
    await noMessage(wire);
    await ack(wire, 1, [first!.delivery]);
    expect((await take(wire, 1))[0]).toMatchObject({ seq: 2, attempt: 1, redelivered: false });
  });
});

describe("competing consumers", () => {
  it("[SUB9] [LEA1] each message goes to one consumer, and each consumer gets some", async ({ world }) => {
    const seen = new Map<number, number>();
    const perConsumer = [0, 0, 0, 0];
    for (const index of perConsumer.keys()) {
      const wire = await world.connect({}, world.ns, {
        onFrame: (frame) => {
          if (frame.op !== "message") return undefined;
          seen.set(frame.seq!, (seen.get(frame.seq!) ?? 0) + 1);
          perConsumer[index]! += 1;
          wire.send({ op: "settle", sub: 1, ack: [frame.delivery!] });
          return true;
        },
      });
      await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 5 });
    }
    await fill(world, "q", 2_000);
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ settled: 2_000 }));
    expect(seen.size).toBe(2_000);
    expect([...seen.values()].every((times) => times === 1)).toBe(true);
    for (const count of perConsumer) expect(count).toBeGreaterThan(100);
  });

  it("[SUB9] a consumer that does not settle does not starve the others", async ({ world }) => {
    const idle = await world.connect();
    await idle.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 2 });
    const busy = await world.connect();
    await busy.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 1 });
    await fill(world, "q", 30);
    const held = await take(idle, 2);
    const seqs = held.map((m) => m.seq);
    for (let i = 0; i < 28; i += 1) {
      const [got] = await take(busy, 1);
      seqs.push(got!.seq);
      await ack(busy, 1, [got!.delivery]);
    }
    expect(seqs.sort((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
  });

  it("[SUB9] [HTTP16] a subscriber and an HTTP receiver share the queue", async ({ world }) => {
    await fill(world, "q", 10);
    const pulled = await world.receive("q", { max: 4 });
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const pushed = await take(wire, 6);
    const seqs = [...pulled, ...pushed].map((m) => m.seq).sort((a, b) => a - b);
    expect(seqs).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    await ack(
      wire,
      1,
      pushed.map((m) => m.delivery),
    );
    expect(await world.settle("q", { ack: pulled.map((m) => m.delivery) })).toEqual({ settled: 4, lost: [] });
    expect(await world.stats("q")).toMatchObject({ settled: 10 });
  });
});

describe("unsubscribe", () => {
  it("[SUB7] gives back what is unsettled at once, and delivery stops", async ({ world }) => {
    await world.declare("q", { maxFailures: 1 });
    await fill(world, "q", 2);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const held = await take(wire, 2);
    expect(await wire.ok({ op: "unsubscribe", sub: 1 })).toMatchObject({ op: "ok" });
    await world.publish("q", "more");
    await noMessage(wire);
    const again = await world.receive("q", { max: 10 });
    expect(again.map((m) => [m.seq, m.attempt, m.redelivered])).toEqual([
      [1, 2, true],
      [2, 2, true],
      [3, 1, false],
    ]);
    expect(await world.settle("q", { ack: held.map((m) => m.delivery) })).toMatchObject({ settled: 0 });
    expectError(await wire.error({ op: "unsubscribe", sub: 1 }), 4, "no-subscription");
  });

  it("[SUB7] the number may be used anew", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:a" });
    await wire.ok({ op: "unsubscribe", sub: 1 });
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:b" });
    await world.publish("a", "a");
    await world.publish("b", "b");
    expect((await take(wire, 1))[0]).toMatchObject({ to: "queue:b", body: "b" });
    await noMessage(wire);
  });
});
