// The log of a gateway: what a turn writes, what a crash leaves, when it is full and how it shrinks.
import { describe, expect, it } from "vitest";
import { Bench, record } from "./bench.ts";

describe("what a turn writes", () => {
  it("[BKL1] one row, however many sessions are owed however many messages", () => {
    const bench = new Bench();
    const sessions = Array.from({ length: 200 }, (_, n) => bench.session(`s${n}`, n % 2 === 0 ? 100 : 0));
    for (let n = 0; n < 50; n++) {
      bench.offer(
        `${n}`,
        sessions.filter((_, at) => (at + n) % 3 > 0),
        n % 2 === 0 ? 1 : 2,
      );
    }
    expect(bench.commit()).toBe(1);
    for (const session of sessions) for (let id = 1; id < 40; id++) session.puback(id);
    expect(bench.commit()).toBe(0);
    expect(bench.flush()).toBe(1);
    expect(bench.flush()).toBe(0);
  });

  it("[BKL1] nothing for sessions that end with their sockets and keep up", () => {
    const bench = new Bench();
    const live = bench.backlog.outgoing("live", false);
    live.setWindow(10);
    for (let n = 0; n < 100; n++) {
      const id = live.offer({ position: 0, qos: 2, retain: false, subscriptionIds: [] })!;
      bench.backlog.inbound("live").add(n + 1);
      live.pubrec(id, false);
      live.pubcomp(id);
      expect(bench.backlog.lazy).toBe(false);
      expect(bench.commit()).toBe(0);
    }
    expect(bench.backlog.sessions()).toEqual([]);
    expect(bench.segments()).toBe(0);
  });

  it("[BKL1] a record is kept once in a turn, and not written when nobody is owed it", () => {
    const bench = new Bench();
    const bytes = record("once");
    const position = bench.backlog.keep(bytes);
    expect(bench.backlog.keep(bytes.subarray(0))).toBe(position);
    expect(bench.backlog.keep(record("twice"))).toBe((position as number) + 1);
    expect(bench.body(position as number)).toBe("once");
    expect(bench.commit()).toBe(0);
    expect(bench.backlog.bytes).toBe(0);
    expect(bench.backlog.record(position as number)).toBeUndefined();
    expect(bench.backlog.keep(bytes)).toBe(position);
  });

  it("[BKL1] a turn too large for one row is written in several, whole", () => {
    const bench = new Bench();
    const session = bench.session("a");
    const big = "x".repeat(700_000);
    for (let n = 0; n < 5; n++) bench.offer(`${n}${big}`, [session]);
    expect(bench.commit()).toBe(3);
    bench.crash();
    expect(bench.bodies(bench.session("a", 9)).map((body) => body[0])).toEqual(["0", "1", "2", "3", "4"]);
  });

  it("[BKL2] a session that is owed everything holds one run of the log", () => {
    const bench = new Bench();
    const [all, some] = [bench.session("all"), bench.session("some")];
    for (let n = 0; n < 1_000; n++) {
      bench.publish(`${n}`, n % 2 === 0 ? [all, some] : [all]);
      bench.backlog.inbound("some").add(1 + n);
      bench.commit();
    }
    expect([all.queue.runs, some.queue.runs]).toEqual([1, 500]);
  });
});

describe("after a crash", () => {
  it("[BKL5] what was sent with its own row is sent again with DUP and its id", () => {
    const bench = new Bench();
    const session = bench.session("a", 2);
    for (const n of [1, 2, 3]) bench.publish(`${n}`, [session]);
    session.puback(1);
    bench.crash();
    const again = bench.session("a", 9);
    expect(again.resume().map(({ packetId }) => packetId)).toEqual([1, 2]);
    expect(bench.drain(again)).toEqual([expect.objectContaining({ packetId: 3, dup: false })]);
  });

  it("[BKL5] a QoS 2 message that waited is known as sent before it leaves", () => {
    const bench = new Bench();
    bench.publish("1", [bench.session("a")], 2);
    const session = bench.session("a", 9);
    expect(bench.drain(session)).toEqual([expect.objectContaining({ packetId: 1, dup: false })]);
    expect(bench.commit()).toBe(1);
    bench.crash();
    expect(bench.session("a", 9).resume()).toEqual([expect.objectContaining({ packetId: 1, dup: true })]);
  });

  it("[BKL5] [BKL8] what was sent before an eviction, and not yet in the log, is written by the next row", () => {
    const bench = new Bench();
    bench.publish("1", [bench.session("a")]);
    const session = bench.session("a", 9);
    expect(bench.drain(session)).toEqual([expect.objectContaining({ packetId: 1, dup: false })]);
    expect(bench.commit()).toBe(0);
    bench.crash();
    const woken = bench.session("a");
    woken.restore(session.save());
    expect(bench.backlog.lazy).toBe(true);
    woken.suspend();
    expect(bench.flush()).toBe(1);
    bench.crash();
    expect(bench.session("a", 9).resume()).toEqual([expect.objectContaining({ packetId: 1, dup: true })]);
  });

  it("[BKL7] no PUBLISH follows PUBREC", () => {
    const bench = new Bench();
    const session = bench.session("a", 9);
    bench.publish("1", [session], 2);
    expect(session.pubrec(1, false)).toBe("release");
    expect(bench.commit()).toBe(1);
    bench.crash();
    expect(bench.session("a", 9).resume()).toEqual([{ packetId: 1, release: true }]);
  });

  it("[BKL9] QoS 2 ids of a durable session are known until they are released", () => {
    const bench = new Bench();
    bench.session("a");
    const inbound = bench.backlog.inbound("a");
    expect([inbound.add(7), inbound.add(8), inbound.add(7)]).toEqual([true, true, false]);
    inbound.remove(8);
    expect(bench.commit()).toBe(1);
    bench.crash();
    bench.session("a");
    expect([7, 8].map((id) => bench.backlog.inbound("a").has(id))).toEqual([true, false]);
    expect(bench.backlog.inbound("a").remove(8)).toBe(false);
  });

  it("[BKL10] a transfer taken is taken for ever, and so are the earlier ones of its source", () => {
    const bench = new Bench();
    bench.backlog.take("t", 5);
    expect(bench.commit()).toBe(1);
    bench.crash();
    expect([4, 5, 6].map((id) => bench.backlog.taken("t", id))).toEqual([true, true, false]);
    expect(bench.backlog.taken("u", 1)).toBe(false);
  });

  it("[BKL11] a session that ended is owed nothing, also under the same id again", () => {
    const bench = new Bench();
    bench.publish("old", [bench.session("a")]);
    bench.backlog.forget("a");
    bench.publish("new", [bench.session("a")]);
    bench.crash();
    expect(bench.bodies(bench.session("a", 9))).toEqual(["new"]);
    bench.backlog.forget("a");
    bench.commit();
    bench.crash();
    expect(bench.backlog.sessions()).toEqual([]);
  });

  it("[BKL8] a session that ended with its socket is told by the log as long as something waits for it", () => {
    const bench = new Bench();
    const slow = bench.backlog.outgoing("slow", false);
    slow.setWindow(1);
    slow.offer({ position: 0, qos: 1, retain: false, subscriptionIds: [] });
    bench.publish("waits", [slow]);
    bench.crash();
    expect(bench.backlog.sessions()).toEqual(["slow"]);
    bench.backlog.forget("slow");
    expect(bench.commit()).toBe(1);
  });
});

describe("the size of the log", () => {
  it("[BKL14] segments that nobody is owed anything of are dropped, though a slow session needs an older one", () => {
    const bench = new Bench({ segmentRows: 4 });
    const [slow, quick] = [bench.session("slow"), bench.session("quick", 10)];
    bench.publish("old", [slow]);
    for (let n = 0; n < 100; n++) quick.puback(bench.publish(`${n}`, [quick])[0]!);
    expect(bench.segments()).toBeLessThanOrEqual(3);
    bench.crash();
    expect(bench.bodies(bench.session("slow", 9))).toEqual(["old"]);
    expect(bench.session("quick").waiting).toBe(0);
  });

  it("[BKL15] a full log refuses with queue-full until somebody lets go of a segment", () => {
    const bench = new Bench({ bytes: 1_000 });
    const session = bench.session("a", 100);
    const ids: number[] = [];
    while (bench.backlog.room(1, record("x").length) === undefined) {
      ids.push(...(bench.publish("x", [session]) as number[]));
    }
    expect(bench.backlog.keep(record("x"))).toMatchObject({ kind: "queue-full" });
    expect(bench.commit()).toBe(0);
    for (const id of ids) session.puback(id);
    expect(bench.backlog.room(1, 100)).toMatchObject({ kind: "queue-full" });
    bench.commit();
    expect(bench.backlog.bytes).toBe(0);
    expect(bench.backlog.room(1, 100)).toBeUndefined();
    bench.crash();
    expect(bench.session("a", 9).resume()).toEqual([]);
  });

  it("[BKL15] records are limited as well", () => {
    const bench = new Bench({ records: 2 });
    const session = bench.session("a");
    for (const n of [1, 2]) bench.publish(`${n}`, [session]);
    expect(bench.backlog.room(1, 1)).toMatchObject({ kind: "queue-full" });
  });

  it("[BKL2] a checkpoint tells everything that its rows told", () => {
    const bench = new Bench({ checkpointBytes: 1, segmentRows: 2 });
    const session = bench.session("a", 2);
    bench.backlog.inbound("a").add(300);
    for (let n = 1; n <= 5; n++) bench.publish(`${n}`, [session], n % 2 === 0 ? 2 : 1, n === 5 ? 9_000 : 0);
    session.pubrec(2, false);
    bench.commit();
    // The row that begins a segment brings a checkpoint.
    for (let n = 0; n < 3; n++) bench.publish("other", [bench.session("b")]);
    bench.crash();
    const again = bench.session("a", 9);
    expect(bench.backlog.inbound("a").has(300)).toBe(true);
    expect(bench.backlog.taken("source", 8)).toBe(true);
    expect(again.resume()).toEqual([
      {
        ...{ qos: 1, retain: false, subscriptionIds: [] },
        position: expect.any(Number),
        packetId: 1,
        dup: true,
      },
      { packetId: 2, release: true },
    ]);
    expect(bench.bodies(again)).toEqual(["3", "4", "5"]);
  });
});
