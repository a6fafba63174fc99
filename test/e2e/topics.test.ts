// Topics over JSON frames: publish, subscribe, filters, who gets which message, in which order, and what is refused.
import { describe, expect } from "vitest";
import { hear, listen, tell, tellNumbers } from "../support/topic-wire.ts";
import { expectError, noMessage, withBroker } from "./harness.ts";

const it = withBroker();

const bodies = (frames: { body?: unknown }[]) => frames.map(({ body }) => body);
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

describe("publishing", () => {
  it("[TJS1] is answered with the topic's own seq, epoch and the message id", async ({ world }) => {
    const wire = await world.connect();
    await listen(wire, 1, "#");
    const first = await tell(wire, "a", 1, { messageId: "m" });
    expect(first).toMatchObject({ messageId: "m", seq: 1, epoch: expect.any(Number), duplicate: false });
    const second = await tell(wire, "a", 2);
    expect(second).toMatchObject({ messageId: expect.stringMatching(/./), seq: 2, epoch: first.epoch });
    expect(await tell(wire, "b", 3)).toMatchObject({ seq: 1 });
    const batch = await tellNumbers(wire, "a", 3, 102);
    expect(batch.map(({ seq }) => seq)).toEqual(upTo(102).slice(2));
  });

  it("[TJS2] one without id is not answered, and reaches subscribers", async ({ world }) => {
    const wire = await world.connect();
    await listen(wire, 1, "a");
    wire.send({ op: "publish", to: "topic:a", body: "quiet" });
    expect(await wire.nextMessage(1)).toMatchObject({ body: "quiet" });
  });

  it("[TJS3] a message id seen before is taken once, and answered with the first one's seq", async ({
    world,
  }) => {
    const wire = await world.connect();
    await listen(wire, 1, "a");
    const first = await tell(wire, "a", "once", { messageId: "m" });
    const again = await tell(wire, "a", "once", { messageId: "m" });
    expect(again).toMatchObject({ seq: first.seq, epoch: first.epoch, messageId: "m", duplicate: true });
    await tell(wire, "a", "end");
    expect(bodies(await hear(wire, 1, 2))).toEqual(["once", "end"]);
  });

  it("[TJS4] a name that is a filter, empty or too long is refused, and disturbs nothing else of the frame", async ({
    world,
  }) => {
    const wire = await world.connect();
    await listen(wire, 1, "#");
    const names = ["a/+", "#", "", "x".repeat(513), "nul\0"];
    const replies = wire.requestAll([
      ...names.map((name) => ({ op: "publish", to: `topic:${name}`, body: 1 })),
      { op: "publish", to: "topic:good", body: 2 },
    ]);
    for (const reply of replies.slice(0, -1)) expectError(await reply, 1);
    expect(await replies.at(-1)!).toMatchObject({ op: "ok", seq: 1 });
    expect(await wire.nextMessage(1)).toMatchObject({ to: "topic:good", body: 2 });
    const large = await wire.error({ op: "publish", to: "topic:a", body: "x".repeat(1_048_577) });
    expectError(large, 3, "message-too-large");
  });

  it("[TJS5] a topic and a queue of one name, and topics of two namespaces, know nothing of each other", async ({
    world,
  }) => {
    const wire = await world.connect();
    const elsewhere = await world.connect({}, `${world.ns}-2`);
    await listen(wire, 1, "same");
    await listen(elsewhere, 1, "#");
    await wire.ok({ op: "publish", to: "queue:same", body: "job" });
    expect(await tell(wire, "same", "news")).toMatchObject({ seq: 1 });
    expect(await wire.nextMessage(1)).toMatchObject({ to: "topic:same", body: "news" });
    await noMessage(wire);
    await noMessage(elsewhere, undefined, 50);
    expect(await world.stats("same")).toMatchObject({ accepted: 1 });
  });
});

describe("subscribing", () => {
  it("[TJS6] is answered with the topic's epoch and seq, and for a filter with 0 and 0", async ({
    world,
  }) => {
    const wire = await world.connect();
    await listen(wire, 9, "a");
    await tell(wire, "a", 1);
    const { epoch } = await tell(wire, "a", 2);
    expect(await listen(wire, 1, "a")).toMatchObject({ op: "ok", sub: 1, epoch, seq: 2, recovered: true });
    expect(await listen(wire, 2, "a/#")).toMatchObject({ sub: 2, epoch: 0, seq: 0, recovered: true });
    expect(await listen(wire, 3, "never")).toMatchObject({ sub: 3, epoch: expect.any(Number), seq: 0 });
  });

  it("[TJS7] a message carries what the contract names, and nothing of a queue's delivery", async ({
    world,
  }) => {
    const wire = await world.connect();
    await listen(wire, 4, "a/+");
    const fields = { headers: { h: "1" }, group: "g", replyTo: "queue:r", correlationId: "c" };
    const before = Date.now();
    const { epoch } = await tell(wire, "a/b", { n: [null, "ü"] }, { messageId: "m", ...fields });
    const message = await wire.nextMessage();
    expect(message).toEqual({
      op: "message",
      sub: 4,
      to: "topic:a/b",
      seq: 1,
      epoch,
      messageId: "m",
      time: expect.any(Number),
      body: { n: [null, "ü"] },
      ...fields,
    });
    expect(message.time).toBeGreaterThanOrEqual(before - 1_000);
    const bytes = { base64: "AQL/", contentType: "image/png" };
    await wire.ok({ op: "publish", to: "topic:a/c", ...bytes });
    expect(await wire.nextMessage()).toMatchObject({ ...bytes, to: "topic:a/c" });
  });

  it("[TJS8] it is effective when it is answered: what any client publishes then arrives", async ({
    world,
  }) => {
    const publisher = await world.connect();
    const wire = await world.connect();
    for (let n = 1; n <= 20; n += 1) {
      await listen(wire, n, n % 2 === 0 ? `now/${n}` : `now/${n}/#`);
      await tell(publisher, `now/${n}`, n);
      expect(await wire.nextMessage(n)).toMatchObject({ body: n });
    }
  });

  it("[TJS8] nobody's messages wait for another's subscription", async ({ world }) => {
    const wire = await world.connect();
    await listen(wire, 0, "a");
    const since = Date.now();
    for (let n = 1; n <= 10; n += 1) {
      await listen(wire, n, "a");
      await tell(wire, "a", n);
      await hear(wire, 0, 1);
    }
    expect(Date.now() - since).toBeLessThan(10_000);
  });

  it("[TJS9] filters match as those of MQTT do", async ({ world }) => {
    const wire = await world.connect();
    const filters = ["#", "+", "a/#", "a/+", "+/b", "a/+/c", "/+", "$x/#", "+/+/#", "a"];
    for (const [sub, filter] of filters.entries()) await listen(wire, sub, filter);
    const open = { plain: filters.indexOf("#"), dollar: filters.indexOf("$x/#") };
    const heardBy = async (topic: string) => {
      const watch = topic.startsWith("$") ? open.dollar : open.plain;
      await tell(wire, topic, "first");
      await tell(wire, topic, "second");
      await wire.next(({ sub, body }) => sub === watch && body === "second");
      // What the topic sent to the others as well is here when a further answer is.
      await wire.ok({ op: "credit", sub: watch, add: 1 });
      const heard = wire.pushes.filter(({ body }) => body === "first").map(({ sub }) => filters[sub!]);
      wire.pushes.length = 0;
      return heard.sort((one, other) => filters.indexOf(one!) - filters.indexOf(other!));
    };
    expect(await heardBy("a")).toEqual(["#", "+", "a/#", "a"]);
    expect(await heardBy("a/b")).toEqual(["#", "a/#", "a/+", "+/b", "+/+/#"]);
    expect(await heardBy("a/b/c")).toEqual(["#", "a/#", "a/+/c", "+/+/#"]);
    expect(await heardBy("a/")).toEqual(["#", "a/#", "a/+", "+/+/#"]);
    expect(await heardBy("/b")).toEqual(["#", "+/b", "/+", "+/+/#"]);
    expect(await heardBy("$x")).toEqual(["$x/#"]);
    expect(await heardBy("$x/b")).toEqual(["$x/#"]);
  });

  it("[TJS10] a filter whose wildcard is not a whole level, or whose # is not the last, is refused", async ({
    world,
  }) => {
    const wire = await world.connect();
    for (const filter of ["a#", "a/#/b", "a+", "+a/b", "", "#/", "nul\0", "x".repeat(513)]) {
      expectError(await wire.error({ op: "subscribe", sub: 1, to: `topic:${filter}` }), 1);
    }
    expect(await listen(wire, 1, "+/a/#")).toMatchObject({ sub: 1 });
  });

  it("[TJS11] each subscription gets its own copy, also of one session and where filters overlap, and gets it once", async ({
    world,
  }) => {
    const [publisher, one, two] = [await world.connect(), await world.connect(), await world.connect()];
    await listen(one, 1, "news/sports");
    await listen(one, 2, "news/#");
    await listen(one, 3, "news/#");
    await listen(two, 1, "+/sports");
    await tellNumbers(publisher, "news/sports", 1, 50);
    for (const [wire, sub] of [
      [one, 1],
      [one, 2],
      [one, 3],
      [two, 1],
    ] as const) {
      expect(bodies(await hear(wire, sub, 50)), `subscription ${sub}`).toEqual(upTo(50));
    }
    await noMessage(one);
    await noMessage(two, undefined, 50);
  });

  it("[TJS12] messages of a topic come in the order of seq, whoever published them", async ({ world }) => {
    const wire = await world.connect();
    const publishers = await Promise.all([1, 2, 3].map(() => world.connect()));
    await listen(wire, 1, "busy", { credit: 10_000 });
    await Promise.all(
      publishers.flatMap((publisher, p) =>
        Array.from({ length: 10 }, (_, n) =>
          tellNumbers(publisher, "busy", p * 1_000 + n * 20, p * 1_000 + n * 20 + 19),
        ),
      ),
    );
    const heard = await hear(wire, 1, 600);
    expect(heard.map(({ seq }) => seq)).toEqual(upTo(600));
    for (const p of [0, 1, 2]) {
      const own = heard.map(({ body }) => body as number).filter((body) => Math.floor(body / 1_000) === p);
      expect(own).toEqual([...own].sort((a, b) => a - b));
    }
  });

  it("[TJS13] unsubscribe stops that subscription alone", async ({ world }) => {
    const wire = await world.connect();
    await listen(wire, 1, "a");
    await listen(wire, 2, "#");
    await listen(wire, 3, "a");
    await wire.ok({ op: "unsubscribe", sub: 1 });
    await tell(wire, "a", 1);
    expect(await hear(wire, 2, 1)).toMatchObject([{ body: 1 }]);
    expect(await hear(wire, 3, 1)).toMatchObject([{ body: 1 }]);
    await noMessage(wire, 1);
    expectError(await wire.error({ op: "unsubscribe", sub: 1 }), 4, "no-subscription");
    await wire.ok({ op: "unsubscribe", sub: 2 });
    await wire.ok({ op: "unsubscribe", sub: 3 });
    await tell(wire, "a", 2);
    await noMessage(wire);
  });

  it("[TJS14] a sub in use: another address is a conflict, the same one goes on with its new credit", async ({
    world,
  }) => {
    const wire = await world.connect();
    await listen(wire, 1, "a", { credit: 1 });
    expectError(await wire.error({ op: "subscribe", sub: 1, to: "topic:b" }), 4, "conflict");
    expectError(await wire.error({ op: "subscribe", sub: 1, to: "queue:a" }), 4, "conflict");
    await tell(wire, "a", 1);
    expect(await hear(wire, 1, 1)).toMatchObject([{ body: 1 }]);
    await listen(wire, 1, "a", { credit: 3 });
    await tellNumbers(wire, "a", 2, 4);
    expect(bodies(await hear(wire, 1, 3))).toEqual([2, 3, 4]);
  });

  it("[TJS15] a session holds at most 1,000 subscriptions; a further one is refused", async ({ world }) => {
    const wire = await world.connect();
    const frames = Array.from({ length: 1_000 }, (_, sub) => ({
      op: "subscribe",
      sub,
      to: `topic:many/${sub}`,
    }));
    for (const reply of wire.requestAll(frames)) expect((await reply).op).toBe("ok");
    expectError(await wire.error({ op: "subscribe", sub: 1_000, to: "topic:one/more" }), 3, "too-many");
    await tell(wire, "many/999", 1);
    expect(await hear(wire, 999, 1)).toHaveLength(1);
  });

  it("[TJS16] settle and extend are not for topics", async ({ world }) => {
    const wire = await world.connect();
    await listen(wire, 1, "a");
    expectError(await wire.error({ op: "settle", sub: 1, ack: ["x"] }), 1, "bad-state");
    expectError(
      await wire.error({ op: "extend", sub: 1, deliveries: ["x"], leaseMs: 5_000 }),
      1,
      "bad-state",
    );
  });

  it("[TJS18] a delay is refused: a topic delivers at once", async ({ world }) => {
    const wire = await world.connect();
    for (const fields of [{ delayMs: 5 }, { deliverAt: Date.now() + 60_000 }]) {
      expectError(await wire.error({ op: "publish", to: "topic:a", body: 1, ...fields }), 1, "bad-field");
    }
  });

  it("[TJS17] a topic that is deleted begins a new life: its subscriptions hear the next message, of a later epoch", async ({
    world,
  }) => {
    const wire = await world.connect();
    await listen(wire, 1, "a");
    const { epoch } = await tell(wire, "a", 1, { retain: true });
    await hear(wire, 1, 1);
    expect((await world.call("DELETE", "/v1/topics/a")).status).toBe(204);
    const after = await tell(wire, "a", 2);
    expect(after.seq).toBe(1);
    expect(after.epoch).toBeGreaterThan(epoch as number);
    expect(await hear(wire, 1, 1)).toMatchObject([{ body: 2, epoch: after.epoch, seq: 1 }]);
  });
});
