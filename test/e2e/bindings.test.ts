// Bindings over HTTP: what reaches a bound queue, how bindings come and go, and that no SIGKILL loses or doubles a message.
import { describe, expect } from "vitest";
import { eventually, expectProblem, queuePath, type Receipt, type World, withBroker } from "./harness.ts";

/** Most topics are pooled, and those below `own/` have an object each: bindings are the same to both. */
const it = withBroker({ env: { TOPIC_OWN: "own/#" } });

function bindingPath(queue: string, filter: string): string {
  return `${queuePath(queue)}/bindings/${encodeURIComponent(filter)}`;
}

async function bind(world: World, queue: string, filter: string): Promise<void> {
  const answer = await world.call("PUT", bindingPath(queue, filter));
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 201, body: { queue, filter } });
}

async function publish(world: World, topic: string, body: unknown): Promise<Receipt> {
  const path = `/v1/topics/${encodeURIComponent(topic)}/messages`;
  const answer = await world.call("POST", path, body, { "content-type": "application/json" });
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 201 });
  return answer.body as Receipt;
}

async function filters(world: World, queue: string): Promise<string[]> {
  const answer = await world.call("GET", `${queuePath(queue)}/bindings`);
  return (answer.body as { bindings: { filter: string }[] }).bindings.map(({ filter }) => filter);
}

/** Waits until a queue has taken `count` messages in all. */
async function accepted(world: World, queue: string, count: number): Promise<void> {
  await eventually(async () => expect((await world.stats(queue)).accepted).toBe(count));
}

describe("bindings", () => {
  it("[BNDH1] [BNDH3] what matches reaches the queue, once, with its topic, and is settled like anything else", async ({
    world,
  }) => {
    await bind(world, "q", "orders/+");
    await bind(world, "q", "orders/new");
    const { messageId } = await publish(world, "orders/new", '{"n":1}');
    await publish(world, "orders/new/x", "2");
    await publish(world, "orders/old", "3");
    await accepted(world, "q", 2);
    const messages = await world.receive("q", { max: 10 });
    expect(messages.map(({ topic }) => topic).sort()).toEqual(["orders/new", "orders/old"]);
    expect(messages.find(({ topic }) => topic === "orders/new")).toMatchObject({
      ...{ to: "queue:q", messageId, body: { n: 1 }, attempt: 1 },
    });
    const ack = messages.map(({ delivery }) => delivery);
    expect(await world.settle("q", { ack })).toEqual({ settled: 2, lost: [] });
  });

  it("[BNDH1] every bound queue gets its own, and peek shows the topic", async ({ world }) => {
    for (const queue of ["a", "b"]) await bind(world, queue, "t");
    await publish(world, "t", "1");
    for (const queue of ["a", "b"]) {
      await accepted(world, queue, 1);
      expect(await world.peek(queue)).toMatchObject([{ to: `queue:${queue}`, topic: "t", body: 1 }]);
    }
    await world.publish("a", 2);
    const direct = (await world.peek("a")).find(({ body }) => body === 2);
    expect(direct).not.toHaveProperty("topic");
  });

  it("[BNDH1] [FIL12] topics that were there before and topics that come after reach the queue, pooled or not", async ({
    world,
  }) => {
    for (const topic of ["own/1", "x/1", "other"]) await publish(world, topic, '"before"');
    for (const filter of ["own/+", "x/#", "own/1"]) await bind(world, "q", filter);
    const topics = ["own/1", "own/2", "x/1", "x/2/y", "x"];
    for (const topic of [...topics, "other", "own/1/2", "own"]) await publish(world, topic, '"after"');
    await accepted(world, "q", topics.length);
    const got = await world.peek("q");
    expect(got.map(({ topic }) => topic).sort()).toEqual([...topics].sort());
    expect(new Set(got.map(({ body }) => body))).toEqual(new Set(["after"]));
    for (const filter of ["own/+", "own/1"]) await world.call("DELETE", bindingPath("q", filter));
    for (const topic of topics) await publish(world, topic, '"later"');
    await accepted(world, "q", topics.length + 3);
  });

  it("[BNDH2] are listed, made again without effect, and taken away", async ({ world }) => {
    expect(await filters(world, "q")).toEqual([]);
    await bind(world, "q", "b/#");
    await bind(world, "q", "a");
    expect(await world.call("PUT", bindingPath("q", "a"))).toMatchObject({ status: 200 });
    expect(await filters(world, "q")).toEqual(["a", "b/#"]);
    expect(await world.call("DELETE", bindingPath("q", "b/#"))).toMatchObject({ status: 204 });
    expectProblem(await world.call("DELETE", bindingPath("q", "b/#")), 404, 4, "not-found");
    await publish(world, "b/x", "1");
    await publish(world, "a", "2");
    await accepted(world, "q", 1);
    expect(await world.peek("q")).toMatchObject([{ topic: "a" }]);
    expect(await world.call("DELETE", bindingPath("q", "a"))).toMatchObject({ status: 204 });
    await publish(world, "a", "3");
    expect(await world.stats("q")).toMatchObject({ accepted: 1 });
  });

  it("[BNDH2] a filter that is none is refused", async ({ world }) => {
    for (const filter of ["a/#/b", "a+", "x".repeat(513)]) {
      expectProblem(await world.call("PUT", bindingPath("q", filter)), 400, 1, "bad-address");
    }
    expectProblem(await world.call("GET", queuePath("q")), 404, 4, "not-found");
  });

  it("[BNDH4] a binding makes its queue, unless the namespace wants queues declared", async ({ world }) => {
    await bind(world, "q", "a");
    expect(await world.stats("q")).toMatchObject({ accepted: 0 });
    await world.call("PUT", "/v1/namespace", { declareFirst: true });
    expectProblem(await world.call("PUT", bindingPath("new", "a")), 404, 4, "not-declared");
    await bind(world, "q", "b");
  });

  it("[BNDH6] go with their queue, which does not come back by itself", async ({ world }) => {
    await bind(world, "q", "a");
    await bind(world, "q", "b/#");
    await publish(world, "a", "1");
    await accepted(world, "q", 1);
    expect(await world.call("DELETE", queuePath("q"))).toMatchObject({ status: 204 });
    await publish(world, "a", "2");
    await publish(world, "b/c", "3");
    expectProblem(await world.call("GET", queuePath("q")), 404, 4, "not-found");
    await world.declare("q");
    expect(await filters(world, "q")).toEqual([]);
    await publish(world, "a", "4");
    expect(await world.stats("q")).toMatchObject({ accepted: 0 });
  });

  it("[BNDH1] [FIL12] a wildcard over 10,000 topics is effective in well under 2 s", async ({ world }) => {
    const wire = await world.connect();
    for (let from = 0; from < 10_000; from += 500) {
      await Promise.all(
        wire.requestAll(
          Array.from({ length: 500 }, (_, i) => ({ op: "publish", to: `topic:t/${from + i}`, body: 1 })),
        ),
      );
    }
    const begin = performance.now();
    await bind(world, "q", "#");
    const took = performance.now() - begin;
    await Promise.all(
      wire.requestAll(
        Array.from({ length: 500 }, (_, i) => ({ op: "publish", to: `topic:t/${i * 20}`, body: 2 })),
      ),
    );
    await accepted(world, "q", 500);
    expect(took).toBeLessThan(2_000);
  });
});

describe("SIGKILL", () => {
  it("[BNDH5] between any two steps leaves each confirmed message in the queue exactly once", async ({
    world,
  }) => {
    const total = 2_000;
    await bind(world, "q", "+/t");
    const confirmed = new Set<number>();
    const kills = [300, 1_200];
    let next = 0;
    while (confirmed.size < total) {
      const wire = await world.connect();
      // Whatever was not confirmed is sent again with its id.
      const batch = Array.from({ length: total }, (_, n) => n).filter((n) => !confirmed.has(n));
      const sendAll = async () => {
        for (let at = 0; at < batch.length; at += 20) {
          const part = batch.slice(at, at + 20);
          const outcomes = await Promise.allSettled(
            wire.requestAll(
              part.map((n) => ({
                op: "publish",
                to: `topic:${n % 3 === 0 ? "own" : n % 7}/t`,
                body: n,
                messageId: `m${n}`,
              })),
            ),
          );
          for (const [i, outcome] of outcomes.entries()) {
            if (outcome.status === "fulfilled" && outcome.value.op === "ok") confirmed.add(part[i]!);
          }
          if (outcomes.some(({ status }) => status === "rejected")) return;
        }
      };
      const sending = sendAll();
      const kill = kills[next];
      if (kill !== undefined) {
        next += 1;
        await expect.poll(() => confirmed.size, { timeout: 30_000, interval: 1 }).toBeGreaterThan(kill);
        await world.broker.kill();
        await sending;
        await world.broker.restart();
      } else await sending;
    }
    expect(next).toBe(2);
    await eventually(async () => expect((await world.stats("q")).ready).toBeGreaterThanOrEqual(total));
    const seen: number[] = [];
    for (;;) {
      const messages = await world.receive("q", { max: 1_000, waitMs: 500 });
      if (messages.length === 0) break;
      seen.push(...messages.map(({ body }) => body as number));
    }
    expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, n) => n));
  });

  it("[BNDH5] a confirmed binding stands after it, and so does its end", async ({ world }) => {
    for (const topic of ["t/1", "own/1"]) await publish(world, topic, "0");
    for (const filter of ["t/#", "own/1", "gone"]) await bind(world, "q", filter);
    await world.call("DELETE", bindingPath("q", "gone"));
    await world.broker.kill();
    await world.broker.restart();
    expect(await filters(world, "q")).toEqual(["own/1", "t/#"]);
    for (const topic of ["t/1", "t/2", "own/1", "gone"]) await publish(world, topic, "1");
    await accepted(world, "q", 3);
  });
});
