// Recurring messages in the machine: when they run, what a late queue does, and that each run is one message over evictions.
import { describe, expect, it } from "vitest";
import { MAX_SCHEDULES } from "../../../worker/limits.ts";
import type { ScheduleSpec } from "../../../worker/queue/schedules.ts";
import { Machine, messagesIn, records } from "../../support/machine.ts";

const SPEC: ScheduleSpec = { cron: "0 9 * * *", timeZone: "UTC", missed: "skip", to: "", ttlMs: 0 };

function set(machine: Machine, id: string, spec: Partial<ScheduleSpec> = {}, body = "tick"): string {
  const command = { type: "schedule" as const, id, spec: { ...SPEC, ...spec }, record: records({ body }) };
  const [result] = machine.turn(command).results;
  return result!.type === "refused" ? result!.refusal.kind : "set";
}

const at = (time: string) => Date.parse(time);
const schedule = (machine: Machine, id = "a") => machine.queue.ledger.schedules.get(id)!;

/** Lets the queue's own alarms wake it until a time, evicted before each; returns when messages came, with their ids. */
function runUntil(machine: Machine, end: number): string[] {
  machine.attach(1, 10_000);
  const runs: string[] = [];
  for (;;) {
    machine.reopen();
    const next = machine.queue.nextDeadline;
    if (next > end) break;
    machine.now = Math.max(machine.now, next);
    machine.turn();
    const delivered = [...machine.delivered];
    runs.push(...delivered.map(({ messageId }) => messageId));
    for (const delivery of delivered) machine.settle(delivery, "ack");
  }
  machine.now = end;
  return runs;
}

describe("a recurring message", () => {
  it("[RCR1] [RCR2] comes at its times, once each, though the queue sleeps between", () => {
    const machine = new Machine();
    machine.now = at("2026-01-01T00:00:00Z");
    expect(set(machine, "a")).toBe("set");
    expect(runUntil(machine, at("2026-01-04T00:00:00Z"))).toEqual([
      "a@2026-01-01T09:00:00.000Z",
      "a@2026-01-02T09:00:00.000Z",
      "a@2026-01-03T09:00:00.000Z",
    ]);
    expect(schedule(machine)).toMatchObject({ runs: 3, nextAt: at("2026-01-04T09:00:00Z") });
  });

  it("[RCR3] keeps to the clock of its time zone, over the change of the hour", () => {
    const machine = new Machine();
    machine.now = at("2026-03-28T00:00:00Z");
    set(machine, "a", { timeZone: "Europe/Zurich" });
    expect(runUntil(machine, at("2026-03-30T00:00:00Z"))).toEqual([
      "a@2026-03-28T08:00:00.000Z",
      "a@2026-03-29T07:00:00.000Z",
    ]);
  });

  it("[RCR4] a run that the queue comes to a minute late or more is missed: skipped, or sent once for all", () => {
    const wake = at("2026-01-05T12:00:00Z");
    for (const [missed, expected] of [
      ["skip", []],
      ["once", ["a@2026-01-01T09:00:00.000Z"]],
    ] as const) {
      const machine = new Machine();
      machine.now = at("2026-01-01T00:00:00Z");
      set(machine, "a", { missed });
      machine.attach(1, 10);
      machine.now = wake;
      machine.turn();
      expect(machine.delivered.map(({ messageId }) => messageId)).toEqual(expected);
      expect(schedule(machine).nextAt).toBe(at("2026-01-06T09:00:00Z"));
    }
  });

  it("[RCR4] one that is only a little late is not", () => {
    const machine = new Machine();
    machine.now = at("2026-01-01T00:00:00Z");
    set(machine, "a", { cron: "*/10 * * * * *" });
    machine.attach(1, 10);
    machine.now = at("2026-01-01T00:00:31Z");
    machine.turn();
    expect(machine.delivered).toHaveLength(3);
  });

  it("[RCR5] the same id again changes it; its removal ends it", () => {
    const machine = new Machine();
    machine.now = at("2026-01-01T00:00:00Z");
    set(machine, "a");
    set(machine, "a", { cron: "0 10 * * *" }, "tock");
    expect(runUntil(machine, at("2026-01-02T00:00:00Z"))).toEqual(["a@2026-01-01T10:00:00.000Z"]);
    expect(schedule(machine).runs).toBe(1);
    machine.turn({ type: "unschedule", id: "a" });
    expect(runUntil(machine, at("2026-01-10T00:00:00Z"))).toEqual([]);
    expect(machine.turn({ type: "unschedule", id: "a" }).results[0]).toMatchObject({
      refusal: { kind: "not-found" },
    });
  });

  it("[RCR6] goes to another queue or topic through the outbox, with its time to live", () => {
    const machine = new Machine();
    machine.now = at("2026-01-01T08:59:59Z");
    set(machine, "a", { to: "topic:news", ttlMs: 5_000 });
    set(machine, "b", { to: "queue:jobs" });
    runUntil(machine, at("2026-01-01T10:00:00Z"));
    const rows = [];
    for (let row = machine.queue.store.nextOutbox(); row; row = machine.queue.store.nextOutbox()) {
      rows.push({ target: row.target, ...messagesIn(row.data)[0] });
      machine.turn({ type: "confirmed", outboxId: row.id });
    }
    expect(rows).toMatchObject([
      { target: "\0topic:news", topic: "news", expiresAt: at("2026-01-01T09:00:05Z") },
      { target: "jobs", messageId: "b@2026-01-01T09:00:00.000Z" },
    ]);
  });

  it("[RCR7] a run that finds the queue full stores nothing, and the schedule says why", () => {
    const machine = new Machine("orders", { maxMessages: 1 });
    machine.now = at("2026-01-01T00:00:00Z");
    set(machine, "a");
    machine.publish({ body: "full" });
    machine.now = at("2026-01-01T09:00:00Z");
    machine.turn();
    expect(schedule(machine)).toMatchObject({ runs: 0, lastError: expect.stringContaining("queue-full") });
  });

  it("[RCR8] limits: how many, how many bytes, and none that never comes", () => {
    const machine = new Machine();
    for (let n = 0; n < MAX_SCHEDULES; n++) set(machine, `s${n}`);
    expect(set(machine, "one more")).toBe("too-many");
    expect(set(machine, "s0", { cron: "0 10 * * *" })).toBe("set");
    expect(set(new Machine(), "a", { cron: "0 0 30 2 *" })).toBe("bad-field");
    const large = new Machine();
    for (let n = 0; n < 66; n++) set(large, `s${n}`, {}, "x".repeat(60_000));
    expect(set(large, "s66", {}, "x".repeat(60_000))).toBe("too-many");
  });
});
