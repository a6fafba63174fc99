// The dedup window, by time and by count, in memory and rebuilt from the log.
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../../worker/errors.ts";
import { MAX_DEDUP_IDS } from "../../../worker/limits.ts";
import { type Draft, Machine } from "../../support/machine.ts";

function named(...ids: string[]): Draft[] {
  return ids.map((messageId) => ({ body: messageId, messageId, publisherId: true }));
}

function answers(machine: Machine, ...drafts: Draft[]): string[] {
  return machine
    .publish(...drafts)
    .map((outcome) =>
      isRefusal(outcome) ? outcome.kind : `${outcome.duplicate ? "again" : "new"} ${outcome.seq}`,
    );
}

describe("the dedup window", () => {
  it("[DED1] [DED5] one message for an id, in one batch and over batches", () => {
    const machine = new Machine();
    expect(answers(machine, ...named("a", "b", "a"))).toEqual(["new 1", "new 2", "again 1"]);
    expect(answers(machine, ...named("b", "c"))).toEqual(["again 2", "new 3"]);
    expect(machine.queue.ledger.counts.accepted, "[STA6]").toBe(3);
  });

  it("[DED1] ids that the broker chose are not held against anyone", () => {
    const machine = new Machine();
    const chosen = { body: "x", messageId: "same", publisherId: false };
    expect(answers(machine, chosen, chosen)).toEqual(["new 1", "new 2"]);
  });

  it("[DED3] [DED4] lasts its time to the millisecond, over evictions, and then begins anew", () => {
    for (const evicted of [false, true]) {
      const machine = new Machine("orders", { dedupWindowMs: 1_000 });
      const reopen = () => evicted && machine.reopen();
      expect(answers(machine, ...named("a"))).toEqual(["new 1"]);
      machine.now += 999;
      reopen();
      expect(answers(machine, ...named("a"))).toEqual(["again 1"]);
      machine.now += 1;
      reopen();
      expect(answers(machine, ...named("a"))).toEqual(["new 2"]);
      machine.now += 999;
      reopen();
      expect(answers(machine, ...named("a"))).toEqual(["again 2"]);
    }
  });

  it("[DED4] 0 switches it off, and a longer window set later reaches back as far as it is known", () => {
    const machine = new Machine("orders", { dedupWindowMs: 0 });
    expect(answers(machine, ...named("a", "a"))).toEqual(["new 1", "new 2"]);
    machine.turn({ type: "configure", patch: { dedupWindowMs: 1_000 } });
    expect(answers(machine, ...named("b", "b"))).toEqual(["new 3", "again 3"]);
  });

  it("[DED6] an id stays when its message was settled, expired, purged or dead", () => {
    const machine = new Machine();
    machine.publish(
      ...named("acked", "dead"),
      { ...named("expired")[0]!, expiresAt: machine.now + 10 },
      ...named("purged"),
    );
    const [acked, dead] = machine.attach(1, 2);
    machine.turn({ type: "detach", refs: [9] });
    machine.turn({ type: "pause", refs: [1] });
    machine.settle(acked!, "ack");
    machine.settle(dead!, "dead");
    machine.pass(10);
    machine.turn({ type: "purge" });
    expect(machine.queue.ledger.counts).toMatchObject({ settled: 1, deadLettered: 1, expired: 2 });
    machine.reopen();
    expect(answers(machine, ...named("acked", "dead", "expired", "purged"))).toEqual([
      "again 1",
      "again 2",
      "again 3",
      "again 4",
    ]);
  });

  it("[DED3] [DLY5] delayed messages enter their ids, alone and beside others", () => {
    const machine = new Machine();
    const later = { dueAt: machine.now + 5_000 };
    machine.publish({ ...named("later")[0]!, ...later });
    machine.publish(...named("now"), { ...named("mixed")[0]!, ...later });
    machine.reopen();
    expect(answers(machine, ...named("later", "now", "mixed"))).toEqual(["again 1", "again 2", "again 3"]);
    machine.attach(1, 10);
    machine.pass(5_000);
    expect(machine.queue.ledger.counts).toMatchObject({ accepted: 3, leased: 3 });
    expect(answers(machine, ...named("later"))).toEqual(["again 1"]);
  });

  it("[DED8] holds the last 100,000 ids, the same after an eviction", () => {
    const machine = new Machine();
    const batch = 10_000;
    for (let first = 0; first < MAX_DEDUP_IDS + batch; first += batch) {
      machine.publish(...named(...Array.from({ length: batch }, (_, i) => `id-${first + i}`)));
      machine.turn({ type: "purge" });
    }
    for (const evicted of [false, true]) {
      if (evicted) machine.reopen();
      const oldest = batch;
      expect(answers(machine, ...named(`id-${oldest}`, `id-${MAX_DEDUP_IDS + batch - 1}`))).toEqual([
        `again ${oldest + 1}`,
        `again ${MAX_DEDUP_IDS + batch}`,
      ]);
    }
    expect(
      answers(machine, ...named("id-0", `id-${batch - 1}`)).every((answer) => answer.startsWith("new")),
    ).toBe(true);
  });
});
