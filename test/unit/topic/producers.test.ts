// Conditions of a publish to a topic, and transfers of other objects: each is published once, over evictions too.
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../../worker/errors.ts";
import type { Condition } from "../../../worker/link/condition.ts";
import { records } from "../../support/machine.ts";
import { TopicMachine } from "../../support/topics.ts";

const DRAFT = { topic: "news", body: "x" };

function publish(machine: TopicMachine, condition: Condition): string {
  const outcome = machine.call(() => {
    const [first] = machine.topics.publish(records(DRAFT), machine.now, { condition });
    machine.topics.flush(machine.now);
    return first!;
  });
  return isRefusal(outcome) ? outcome.kind : `${outcome.duplicate ? "again" : "new"} ${outcome.seq}`;
}

const from = (epoch: number, seq: number): Condition => ({ producer: { id: "shop", epoch, seq } });

describe("conditions", () => {
  it("[CND1] expectSeq must be the topic's last seq", () => {
    const machine = new TopicMachine();
    expect(publish(machine, { expectSeq: 0 })).toBe("new 1");
    expect(publish(machine, { expectSeq: 0 })).toBe("conflict");
  });

  it("[CND3] without a subscriber nothing is published", () => {
    const machine = new TopicMachine();
    expect(publish(machine, { responders: true })).toBe("no-responders");
    machine.subscribe("gateway-0", "news");
    expect(publish(machine, { responders: true })).toBe("new 1");
  });
});

describe("a producer's sequence at a topic", () => {
  it("[PRD1] [PRD4] [PRD6] stands over evictions: one row for each batch, no message twice, former lives fenced", () => {
    const machine = new TopicMachine();
    const before = machine.sql.rowsWritten;
    expect(publish(machine, from(1, 1))).toBe("new 1");
    expect(machine.sql.rowsWritten - before).toBe(1);
    machine.reopen();
    expect(publish(machine, from(1, 1))).toBe("again 1");
    expect(publish(machine, from(1, 3))).toBe("out-of-sequence");
    expect(publish(machine, from(1, 2)), "the topic's epoch is new").toBe("new 1");
    expect(publish(machine, from(2, 1))).toBe("new 2");
    machine.reopen();
    expect(publish(machine, from(1, 3))).toBe("fenced");
  });

  it("[TOP9] is forgotten with its topic", () => {
    const machine = new TopicMachine();
    publish(machine, from(1, 1));
    machine.call(() => machine.topics.remove("news", machine.now));
    expect(publish(machine, from(1, 1))).toBe("new 1");
  });
});

describe("transfers", () => {
  it("[TOP20] are taken once for each source and id, over evictions too", () => {
    const machine = new TopicMachine();
    machine.configure("news", { retention: { maxMessages: 10 } });
    const transfer = (source: string, id: number, body: string) =>
      machine.call(() => {
        const taken = machine.topics.transfer(source, id, records({ topic: "news", body }), machine.now);
        machine.topics.flush(machine.now);
        return taken;
      });
    transfer("default:a", 1, "one");
    transfer("default:a", 1, "one");
    machine.reopen();
    transfer("default:a", 1, "one");
    transfer("default:b", 1, "two");
    transfer("default:a", 2, "three");
    expect(machine.history("news", "first").bodies).toEqual(["one", "two", "three"]);
  });
});
