// One session's window: ids, order, DUP, what waits and what is dropped.
import { describe, expect, it } from "vitest";
import { MAX_IN_FLIGHT } from "../../../worker/limits.ts";
import { Bench } from "./bench.ts";

const OWED = { qos: 1, retain: false, subscriptionIds: [] } as const;

describe("the window of a session", () => {
  it("[BKL3] a message is sent at once while the window has room, and waits its turn behind others", () => {
    const bench = new Bench();
    const session = bench.session("a", 2);
    expect([1, 2, 3].map((n) => bench.publish(`${n}`, [session])[0])).toEqual([1, 2, undefined]);
    expect(session.open).toBe(false);
    expect(session.puback(2)).toBe(true);
    expect(bench.publish("4", [session])).toEqual([undefined]);
    expect(bench.drain(session).map(({ packetId, dup }) => [packetId, dup])).toEqual([[3, false]]);
    session.puback(1);
    expect(bench.bodies(session)).toEqual(["4"]);
  });

  it("[BKL3] at most MAX_IN_FLIGHT are out, whatever the client takes", () => {
    const bench = new Bench();
    const session = bench.session("a", 65_535);
    for (let n = 0; n <= MAX_IN_FLIGHT; n++) bench.offer(`${n}`, [session]);
    expect([session.inFlight, session.waiting]).toEqual([MAX_IN_FLIGHT, 1]);
  });

  it("[BKL4] an id is used again only when the message that had it is finished", () => {
    const bench = new Bench();
    const session = bench.backlog.outgoing("a", false);
    session.setWindow(10);
    const live = { ...OWED, position: 0 };
    expect(session.offer(live)).toBe(1);
    for (let n = 1; n < 32_767; n++) expect(session.puback(session.offer(live)!)).toBe(true);
    expect(session.open).toBe(false);
    const position = bench.backlog.keep(new Uint8Array(200)) as number;
    expect(session.offer({ ...OWED, position })).toBeUndefined();
    expect(session.next(bench.now)).toBeUndefined();
    session.puback(1);
    expect(session.next(bench.now)).toMatchObject({ packetId: 1, dup: false });
  });

  it("[BKL6] ids lent for queues' messages are above 32,767, count against the window, and end with the connection", () => {
    const session = new Bench().session("a", 2);
    const [first, second] = [session.take()!, session.take()!];
    expect([first, second]).toEqual([32_768, 32_769]);
    expect(session.take()).toBeUndefined();
    expect(session.puback(first)).toBe(false);
    expect([session.giveBack(first), session.giveBack(first)]).toEqual([true, false]);
    expect(session.take()).toBe(32_770);
    session.suspend();
    expect([session.inFlight, session.giveBack(second)]).toEqual([0, false]);
  });

  it("[BKL7] an acknowledgement of the wrong kind ends nothing", () => {
    const bench = new Bench();
    const session = bench.session("a", 10);
    bench.publish("1", [session], 1);
    bench.publish("2", [session], 2);
    expect(session.pubrec(1, false)).toBe("unknown");
    expect(session.puback(2)).toBe(false);
    expect(session.pubcomp(2)).toBe(false);
    expect(session.pubrec(9, false)).toBe("unknown");
    expect(session.inFlight).toBe(2);
    expect([session.pubrec(2, false), session.pubrec(2, false)]).toEqual(["release", "release"]);
    expect([session.pubcomp(2), session.pubcomp(2)]).toEqual([true, false]);
    expect(session.puback(1)).toBe(true);
    expect(session.bytes).toBe(0);
  });

  it("[BKL5] a resume with a smaller window sends again as many as it admits, PUBREL always", () => {
    const bench = new Bench();
    const session = bench.session("a", 10);
    for (const n of [1, 2, 3]) bench.publish(`${n}`, [session], 2);
    bench.publish("4", [session], 1);
    session.pubrec(2, false);
    bench.commit();
    session.suspend();
    session.setWindow(1);
    expect(session.resume()).toEqual([
      expect.objectContaining({ packetId: 1, dup: true }),
      { packetId: 2, release: true },
    ]);
    expect(session.next(bench.now)).toBeUndefined();
    session.pubrec(1, true);
    expect(session.next(bench.now)).toMatchObject({ packetId: 3, dup: true });
    session.pubrec(3, true);
    expect(session.next(bench.now)).toMatchObject({ packetId: 4, dup: true });
  });

  it("[BKL7] a message whose PUBREC came before it was sent again is not", () => {
    const bench = new Bench();
    const session = bench.session("a", 10);
    for (const n of [1, 2]) bench.publish(`${n}`, [session], 2);
    session.setWindow(1);
    session.resume();
    expect(session.pubrec(2, false)).toBe("release");
    session.pubrec(1, true);
    expect(session.next(bench.now)).toBeUndefined();
  });

  it("[BKL3] an acknowledgement of what was still to be sent again leaves nothing to wait for", () => {
    for (const failed of [true, false]) {
      const bench = new Bench();
      const session = bench.session("a", 10);
      for (const n of [1, 2]) bench.publish(`${n}`, [session], 2);
      session.setWindow(1);
      session.resume();
      session.pubrec(1, true);
      session.pubrec(2, failed);
      expect(session.open).toBe(true);
      expect(bench.publish("3", [session])).toEqual([3]);
    }
  });

  it("[BKL12] a message that expired while it waited is never sent; one that was sent is finished regardless", () => {
    const bench = new Bench();
    const session = bench.session("a", 1);
    bench.publish("sent", [session], 1, 2_000);
    bench.publish("late", [session], 1, 2_000);
    bench.publish("lasting", [session]);
    expect(bench.backlog.nextExpiry).toBeGreaterThanOrEqual(2_000);
    bench.now = 2_000;
    session.suspend();
    session.setWindow(5);
    expect(session.resume()).toEqual([expect.objectContaining({ packetId: 1, dup: true })]);
    expect(bench.bodies(session)).toEqual(["lasting"]);
  });

  it("[BKL12] expire frees what waits, and the log learns it", () => {
    const bench = new Bench();
    const session = bench.session("a");
    for (const n of [1, 2, 3, 4]) bench.publish(`${n}`, [session], 1, n % 2 === 0 ? 2_000 : 9_000);
    bench.now = 2_500;
    bench.backlog.expire(bench.now);
    expect(session.waiting).toBe(2);
    expect(bench.backlog.nextExpiry).toBeGreaterThanOrEqual(9_000);
    bench.flush();
    bench.now = 1_000;
    bench.crash();
    expect(bench.session("a", 9).waiting).toBe(2);
    bench.now = 9_000;
    bench.backlog.expire(bench.now);
    expect(bench.session("a").waiting).toBe(0);
    expect(bench.backlog.nextExpiry).toBe(Number.POSITIVE_INFINITY);
  });

  it("[BKL13] beyond its messages or bytes the oldest waiting is dropped and counted, never what was sent", () => {
    const bench = new Bench({ sessionMessages: 3 });
    const session = bench.session("a", 1);
    for (let n = 1; n <= 6; n++) bench.publish(`${n}`, [session]);
    expect([session.waiting, session.dropped]).toEqual([3, 2]);
    bench.crash();
    const again = bench.session("a", 9);
    expect(again.resume()).toHaveLength(1);
    expect(bench.bodies(again)).toEqual(["4", "5", "6"]);

    const heavy = new Bench({ sessionBytes: 500 });
    const other = heavy.session("b");
    for (let n = 1; n <= 6; n++) heavy.publish("x".repeat(100), [other]);
    expect(other.bytes).toBeLessThanOrEqual(500);
    expect(other.waiting + other.dropped).toBe(6);
  });

  it("[BKL3] what must wait, or outlive its socket, must be kept", () => {
    const bench = new Bench();
    const durable = bench.session("a", 5);
    expect(() => durable.offer({ ...OWED, position: 0 })).toThrow(RangeError);
    const live = bench.backlog.outgoing("b", false);
    expect(() => live.offer({ ...OWED, position: 0 })).toThrow(RangeError);
    expect(live.inFlight + live.waiting).toBe(0);
  });

  it("[BKL8] the attachment of a full window is small, also when every second message is acknowledged", () => {
    const bench = new Bench();
    const session = bench.backlog.outgoing("a", false);
    session.setWindow(MAX_IN_FLIGHT);
    const ids = Array.from({ length: MAX_IN_FLIGHT }, () => session.offer({ ...OWED, position: 0 })!);
    expect(session.save().length).toBeLessThan(100);
    for (const id of ids) if (id % 2 === 0) session.puback(id);
    expect(session.save().length).toBeLessThan(2_000);
    const saved = session.save();
    bench.crash();
    const woken = bench.backlog.outgoing("a", false);
    woken.restore(saved);
    expect([woken.inFlight, woken.puback(1), woken.puback(2)]).toEqual([512, true, false]);
  });
});
