// What leaves a queue for several others, one of which is out of reach for a while.
import { describe, expect, it } from "vitest";
import type { Env } from "../../../worker/env.ts";
import { QueueStore } from "../../../worker/log/store.ts";
import type { TurnCommand } from "../../../worker/queue/carry-out.ts";
import { outboxTarget } from "../../../worker/queue/destination.ts";
import { Outbound } from "../../../worker/queue/outbound.ts";
import { topicObjectName } from "../../../worker/topic/placement.ts";
import { NodeSql } from "../../support/node-sql.ts";

/** An outbox, the objects that are away, and what those that are there have taken. */
function outbox(...targets: string[]) {
  const store = new QueueStore(new NodeSql());
  store.create();
  const taken: string[] = [];
  const away = new Set<string>();
  const getByName = (name: string) => ({
    async transfer(_source: string, id: number) {
      if (away.delete(name)) throw new Error("out of reach");
      taken.push(`${name} ${id}`);
      return undefined;
    },
  });
  const submit = async (commands: TurnCommand[]) => {
    for (const command of commands) if (command.type === "confirmed") store.removeOutbox(command.outboxId);
  };
  const env = { QUEUE: { getByName }, TOPIC: { getByName }, TOPIC_BUCKETS: "1" } as unknown as Env;
  for (const [index, target] of targets.entries()) {
    store.addOutbox({ id: index + 1, target, data: new Uint8Array() });
  }
  const outbound = new Outbound(env, "default:jobs", submit);
  return { taken, away, outbound, drained: () => outbound.drained(store, targets.length + 1) };
}

describe("the outbox", () => {
  it("[RCP7] passes over a queue that fails, and keeps the order of each", async () => {
    const { taken, away, outbound, drained } = outbox("slow", "jobs.dead", "slow", "told", "jobs.dead");
    away.add("default:slow");
    expect(await drained()).toBe(false);
    expect(taken).toEqual(["default:jobs.dead 2", "default:told 4", "default:jobs.dead 5"]);
    expect(outbound.retryAt).toBeLessThan(Number.POSITIVE_INFINITY);
    expect(await drained()).toBe(true);
    expect(taken.slice(3)).toEqual(["default:slow 1", "default:slow 3"]);
  });

  it("[RCP7] topics of one object get nothing out of order, which it would take for a repetition", async () => {
    const [a, b] = ["a", "b"].map((name) => outboxTarget({ kind: "topic", name })) as [string, string];
    const { taken, away, drained } = outbox(a, b, "told", a);
    const object = topicObjectName({ TOPIC_BUCKETS: "1" } as unknown as Env, "default", "a");
    away.add(object);
    expect(await drained()).toBe(false);
    expect(taken).toEqual(["default:told 3"]);
    expect(await drained()).toBe(true);
    expect(taken.slice(1)).toEqual([`${object} 1`, `${object} 2`, `${object} 4`]);
  });
});
