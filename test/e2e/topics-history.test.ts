// What topics keep: retained messages, retention, where a subscription begins, and how hello's resume goes on.
import { describe, expect } from "vitest";
import { hear, listen, resumed, tell, tellNumbers } from "../support/topic-wire.ts";
import type { WireClient, WireFrame } from "../support/wire-client.ts";
import { expectError, noMessage, pass, type World, withBroker } from "./harness.ts";

const it = withBroker();

const bodies = (frames: WireFrame[]) => frames.map(({ body }) => body);
const upTo = (count: number, from = 1) => Array.from({ length: count }, (_, i) => from + i);

/** Gives a topic a history of so many messages. */
async function keep(world: World, topic: string, maxMessages = 1_000): Promise<void> {
  const path = `/v1/topics/${encodeURIComponent(topic)}`;
  const answer = await world.call("PUT", path, { retention: { maxMessages } });
  expect([200, 201], JSON.stringify(answer.body)).toContain(answer.status);
}

describe("retained messages", () => {
  it("[TJS20] the last one comes first to who subscribes later, marked; live messages are not marked", async ({
    world,
  }) => {
    const wire = await world.connect();
    await listen(wire, 1, "lamp");
    await tell(wire, "lamp", "old", { retain: true });
    const { seq, epoch } = await tell(wire, "lamp", "on", {
      retain: true,
      messageId: "m",
      headers: { h: "1" },
    });
    await tell(wire, "lamp", "passing");
    const live = await hear(wire, 1, 3);
    expect(live.every((message) => !("retained" in message))).toBe(true);
    for (const [sub, filter] of [
      [2, "lamp"],
      [3, "#"],
    ] as const) {
      await listen(wire, sub, filter);
      const [message] = await hear(wire, sub, 1);
      expect(message).toMatchObject({
        to: "topic:lamp",
        body: "on",
        retained: true,
        seq,
        epoch,
        messageId: "m",
      });
      expect(message!.headers).toEqual({ h: "1" });
    }
    await noMessage(wire);
  });

  it("[TJS20] of a filter, each topic's comes, and none of topics that keep none", async ({ world }) => {
    const wire = await world.connect();
    for (const lamp of ["a", "b", "c"]) await tell(wire, `lamp/${lamp}`, lamp, { retain: true });
    await tell(wire, "lamp/d", "d");
    await tell(wire, "other/a", "other", { retain: true });
    await listen(wire, 1, "lamp/+");
    expect(bodies(await hear(wire, 1, 3)).sort()).toEqual(["a", "b", "c"]);
    await noMessage(wire);
  });

  it("[TJS21] an empty retained message removes it", async ({ world }) => {
    const wire = await world.connect();
    await tell(wire, "lamp", "on", { retain: true });
    await wire.ok({ op: "publish", to: "topic:lamp", base64: "", retain: true });
    await listen(wire, 1, "lamp");
    await tell(wire, "lamp", "now");
    expect(await hear(wire, 1, 1)).toMatchObject([{ body: "now" }]);
  });

  it("[TJS22] a retained message is there after the broker was killed", async ({ world }) => {
    const wire = await world.connect();
    await tell(wire, "lamp", "on", { retain: true });
    await world.broker.restart();
    const after = await world.connect();
    await listen(after, 1, "lamp");
    expect(await hear(after, 1, 1)).toMatchObject([{ body: "on", retained: true }]);
  });
});

describe("from", () => {
  it("[TJS23] each way to begin gives what it says of what retention kept, and live messages follow", async ({
    world,
  }) => {
    await keep(world, "log");
    const wire = await world.connect();
    await tellNumbers(wire, "log", 1, 5);
    await pass(20);
    const time = Date.now();
    await pass(20);
    const { epoch } = (await tellNumbers(wire, "log", 6, 10)).at(-1)!;
    const begun: [from: unknown, first: number][] = [
      ["new", 11],
      ["first", 1],
      ["last", 10],
      [{ seq: 7 }, 8],
      [{ seq: 0 }, 1],
      [{ epoch, seq: 7 }, 8],
      [{ time }, 6],
      [{ time: 0 }, 1],
      [{ time: time + 3_600_000 }, 11],
      [{ last: 3 }, 8],
      [{ last: 50 }, 1],
    ];
    for (const [sub, [from]] of begun.entries()) {
      expect(await listen(wire, sub, "log", { from })).toMatchObject({
        sub,
        epoch,
        seq: 10,
        recovered: true,
      });
    }
    await tell(wire, "log", 11);
    for (const [sub, [from, first]] of begun.entries()) {
      const heard = await hear(wire, sub, 12 - first);
      const expected = upTo(12 - first, first);
      expect(bodies(heard), JSON.stringify(from)).toEqual(expected);
      expect(heard.map(({ seq }) => seq)).toEqual(expected);
    }
    await noMessage(wire);
  });

  it("[TJS23] last is the retained message where nothing else is kept", async ({ world }) => {
    const wire = await world.connect();
    await tell(wire, "lamp", "on", { retain: true });
    await tell(wire, "lamp", "passing");
    await listen(wire, 1, "lamp", { from: "last" });
    await tell(wire, "lamp", "now");
    expect(bodies(await hear(wire, 1, 2))).toEqual(["on", "now"]);
  });

  it("[TJS23] of a filter, each topic's history comes in its order", async ({ world }) => {
    const wire = await world.connect();
    for (const topic of ["log/a", "log/b"]) {
      await keep(world, topic);
      await tellNumbers(wire, topic, 1, 20);
    }
    await listen(wire, 1, "log/+", { from: "first" });
    const heard = await hear(wire, 1, 40);
    for (const topic of ["log/a", "log/b"]) {
      expect(bodies(heard.filter(({ to }) => to === `topic:${topic}`))).toEqual(upTo(20));
    }
    await tell(wire, "log/b", 21);
    expect(await hear(wire, 1, 1)).toMatchObject([{ to: "topic:log/b", seq: 21 }]);
  });

  it("[TJS24] the step from history to live messages repeats and loses nothing while others publish", async ({
    world,
  }) => {
    await keep(world, "busy", 10_000);
    const publisher = await world.connect();
    await tellNumbers(publisher, "busy", 1, 1_000);
    const publishing = (async () => {
      for (let n = 1_001; n <= 3_000; n += 100) await tellNumbers(publisher, "busy", n, n + 99);
    })();
    const wires = await Promise.all([1, 2, 3].map(() => world.connect()));
    await Promise.all(wires.map((wire) => listen(wire, 1, "busy", { from: "first", credit: 10_000 })));
    for (const wire of wires) expect((await hear(wire, 1, 3_000)).map(({ seq }) => seq)).toEqual(upTo(3_000));
    await publishing;
  });

  it("[TJS25] {epoch, seq} goes on after that message, and says when what follows it is not all kept", async ({
    world,
  }) => {
    await keep(world, "log", 5);
    const wire = await world.connect();
    const receipts = await tellNumbers(wire, "log", 1, 10);
    const epoch = receipts[0]!.epoch as number;
    await listen(wire, 1, "log", { from: { epoch, seq: 10 } }).then(expectRecovered(true));
    await listen(wire, 2, "log", { from: { epoch, seq: 5 } }).then(expectRecovered(true));
    await listen(wire, 3, "log", { from: { epoch, seq: 3 } }).then(expectRecovered(false));
    await listen(wire, 4, "log", { from: { epoch: epoch - 1, seq: 10 } }).then(expectRecovered(false));
    await tell(wire, "log", 11);
    expect(bodies(await hear(wire, 1, 1))).toEqual([11]);
    expect(bodies(await hear(wire, 2, 6))).toEqual(upTo(6, 6));
    expect(bodies(await hear(wire, 3, 6))).toEqual(upTo(6, 6));
    expect((await hear(wire, 4, 1)).length).toBe(1);
  });

  it("[TJS26] a from that says nothing or too much is refused", async ({ world }) => {
    const wire = await world.connect();
    const wrong = [
      "newest",
      7,
      {},
      { seq: -1 },
      { last: 0 },
      { epoch: 1 },
      { seq: 1, time: 1 },
      { time: "now" },
    ];
    for (const from of wrong) {
      expectError(await wire.error({ op: "subscribe", sub: 1, to: "topic:a", from }), 1, "bad-field");
    }
  });
});

function expectRecovered(recovered: boolean) {
  return (answer: WireFrame) => expect(answer).toMatchObject({ recovered });
}

describe("resume in hello", () => {
  /** A connection that resumes at a place. */
  async function resume(world: World, topic: string, place: object, hello: object = {}): Promise<WireClient> {
    return world.connect({ ...hello, resume: [{ sub: 7, to: `topic:${topic}`, ...place }] });
  }

  it("[TJS27] what retention kept follows the event, then live messages, each once", async ({ world }) => {
    await keep(world, "log");
    const wire = await world.connect();
    const receipts = await tellNumbers(wire, "log", 1, 10);
    const epoch = receipts[0]!.epoch as number;
    const back = await resume(world, "log", { epoch, seq: 4 });
    expect(await resumed(back, 7)).toMatchObject({ epoch, seq: 10, recovered: true });
    await tell(wire, "log", 11);
    expect(bodies(await hear(back, 7, 7))).toEqual(upTo(7, 5));
  });

  it("[TJS27] without retention it is recovered if nothing was published meanwhile, and only then", async ({
    world,
  }) => {
    const wire = await world.connect();
    await listen(wire, 1, "a");
    const { epoch } = await tell(wire, "a", 1);
    const still = await resume(world, "a", { epoch, seq: 1 });
    expect(await resumed(still, 7)).toMatchObject({ epoch, seq: 1, recovered: true });
    await tell(wire, "a", 2);
    const late = await resume(world, "a", { epoch, seq: 1 });
    expect(await resumed(late, 7)).toMatchObject({ epoch, seq: 2, recovered: false });
    await tell(wire, "a", 3);
    expect(bodies(await hear(still, 7, 2))).toEqual([2, 3]);
    expect(bodies(await hear(late, 7, 1))).toEqual([3]);
  });

  it("[TJS27] of another life of the topic, and of a hole in what was kept, it is not recovered", async ({
    world,
  }) => {
    await keep(world, "log", 3);
    const wire = await world.connect();
    const receipts = await tellNumbers(wire, "log", 1, 10);
    const epoch = receipts[0]!.epoch as number;
    const trimmed = await resume(world, "log", { epoch, seq: 2 });
    expect(await resumed(trimmed, 7)).toMatchObject({ recovered: false });
    expect(bodies(await hear(trimmed, 7, 3))).toEqual([8, 9, 10]);
    const other = await resume(world, "log", { epoch: epoch - 5, seq: 10 });
    expect(await resumed(other, 7)).toMatchObject({ epoch, recovered: false });
  });

  it("[TJS27] after the broker was killed, what was confirmed and kept is recovered", async ({ world }) => {
    await keep(world, "log");
    const wire = await world.connect();
    const receipts = await tellNumbers(wire, "log", 1, 10);
    await world.broker.restart();
    const back = await resume(world, "log", { epoch: receipts[0]!.epoch, seq: 4 });
    expect(await resumed(back, 7)).toMatchObject({ recovered: true });
    expect(bodies(await hear(back, 7, 6))).toEqual(upTo(6, 5));
  });

  it("[TJS27] credit of the entry holds for the subscription", async ({ world }) => {
    await keep(world, "log");
    const wire = await world.connect();
    const { epoch } = await tell(wire, "log", 0);
    const back = await resume(world, "log", { epoch, seq: 1, credit: 2 });
    await resumed(back, 7);
    await tellNumbers(wire, "log", 1, 5);
    expect(bodies(await hear(back, 7, 2))).toEqual([1, 2]);
    await noMessage(back);
  });

  it("[TJS28] a place in a resumed session begins the subscription anew there: nothing comes twice or is lost", async ({
    world,
  }) => {
    await keep(world, "log");
    const hello = { client: "reader", session: { expirySeconds: 60 } };
    const wire = await world.connect();
    const reader = await world.connect(hello);
    await listen(reader, 7, "log");
    const receipts = await tellNumbers(wire, "log", 1, 5);
    await hear(reader, 7, 5);
    await reader.close();
    await tellNumbers(wire, "log", 6, 8);
    // It lost the last two of the five with its socket.
    const back = await resume(world, "log", { epoch: receipts[0]!.epoch, seq: 3 }, hello);
    expect(back.welcome).toMatchObject({ resumed: true });
    expect(await resumed(back, 7)).toMatchObject({ seq: 8, recovered: true });
    await tell(wire, "log", 9);
    expect(bodies(await hear(back, 7, 6))).toEqual(upTo(6, 4));
    await noMessage(back);
  });

  it("[TJS29] a resumed session's subscriptions go on, and tell what they missed meanwhile", async ({
    world,
  }) => {
    const hello = { client: "reader", session: { expirySeconds: 60 } };
    const wire = await world.connect();
    const reader = await world.connect(hello);
    await listen(reader, 1, "news/#");
    await tell(wire, "news/a", 1);
    await hear(reader, 1, 1);
    await reader.close();
    await tellNumbers(wire, "news/a", 2, 4);
    const back = await world.connect(hello);
    expect(back.welcome).toMatchObject({ resumed: true });
    await tell(wire, "news/a", 5);
    let missed = 0;
    const heard: unknown[] = [];
    while (heard.at(-1) !== 5) {
      const frame = await back.next(({ sub }) => sub === 1);
      if (frame.op === "event") missed += frame.skipped as number;
      else heard.push(frame.body);
    }
    expect(missed + heard.length).toBe(4);
  });

  it("[TJS30] an entry that is refused is gone with its reason, and disturbs no other", async ({ world }) => {
    const wire = await world.connect({
      resume: [
        { sub: 1, to: "topic:a/#/b", epoch: 1, seq: 1 },
        { sub: 2, to: "topic:fine", epoch: 1, seq: 0 },
      ],
    });
    const gone = await wire.next(({ op, kind }) => op === "event" && kind === "gone");
    expect(gone).toMatchObject({ sub: 1, reason: expect.stringMatching(/./) });
    await resumed(wire, 2);
    await tell(wire, "fine", 1);
    expect(bodies(await hear(wire, 2, 1))).toEqual([1]);
  });
});
