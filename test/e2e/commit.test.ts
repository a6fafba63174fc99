// Commits over JSON and HTTP: settles and publishes as one act, at one queue and over several.
import { describe, expect } from "vitest";
import { eventually, expectError, expectProblem, message, take, type World, withBroker } from "./harness.ts";

const it = withBroker();

/** Publishes and leases messages over HTTP; returns their handles. */
async function lease(world: World, queue: string, count: number): Promise<[string, string]> {
  for (let at = 0; at < count; at++) await world.publish(queue, at);
  const handles = (await world.receive(queue, { max: count })).map(({ delivery }) => delivery);
  return [handles[0]!, handles[1] ?? ""];
}

function commit(world: World, settle: unknown[], publish: unknown[] = []) {
  return world.call("POST", "/v1/commit", { settle, publish });
}

describe("commit over JSON", () => {
  it("[CMT1] [CMT2] settles what it got and publishes to queues and topics; receipts come in order", async ({
    world,
  }) => {
    const wire = await world.connect();
    const other = await world.connect();
    await other.ok({ op: "subscribe", sub: 5, to: "topic:news" });
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:in" });
    await wire.ok({ op: "publish", to: "queue:in", body: "job" });
    const [job] = await take(wire, 1, 1);
    const done = await wire.ok({
      op: "commit",
      settle: [{ sub: 1, ack: [job!.delivery] }],
      publish: [
        { to: "queue:out", body: "result", messageId: "r1", headers: { a: "b" } },
        { to: "topic:news", body: "done" },
        { to: "queue:in", body: "next", delayMs: 60_000 },
      ],
    });
    expect(done.published).toMatchObject([
      { messageId: "r1", seq: 1, duplicate: false },
      { messageId: expect.any(String), seq: 1, duplicate: false },
      { seq: 2, duplicate: false },
    ]);
    expect(await world.receive("out")).toMatchObject([
      { messageId: "r1", body: "result", headers: { a: "b" } },
    ]);
    expect(message(await other.nextMessage(5))).toMatchObject({ body: "done", to: "topic:news" });
    expect(await world.stats("in")).toMatchObject({ settled: 1, delayed: 1, leased: 0 });
  });

  it("[CMT3] [SUB8] with a lost delivery is a conflict that names it, and nothing happens", async ({
    world,
  }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:in" });
    for (const body of [1, 2]) await wire.ok({ op: "publish", to: "queue:in", body });
    const [one, two] = await take(wire, 2, 1);
    await wire.ok({ op: "settle", sub: 1, ack: [two!.delivery] });
    const refused = await wire.error({
      op: "commit",
      settle: [{ sub: 1, ack: [one!.delivery, two!.delivery] }],
      publish: [{ to: "queue:out", body: 1 }],
    });
    expectError(refused, 4, "conflict");
    expect(refused.message).toContain(two!.delivery);
    expect(refused.message).not.toContain(one!.delivery);
    expect((await world.call("GET", "/v1/queues/out")).status).toBe(404);
    expect(await wire.ok({ op: "settle", sub: 1, ack: [one!.delivery] })).toMatchObject({ settled: 1 });
    expectError(await wire.error({ op: "commit", settle: [{ sub: 9, ack: ["1.1"] }] }), 4, "no-subscription");
  });

  it("[CMT13] keeps its place among the other requests of its socket to the deciding queue", async ({
    world,
  }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:in", credit: 1 });
    await wire.ok({ op: "publish", to: "queue:in", body: 0 });
    const [job] = await take(wire, 1, 1);
    const answers = await Promise.all(
      wire.requestAll([
        { op: "publish", to: "queue:in", body: 1 },
        { op: "commit", settle: [{ sub: 1, ack: [job!.delivery] }], publish: [{ to: "queue:in", body: 2 }] },
        { op: "publish", to: "queue:in", body: 3 },
        { op: "settle", sub: 1, ack: [job!.delivery] },
      ]),
    );
    expect(answers).toMatchObject([
      { seq: 2 },
      { published: [{ seq: 3 }] },
      { seq: 4 },
      { settled: 1, lost: [] },
    ]);
  });

  it("[CMT5] repeated after a lost answer it is answered as made", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:in" });
    await wire.ok({ op: "publish", to: "queue:in", body: 0 });
    const [job] = await take(wire, 1, 1);
    const frame = {
      op: "commit",
      settle: [{ sub: 1, ack: [job!.delivery] }],
      publish: [
        { to: "queue:in", body: 1 },
        { to: "queue:out", body: 2 },
      ],
    };
    const first = await wire.ok(frame);
    await world.broker.restart();
    const again = await world.connect();
    await again.ok({ op: "subscribe", sub: 1, to: "queue:in" });
    const second = await again.ok(frame);
    const [own, sent] = first.published as { messageId: string; seq: number; epoch: number }[];
    expect(second.published).toEqual([
      { ...own!, duplicate: true },
      { messageId: sent!.messageId, pending: true, duplicate: true },
    ]);
    expect(await world.stats("in")).toMatchObject({ accepted: 2, settled: 1 });
    expect(await world.stats("out")).toMatchObject({ accepted: 1 });
  });

  it("[CMT14] without settles publishes to queues and topics as one act", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "topic:a" });
    const publish = [
      { to: "topic:a", body: 1, messageId: "x" },
      { to: "topic:b", body: 2, messageId: "y" },
    ];
    const done = await wire.ok({ op: "commit", publish });
    expect(done.published).toMatchObject([
      { seq: 1, duplicate: false },
      { seq: 1, duplicate: false },
    ]);
    expect(message(await wire.nextMessage(1))).toMatchObject({ body: 1 });
    const again = await wire.ok({ op: "commit", publish });
    expect(again.published).toMatchObject([{ messageId: "x", pending: true }, { messageId: "y" }]);
    await wire.none((frame) => frame.op === "message");
    expectError(await wire.error({ op: "commit" }), 1, "bad-field");
  });

  it("[CMT4] [CMT15] what a commit cannot promise is refused before anything happens", async ({ world }) => {
    const wire = await world.connect();
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:in" });
    await wire.ok({ op: "publish", to: "queue:in", body: 0 });
    const [job] = await take(wire, 1, 1);
    const settle = [{ sub: 1, ack: [job!.delivery] }];
    const refused = (publish: unknown[]) => wire.error({ op: "commit", settle, publish });
    const producer = { id: "p", epoch: 1, seq: 1 };
    expectError(await refused([{ to: "queue:out", body: 1, expectSeq: 0 }]), 5, "not-supported");
    expectError(await refused([{ to: "queue:out", body: 1, producer }]), 5, "not-supported");
    expectError(
      await refused([{ to: "queue:in", body: 1, prepare: { checkTo: "queue:c" } }]),
      5,
      "not-supported",
    );
    expectError(await refused([{ to: "topic:$presence/room", body: 1 }]), 5, "not-supported");
    expectError(await refused([{ to: "topic:a", body: 1, delayMs: 5 }]), 1, "bad-field");
    expectError(await refused([{ to: "queue:in", body: 1, expectSeq: 7 }]), 4, "conflict");
    expectError(await refused([{ to: "elsewhere", body: 1 }]), 1, "bad-address");
    expectError(await refused([{ to: "queue:out", body: 1, messageId: "\0x" }]), 1, "bad-field");
    const many = Array.from({ length: 1_001 }, () => ({ to: "queue:out", body: 1 }));
    expectError(await refused(many), 3, "batch-too-large");
    const twice = { op: "commit", settle: [...settle, ...settle] };
    expectError(await wire.error(twice), 1, "bad-field");
    expect(await world.stats("in")).toMatchObject({ accepted: 1, leased: 1 });
  });
});

describe("commit over HTTP", () => {
  it("[CMT1] [CMT2] [CMT8] settles at several queues and publishes, once", async ({ world }) => {
    const [a] = await lease(world, "a", 1);
    const b = await lease(world, "b", 2);
    const settle = [
      { queue: "a", ack: [a] },
      { queue: "b", ack: [b[0]], release: [b[1]] },
    ];
    const publish = [{ to: "queue:out", body: "both" }];
    const done = await commit(world, settle, publish);
    expect(done).toMatchObject({ status: 200, body: { published: [{ seq: 1, duplicate: false }] } });
    await eventually(async () => {
      expect(await world.stats("b")).toMatchObject({ settled: 1, leased: 0, ready: 1 });
    });
    expect(await world.stats("a")).toMatchObject({ settled: 1, leased: 0 });
    expect(await commit(world, settle, publish)).toMatchObject({
      status: 200,
      body: { published: [{ pending: true, duplicate: true }] },
    });
    expect(await world.stats("out")).toMatchObject({ accepted: 1 });
  });

  it("[CMT3] [CMT9] one lost delivery at any queue is a conflict, and the other leases run on", async ({
    world,
  }) => {
    const [a] = await lease(world, "a", 1);
    const [b] = await lease(world, "b", 1);
    for (const [lost, left] of [
      ["b", "a"],
      ["a", "b"],
    ] as const) {
      const handles = { a, b };
      const settle = ["a", "b"].map((queue) => ({
        queue,
        ack: [queue === lost ? "zz.zz" : handles[queue as "a" | "b"]],
      }));
      expectProblem(await commit(world, settle, [{ to: "queue:out", body: 1 }]), 409, 4, "conflict");
      expect(await world.stats(left)).toMatchObject({ leased: 1, settled: 0 });
    }
    expect(await world.settle("a", { ack: [a] })).toMatchObject({ settled: 1 });
    await eventually(async () => expect(await world.settle("b", { ack: [b] })).toMatchObject({ settled: 1 }));
  });

  it("[CMT12] settles at no more than 16 queues", async ({ world }) => {
    const settle = Array.from({ length: 17 }, (_, at) => ({ queue: `q${at}`, ack: ["1.1"] }));
    expectProblem(await commit(world, settle), 429, 3, "too-many");
  });

  it("[CMT6] a message whose id its destination knows is a duplicate there", async ({ world }) => {
    await world.publish("out", "first", { "idempotency-key": "m" });
    const [a] = await lease(world, "a", 1);
    const done = await commit(
      world,
      [{ queue: "a", ack: [a] }],
      [{ to: "queue:out", body: 2, messageId: "m" }],
    );
    expect(done.body).toMatchObject({ published: [{ messageId: "m", seq: 1, duplicate: true }] });
    expect(await world.stats("out")).toMatchObject({ accepted: 1 });
  });
});
