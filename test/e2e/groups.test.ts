// Groups: order within one key, independence between keys.
import { describe, expect } from "vitest";
import { eventually, expectBalance, message, noMessage, take, type World, withBroker } from "./harness.ts";

const it = withBroker();

async function publish(world: World, entries: [group: string, body: unknown][]): Promise<void> {
  const wire = await world.connect();
  await Promise.all(
    wire.requestAll(
      entries.map(([group, body]) => ({
        op: "publish",
        to: "queue:q",
        body,
        ...(group === "" ? {} : { group }),
      })),
    ),
  );
}

describe.concurrent("groups", () => {
  it("[GRP1] [GRP2] [GRP5] at most one message of a group is out, and the next follows its ack", async ({
    world,
  }) => {
    await publish(world, [
      ["g", 1],
      ["g", 2],
      ["g", 3],
    ]);
    const a = await world.connect();
    const b = await world.connect();
    await a.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const first = message(await a.nextMessage());
    await b.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    await noMessage(a);
    await noMessage(b);
    expect(await world.stats("q")).toMatchObject({ leased: 1, ready: 2 });
    expect(await world.receive("q", { max: 10 })).toEqual([]);
    await a.ok({ op: "settle", sub: 1, ack: [first.delivery] });
    const second = await Promise.race([a.nextMessage(), b.nextMessage()]);
    expect(second.body).toBe(2);
    await noMessage(a);
    await noMessage(b);
  });

  it("[GRP3] groups do not wait for each other, nor do messages of none", async ({ world }) => {
    await publish(world, [
      ["a", "a1"],
      ["a", "a2"],
      ["b", "b1"],
      ["", "x"],
      ["a", "a3"],
      ["", "y"],
      ["b", "b2"],
    ]);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    expect((await take(wire, 4)).map((m) => m.body)).toEqual(["a1", "b1", "x", "y"]);
    await noMessage(wire);
  });

  it("[GRP4] a released message of a group comes back before later ones", async ({ world }) => {
    await publish(world, [
      ["g", 1],
      ["g", 2],
    ]);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const first = message(await wire.nextMessage());
    await wire.ok({ op: "settle", sub: 1, release: [first.delivery] });
    const again = message(await wire.nextMessage());
    expect(again).toMatchObject({ body: 1, attempt: 2, group: "g" });
    await wire.ok({ op: "settle", sub: 1, ack: [again.delivery] });
    expect(message(await wire.nextMessage()).body).toBe(2);
  });

  it("[GRP4] [RET5] a failed message holds its group through its back-off, and nothing else", async ({
    world,
  }) => {
    await publish(world, [
      ["g", 1],
      ["g", 2],
      ["h", "h1"],
      ["", "x"],
    ]);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 1 });
    const first = message(await wire.nextMessage());
    expect(first.body).toBe(1);
    const start = performance.now();
    await wire.ok({ op: "settle", sub: 1, fail: [{ delivery: first.delivery, delayMs: 1_500 }] });
    const bodies: unknown[] = [];
    for (let i = 0; i < 4; i += 1) {
      const got = message(await wire.nextMessage());
      bodies.push(got.body);
      if (got.body === 1) expect(performance.now() - start).toBeGreaterThan(1_400);
      await wire.ok({ op: "settle", sub: 1, ack: [got.delivery] });
    }
    expect(bodies).toEqual(["h1", "x", 1, 2]);
  });

  it("[GRP5] [GRP4] the next of a group follows a dead-lettered one", async ({ world }) => {
    await world.declare("q", { maxFailures: 2 });
    await publish(world, [
      ["g", 1],
      ["g", 2],
      ["g", 3],
    ]);
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    for (const attempt of [1, 2]) {
      const got = message(await wire.nextMessage());
      expect(got).toMatchObject({ body: 1, attempt });
      await wire.ok({ op: "settle", sub: 1, fail: [{ delivery: got.delivery }] });
    }
    const second = message(await wire.nextMessage());
    expect(second.body).toBe(2);
    await wire.ok({ op: "settle", sub: 1, dead: [{ delivery: second.delivery }] });
    expect(message(await wire.nextMessage()).body).toBe(3);
    await eventually(async () => {
      expect((await world.peek("q.dead")).map((m) => [m.body, m.group])).toEqual([
        [1, "g"],
        [2, "g"],
      ]);
    });
  });

  it("[GRP5] [TTL1] an expired message does not block its group", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "publish", to: "queue:q", body: 1, group: "g" });
    await wire.ok({ op: "publish", to: "queue:q", body: 2, group: "g", ttlMs: 300 });
    await wire.ok({ op: "publish", to: "queue:q", body: 3, group: "g" });
    const [first] = await world.receive("q");
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ expired: 1 }));
    await world.settle("q", { ack: [first!.delivery] });
    expect(await world.receive("q", { waitMs: 5_000 })).toMatchObject([{ body: 3 }]);
  });

  it("[GRP2] [LEA2] [GRP4] an expired lease gives its group back in order", async ({ world }) => {
    await publish(world, [
      ["g", 1],
      ["g", 2],
    ]);
    await world.receive("q", { leaseMs: 1_000 });
    expect(await world.receive("q", { waitMs: 15_000, max: 10 })).toMatchObject([{ body: 1, attempt: 2 }]);
  });

  it("[GRP1] [GRP2] order holds under several consumers, failures and releases", async ({ world }) => {
    const groups = Array.from({ length: 20 }, (_, i) => `g${i}`);
    const perGroup = 25;
    const entries = Array.from({ length: perGroup }, (_, n) =>
      groups.map((g): [string, unknown] => [g, n]),
    ).flat();
    const acked = new Map<string, unknown[]>(groups.map((g) => [g, []]));
    const out = new Map<string, number>();
    let overlaps = 0;
    let turn = 0;
    for (let consumer = 0; consumer < 4; consumer += 1) {
      const wire = await world.connect({}, world.ns, {
        onFrame: (frame) => {
          if (frame.op !== "message") return undefined;
          const { group, body, delivery } = message(frame);
          if (out.has(group!)) overlaps += 1;
          out.set(group!, consumer);
          // Answered later, so that several messages are out at a time.
          setImmediate(() => {
            turn += 1;
            out.delete(group!);
            if (turn % 7 === 0) wire.send({ op: "settle", sub: 1, release: [delivery] });
            else if (turn % 11 === 0) wire.send({ op: "settle", sub: 1, fail: [{ delivery }] });
            else {
              acked.get(group!)!.push(body);
              wire.send({ op: "settle", sub: 1, ack: [delivery] });
            }
          });
          return true;
        },
      });
      await wire.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 16 });
    }
    await publish(world, entries);
    await eventually(
      async () => expect(await world.stats("q")).toMatchObject({ settled: entries.length }),
      40_000,
    );
    const expected = Array.from({ length: perGroup }, (_, n) => n);
    for (const [group, bodies] of acked) expect(bodies, group).toEqual(expected);
    expect(overlaps).toBe(0);
    await expectBalance(world);
  });

  it("[GRP1] [GRP2] a batch received over HTTP holds one message of each group", async ({ world }) => {
    await publish(world, [
      ["a", 1],
      ["a", 2],
      ["b", 3],
      ["a", 4],
      ["c", 5],
    ]);
    const got = await world.receive("q", { max: 10 });
    expect(got.map((m) => m.body)).toEqual([1, 3, 5]);
    await world.settle("q", { ack: got.map((m) => m.delivery) });
    expect((await world.receive("q", { max: 10 })).map((m) => m.body)).toEqual([2]);
  });

  it("[GRP6] groups of 1 and 256 characters, of any alphabet, are kept apart", async ({ world }) => {
    const names = [
      "a",
      "A",
      " ",
      "é",
      "e\u0301",
      "g".repeat(256),
      `${"g".repeat(255)}h`,
      "constructor",
      "日本",
    ];
    await publish(
      world,
      names.map((name): [string, unknown] => [name, name]),
    );
    expect((await world.receive("q", { max: 100 })).map((m) => m.group)).toEqual(names);
  });

  it("[GRP3] [GRP7] thousands of messages of a busy group do not hide another group", async ({ world }) => {
    const busy = Array.from({ length: 3_000 }, (_, i): [string, unknown] => ["busy", i]);
    for (let at = 0; at < busy.length; at += 1_000) await publish(world, busy.slice(at, at + 1_000));
    await publish(world, [["free", "free"]]);
    const got = await world.receive("q", { max: 10, waitMs: 5_000 });
    expect(got.map((m) => m.body)).toEqual([0, "free"]);
  });
});
