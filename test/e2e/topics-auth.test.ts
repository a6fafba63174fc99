// Who may publish to and hear which topics.
import { SignJWT } from "jose";
import { describe, expect } from "vitest";
import { hear, listen, tell } from "../support/topic-wire.ts";
import type { WireClient, WireFrame } from "../support/wire-client.ts";
import { expectError, noMessage, type World, withBroker } from "./harness.ts";

const SECRET = "a secret that only the tests know, of more than 32 bytes";
const it = withBroker({ env: { DUNLIN_AUTH_SECRET: SECRET } });

type Allow = { do: string[]; on: string }[];
const EVERYTHING: Allow = [{ do: ["publish", "subscribe", "consume", "manage"], on: "*" }];

function sign(sub: string, allow: Allow): Promise<string> {
  return new SignJWT({ dunlin: { allow } })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(sub)
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(SECRET));
}

const open = async (world: World, allow: Allow, sub = "ann", hello: object = {}) =>
  world.connect({ ...hello, token: await sign(sub, allow) });

it("[TJS33] a publish needs publish on the topic, and a refused one reaches nobody", async ({ world }) => {
  const all = await open(world, EVERYTHING);
  await listen(all, 1, "#");
  const wire = await open(world, [{ do: ["publish"], on: "topic:news/#" }], "bob");
  await tell(wire, "news/a", 1);
  expectError(await wire.error({ op: "publish", to: "topic:weather", body: 2 }), 2, "forbidden");
  expectError(await wire.error({ op: "publish", to: "queue:news/a", body: 2 }), 2, "forbidden");
  expectError(await wire.error({ op: "subscribe", sub: 1, to: "topic:news/a" }), 2, "forbidden");
  expect(await hear(all, 1, 1)).toMatchObject([{ body: 1 }]);
  await noMessage(all);
});

it("[TJS34] a filter needs subscribe on all that it can match", async ({ world }) => {
  const wire = await open(world, [{ do: ["subscribe"], on: "topic:news/#" }]);
  for (const filter of ["news", "news/a", "news/+", "news/#", "news/+/b"]) {
    await listen(wire, 1, filter);
    await wire.ok({ op: "unsubscribe", sub: 1 });
  }
  for (const filter of ["#", "+", "+/a", "weather", "newsroom"]) {
    expectError(await wire.error({ op: "subscribe", sub: 1, to: `topic:${filter}` }), 2, "forbidden");
  }
  expectError(await wire.error({ op: "publish", to: "topic:news/a", body: 1 }), 2, "forbidden");
  const consumer = await open(world, [{ do: ["consume"], on: "*" }], "carl");
  expectError(await consumer.error({ op: "subscribe", sub: 1, to: "topic:news" }), 2, "forbidden");
});

it("[TJS34] an entry of resume needs it too", async ({ world }) => {
  const resume = [{ sub: 1, to: "topic:secret", epoch: 1, seq: 0 }];
  const wire = await open(world, [{ do: ["subscribe"], on: "topic:news/#" }], "ann", { resume });
  const gone = await wire.next(({ op, kind }) => op === "event" && kind === "gone");
  expect(gone).toMatchObject({ sub: 1, reason: expect.stringContaining("forbidden") });
  const all = await open(world, EVERYTHING, "bob");
  await tell(all, "secret", 1);
  await noMessage(wire);
});

describe("a fresh token that does not allow a subscription any more", () => {
  const NEWS: Allow = [{ do: ["subscribe"], on: "topic:news/#" }];
  const isGone = ({ op, kind }: WireFrame) => op === "event" && kind === "gone";

  /** Subscriptions to topics, to a queue and to a durable subscription's queue. */
  async function subscribed(world: World, sub: string, hello: object): Promise<WireClient> {
    const wire = await open(world, EVERYTHING, sub, hello);
    await listen(wire, 1, "news/a");
    await listen(wire, 2, "#");
    await listen(wire, 3, "weather", { durable: "g" });
    await wire.ok({ op: "subscribe", sub: 4, to: "queue:jobs" });
    return wire;
  }

  async function expectNewsAlone(world: World, wire: WireClient): Promise<void> {
    const gone = [await wire.next(isGone), await wire.next(isGone), await wire.next(isGone)];
    expect(gone.map(({ sub }) => sub).toSorted()).toEqual([2, 3, 4]);
    for (const { reason } of gone) expect(reason).toContain("token");
    const other = await open(world, EVERYTHING, "bob");
    await tell(other, "weather", 1);
    await other.ok({ op: "publish", to: "queue:jobs", body: 2 });
    await tell(other, "news/a", 3);
    expect(await wire.nextMessage()).toMatchObject({ sub: 1, body: 3 });
    await noMessage(wire);
    expectError(await wire.error({ op: "subscribe", sub: 2, to: "topic:#" }), 2, "forbidden");
    // What was theirs is for others at once.
    for (const [sub, to] of [
      [1, "topic:weather"],
      [2, "queue:jobs"],
    ] as const) {
      await other.ok({ op: "subscribe", sub, to, ...(sub === 1 ? { durable: "g" } : {}) });
      expect(await other.nextMessage(sub)).toMatchObject({ body: sub });
    }
  }

  it("[REG7] ends it, with the event gone", async ({ world }) => {
    const wire = await subscribed(world, "ann", {});
    expectError(await wire.error({ op: "auth", token: "wrong" }), 2);
    await wire.none(isGone);
    await wire.ok({ op: "auth", token: await sign("ann", NEWS) });
    await expectNewsAlone(world, wire);
  });

  it("[REG7] ends it when the session is resumed with it", async ({ world }) => {
    const hello = { client: "c", session: { expirySeconds: 60 } };
    const first = await subscribed(world, "ann", hello);
    first.cut();
    const wire = await open(world, NEWS, "ann", hello);
    expect(wire.welcome).toMatchObject({ resumed: true });
    await expectNewsAlone(world, wire);
    wire.cut();
    const back = await open(world, EVERYTHING, "ann", hello);
    expect(back.welcome).toMatchObject({ resumed: true });
    await back.none(isGone);
    await tell(back, "weather", 4);
    await noMessage(back);
  });
});
