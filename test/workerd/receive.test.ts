// HTTP calls that wait at a queue whose object was evicted in between.
import { describe, expect, it } from "vitest";
import { Writer } from "../../worker/bytes/writer.ts";
import { CommandWriter } from "../../worker/link/commands.ts";
import { parseHandle } from "../../worker/link/handle.ts";
import { writeMessage } from "../../worker/message/record.ts";
import type { QueueRpc } from "../../worker/queue/rpc.ts";
import { message } from "../support/message.ts";
import { call, eventually, stats } from "./support/client.ts";
import { evict, queueStub } from "./support/objects.ts";

interface Received {
  messages: { delivery: string; body: unknown; attempt: number }[];
}

async function receive(queue: string, waitMs = 0): Promise<Received> {
  const answer = await call(`/v1/queues/${queue}/receive`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ max: 1, waitMs }),
  });
  expect(answer.status).toBe(200);
  return answer.json<Received>();
}

async function publish(queue: string, body: string): Promise<void> {
  const answer = await call(`/v1/queues/${queue}/messages`, { method: "POST", body });
  expect(answer.status).toBe(201);
}

describe("a call that waits", () => {
  it("[HTTP10] gets no more than its max, though a lease of an earlier life ends in the turn that serves it", async () => {
    const queue = "receive-1";
    await publish(queue, "first");
    const { messages } = await receive(queue);
    await evict(queueStub(queue));
    const waiting = receive(queue, 10_000);
    await eventually("the waiting call", async () =>
      (await stats(queue)).consumers === 1 ? true : undefined,
    );
    const packet = new CommandWriter();
    const handle = parseHandle(messages[0]!.delivery);
    const settlement = { ...handle, outcome: "release" as const, delayMs: undefined, reason: "" };
    packet.command({ type: "settle", settlements: [settlement] });
    const records = new Writer();
    for (const body of ["1", "2"]) writeMessage(records, message({ body }));
    packet.command({ type: "publish", records: records.take() });
    await (queueStub(queue) as unknown as QueueRpc).apply(packet.take(), "");
    expect((await waiting).messages).toHaveLength(1);
    expect(await stats(queue)).toMatchObject({ accepted: 3, leased: 1, ready: 2, consumers: 0 });
  });

  it("[HTTP11] [EVC1] is answered by the first message, or empty when its time is over", async () => {
    const queue = "receive-2";
    expect(await receive(queue, 50)).toEqual({ messages: [] });
    await evict(queueStub(queue));
    const waiting = receive(queue, 10_000);
    await eventually("the waiting call", async () =>
      (await stats(queue)).consumers === 1 ? true : undefined,
    );
    await publish(queue, "x");
    expect((await waiting).messages).toMatchObject([{ attempt: 1 }]);
    expect(await stats(queue)).toMatchObject({ leased: 1, consumers: 0 });
  });
});
