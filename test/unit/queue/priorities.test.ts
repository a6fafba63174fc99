// Priorities: what goes first, what is left in its place, and that neither evictions, limits nor purges confuse the two.
import { describe, expect, it } from "vitest";
import { MAX_AHEAD } from "../../../worker/limits.ts";
import { QueueStore } from "../../../worker/log/store.ts";
import { peek } from "../../../worker/queue/peek.ts";
import { type Draft, Machine, messagesIn } from "../../support/machine.ts";

/** Messages named after their priorities: "9a" has priority 9. */
function drafts(...bodies: string[]): Draft[] {
  return bodies.map((body) => ({ body, priority: Number(body[0]) }));
}

function bodies(machine: Machine): string[] {
  return machine.delivered.map(({ body }) => body);
}

function ready(machine: Machine): string[] {
  return messagesIn(peek(machine.queue, "ready", 100, machine.now)).map(({ body }) => String(body));
}

describe("priorities", () => {
  it("[PRI1] the highest goes first, and messages of one priority in the order of publishing", () => {
    const machine = new Machine();
    machine.publish(...drafts("0a", "9a", "3a", "0b", "9b"));
    machine.publish(...drafts("3b", "0c", "1a"));
    expect(ready(machine), "[PRI6]").toEqual(["9a", "9b", "3a", "3b", "1a", "0a", "0b", "0c"]);
    machine.attach(1, 100);
    expect(bodies(machine)).toEqual(["9a", "9b", "3a", "3b", "1a", "0a", "0b", "0c"]);
    expect(machine.queue.ledger.counts).toMatchObject({ ready: 0, leased: 8 });
  });

  it("[PRI1] what comes back goes before others of its priority, and after higher ones", () => {
    const machine = new Machine();
    machine.publish(...drafts("0a", "5a", "5b", "0b"));
    const [first, second] = machine.attach(1, 2);
    expect(bodies(machine)).toEqual(["5a", "5b"]);
    machine.turn({ type: "pause", refs: [1] });
    machine.publish(...drafts("9a", "5c"));
    machine.settle(first!, "release");
    machine.settle(second!, "fail");
    machine.attach(2, 10);
    expect(bodies(machine)).toEqual(["9a", "5a", "5b", "5c", "0a", "0b"]);
  });

  it("[PRI2] `priorities` is the number of levels; one beyond them counts as the highest, and 1 or false turns them off", () => {
    const levels = (priorities: number | boolean) => {
      const machine = new Machine("orders", { priorities });
      machine.publish(...drafts("0a", "2a", "9a", "1a", "2b"));
      expect(machine.queue.settings.priorities).toBe(priorities);
      return ready(machine);
    };
    expect(levels(true)).toEqual(["9a", "2a", "2b", "1a", "0a"]);
    expect(levels(3)).toEqual(["2a", "9a", "2b", "1a", "0a"]);
    expect(levels(2)).toEqual(["2a", "9a", "1a", "2b", "0a"]);
    for (const off of [1, false]) expect(levels(off)).toEqual(["0a", "2a", "9a", "1a", "2b"]);
  });

  it("[PRI3] a message of a group keeps its place in the group, whatever its priority", () => {
    const machine = new Machine();
    const grouped = drafts("0a", "9a", "5a").map((draft) => ({ ...draft, group: "g" }));
    machine.publish(...grouped, ...drafts("0b", "1b"));
    machine.attach(1, 10);
    expect(bodies(machine)).toEqual(["1b", "0a", "0b"]);
    machine.settle(machine.delivered[1]!, "ack");
    expect(bodies(machine)).toEqual(["9a"]);
  });

  it("[PRI4] a delayed message goes by its priority once it is due", () => {
    const machine = new Machine();
    machine.publish(...drafts("9a").map((draft) => ({ ...draft, dueAt: machine.now + 500 })));
    machine.publish(...drafts("1a", "0a"));
    machine.attach(1, 0);
    machine.pass(500);
    machine.turn({ type: "credit", ref: 1, add: 5 });
    expect(bodies(machine)).toEqual(["9a", "1a", "0a"]);
  });

  it("[PRI5] a queue without room drops the oldest of the lowest priority", () => {
    const machine = new Machine("orders", { maxMessages: 3, overflow: "drop-oldest" });
    machine.publish(...drafts("9a", "0a", "5a"));
    machine.publish(...drafts("5b", "0b", "1a"));
    expect(ready(machine)).toEqual(["9a", "5b", "1a"]);
    expect(machine.queue.ledger.counts).toMatchObject({ ready: 3, expired: 3 });
  });

  it("[PRI1] [TTL1] messages expire whether they were taken ahead or not", () => {
    const machine = new Machine();
    const expiresAt = machine.now + 500;
    machine.publish(
      ...drafts("0a", "9a", "0b", "9b").map((draft, i) => (i < 2 ? { ...draft, expiresAt } : draft)),
    );
    machine.pass(500);
    expect(machine.queue.ledger.counts).toMatchObject({ ready: 2, expired: 2 });
    expect(ready(machine)).toEqual(["9b", "0b"]);
  });

  it("[PRI1] [OPS3] a purge drops both kinds, and the queue goes on", () => {
    const machine = new Machine();
    machine.publish(...drafts("0a", "9a", "0b", "5a"));
    const [held] = machine.attach(1, 1);
    machine.turn({ type: "purge" });
    expect(machine.queue.ledger.counts).toMatchObject({ ready: 0, readyBytes: 0, leased: 1, expired: 3 });
    machine.publish(...drafts("0c", "1a"));
    machine.reopen();
    machine.settle(held!, "ack");
    expect(bodies(machine)).toEqual(["1a"]);
    expect(ready(machine)).toEqual(["0c"]);
  });

  it("[PRI7] beyond the limit they wait in the log like others, and the queue catches up as the cursor moves", () => {
    const machine = new Machine();
    machine.publish({ body: "0first" });
    for (let round = 0; round < MAX_AHEAD / 10_000; round++) {
      machine.publish(...Array.from({ length: 10_000 }, () => ({ body: "9", priority: 9 })));
    }
    expect(machine.queue.ledger.ahead.size).toBeLessThanOrEqual(MAX_AHEAD);
    machine.publish({ body: "9late", priority: 9 });
    expect(machine.queue.ledger.untaken).toBeGreaterThanOrEqual(2);
    machine.turn({ type: "purge" });
    machine.publish({ body: "0" }, { body: "9again", priority: 9 });
    machine.attach(1, 1);
    expect(bodies(machine)).toEqual(["9again"]);
  });

  it("[PRI7] [EVC1] [DUR6] a busy queue of priorities alone leaves nothing behind, over evictions and checkpoints", () => {
    const machine = new Machine();
    machine.attach(1, 1_000);
    for (let round = 0; round < 60; round++) {
      machine.publish(...Array.from({ length: 500 }, (_, i) => ({ body: `${i % 10}`, priority: i % 10 })));
      expect(bodies(machine).join("")).toBe(
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map((level) => `${level}`.repeat(50)).join(""),
      );
      const settlements = machine.delivered.map(({ position, lease }) => ({
        ...{ position, lease, outcome: "ack" as const, delayMs: undefined, reason: "" },
      }));
      machine.turn({ type: "settle", settlements });
      if (round % 7 === 0) {
        const before = machine.books();
        machine.reopen();
        expect(machine.books()).toBe(before);
      }
    }
    const { ahead, entries, counts, untaken } = machine.queue.ledger;
    expect([ahead.size, entries.size, untaken, counts.settled]).toEqual([0, 0, 0, 30_000]);
  });

  it("[PRI1] [DUR2] a queue whose settings were stored before there were priorities has them", () => {
    const machine = new Machine();
    const { priorities: _, ...old } = machine.queue.settings;
    machine.queue.ledger.configure(old as typeof machine.queue.settings);
    machine.turn({ type: "configure", patch: { maxFailures: 3 } });
    machine.reopen();
    expect(machine.queue.settings).toMatchObject({ priorities: true, maxFailures: 3 });
    expect(new QueueStore(machine.sql).exists()).toBe(true);
  });

  it("[PRI1] [PRI7] a redrive moves every dead letter, those with a priority too, over several turns", () => {
    const machine = new Machine("orders.dead");
    const deaths = JSON.stringify([
      { queue: "orders", reason: "failures", count: 1, firstTime: 1, lastTime: 1 },
    ]);
    for (let round = 0; round < 5; round++) {
      machine.publish(...Array.from({ length: 700 }, (_, i) => ({ body: "x", priority: i % 2, deaths })));
    }
    const options = { to: "", origin: "", filter: "", max: null, perSecond: null };
    let { more } = machine.turn({ type: "redrive", options });
    while (more) ({ more } = machine.turn());
    expect(machine.queue.ledger.redrive.task).toMatchObject({ moved: 3_500, running: false });
    expect(machine.queue.ledger.counts).toMatchObject({ ready: 0, settled: 3_500 });
  });
});
