// Commits inside the runtime: objects evicted or broken off between any two steps, and what a commit costs in rows as they are billed.
import { abortAllDurableObjects } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { call, eventually, stats } from "./support/client.ts";
import { evict, queueStub } from "./support/objects.ts";

let runs = 0;

async function post<T>(path: string, body: unknown): Promise<T> {
  const answer = await call(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path} was answered ${answer.status}: ${text}`);
  return JSON.parse(text) as T;
}

interface Names {
  a: string;
  b: string;
  c: string;
}

function names(): Names {
  runs++;
  return { a: `commit-a${runs}`, b: `commit-b${runs}`, c: `commit-c${runs}` };
}

async function lease(queue: string): Promise<string> {
  const { messages } = await post<{ messages: { delivery: string }[] }>(`/v1/queues/${queue}/receive`, {});
  return messages[0]!.delivery;
}

function becomes(queue: string, wanted: Record<string, number>): Promise<true> {
  return eventually(`${queue} with ${JSON.stringify(wanted)}`, async () => {
    const got = await stats(queue).catch(() => undefined);
    const right = got !== undefined && Object.entries(wanted).every(([name, count]) => got[name] === count);
    return right ? true : undefined;
  });
}

describe("commits", () => {
  it.each([
    ["the deciding queue", ({ a }: Names) => evict(queueStub(a))],
    ["the other queue", ({ b }: Names) => evict(queueStub(b))],
    ["the destination", ({ c }: Names) => evict(queueStub(c))],
    ["everything, broken off,", () => abortAllDurableObjects()],
  ])(
    "[CMT1] [CMT5] [CMT8] [EVC1] take effect once with %s evicted between any two steps",
    async (_, disturb) => {
      const queues = names();
      const { a, b, c } = queues;
      for (let round = 1; round <= 3; round++) {
        await post(`/v1/queues/${a}/messages`, round);
        await post(`/v1/queues/${b}/messages`, round);
        await disturb(queues);
        const settle = [
          { queue: a, ack: [await lease(a)] },
          { queue: b, ack: [await lease(b)] },
        ];
        await disturb(queues);
        const commit = { settle, publish: [{ to: `queue:${c}`, body: round }] };
        await post("/v1/commit", commit);
        await disturb(queues);
        await post("/v1/commit", commit);
        await disturb(queues);
        await becomes(a, { settled: round, leased: 0 });
        await becomes(b, { settled: round, leased: 0 });
        await becomes(c, { accepted: round });
      }
    },
  );

  it("[CMT1] [DUR1] broken off at once after the answer all of it comes all the same", async () => {
    const { a, b, c } = names();
    for (let round = 1; round <= 4; round++) {
      for (const queue of [a, b]) await post(`/v1/queues/${queue}/messages`, round);
      const settle = [
        { queue: a, ack: [await lease(a)] },
        { queue: b, ack: [await lease(b)] },
      ];
      const commit = { settle, publish: [{ to: `queue:${c}`, body: round }] };
      await Promise.all([
        post("/v1/commit", commit).catch(() => undefined),
        new Promise((later) => setTimeout(later, round)).then(() => abortAllDurableObjects()),
      ]);
      // Whether it was made or not: asked again, it is made once.
      await eventually("the commit", () => post("/v1/commit", commit).catch(() => undefined));
      await becomes(a, { settled: round, leased: 0 });
      await becomes(b, { settled: round, leased: 0 });
      await becomes(c, { accepted: round });
    }
  });

  it("[CMT7] settle one, publish one to another queue: three rows where it is decided, one where it arrives", async () => {
    const { a, c } = names();
    const commit = async () => {
      await post(`/v1/queues/${a}/messages`, 1);
      const ack = [await lease(a)];
      const before = await stats(a);
      const settle = [{ queue: a, ack }];
      await post("/v1/commit", { settle, publish: [{ to: `queue:${c}`, body: 1 }] });
      return before.rowsWritten!;
    };
    await commit();
    const [from, to] = [await commit(), (await stats(c)).rowsWritten!];
    expect((await stats(a)).rowsWritten! - from).toBeLessThanOrEqual(3);
    expect(to).toBeGreaterThan(0);
    const middle = (await stats(c)).rowsWritten!;
    await commit();
    expect((await stats(c)).rowsWritten! - middle).toBe(1);
  });
});
