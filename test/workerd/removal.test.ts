// A queue that is deleted in the midst of its work: what it has promised to send has arrived before, or it is not deleted.
import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { Writer } from "../../worker/bytes/writer.ts";
import { CommandWriter } from "../../worker/link/commands.ts";
import { readResults } from "../../worker/link/results.ts";
import { writeMessage } from "../../worker/message/record.ts";
import type { QueueRpc } from "../../worker/queue/rpc.ts";
import { message } from "../support/message.ts";
import { call, eventually, stats } from "./support/client.ts";
import { queueStub } from "./support/objects.ts";

function commitTo(queue: string): Uint8Array {
  const record = new Writer();
  writeMessage(record, message({ body: '"promised"', messageId: "m", publisherId: true }));
  const publishes = [{ to: `queue:${queue}`, record: record.take(), expectSeq: undefined }];
  const parts = { held: true, settlements: [], participants: [], publishes };
  const packet = new CommandWriter();
  packet.command({ type: "commit", commit: { key: "k", tx: "k~1", ...parts } });
  return packet.take();
}

describe("a queue that is deleted", () => {
  it.each(["remove", "removeUnused"] as const)(
    "[CMT17] does not take an answered commit with it: %s",
    async (how) => {
      const [from, to] = [`${how}-from`, `${how}-to`];
      await call(`/v1/queues/${from}/messages`, { method: "POST", body: "1" });
      const outcome = await runInDurableObject(queueStub(from), async (instance) => {
        const queue = instance as unknown as QueueRpc;
        const removing = queue[how]();
        // As far as the call to the directory, with which the queue is as good as gone.
        for (let step = 0; step < 50; step++) await Promise.resolve();
        const { results } = await queue.apply(commitTo(to));
        return { removed: await removing, committed: readResults(results).results[0] };
      });
      expect(outcome.committed).toMatchObject({ type: "committed" });
      await eventually("the message of the commit", async () => {
        const answer = await call(`/v1/queues/${to}`);
        return answer.ok && (await stats(to)).accepted === 1 ? true : undefined;
      });
      if (how === "remove") expect(outcome.removed).toMatchObject({ kind: "unavailable" });
      else expect(outcome.removed).toBe(false);
      const { queues } = (await (await call("/v1/queues")).json()) as { queues: { name: string }[] };
      expect(
        queues.map(({ name }) => name),
        "it is still listed",
      ).toContain(from);
      expect((await call(`/v1/queues/${from}`, { method: "DELETE" })).status).toBe(204);
    },
  );
});
