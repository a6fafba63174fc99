// Receipts in the machine: who is told what of a message's end, and that nobody else pays for it.
import { describe, expect, it } from "vitest";
import type { QueueSettingsPatch } from "../../../worker/queue/settings.ts";
import { type Draft, Machine, messagesIn } from "../../support/machine.ts";

const WANTED: Draft = { body: "x", messageId: "m", correlationId: "c", receiptTo: "queue:told" };

function machineWith(drafts: Draft[], settings: QueueSettingsPatch = {}): Machine {
  const machine = new Machine("orders", settings);
  machine.publish(...drafts);
  return machine;
}

/** Bodies of the receipts that left, by target. */
function receipts(machine: Machine): { target: string; correlationId: string; [field: string]: unknown }[] {
  const found = [];
  for (
    let row = machine.queue.store.nextOutbox();
    row !== undefined;
    row = machine.queue.store.nextOutbox()
  ) {
    machine.turn({ type: "confirmed", outboxId: row.id });
    if (row.target.endsWith(".dead")) continue;
    for (const { body, correlationId } of messagesIn(row.data)) {
      found.push({ target: row.target, correlationId, ...(JSON.parse(String(body)) as object) });
    }
  }
  return found;
}

describe("a receipt", () => {
  it("[RCP1] [RCP2] tells who acked, once, though the queue was evicted between", () => {
    const machine = machineWith([{ ...WANTED }, { body: "none wanted" }]);
    machine.attach(7, 5, { client: "ann" });
    const [first, second] = [...machine.delivered];
    machine.reopen();
    machine.settle(first!, "ack");
    machine.settle(first!, "ack");
    machine.settle(second!, "ack");
    const { epoch } = machine.queue.ledger;
    expect(receipts(machine)).toEqual([
      {
        ...{ target: "told", correlationId: "c", messageId: "m", queue: "orders", epoch, seq: 1 },
        ...{ outcome: "ack", client: "ann", attempt: 1, time: machine.now },
      },
    ]);
  });

  it("[RCP3] tells of death with its reason, and of expiry", () => {
    const machine = machineWith([{ ...WANTED }, { ...WANTED, messageId: "late", expiresAt: 1_000_500 }]);
    machine.attach(7, 1, { client: "ann" });
    machine.settle(machine.delivered[0]!, "dead", { reason: "no such order" });
    machine.turn({ type: "detach", refs: [7] });
    machine.pass(1_000);
    expect(receipts(machine)).toMatchObject([
      { messageId: "m", outcome: "dead", reason: "no such order", client: "ann" },
      { messageId: "late", outcome: "expired", client: "" },
    ]);
  });

  it("[RCP3] what is dropped for want of room is told as expired", () => {
    const machine = machineWith([{ ...WANTED }], { maxMessages: 1, overflow: "drop-oldest" });
    machine.publish({ body: "next" });
    expect(receipts(machine)).toMatchObject([{ messageId: "m", outcome: "expired", reason: "overflow" }]);
  });

  it("[RCP3] a purge sends none, and leaves nothing of those it dropped behind", () => {
    const machine = machineWith([{ ...WANTED, messageId: "held" }, { ...WANTED }, { ...WANTED }]);
    machine.attach(7, 3);
    machine.turn({ type: "detach", refs: [7] });
    const [first] = machine.attach(7, 1);
    machine.turn({ type: "purge" });
    machine.reopen();
    expect(machine.queue.ledger.receipts.size).toBe(1);
    machine.settle(first!, "ack");
    expect(receipts(machine)).toMatchObject([{ messageId: "held" }]);
    expect(machine.queue.ledger.receipts.size).toBe(0);
  });

  it("[RCP4] comes at the end, and not when a message fails, waits and comes back", () => {
    const backoff = { kind: "fixed" as const, baseMs: 1_000 };
    const machine = machineWith([{ ...WANTED, receiptTo: "topic:told" }], { backoff });
    machine.attach(7, 1, { client: "ann" });
    machine.settle(machine.delivered[0]!, "fail");
    expect(receipts(machine)).toEqual([]);
    machine.reopen();
    machine.pass(1_000);
    machine.settle(machine.delivered[0]!, "ack");
    expect(receipts(machine)).toMatchObject([{ target: "\0topic:told", outcome: "ack", attempt: 2 }]);
  });

  it("[RCP5] messages without one cost no row and no fact more", () => {
    const rows = (draft: Draft) => {
      const machine = machineWith([draft]);
      machine.attach(7, 1);
      machine.settle(machine.delivered[0]!, "ack");
      return machine.sql.rowsWritten;
    };
    expect(rows({ ...WANTED }) - rows({ body: "x" }), "the receipt's row in the outbox").toBe(1);
  });
});
