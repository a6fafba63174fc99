// Redrive in the machine: which dead letters go where, at which rate, and what is left alone.
import { describe, expect, it } from "vitest";
import { MAX_OUTSTANDING } from "../../../worker/limits.ts";
import type { Death } from "../../../worker/queue/failures.ts";
import type { RedriveOptions } from "../../../worker/queue/redrive.ts";
import { type Draft, Machine, messagesIn } from "../../support/machine.ts";

const ALL: RedriveOptions = { to: "", origin: "", filter: "", max: null, perSecond: null };

function dead(body: string, queue = "orders", more: Partial<Draft> = {}): Draft {
  const death: Death = { queue, reason: "failures", count: 20, firstTime: 1, lastTime: 2 };
  return { body, deaths: JSON.stringify([death]), messageId: body, ...more };
}

/** What left, by target; takes it out of the outbox. */
function sent(machine: Machine): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (
    let row = machine.queue.store.nextOutbox();
    row !== undefined;
    row = machine.queue.store.nextOutbox()
  ) {
    found[row.target] = [
      ...(found[row.target] ?? []),
      ...messagesIn(row.data).map(({ body }) => String(body)),
    ];
    machine.turn({ type: "confirmed", outboxId: row.id });
  }
  return found;
}

function begin(machine: Machine, options: Partial<RedriveOptions> = {}): string {
  const [result] = machine.turn({ type: "redrive", options: { ...ALL, ...options } }).results;
  return result!.type === "refused" ? result!.refusal.kind : "begun";
}

const letters = (count: number) => Array.from({ length: count }, (_, index) => dead(`d${index}`));
const task = (machine: Machine) => machine.queue.ledger.redrive.task!;

describe("redrive", () => {
  it("[RDV1] [RDV2] moves dead letters to the queues they died in, and nothing else", () => {
    const machine = new Machine("orders.dead");
    machine.publish(dead("a"), { body: "no dead letter" }, dead("b", "mails"), dead("c"));
    expect(begin(machine)).toBe("begun");
    expect(sent(machine)).toEqual({ orders: ["a", "c"], mails: ["b"] });
    expect(task(machine)).toMatchObject({ moved: 3, running: false });
    expect(machine.queue.ledger.counts, "[STA2]").toMatchObject({ accepted: 4, ready: 1, settled: 3 });
    machine.attach(1, 10);
    expect(machine.delivered.map(({ body }) => body)).toEqual(["no dead letter"]);
  });

  it("[RDV3] what is moved keeps its id and history, and begins anew as to attempts and failures", () => {
    const machine = new Machine("orders.dead");
    machine.publish(dead("a", "orders", { attempts: 3, failures: 2, expiresAt: 9_999_999 }));
    begin(machine);
    const [message] = messagesIn(machine.queue.store.nextOutbox()!.data);
    expect(message).toMatchObject({ messageId: "a", attempts: 0, failures: 0, expiresAt: 0 });
    expect(message!.deaths).toContain(`"count":20`);
  });

  it("[RDV4] to another queue, filtered, so many, or only of one origin", () => {
    const machine = new Machine("orders.dead");
    const red = { headers: JSON.stringify({ colour: "red" }) };
    machine.publish(dead("a", "orders", red), dead("b"), dead("c", "orders", red), dead("d", "mails", red));
    begin(machine, { filter: "colour = 'red'", max: 1, to: "elsewhere" });
    expect(sent(machine)).toEqual({ elsewhere: ["a"] });
    begin(machine, { filter: "colour = 'red'", origin: "orders" });
    expect(sent(machine)).toEqual({ orders: ["c"] });
    expect(machine.queue.ledger.counts.ready).toBe(2);
  });

  it("[RDV5] keeps to its rate, over evictions, and tells when it is done", () => {
    const machine = new Machine("orders.dead");
    machine.publish(...letters(25));
    begin(machine, { perSecond: 10 });
    expect(task(machine)).toMatchObject({ moved: 1, running: true });
    expect(begin(machine)).toBe("conflict");
    let steps = 0;
    while (task(machine).running) {
      machine.reopen();
      machine.now = machine.queue.nextDeadline;
      machine.turn();
      steps++;
      const seconds = (machine.now - 1_000_000) / 1_000;
      expect(task(machine).moved).toBeLessThanOrEqual(1 + seconds * 10);
    }
    expect(machine.now - 1_000_000).toBeGreaterThanOrEqual(2_400);
    expect(steps).toBeLessThan(40);
    expect(sent(machine).orders).toHaveLength(25);
  });

  it("[RDV5] the rate is for what is moved: what is looked past takes no time", () => {
    const machine = new Machine("orders.dead");
    machine.publish(...Array.from({ length: 2_500 }, () => ({ body: "stays" })), dead("a"), dead("b"));
    begin(machine, { perSecond: 1 });
    while (task(machine).moved === 0) expect(machine.turn().more || task(machine).moved > 0).toBe(true);
    expect(task(machine)).toMatchObject({ moved: 1, running: true });
    expect(machine.queue.nextDeadline).toBe(machine.now + 1_000);
    machine.pass(1_000);
    expect(sent(machine)).toEqual({ orders: ["a", "b"] });
  });

  it("[RDV6] ends when it is told to; what came after its beginning stays", () => {
    const machine = new Machine("orders.dead");
    machine.publish(...letters(3));
    begin(machine, { perSecond: 1 });
    machine.publish(dead("late"));
    machine.turn({ type: "end-redrive" });
    machine.pass(60_000);
    expect(sent(machine)).toEqual({ orders: ["d0"] });
    begin(machine, { perSecond: 1 });
    machine.publish(dead("later"));
    for (let second = 0; second < 10; second++) machine.pass(1_000);
    expect(sent(machine)).toEqual({ orders: ["d1", "d2", "late"] });
    expect(machine.queue.ledger.counts.ready).toBe(1);
  });

  it("[RDV7] thousands go in turns of a thousand, each once", () => {
    const machine = new Machine("orders.dead");
    machine.publish(...letters(3_500));
    begin(machine);
    expect(task(machine)).toMatchObject({ moved: 1_000, running: true });
    while (task(machine).running) machine.turn();
    const { orders } = sent(machine);
    expect(orders).toEqual(letters(3_500).map(({ body }) => body));
  });

  it("[RDV10] ends when the books are full of what it looked past; with room it goes on where it is called again", () => {
    const machine = new Machine("orders.dead");
    for (let n = 0; n < 100; n++)
      machine.publish(...Array.from({ length: 1_000 }, () => ({ body: "stays" })));
    machine.publish(dead("behind"));
    begin(machine);
    while (task(machine).running) machine.turn();
    expect(task(machine).moved).toBe(0);
    expect(machine.queue.ledger.entries.size).toBe(MAX_OUTSTANDING);
    machine.attach(1, 1);
    machine.settle(machine.delivered[0]!, "ack");
    begin(machine);
    while (task(machine).running) machine.turn();
    expect(task(machine).moved).toBe(1);
  });

  it("[RDV2] [EVC1] what was looked past is handed out after an eviction too", () => {
    const machine = new Machine("orders.dead");
    machine.publish({ body: "stays" }, dead("goes"), { body: "stays too" });
    begin(machine);
    machine.reopen();
    machine.attach(1, 10);
    expect(machine.delivered.map(({ body }) => body)).toEqual(["stays", "stays too"]);
  });

  it("[RDV2] leased and grouped ones behind them stay", () => {
    const machine = new Machine("orders.dead");
    machine.publish(dead("a", "orders", { group: "g" }), dead("b", "orders", { group: "g" }), dead("c"));
    machine.attach(1, 1);
    begin(machine);
    expect(sent(machine)).toEqual({ orders: ["c"] });
  });
});
