// Publishing to topics: seqs, epochs, duplicates, and what is written for whom.
import { describe, expect, it } from "vitest";
import { MAX_TOPICS } from "../../../worker/limits.ts";
import { TopicMachine } from "../../support/topics.ts";

const news = (body: string, more = {}) => ({ topic: "news", body, ...more });

describe("seq and epoch", () => {
  it("[TOP1] seqs of a topic are contiguous from 1, those of another are its own", () => {
    const machine = new TopicMachine();
    const got = machine.publish(news("a"), { topic: "sport", body: "b" }, news("c"));
    expect(got).toMatchObject([{ seq: 1 }, { seq: 1 }, { seq: 2 }]);
    expect(machine.publish(news("d"))).toMatchObject([{ seq: 3, duplicate: false }]);
  });

  it("[TOP2] without history, an object that woke begins a new, higher epoch", () => {
    const machine = new TopicMachine();
    const [first] = machine.publish(news("a")) as { epoch: number }[];
    machine.reopen();
    const [second] = machine.publish(news("b")) as { epoch: number; seq: number }[];
    expect(second!.epoch).toBeGreaterThan(first!.epoch);
    expect(second!.seq).toBe(1);
  });

  it("[TOP2] with history, epoch and seq go on", () => {
    const machine = new TopicMachine();
    machine.configure("news", { retention: { maxMessages: 1 } });
    const before = machine.publish(news("a"), news("b"));
    machine.reopen();
    const [after] = machine.publish(news("c")) as { epoch: number; seq: number }[];
    expect(after).toMatchObject({ seq: 3, epoch: (before[0] as { epoch: number }).epoch });
  });

  it("[TOP2] a deleted topic begins a new epoch", () => {
    const machine = new TopicMachine();
    const [before] = machine.publish(news("a")) as { epoch: number }[];
    machine.call(() => machine.topics.remove("news", machine.now));
    const [after] = machine.publish(news("b")) as { epoch: number; seq: number }[];
    expect(after!.seq).toBe(1);
    expect(after!.epoch).toBeGreaterThan(before!.epoch);
  });

  it("[TOP2] a topic forgotten among too many begins a new epoch, one with history goes on", () => {
    const machine = new TopicMachine();
    machine.configure("kept", { retention: { maxMessages: 1 } });
    const [kept] = machine.publish({ topic: "kept", body: "a" }) as { epoch: number }[];
    const [before] = machine.publish(news("a")) as { epoch: number }[];
    for (let i = 0; i < 101; i++) {
      machine.publish(...Array.from({ length: 1_000 }, (_, n) => ({ topic: `${i}/${n}`, body: "x" })));
    }
    expect(machine.topics.counts().topics).toBe(MAX_TOPICS);
    const [after] = machine.publish(news("b")) as { epoch: number; seq: number }[];
    expect(after!.seq).toBe(1);
    expect(after!.epoch).toBeGreaterThan(before!.epoch);
    expect(machine.publish({ topic: "kept", body: "b" })).toMatchObject([{ seq: 2, epoch: kept!.epoch }]);
  });

  it("[TOP7] a delayed message is refused", () => {
    const machine = new TopicMachine();
    const [outcome] = machine.publish(news("a", { dueAt: machine.now + 1 }));
    expect(outcome).toMatchObject({ kind: "not-supported" });
  });
});

describe("duplicates", () => {
  const twice = (id: string) => news("x", { messageId: id, publisherId: true });

  it("[TOP3] the same message id within the window gets the first seq and epoch, and reaches nobody", () => {
    const machine = new TopicMachine();
    machine.subscribe("gateway-0", "news");
    const [first] = machine.publish(twice("1"));
    machine.publish(news("y"));
    const [second] = machine.publish(twice("1"));
    expect(second).toEqual({ ...first, duplicate: true });
    expect(machine.at("gateway-0").bodies()).toEqual(["x", "y"]);
  });

  it("[TOP3] another topic has another window, and a window ends", () => {
    const machine = new TopicMachine();
    machine.configure("news", { dedupWindowMs: 1_000 });
    machine.publish(twice("1"));
    expect(machine.publish({ ...twice("1"), topic: "sport" })).toMatchObject([{ duplicate: false }]);
    machine.pass(1_000);
    expect(machine.publish(twice("1"))).toMatchObject([{ duplicate: false, seq: 2 }]);
  });

  it.each([
    ["history", (machine: TopicMachine) => machine.configure("news", { retention: { maxMessages: 9 } }), {}],
    ["the retained message", () => undefined, { retain: true }],
    ["the outbox", (machine: TopicMachine) => machine.subscribe("gateway-0", "news", { durable: true }), {}],
  ])("[TOP4] an id is remembered over a restart when its message was stored: %s", (_, prepare, more) => {
    const machine = new TopicMachine();
    prepare(machine);
    const [first] = machine.publish({ ...twice("1"), ...more });
    machine.reopen();
    expect(machine.publish({ ...twice("1"), ...more })).toEqual([{ ...first, duplicate: true }]);
  });

  it("[TOP4] [TOP9] a deleted topic's ids are forgotten, over a restart too", () => {
    const machine = new TopicMachine();
    machine.subscribe("gateway-0", "news", { durable: true });
    machine.publish(twice("1"));
    machine.call(() => machine.topics.remove("news", machine.now));
    machine.reopen();
    expect(machine.publish(twice("1"))).toMatchObject([{ duplicate: false }]);
  });
});

describe("what is written", () => {
  it("[TOP5] nothing, when nobody needs more than live messages", () => {
    const machine = new TopicMachine();
    machine.subscribe("gateway-0", "news");
    machine.topics.interests.add("#", "gateway-1", false, 0);
    const before = machine.sql.rowsWritten;
    machine.publish(news("a"), news("b"));
    expect(machine.sql.rowsWritten).toBe(before);
    expect(machine.at("gateway-0").bodies()).toEqual(["a", "b"]);
    expect(machine.at("gateway-1").bodies()).toEqual(["a", "b"]);
  });

  it("[TOP6] one row per turn for any number of durable targets, none for QoS 0 to gateways", () => {
    const machine = new TopicMachine();
    for (let i = 0; i < 5; i++) machine.subscribe(`gateway-${i}`, "news", { durable: true });
    machine.publish(news("first"));
    const before = machine.sql.rowsWritten;
    machine.publish(news("a"), news("b"), news("c", { qos: 1 }));
    expect(machine.sql.rowsWritten - before).toBe(1);
    machine.publish(news("d", { qos: 0 }));
    expect(machine.sql.rowsWritten - before).toBe(1);
    for (let i = 0; i < 5; i++) {
      expect(machine.at(`gateway-${i}`).bodies()).toEqual(["first", "a", "b", "c", "d"]);
    }
  });

  it("[TOP6] one packet per target and turn", () => {
    const machine = new TopicMachine();
    machine.subscribe("gateway-0", "a/#", { durable: true });
    machine.topics.interests.add("+/x", "gateway-0", false, 0);
    machine.publish({ topic: "a/x", body: "1" }, { topic: "b/x", body: "2" }, { topic: "a/y", body: "3" });
    expect(machine.at("gateway-0").calls).toBe(1);
    expect(machine.at("gateway-0").bodies()).toEqual(["1", "2", "3"]);
  });

  it("[TOP8] large turns are parted into rows that fit", () => {
    const machine = new TopicMachine();
    machine.configure("news", { retention: { maxMessages: 100 } });
    machine.subscribe("gateway-0", "news", { durable: true });
    const large = Array.from({ length: 5 }, (_, i) => news(`${i}`.repeat(900_000)));
    machine.publish(...large);
    expect(machine.sql.largestRowBytes).toBeLessThan(2_000_000);
    expect(machine.at("gateway-0").bodies()).toEqual(large.map(({ body }) => body));
    machine.reopen();
    const found = machine.topics.history("news", "first", 10, machine.now) as { records: Uint8Array };
    expect(found.records.length).toBeGreaterThan(2_700_000);
  });

  it("[TOP8] what must be stored is refused while 64 MB wait for a target, the rest goes on", () => {
    const machine = new TopicMachine();
    machine.subscribe("gateway-0", "news", { durable: true });
    machine.at("gateway-0").up = false;
    const body = "x".repeat(1_000_000);
    const outcomes = Array.from({ length: 70 }, () => machine.publish(news(body))[0]!);
    expect(outcomes[0]).toMatchObject({ seq: 1 });
    expect(outcomes[69]).toMatchObject({ kind: "too-many" });
    expect(machine.publish(news("y", { qos: 0 }), { topic: "other", body: "z" })).toMatchObject([
      { duplicate: false },
      { seq: 1 },
    ]);
    machine.at("gateway-0").up = true;
    machine.pass(60_000);
    expect(machine.at("gateway-0").got.length).toBe(outcomes.filter((o) => "seq" in o).length);
    expect(machine.publish(news("w"))).toMatchObject([{ duplicate: false }]);
  });
});
