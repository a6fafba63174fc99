import { describe, expect, it } from "vitest";
import type { DunlinError } from "../../../client/errors.ts";
import { Lease, SettleBatch } from "../../../client/settle.ts";
import type { MessageFrame } from "../../../client/wire.ts";
import { delivery } from "./scripted-socket.ts";

const leaseOf = (handle: string) => new Lease(delivery(1, handle) as unknown as MessageFrame, 0, 30_000);

function batchOf(handles: string[]) {
  const done: { leases: Lease[]; error: DunlinError | undefined }[] = [];
  const batch = new SettleBatch((leases, error) => done.push({ leases, error }));
  const answers = handles.map((handle) => {
    const lease = leaseOf(handle);
    const answer = lease.settle();
    batch.add(lease, "ack");
    return answer;
  });
  batch.seal(7, 3);
  return { batch, done, answers };
}

describe("settlements", () => {
  it("[SET5] carries the four outcomes in the lists of one frame", () => {
    const batch = new SettleBatch(() => {});
    batch.add(leaseOf("a"), "ack");
    batch.add(leaseOf("b"), "release");
    batch.add(leaseOf("c"), "fail", { reason: "busy", delayMs: 50 });
    batch.add(leaseOf("d"), "fail");
    batch.add(leaseOf("e"), "dead", { reason: "never" });
    batch.add(leaseOf("f"), "ack");
    batch.seal(7, 3);
    expect(JSON.parse(batch.text)).toEqual({
      op: "settle",
      id: 7,
      sub: 3,
      ack: ["a", "f"],
      release: ["b"],
      fail: [{ delivery: "c", reason: "busy", delayMs: 50 }, { delivery: "d" }],
      dead: [{ delivery: "e", reason: "never" }],
    });
  });

  it("[SET9] keeps a detail that the broker would refuse from spoiling the others", () => {
    const batch = new SettleBatch(() => {});
    const details = [
      { reason: "x".repeat(2_000), delayMs: -1 },
      { delayMs: 1.5 },
      { delayMs: Number.NaN },
      { delayMs: 1e15 },
    ];
    for (const detail of details) batch.add(leaseOf("a"), "fail", detail);
    batch.add(leaseOf("b"), "dead", { reason: new Error("no text") as unknown as string, delayMs: 5 });
    batch.seal(7, 3);
    expect(JSON.parse(batch.text)).toMatchObject({
      fail: [
        { delivery: "a", reason: "x".repeat(1_024), delayMs: 0 },
        { delivery: "a", delayMs: 2 },
        { delivery: "a" },
        { delivery: "a", delayMs: 31_536_000_000 },
      ],
      dead: [{ delivery: "b", reason: "Error: no text" }],
    });
  });

  it("[CLI8] tells each of them whether its lease was held", async () => {
    const { batch, done, answers } = batchOf(["a", "b", "c"]);
    batch.reply({ op: "ok", id: 7, lost: ["b"] });
    expect(await Promise.all(answers)).toEqual([true, false, true]);
    expect(done).toEqual([{ leases: batch.leases, error: undefined }]);
  });

  it("[CLI8] a refused frame settles none, and its error is reported", async () => {
    const { batch, done, answers } = batchOf(["a", "b"]);
    batch.reply({ op: "error", id: 7, code: 202, kind: "forbidden", message: "no", retry: "none" });
    expect(await Promise.all(answers)).toEqual([false, false]);
    expect(done[0]!.error?.kind).toBe("forbidden");
  });

  it("[CLI8] settling for a subscription that has ended settles none, quietly", async () => {
    const { batch, done, answers } = batchOf(["a"]);
    batch.reply({ op: "error", id: 7, code: 402, kind: "no-subscription", message: "no", retry: "none" });
    expect(await Promise.all(answers)).toEqual([false]);
    expect(done[0]!.error).toBeUndefined();
  });

  it("[CLI8] without an answer for ever nothing counts as settled", async () => {
    const { batch, answers } = batchOf(["a"]);
    batch.abandon();
    expect(await Promise.all(answers)).toEqual([false]);
  });
});
