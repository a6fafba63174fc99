// Consumers with selectors: who gets what, what is looked past, and how often a message is held against a selector.
import { describe, expect, it, vi } from "vitest";
import { MAX_CONSUMER_FILTERS, MAX_PASSED } from "../../../worker/limits.ts";
import { listConsumers } from "../../../worker/queue/peek.ts";
import { RecordFields } from "../../../worker/selector/record-fields.ts";
import { type Draft, Machine } from "../../support/machine.ts";

const RED = "colour = 'red'";
const BLUE = "colour = 'blue'";

/** Messages by colour: "red1" is red. */
function colours(...names: string[]): Draft[] {
  return names.map((body) => ({
    body,
    headers: JSON.stringify({
      colour: body.replace(/[0-9]+$/, ""),
      size: body.replace(/^[a-z]+/, "") || "0",
    }),
  }));
}

function shown(machine: Machine): string[] {
  return machine.delivered.map(({ ref, body }) => `${ref}:${body}`);
}

describe("consumers with selectors", () => {
  it("[QSL1] [QSL2] each gets what matches, in order; the rest stays for others", () => {
    const machine = new Machine();
    machine.attach(1, 10, { filter: RED });
    machine.publish(...colours("blue1", "red1", "green1", "red2"));
    expect(shown(machine)).toEqual(["1:red1", "1:red2"]);
    machine.attach(2, 10, { filter: BLUE });
    expect(shown(machine)).toEqual(["2:blue1"]);
    machine.reopen();
    machine.attach(3, 10);
    expect(shown(machine)).toEqual(["3:green1"]);
    machine.publish(...colours("green2", "red3"));
    expect(shown(machine).sort()).toEqual(["1:red3", "3:green2"].sort());
  });

  it("[QSL1] consumers with one selector share what matches, and one without takes part in all", () => {
    const machine = new Machine();
    machine.attach(1, 10, { filter: RED });
    machine.attach(2, 10, { filter: RED });
    machine.attach(3, 10);
    machine.publish(...colours("red1", "red2", "red3", "red4", "red5", "red6"));
    expect(shown(machine)).toEqual(["1:red1", "2:red2", "3:red3", "1:red4", "2:red5", "3:red6"]);
  });

  it("[QSL3] what comes back is there for everyone whose selector it matches", () => {
    const machine = new Machine("orders", { leaseMs: 1_000 });
    machine.publish(...colours("red1", "red2"));
    const [first] = machine.attach(1, 2, { filter: RED });
    machine.attach(2, 5, { filter: "size >= 1" });
    machine.turn({ type: "pause", refs: [1] });
    machine.settle(first!, "release");
    expect(shown(machine)).toEqual(["2:red1"]);
    machine.pass(1_000);
    expect(shown(machine)).toEqual(["2:red1", "2:red2"]);
    machine.turn({ type: "detach", refs: [2] });
    machine.attach(3, 5, { filter: "attempt >= 3" });
    expect(shown(machine), "attempt counts the delivery that comes").toEqual(["3:red1", "3:red2"]);
  });

  it("[QSL4] credit and a changed selector are kept to", () => {
    const machine = new Machine();
    machine.publish(...colours("red1", "blue1", "red2", "red3"));
    machine.attach(1, 2, { filter: RED });
    expect(shown(machine)).toEqual(["1:red1", "1:red2"]);
    machine.attach(1, 4, { filter: BLUE });
    expect(shown(machine)).toEqual(["1:blue1"]);
    machine.attach(1, 4);
    expect(shown(machine)).toEqual(["1:red3"]);
    expect(machine.queue.ledger.consumers.selecting).toBe(0);
  });

  it("[QSL5] [GRP2] a group goes in its order, past those whose selectors its head does not match", () => {
    const machine = new Machine();
    const grouped = colours("blue1", "red1", "red2").map((draft) => ({ ...draft, group: "g" }));
    machine.attach(1, 10, { filter: RED });
    machine.publish(...grouped, ...colours("red3"));
    expect(shown(machine)).toEqual(["1:red3"]);
    machine.attach(2, 10, { filter: BLUE });
    machine.settle(machine.delivered[0]!, "ack");
    expect(shown(machine)).toEqual(["1:red1"]);
  });

  it("[QSL1] [PRI1] the highest priority first among what matches", () => {
    const machine = new Machine();
    const [low, high, other] = colours("red1", "red2", "blue1");
    machine.publish(low!, { ...high!, priority: 5 }, { ...other!, priority: 9 });
    machine.attach(1, 5, { filter: RED });
    expect(shown(machine)).toEqual(["1:red2", "1:red1"]);
  });

  it("[QSL6] a receive takes what matches, at once or when it comes", () => {
    const machine = new Machine();
    machine.publish(...colours("blue1", "red1"));
    const receive = (ref: number, filter: string, wait: boolean) => {
      machine.turn({ type: "receive", ref, max: 5, leaseMs: undefined, filter, wait });
      return shown(machine);
    };
    expect(receive(-1, RED, false)).toEqual(["-1:red1"]);
    expect(receive(-2, RED, true)).toEqual([]);
    expect(listConsumers(machine.queue, 0, 5).consumers).toEqual([
      { kind: "receive", credit: 5, unsettled: 0, filter: RED, paused: false },
    ]);
    machine.publish(...colours("blue2", "red2"));
    expect(shown(machine)).toEqual(["-2:red2"]);
    expect(receive(-3, "", false)).toEqual(["-3:blue1", "-3:blue2"]);
  });

  it("[QSL7] looks past 10,000 that match nobody, no further, and goes on as they are taken", () => {
    const machine = new Machine();
    machine.attach(1, 10, { filter: RED });
    for (let sent = 0; sent < MAX_PASSED; sent += 1_000) {
      machine.publish(...colours(...Array.from({ length: 1_000 }, () => "blue")));
    }
    machine.publish(...colours("red1"));
    expect(shown(machine)).toEqual([]);
    machine.attach(2, 1, { filter: BLUE });
    expect(shown(machine)).toEqual(["2:blue", "1:red1"]);
  });

  it("[QSL7] those who were served make room for those who were not, with no event in between", () => {
    const machine = new Machine();
    machine.attach(1, 10, { filter: RED });
    for (let sent = 0; sent < MAX_PASSED + 1_000; sent += 1_000) {
      machine.publish(...colours(...Array.from({ length: 1_000 }, () => "blue")));
    }
    machine.publish(...colours("red1"));
    const consumer = { ref: 2, gateway: "g", client: "c", filter: BLUE, leaseMs: undefined, generation: 1 };
    const attach = (credit: number) => {
      machine.turn({ type: "attach", consumer: { ...consumer, credit, resend: false } });
      return shown(machine).filter((name) => name !== "2:blue");
    };
    expect(attach(1_000), "the red one is the first that is not looked at").toEqual([]);
    expect(attach(1_001), "one more and it is").toEqual(["1:red1"]);
  });

  it("[QSL8] holds a message against a selector once for as long as it stays ready, whatever happens meanwhile", () => {
    const machine = new Machine();
    machine.attach(1, 5, { filter: RED });
    const asked = vi.spyOn(RecordFields.prototype, "header");
    machine.publish(...colours("blue1", "blue2", "green1"));
    expect(asked).toHaveBeenCalledTimes(3);
    for (let i = 0; i < 10; i++) machine.pass(1);
    expect(asked).toHaveBeenCalledTimes(3);
    machine.attach(2, 5, { filter: BLUE });
    expect(asked).toHaveBeenCalledTimes(6);
    for (const delivery of machine.delivered) machine.settle(delivery, "ack");
    expect(asked).toHaveBeenCalledTimes(6);
    asked.mockRestore();
  });

  it("[QSL8] more selectors than are kept in mind, and a long life, find the same", () => {
    const machine = new Machine();
    const count = MAX_CONSUMER_FILTERS - 1;
    let call = 0;
    for (let ref = 1; ref <= count; ref++) machine.attach(ref, 2, { filter: `size = ${ref}` });
    for (let round = 0; round < 5; round++) {
      machine.publish(...colours(...Array.from({ length: count + 5 }, (_, i) => `c${i + 1}`)));
      expect(shown(machine).sort()).toEqual(
        Array.from({ length: count }, (_, i) => `${i + 1}:c${i + 1}`).sort(),
      );
      for (const delivery of [...machine.delivered]) machine.settle(delivery, "ack");
      // Calls with filters that nobody has again: theirs are kept in mind for a while, and then others instead.
      for (let i = 0; i < 20; i++) {
        const ref = --call;
        machine.turn({
          type: "receive",
          ref,
          max: 1,
          leaseMs: undefined,
          filter: `call = ${ref}`,
          wait: true,
        });
        machine.turn({ type: "withdraw", ref });
      }
    }
    expect(machine.queue.ledger.counts).toMatchObject({ ready: 25, leased: 0 });
  });

  it("[QSL9] a queue without selectors holds nothing against anything", () => {
    const machine = new Machine();
    const asked = vi.spyOn(RecordFields.prototype, "header");
    machine.attach(1, 5);
    machine.publish(...colours("red1", "blue1"));
    expect(asked).not.toHaveBeenCalled();
    asked.mockRestore();
  });
});
