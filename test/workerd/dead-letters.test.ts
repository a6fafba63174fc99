// Dead letters between two queues, either of them evicted or broken off at any step: each arrives, once.
import { abortAllDurableObjects, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { Writer } from "../../worker/bytes/writer.ts";
import { writeMessage } from "../../worker/message/record.ts";
import type { QueueRpc } from "../../worker/queue/rpc.ts";
import { message } from "../support/message.ts";
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

async function publish(queue: string, messageIds: string[]): Promise<void> {
  const answer = await call(`/v1/queues/${queue}/messages`, {
    method: "POST",
    headers: { "content-type": "application/vnd.dunlin.batch+json" },
    body: JSON.stringify({ messages: messageIds.map((messageId) => ({ messageId, body: messageId })) }),
  });
  expect(answer.status).toBe(201);
}

/** Receives one message and settles it dead. */
async function killOne(queue: string, between: () => Promise<void>): Promise<void> {
  const { messages } = await post<{ messages: { delivery: string }[] }>(`/v1/queues/${queue}/receive`, {
    max: 1,
  });
  await between();
  const dead = messages.map(({ delivery }) => ({ delivery, reason: "no" }));
  expect(await post(`/v1/queues/${queue}/settle`, { dead })).toEqual({ settled: 1, lost: [] });
}

/** The ids in the dead-letter queue, once as many came as there should be; more would come at once as well. */
async function arrived(queue: string, count: number): Promise<string[]> {
  const grave = `${queue}.dead`;
  await eventually(`${count} dead letters`, async () => {
    await stats(queue);
    const answer = await call(`/v1/queues/${grave}`);
    return answer.ok && ((await stats(grave)).accepted ?? 0) >= count ? true : undefined;
  });
  await eventually("an empty outbox", async () => {
    const waiting = await runInDurableObject(queueStub(queue), (_, state) =>
      state.storage.sql.exec("SELECT count(*) AS n FROM outbox").one(),
    );
    return waiting?.n === 0 ? true : undefined;
  });
  const answer = await call(`/v1/queues/${grave}/messages?limit=1000`);
  const { messages } = await answer.json<{ messages: { messageId: string }[] }>();
  return messages.map(({ messageId }) => messageId);
}

const IDS = ["a", "b", "c", "d", "e"];

describe("dead letters", () => {
  it.each([
    ["the source", (queue: string) => evict(queueStub(queue))],
    ["the target", (queue: string) => evict(queueStub(`${queue}.dead`))],
    [
      "both",
      async (queue: string) => {
        await evict(queueStub(`${queue}.dead`));
        await evict(queueStub(queue));
      },
    ],
    ["everything, broken off,", () => abortAllDurableObjects()],
  ])("[DLQ8] [EVC1] arrive once with %s evicted between any two steps", async (_, disturb) => {
    const queue = `dying-${++runs}`;
    const between = () => disturb(queue).then(() => undefined);
    await publish(queue, IDS);
    for (let i = 0; i < IDS.length; i++) {
      await between();
      await killOne(queue, between);
    }
    await between();
    expect(await arrived(queue, IDS.length)).toEqual(IDS);
    expect(await stats(`${queue}.dead`)).toMatchObject({ accepted: IDS.length, ready: IDS.length });
    expect(await stats(queue)).toMatchObject({ deadLettered: IDS.length, leased: 0, ready: 0 });
  });

  it("[DLQ8] [DUR1] broken off at once after the answer they arrive all the same, each once", async () => {
    const queue = `dying-${++runs}`;
    const ids: string[] = [];
    for (let round = 0; round < 8; round++) {
      ids.push(`m${round}`);
      await publish(queue, [`m${round}`]);
      await killOne(queue, async () => undefined);
      if (round % 2 === 0) await abortAllDurableObjects();
    }
    expect((await arrived(queue, ids.length)).toSorted()).toEqual(ids.toSorted());
  });

  it("[DLQ8] a transfer that is repeated, because its answer was lost, is taken once", async () => {
    const queue = `grave-${++runs}`;
    const records = new Writer();
    writeMessage(records, message({ messageId: "m", publisherId: true, deaths: "[]", body: "1" }));
    const packet = records.take();
    for (let i = 0; i < 3; i++) {
      const target = queueStub(queue) as unknown as QueueRpc;
      expect(await target.transfer("default:source", 7, packet)).toEqual([]);
      await evict(queueStub(queue));
    }
    expect(await stats(queue)).toMatchObject({ accepted: 1, ready: 1 });
  });
});
