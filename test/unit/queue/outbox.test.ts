// What leaves a queue for several others, one of which is out of reach for a while.
import { describe, expect, it } from "vitest";
import type { Env } from "../../../worker/env.ts";
import { QueueStore } from "../../../worker/log/store.ts";
import type { TurnCommand } from "../../../worker/queue/carry-out.ts";
import { moveTarget } from "../../../worker/queue/destination.ts";
import { OutboxSender } from "../../../worker/queue/outbox-sender.ts";
import { NodeSql } from "../../support/node-sql.ts";

/** An outbox, the rows whose first sending fails, and what was taken: from which source, under which id. */
function outbox(...targets: string[]) {
  const store = new QueueStore(new NodeSql());
  store.create();
  const taken: { source: string; id: number }[] = [];
  const fails = new Set<number>();
  const getByName = () => ({
    async transfer(source: string, id: number) {
      if (fails.delete(id)) throw new Error("out of reach");
      taken.push({ source, id });
      return [];
    },
  });
  const submit = async (commands: TurnCommand[]) => {
    for (const command of commands) if (command.type === "confirmed") store.removeOutbox(command.outboxId);
  };
  // All topics share one object, which counts the ids of each source.
  const env = { QUEUE: { getByName }, TOPIC: { getByName }, TOPIC_BUCKETS: "1" } as unknown as Env;
  for (const [index, target] of targets.entries()) {
    store.addOutbox({ id: index + 1, target, data: new Uint8Array() });
  }
  const sender = new OutboxSender(env, "default:jobs", submit);
  return { taken, fails, sender, drained: () => sender.drained(store) };
}

const ids = (taken: { id: number }[]) => taken.map(({ id }) => id);

describe("the outbox", () => {
  it("[RCP7] passes over a queue that fails, and keeps the order of each", async () => {
    const { taken, fails, sender, drained } = outbox("slow", "jobs.dead", "slow", "told", "jobs.dead");
    fails.add(1);
    expect(await drained()).toBe(false);
    expect(ids(taken).toSorted()).toEqual([2, 4, 5]);
    expect(ids(taken).indexOf(2)).toBeLessThan(ids(taken).indexOf(5));
    expect(sender.retryAt).toBeLessThan(Number.POSITIVE_INFINITY);
    expect(await drained()).toBe(true);
    expect(ids(taken).slice(3)).toEqual([1, 3]);
  });

  it("[RCP7] topics of one object overtake each other under sources of their own, so that nothing looks like a repetition", async () => {
    const [a, b] = ["a", "b"].map((name) => moveTarget({ kind: "topic", name })) as [string, string];
    const { taken, fails, drained } = outbox(a, b, a, b);
    fails.add(1);
    expect(await drained()).toBe(false);
    expect(await drained()).toBe(true);
    expect(ids(taken)).toEqual([2, 4, 1, 3]);
    const last = new Map<string, number>();
    for (const { source, id } of taken) {
      expect(id, source).toBeGreaterThan(last.get(source) ?? 0);
      last.set(source, id);
    }
  });
});
