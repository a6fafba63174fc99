// Shows that the history checker of the fault tests finds every fault it claims to find, and none in a correct history.
import { describe, expect, it } from "vitest";
import { History, type HistoryEvent } from "../support/history.ts";
import { checkHistory, type ViolationKind } from "../support/history-check.ts";

const LEASE_MS = 1_000;

/** A history with a clock that a test moves. */
class Story {
  private nowMs = 0;
  private calls = 0;
  private readonly history = new History(() => this.nowMs);

  after(ms: number): this {
    this.nowMs += ms;
    return this;
  }

  invoke(messageId: string, call: number, producer = "p1"): this {
    return this.record({ kind: "publish-invoked", producer, messageId, call });
  }

  confirm(messageId: string, call: number, seq: number, duplicate = false, producer = "p1"): this {
    return this.record({ kind: "publish-confirmed", producer, messageId, call, seq, duplicate });
  }

  publish(messageId: string, seq: number, duplicate = false, producer = "p1"): this {
    const call = 1_000 + this.calls++;
    return this.invoke(messageId, call, producer).confirm(messageId, call, seq, duplicate, producer);
  }

  /** The handle is `SEQ.ATTEMPT`. */
  deliver(messageId: string, seq: number, attempt: number, consumer: string, group?: string): this {
    const delivery = `${seq}.${attempt}`;
    return this.record({
      kind: "delivered",
      consumer,
      messageId,
      seq,
      delivery,
      attempt,
      leaseMs: LEASE_MS,
      group,
    });
  }

  ack(delivery: string, answer?: "settled" | "lost"): this {
    this.record({ kind: "ack-invoked", delivery });
    if (answer) this.record({ kind: "ack-confirmed", delivery, lost: answer === "lost" });
    return this;
  }

  giveBack(delivery: string): this {
    return this.record({ kind: "return-invoked", delivery });
  }

  end(consumer: string, keepMs = 0): this {
    return this.record({ kind: "consumer-ended", consumer, keepMs });
  }

  record(event: HistoryEvent): this {
    this.history.record(event);
    return this;
  }

  kinds(drained = true, slackMs = 0): ViolationKind[] {
    return checkHistory(this.history.events, { drained, slackMs }).map((violation) => violation.kind);
  }
}

const story = () => new Story();

describe("a correct history", () => {
  it("of publish, deliver and ack has no violation", () => {
    const correct = story();
    for (let seq = 1; seq <= 50; seq++) {
      correct.publish(`m${seq}`, seq).after(1).deliver(`m${seq}`, seq, 1, "c1", "g").after(1);
      correct.ack(`${seq}.1`, "settled");
    }
    expect(correct.kinds()).toEqual([]);
  });

  it("may hold a retried publish, whichever of the two calls stored the message", () => {
    expect(story().invoke("m", 1).invoke("m", 2).confirm("m", 2, 1, true).kinds(false)).toEqual([]);
    expect(story().invoke("m", 1).invoke("m", 2).confirm("m", 2, 1, false).kinds(false)).toEqual([]);
    expect(
      story().invoke("m", 1).confirm("m", 1, 1).invoke("m", 2).confirm("m", 2, 1, true).kinds(false),
    ).toEqual([]);
  });

  it("may hold an ack without an answer, executed or not", () => {
    expect(story().publish("m", 1).deliver("m", 1, 1, "c1").ack("1.1").end("c1").kinds()).toEqual([]);
    const again = story().publish("m", 1).deliver("m", 1, 1, "c1").ack("1.1").end("c1").after(5);
    expect(again.deliver("m", 1, 2, "c2").ack("1.2", "settled").kinds()).toEqual([]);
  });

  it("may hold a second delivery after release, after the lease, and after the session's end", () => {
    const released = story().publish("m", 1).deliver("m", 1, 1, "c1").giveBack("1.1");
    expect(released.deliver("m", 1, 2, "c2").ack("1.2", "settled").kinds()).toEqual([]);
    const late = story().publish("m", 1).deliver("m", 1, 1, "c1").after(LEASE_MS).deliver("m", 1, 2, "c2");
    expect(late.ack("1.1", "lost").ack("1.2", "settled").kinds()).toEqual([]);
    const ended = story()
      .publish("m", 1)
      .deliver("m", 1, 1, "c1")
      .end("c1", 500)
      .after(500)
      .deliver("m", 1, 2, "c2");
    expect(ended.ack("1.2", "settled").kinds()).toEqual([]);
  });

  it("may show a resumed session again what it still holds", () => {
    const resumed = story().publish("m", 1).deliver("m", 1, 1, "c1").after(10).deliver("m", 1, 1, "c1");
    expect(resumed.ack("1.1", "settled").kinds()).toEqual([]);
  });

  it("may let a delivery out of a stalled socket late", () => {
    const stalled = story()
      .publish("a", 1)
      .publish("b", 2)
      .deliver("a", 1, 2, "c2", "g")
      .ack("1.2", "settled");
    stalled.deliver("b", 2, 1, "c2", "g").ack("2.1", "settled").after(LEASE_MS).deliver("a", 1, 1, "c1", "g");
    expect(stalled.ack("1.1", "lost").kinds(true, 2 * LEASE_MS)).toEqual([]);
  });

  it("may seem early by less than the slack", () => {
    const early = story()
      .publish("m", 1)
      .deliver("m", 1, 1, "c1")
      .after(LEASE_MS - 100)
      .deliver("m", 1, 2, "c2");
    expect(early.ack("1.2", "settled").kinds(true, 200)).toEqual([]);
    expect(early.kinds(true, 50)).toEqual(["leased-twice"]);
  });
});

describe("a planted fault is found:", () => {
  const faults: [string, ViolationKind, Story, boolean][] = [
    ["a confirmed message never delivered", "lost", story().publish("m", 1), true],
    [
      "a confirmed message delivered, never acked",
      "lost",
      story().publish("m", 1).deliver("m", 1, 1, "c1"),
      true,
    ],
    [
      "a confirmed message whose only ack was refused",
      "lost",
      story().publish("m", 1).deliver("m", 1, 1, "c1").end("c1").ack("1.1", "lost"),
      true,
    ],
    [
      "two seqs confirmed for one id",
      "stored-twice",
      story().invoke("m", 1).invoke("m", 2).confirm("m", 1, 1).confirm("m", 2, 2, true),
      false,
    ],
    [
      "delivered under another seq than confirmed",
      "stored-twice",
      story().publish("m", 1).deliver("m", 2, 1, "c"),
      false,
    ],
    ["one seq for two ids", "seq-reused", story().publish("a", 1).publish("b", 1), false],
    [
      "a hole in the seqs",
      "seq-hole",
      story()
        .publish("a", 1)
        .publish("b", 3)
        .deliver("a", 1, 1, "c")
        .ack("1.1")
        .deliver("b", 3, 1, "c")
        .ack("3.1"),
      true,
    ],
    [
      "two leases at once",
      "leased-twice",
      story()
        .publish("m", 1)
        .deliver("m", 1, 1, "c1")
        .after(LEASE_MS - 1)
        .deliver("m", 1, 2, "c2"),
      false,
    ],
    [
      "a lease not kept for an absent session",
      "leased-twice",
      story().publish("m", 1).deliver("m", 1, 1, "c1").end("c1", 500).after(499).deliver("m", 1, 2, "c2"),
      false,
    ],
    [
      "an ack refused within its lease",
      "lease-revoked",
      story().publish("m", 1).deliver("m", 1, 1, "c1").after(10).ack("1.1", "lost"),
      false,
    ],
    [
      "one handle answered as lost and as settled",
      "answer-changed",
      story().publish("m", 1).deliver("m", 1, 1, "c1").end("c1").ack("1.1", "lost").ack("1.1", "settled"),
      false,
    ],
    [
      "a settled message among the dead letters",
      "ended-twice",
      story()
        .publish("m", 1)
        .deliver("m", 1, 1, "c1")
        .ack("1.1", "settled")
        .record({ kind: "dead-lettered", messageId: "m" }),
      true,
    ],
    [
      "a message of an earlier part of the run",
      "acked-delivered-again",
      story().record({ kind: "carried", messageId: "m", seq: 1 }).deliver("m", 1, 2, "c1").ack("1.2"),
      false,
    ],
    [
      "a stale handle accepted",
      "stale-handle-accepted",
      story()
        .publish("m", 1)
        .deliver("m", 1, 1, "c1")
        .end("c1")
        .deliver("m", 1, 2, "c2")
        .ack("1.1", "settled"),
      false,
    ],
    [
      "an acked message delivered again",
      "acked-delivered-again",
      story()
        .publish("m", 1)
        .deliver("m", 1, 1, "c1")
        .ack("1.1", "settled")
        .after(LEASE_MS)
        .deliver("m", 1, 2, "c2"),
      false,
    ],
    [
      "one message settled by two handles",
      "settled-twice",
      story()
        .publish("m", 1)
        .deliver("m", 1, 1, "c1")
        .after(LEASE_MS)
        .deliver("m", 1, 2, "c2")
        .ack("1.2", "settled")
        .ack("1.1", "settled"),
      false,
    ],
    [
      "one handle for two consumers",
      "handle-reused",
      story().publish("m", 1).deliver("m", 1, 1, "c1").deliver("m", 1, 1, "c2"),
      false,
    ],
    [
      "two handles of one attempt",
      "handle-reused",
      story().publish("m", 1).deliver("m", 1, 1, "c1").giveBack("1.1").record({
        kind: "delivered",
        consumer: "c2",
        messageId: "m",
        seq: 1,
        delivery: "other",
        attempt: 1,
        leaseMs: LEASE_MS,
      }),
      false,
    ],
    [
      "two of a group out at once",
      "group-overlap",
      story().publish("a", 1).publish("b", 2).deliver("a", 1, 1, "c1", "g").deliver("b", 2, 1, "c2", "g"),
      false,
    ],
    [
      "the second of a group before the first",
      "group-order",
      story()
        .publish("a", 1)
        .publish("b", 2)
        .deliver("b", 2, 1, "c1", "g")
        .ack("2.1")
        .deliver("a", 1, 1, "c1", "g"),
      false,
    ],
    [
      "a group that went on past a released message",
      "group-order",
      story()
        .publish("a", 1)
        .publish("b", 2)
        .deliver("a", 1, 1, "c1", "g")
        .giveBack("1.1")
        .deliver("b", 2, 1, "c2", "g"),
      false,
    ],
    [
      "a group that went on past an ack that was not executed",
      "group-order",
      story()
        .publish("a", 1)
        .publish("b", 2)
        .deliver("a", 1, 1, "c1", "g")
        .ack("1.1")
        .end("c1")
        .deliver("b", 2, 1, "c2", "g")
        .ack("2.1")
        .deliver("a", 1, 2, "c2", "g"),
      false,
    ],
    [
      "one producer's messages out of order",
      "publisher-order",
      story().publish("a", 2).publish("b", 1),
      false,
    ],
    ["a first publish called a duplicate", "duplicate-flag", story().publish("m", 1, true), false],
    ["two publishes called new", "duplicate-flag", story().publish("m", 1).publish("m", 1), false],
    [
      "a publish called new although a consumer had the message before",
      "duplicate-flag",
      story().invoke("m", 1).deliver("m", 1, 1, "c1").invoke("m", 2).confirm("m", 2, 1),
      false,
    ],
    ["a message nobody published", "invented", story().deliver("m", 1, 1, "c1"), false],
  ];

  it.each(faults)("%s is %s", (_, kind, history, drained) => {
    expect(history.kinds(drained)).toContain(kind);
  });

  it("every kind has a planted fault", () => {
    const kinds: Record<ViolationKind, true> = {
      lost: true,
      "stored-twice": true,
      "seq-reused": true,
      "seq-hole": true,
      "leased-twice": true,
      "lease-revoked": true,
      "stale-handle-accepted": true,
      "acked-delivered-again": true,
      "settled-twice": true,
      "handle-reused": true,
      "group-overlap": true,
      "group-order": true,
      "publisher-order": true,
      "duplicate-flag": true,
      invented: true,
      "answer-changed": true,
      "ended-twice": true,
    };
    expect(new Set(faults.map(([, kind]) => kind))).toEqual(new Set(Object.keys(kinds)));
  });
});
