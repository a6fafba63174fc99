// Messages to a handler in a Worker of its own, by a real service binding: its answers, its failures, and a queue that crashes or sleeps meanwhile.
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import type { HandledMessage } from "../../worker/push/handler.ts";
import { call, eventually, stats } from "./support/client.ts";
import type { Script } from "./support/handlers.ts";
import { crash, evict, queueStub } from "./support/objects.ts";

interface Scripted {
  calls(test: string): Promise<HandledMessage[][]>;
  release(test: string): Promise<void>;
}
const handler = (env as unknown as { HANDLER_SCRIPTED: Scripted }).HANDLER_SCRIPTED;

let runs = 0;
const queues: string[] = [];

afterEach(async () => {
  for (const queue of queues.splice(0)) await call(`/v1/queues/${queue}`, { method: "DELETE" });
});

/** A queue that pushes to the handler; it holds what is published until `go`. */
async function pushing(service = "HANDLER_SCRIPTED", options: object = {}) {
  const queue = `handled-${++runs}`;
  queues.push(queue);
  const path = `/v1/queues/${queue}`;
  const put = (part: string, body: object) =>
    call(path + part, { method: "PUT", body: JSON.stringify(body) });
  expect((await put("", { maxFailures: 2, backoff: { kind: "fixed", baseMs: 1 } })).status).toBe(201);
  expect((await call(`${path}/pause`, { method: "PUT" })).status).toBe(200);
  expect((await put("/push", { service, ...options })).status).toBe(201);
  const publish = async (...bodies: object[]) => {
    for (const body of bodies) {
      const headers = { "content-type": "application/json", "dunlin-header-color": "blue" };
      const sent = await call(`${path}/messages`, { method: "POST", headers, body: JSON.stringify(body) });
      expect(sent.status).toBe(201);
    }
  };
  const scripts = (...drafts: Omit<Script, "test">[]) =>
    publish(...drafts.map((draft) => ({ test: queue, ...draft })));
  const go = async () => expect((await call(`${path}/resume`, { method: "PUT" })).status).toBe(200);
  return { queue, path, publish, scripts, go };
}

async function settles(queue: string, expected: Record<string, number>): Promise<void> {
  await eventually(JSON.stringify(expected), async () => {
    const now = await stats(queue);
    return Object.entries(expected).every(([name, count]) => now[name] === count) || undefined;
  });
}

const bodies = (letters: { body: Script }[]) => letters.map(({ body }) => body.answer);

describe("a handler in another Worker", () => {
  it("[PSH11] gets messages as objects, several in a call, and says nothing to settle them all", async () => {
    const { queue, scripts, go } = await pushing();
    await scripts({}, {}, {});
    await go();
    await settles(queue, { settled: 3 });
    const calls = await handler.calls(queue);
    expect(calls.map((messages) => messages.length)).toEqual([3]);
    expect(calls[0]![1]).toMatchObject({
      ...{ queue, seq: 2, attempt: 1, body: { test: queue }, headers: { color: "blue" }, group: "" },
      ...{ contentType: "application/json", epoch: expect.any(Number), messageId: expect.any(String) },
    });
  });

  it("[PSH11] answers for each", async () => {
    const { queue, scripts, go } = await pushing();
    await scripts(
      { answer: "ack" },
      { answer: { outcome: "dead", reason: "no such order" } },
      { answer: null },
      { answer: { outcome: "fail", reason: "later", delayMs: 3_600_000 } },
    );
    await go();
    await settles(queue, { settled: 2, deadLettered: 1, delayed: 1, leased: 0 });
    queues.push(`${queue}.dead`);
    const peeked = await eventually("the dead letter", async () => {
      const answer = await call(`/v1/queues/${queue}.dead/messages`);
      const { messages = [] } = await answer.json<{ messages?: { body: Script; deaths: unknown[] }[] }>();
      return messages.length > 0 ? messages : undefined;
    });
    expect(bodies(peeked)).toEqual([{ outcome: "dead", reason: "no such order" }]);
    expect(peeked[0]!.deaths).toMatchObject([{ reason: "rejected", detail: "no such order" }]);
  });

  it("[PSH11] throws: all of the call fail, and die when that was too often", async () => {
    const { queue, path, scripts, go } = await pushing();
    queues.push(`${queue}.dead`);
    await scripts({ throws: true }, { throws: true });
    await go();
    await settles(queue, { deadLettered: 2 });
    const shown = await (await call(`${path}/push`)).json<{ failed: number; lastError: string }>();
    expect(shown).toMatchObject({ failed: 4, lastError: expect.stringContaining("out of stock") });
  });

  it("[PSH11] [PSH7] what it had when the queue's object crashed comes again; the answer to the old call is lost", async () => {
    const { queue, scripts, go } = await pushing();
    await scripts({ holds: true });
    await go();
    await eventually("the call", async () => ((await handler.calls(queue)).length === 1 ? true : undefined));
    // An object that waits for an answer cannot be evicted.
    await crash(queueStub(queue));
    await settles(queue, { settled: 0, leased: 1 });
    // It woke for this look, and calls again.
    await eventually("the second call", async () =>
      (await handler.calls(queue)).length === 2 ? true : undefined,
    );
    await handler.release(queue);
    await settles(queue, { settled: 1, leased: 0, ready: 0 });
    expect((await handler.calls(queue)).flat().map(({ seq, attempt }) => [seq, attempt])).toEqual([
      [1, 1],
      [1, 1],
    ]);
  });

  it("[PSH11] [EVC1] goes on by itself after an eviction between two attempts", async () => {
    const { queue, scripts, go } = await pushing();
    await scripts({ answer: { outcome: "fail", delayMs: 300 } });
    await go();
    await settles(queue, { delayed: 1 });
    await evict(queueStub(queue));
    // No call wakes it, and looking must not: its own alarm does.
    await eventually("the second attempt", async () =>
      (await handler.calls(queue)).length > 1 ? true : undefined,
    );
    await settles(queue, { deadLettered: 1 });
    expect((await handler.calls(queue)).flat().map(({ attempt }) => attempt)).toEqual([1, 2]);
    queues.push(`${queue}.dead`);
  });

  it("[PSH11] no answer in time fails them", async () => {
    const { queue, path, scripts, go } = await pushing("HANDLER_SCRIPTED", { timeoutMs: 1_000 });
    await scripts({ holds: true });
    await go();
    await settles(queue, { settled: 1 });
    expect((await handler.calls(queue)).flat().map(({ attempt }) => attempt)).toEqual([1, 2]);
    const shown = await (await call(`${path}/push`)).json<{ lastError: string }>();
    expect(shown.lastError).toContain("no answer within 1000 ms");
    await handler.release(queue);
  });

  it("[PSH11] is examples/worker-handler.ts as it stands", async () => {
    const { queue, publish, go } = await pushing("HANDLER_ORDERS");
    queues.push(`${queue}.dead`);
    await publish({ id: 1, item: "a kettle" }, { item: "an order without a number" });
    await go();
    await settles(queue, { settled: 1, deadLettered: 1 });
  });
});
