// Sessions: hello, what survives a lost socket and what does not, takeover and goodbye. Tests run side by side, since time passes.
import { describe, expect } from "vitest";
import {
  closeCode,
  eventually,
  expectAlive,
  expectError,
  noMessage,
  pass,
  queuePath,
  take,
  withBroker,
} from "./harness.ts";

const it = withBroker();

describe.concurrent("hello", () => {
  it("[SES3] welcome carries what a client must know", async ({ world }) => {
    const before = Date.now();
    const wire = await world.connect({ client: "c-1", session: { expirySeconds: 10 } });
    const welcome = wire.welcome!;
    expect(welcome).toMatchObject({
      op: "welcome",
      id: expect.any(Number),
      client: "c-1",
      resumed: false,
      namespace: world.ns,
      limits: expect.any(Object),
    });
    expect(welcome.session).toEqual(expect.any(String));
    expect(welcome.serverTime).toBeGreaterThanOrEqual(before - 5);
    expect(welcome.serverTime).toBeLessThanOrEqual(Date.now() + 5);
    expect(welcome).not.toHaveProperty("expiresAt");
    for (const limit of Object.values(welcome.limits as object)) expect(limit).toEqual(expect.any(Number));
  });

  it("[SES4] without client, each socket gets a fresh id", async ({ world }) => {
    const wires = await Promise.all([1, 2, 3].map(() => world.connect()));
    const ids = wires.map((wire) => wire.welcome!.client as string);
    expect(new Set(ids).size).toBe(3);
    expect(ids.every((id) => id.length > 0)).toBe(true);
  });

  it("[SES1] an op before hello has no effect", async ({ world }) => {
    const wire = await world.connect(false);
    wire.send({ op: "publish", id: 1, to: "queue:q", body: 1 });
    expectError(await wire.next((frame) => frame.op === "error"), 1, "bad-state");
    expect(await closeCode(wire)).toBe(4400);
    expect((await world.call("GET", queuePath("q"))).status).toBe(404);
  });

  it("[SES2] a socket without hello is closed with 4408 after 10 s, one with hello is not", async ({
    world,
  }) => {
    const silent = await world.connect(false);
    const pinging = await world.connect(false);
    const greeted = await world.connect();
    const start = performance.now();
    const timer = setInterval(() => pinging.sendText("ping"), 1_000);
    expect(await closeCode(silent)).toBe(4408);
    const tookMs = performance.now() - start;
    expect(await closeCode(pinging)).toBe(4408);
    clearInterval(timer);
    expect(tookMs).toBeGreaterThan(8_500);
    expect(tookMs).toBeLessThan(16_000);
    await expectAlive(greeted);
  });

  it("[SES5] a second hello is an error and changes nothing", async ({ world }) => {
    const wire = await world.connect({ client: "a" });
    await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    expectError(await wire.error({ op: "hello", client: "b" }), 1);
    await world.publish("q", 1);
    expect(await wire.nextMessage()).toMatchObject({ sub: 1, body: 1 });
  });

  it("[SES14] bye closes with 1000, with and without an id", async ({ world }) => {
    const silent = await world.connect();
    silent.send({ op: "bye" });
    expect(await closeCode(silent)).toBe(1000);
    const asking = await world.connect();
    expect(await asking.ok({ op: "bye" })).toMatchObject({ op: "ok" });
    expect(await closeCode(asking)).toBe(1000);
  });
});

describe.concurrent("sessions that end with their socket", () => {
  it.for(["cut", "close", "bye"] as const)(
    "[SES7] [DLQ9] after a %s the messages are ready at once",
    async (way, { world }) => {
      await world.declare("q", { maxFailures: 1 });
      for (let i = 0; i < 3; i += 1) await world.publish("q", i);
      const wire = await world.connect({ client: "c" });
      await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
      const held = await take(wire, 3);
      const start = performance.now();
      if (way === "cut") wire.cut();
      else if (way === "close") await wire.close();
      else wire.send({ op: "bye" });
      const got: unknown[] = [];
      while (got.length < 3) {
        const messages = await world.receive("q", { max: 3, waitMs: 20_000 });
        expect(messages.length, `after ${Math.round(performance.now() - start)} ms`).toBeGreaterThan(0);
        got.push(...messages.map((m) => [m.body, m.attempt, m.redelivered]));
      }
      expect(performance.now() - start).toBeLessThan(10_000);
      expect(got).toEqual([0, 1, 2].map((body) => [body, 2, true]));
      expect(await world.settle("q", { ack: [held[0]!.delivery] })).toMatchObject({ settled: 0 });
      expect(await world.stats("q")).toMatchObject({ deadLettered: 0, consumers: 0 });
      const again = await world.connect({ client: "c" });
      expect(again.welcome).toMatchObject({ resumed: false });
    },
  );
});

describe.concurrent("sessions that outlive their socket", () => {
  const hello = { client: "c", session: { expirySeconds: 60 } };

  it("[SES8] [SES9] [SES10] a resumed session goes on, and its deliveries come again under their handles", async ({
    world,
  }) => {
    for (let i = 0; i < 4; i += 1) await world.publish("q", i);
    const first = await world.connect(hello);
    await first.ok({ op: "subscribe", sub: 5, to: "queue:q", credit: 3 });
    const held = await take(first, 3);
    await first.ok({ op: "settle", sub: 5, ack: [held[0]!.delivery] });
    const [third] = await take(first, 1);
    first.cut();
    const second = await world.connect(hello);
    expect(second.welcome).toMatchObject({ resumed: true, client: "c", session: first.welcome!.session });
    const again = await take(second, 3);
    const expected = [held[1]!, held[2]!, third!];
    expect(again.map((m) => [m.sub, m.body, m.delivery, m.attempt, m.redelivered])).toEqual(
      expected.map((m) => [5, m.body, m.delivery, m.attempt, true]),
    );
    const settled = await second.ok({ op: "settle", sub: 5, ack: expected.map((m) => m.delivery) });
    expect(settled).toMatchObject({ settled: 3, lost: [] });
    await world.publish("q", "new");
    expect((await take(second, 1))[0]).toMatchObject({ sub: 5, body: "new", attempt: 1, redelivered: false });
    expect(await world.stats("q")).toMatchObject({ settled: 4, leased: 1 });
  });

  it("[SES10] a settle sent with the resume's hello is taken before anything is sent again", async ({
    world,
  }) => {
    await world.publish("q", 1);
    const first = await world.connect(hello);
    await first.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const [held] = await take(first, 1);
    first.cut();
    const second = await world.connect(hello);
    expect(await second.ok({ op: "settle", sub: 1, ack: [held!.delivery] })).toMatchObject({
      settled: 1,
      lost: [],
    });
    expect(await world.stats("q")).toMatchObject({ settled: 1, leased: 0 });
  });

  it("[SES8] what is published while the session is away is delivered after the resume", async ({
    world,
  }) => {
    const first = await world.connect(hello);
    await first.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 2 });
    first.cut();
    for (let i = 0; i < 5; i += 1) await world.publish("q", i);
    const second = await world.connect(hello);
    const got = await take(second, 2);
    await noMessage(second);
    expect(got.map((m) => m.body)).toEqual([0, 1]);
    await second.ok({ op: "settle", sub: 1, ack: got.map((m) => m.delivery) });
    expect((await take(second, 2)).map((m) => m.body)).toEqual([2, 3]);
  });

  it("[SES8] [SUB14] a client may subscribe again after the resume", async ({ world }) => {
    const first = await world.connect(hello);
    await first.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    first.cut();
    const second = await world.connect(hello);
    await second.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    await world.publish("q", 1);
    await take(second, 1);
    await noMessage(second);
    expect(await world.stats("q")).toMatchObject({ consumers: 1 });
  });

  it("[SES8] [SUB4] a window raised by credit is as wide after the resume", async ({ world }) => {
    const first = await world.connect(hello);
    await first.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 1 });
    await first.ok({ op: "credit", sub: 1, add: 2 });
    for (let i = 0; i < 5; i += 1) await world.publish("q", i);
    await take(first, 3);
    first.cut();
    const second = await world.connect(hello);
    expect((await take(second, 3)).map((m) => m.body)).toEqual([0, 1, 2]);
    await noMessage(second);
  });

  it("[SES8] a session may be resumed many times", async ({ world }) => {
    await world.publish("q", 1);
    let delivery: string | undefined;
    for (let i = 0; i < 5; i += 1) {
      const wire = await world.connect(hello);
      expect(wire.welcome!.resumed).toBe(i > 0);
      if (i === 0) await wire.ok({ op: "subscribe", sub: 1, to: "queue:q" });
      const [got] = await take(wire, 1);
      delivery ??= got!.delivery;
      expect(got).toMatchObject({ delivery, attempt: 1, redelivered: i > 0 });
      wire.cut();
    }
  });

  it("[SES11] after the expiry its messages are ready again and the session is another", async ({
    world,
  }) => {
    await world.declare("q", { maxFailures: 1 });
    await world.publish("q", 1);
    const short = { client: "c", session: { expirySeconds: 1 } };
    const first = await world.connect(short);
    await first.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const [held] = await take(first, 1);
    first.cut();
    const start = performance.now();
    const [got] = await world.receive("q", { waitMs: 20_000 });
    expect(performance.now() - start).toBeGreaterThan(800);
    expect(got).toMatchObject({ attempt: 2, redelivered: true });
    const second = await world.connect(short);
    expect(second.welcome).toMatchObject({ resumed: false });
    expect(second.welcome!.session).not.toBe(first.welcome!.session);
    expectError(await second.error({ op: "settle", sub: 1, ack: [held!.delivery] }), 4, "no-subscription");
    expect(await world.stats("q")).toMatchObject({ deadLettered: 0, leased: 1 });
  });

  it("[SES12] a lease that runs out while the session is away goes to others", async ({ world }) => {
    await world.publish("q", 1);
    const first = await world.connect(hello);
    await first.ok({ op: "subscribe", sub: 1, to: "queue:q", leaseMs: 1_000 });
    const [held] = await take(first, 1);
    first.cut();
    expect(await world.receive("q", { waitMs: 20_000 })).toMatchObject([{ body: 1, attempt: 2 }]);
    const second = await world.connect(hello);
    expect(second.welcome).toMatchObject({ resumed: true });
    await noMessage(second);
    expect(await second.ok({ op: "settle", sub: 1, ack: [held!.delivery] })).toMatchObject({
      settled: 0,
      lost: [held!.delivery],
    });
  });

  it("[SES8] a shorter expiry named at the resume holds from then on", async ({ world }) => {
    const first = await world.connect(hello);
    await first.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    first.cut();
    const second = await world.connect({ client: "c", session: { expirySeconds: 0 } });
    expect(second.welcome).toMatchObject({ resumed: true });
    second.cut();
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ consumers: 0 }));
    const third = await world.connect(hello);
    expect(third.welcome).toMatchObject({ resumed: false });
  });

  it("[SES6] the longest expiry is taken", async ({ world }) => {
    const wire = await world.connect({ client: "c", session: { expirySeconds: 604_800 } });
    expect(wire.welcome).toMatchObject({ resumed: false });
  });
});

describe.concurrent("takeover", () => {
  it("[SES13] the older socket closes with 4409; with an expiry the session goes on", async ({ world }) => {
    const hello = { client: "c", session: { expirySeconds: 60 } };
    await world.publish("q", 1);
    const first = await world.connect(hello);
    await first.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    const [held] = await take(first, 1);
    const second = await world.connect(hello);
    expect(await closeCode(first)).toBe(4409);
    expect(second.welcome).toMatchObject({ resumed: true, session: first.welcome!.session });
    expect((await take(second, 1))[0]).toMatchObject({
      delivery: held!.delivery,
      attempt: 1,
      redelivered: true,
    });
    expect(await second.ok({ op: "settle", sub: 1, ack: [held!.delivery] })).toMatchObject({
      settled: 1,
      lost: [],
    });
    expect(await world.stats("q")).toMatchObject({ consumers: 1 });
  });

  it("[SES13] without an expiry the older session ends, and its messages are ready", async ({ world }) => {
    await world.publish("q", 1);
    const first = await world.connect({ client: "c" });
    await first.ok({ op: "subscribe", sub: 1, to: "queue:q" });
    await take(first, 1);
    const second = await world.connect({ client: "c" });
    expect(await closeCode(first)).toBe(4409);
    await expectAlive(second);
    await eventually(async () => expect(await world.stats("q")).toMatchObject({ leased: 0, ready: 1 }));
  });

  it("[SES13] of many sockets racing for one client, one stays", async ({ world }) => {
    const hello = { client: "c", session: { expirySeconds: 60 } };
    const wires = await Promise.all(Array.from({ length: 6 }, () => world.connect(false)));
    for (const wire of wires) wire.send({ op: "hello", id: 1, ...hello });
    await eventually(() => {
      expect(wires.filter((wire) => wire.socket.readyState === wire.socket.OPEN)).toHaveLength(1);
    });
    const left = wires.find((wire) => wire.socket.readyState === wire.socket.OPEN)!;
    for (const wire of wires) if (wire !== left) expect(await closeCode(wire)).toBe(4409);
    await left.ok({ op: "subscribe", id: 2, sub: 1, to: "queue:q" });
    await world.publish("q", 1);
    await take(left, 1);
  });

  it("[SES15] the same client in two namespaces is two sessions", async ({ world }) => {
    const first = await world.connect({ client: "c" });
    const second = await world.connect({ client: "c" }, `${world.ns}.other`);
    await pass(300);
    await expectAlive(first);
    await expectAlive(second);
  });
});
