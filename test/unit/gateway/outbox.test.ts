// What a gateway has taken over from its clients: that it arrives once, in order, whatever the calls that carry it meet.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isRefusal, type Refusal, refuse } from "../../../worker/errors.ts";
import { Backlog } from "../../../worker/gateway/backlog/backlog.ts";
import type { CommandDone, ObjectLink, PublishDone } from "../../../worker/gateway/object-link.ts";
import { OUTBOX, Outbox } from "../../../worker/gateway/outbox.ts";
import { MAX_OUTBOX_MESSAGES } from "../../../worker/limits.ts";
import type { QueueCommand } from "../../../worker/link/commands.ts";
import type { Published } from "../../../worker/link/results.ts";
import type { Message } from "../../../worker/message/record.ts";
import { message } from "../../support/message.ts";
import { NodeSql } from "../../support/node-sql.ts";
import { will } from "../../support/sessions.ts";

const RETRY_MS = 1_000;
const TAKEN = { seq: 1, duplicate: false, epoch: 1 } as unknown as Published;
const AWAY = refuse("unavailable", "the test has cut this off");

/** One gateway's outbox, and what takes its messages. */
class Bench {
  readonly sql = new NodeSql();
  backlog!: Backlog;
  outbox!: Outbox;
  flushes = 0;
  /** Calls that were not answered, oldest first. */
  readonly calls: { address: string; message: Message; done: PublishDone }[] = [];
  /** Settles that were not answered. */
  readonly settles: { address: string; settle: QueueCommand; done: CommandDone }[] = [];
  /** What every call is answered with at once, if anything. */
  answer: Published | Refusal | undefined;

  constructor() {
    this.wake();
  }

  /** The object wakes with what is on its disk; calls that were under way are forgotten. */
  wake(): void {
    this.calls.length = 0;
    this.settles.length = 0;
    this.backlog = Backlog.open(this.sql, 1_000);
    this.outbox = new Outbox({
      ...{ gateway: "gateway-0", backlog: this.backlog },
      link: (namespace, address) => {
        const publish = (sent: Message, done: PublishDone) => {
          if (this.answer !== undefined) done(this.answer);
          else this.calls.push({ address: `${namespace}:${address}`, message: sent, done });
        };
        const command = (settle: QueueCommand, done: CommandDone) =>
          this.settles.push({ address: `${namespace}:${address}`, settle, done });
        return { publish, command } as unknown as ObjectLink;
      },
      flush: () => this.flushes++,
    });
    this.outbox.resume();
  }

  take(...bodies: string[]): (Refusal | undefined)[] {
    return bodies.map((body) => this.outbox.takeOver("n", "topic:t", message({ body })));
  }

  /** Ends a turn, and writes what may wait for a while. */
  commit(): void {
    this.sql.transaction(() => {
      this.backlog.commit();
      this.backlog.flushLazy();
    });
  }

  /** Bodies of calls that wait. */
  get waiting(): unknown[] {
    return this.calls.map(({ message: { body } }) => body);
  }

  /** Answers the calls that wait, in their order. */
  tell(...outcomes: (Published | Refusal)[]): void {
    for (const [index, { done }] of this.calls.splice(0, outcomes.length).entries()) done(outcomes[index]!);
  }

  get owed(): number {
    const outgoing = this.backlog.outgoing(OUTBOX, true);
    return outgoing.inFlight + outgoing.waiting;
  }
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("the outbox of a gateway", () => {
  it("[REG9] hands messages on at once and in order, each under an id of its own", () => {
    const bench = new Bench();
    bench.take("1", "2", "3");
    expect(bench.waiting).toEqual(["1", "2", "3"]);
    const ids = bench.calls.map((call) => call.message.messageId);
    expect(new Set(ids).size).toBe(3);
    for (const { address, message: sent } of bench.calls) {
      expect(address).toBe("n:topic:t");
      expect(sent).toMatchObject({ topic: "t", publisherId: true, qos: 2 });
    }
    bench.tell(TAKEN, TAKEN, TAKEN);
    expect(bench.owed).toBe(0);
  });

  it("[REG9] a message to a queue has no topic", () => {
    const bench = new Bench();
    bench.outbox.takeOver("n", "queue:a:b", message({ body: "1" }));
    expect(bench.calls).toMatchObject([{ address: "n:queue:a:b", message: { topic: "", body: "1" } }]);
  });

  it.for(["unavailable", "too-many", "queue-full", "internal"] as const)(
    "[REG9] what is refused for a while (%s) is tried again, and what comes after it waits its turn",
    (kind) => {
      const bench = new Bench();
      bench.take("1", "2", "3");
      const ids = bench.calls.map((call) => call.message.messageId);
      // The answers of several calls under way come one by one.
      bench.tell(refuse(kind, "for a while"));
      bench.take("4");
      bench.tell(refuse(kind, "for a while"), refuse(kind, "for a while"));
      expect(bench.waiting).toEqual([]);
      vi.advanceTimersByTime(RETRY_MS - 1);
      bench.take("5");
      expect(bench.waiting).toEqual([]);
      vi.advanceTimersByTime(1);
      expect(bench.waiting).toEqual(["1", "2", "3", "4", "5"]);
      expect(bench.calls.slice(0, 3).map((call) => call.message.messageId)).toEqual(ids);
      expect(bench.flushes).toBe(1);
      bench.tell(TAKEN, TAKEN, TAKEN, TAKEN, TAKEN);
      expect(bench.owed).toBe(0);
    },
  );

  it("[REG9] nothing leaves for an address whose last call has no answer: it would overtake what that call loses", () => {
    const bench = new Bench();
    bench.take("1", "2");
    bench.outbox.departed();
    bench.take("3");
    bench.outbox.takeOver("n", "topic:other", message({ body: "x" }));
    expect(bench.waiting).toEqual(["1", "2", "x"]);
    bench.tell(AWAY, AWAY, TAKEN);
    bench.take("4");
    expect(bench.waiting).toEqual([]);
    vi.advanceTimersByTime(RETRY_MS);
    expect(bench.waiting).toEqual(["1", "2", "3", "4"]);
    bench.outbox.departed();
    bench.take("5");
    expect(bench.waiting).toEqual(["1", "2", "3", "4"]);
    bench.tell(TAKEN, TAKEN, TAKEN, TAKEN);
    expect(bench.waiting).toEqual(["5"]);
    bench.tell(TAKEN);
    expect(bench.owed).toBe(0);
  });

  it("[REG9] keeps the order through several attempts, refused before the call or after it", () => {
    const bench = new Bench();
    bench.answer = AWAY;
    bench.take("1", "2");
    vi.advanceTimersByTime(RETRY_MS);
    bench.take("3");
    bench.answer = undefined;
    vi.advanceTimersByTime(RETRY_MS);
    expect(bench.waiting).toEqual(["1", "2", "3"]);
    bench.tell(AWAY, AWAY, AWAY);
    vi.advanceTimersByTime(RETRY_MS);
    expect(bench.waiting).toEqual(["1", "2", "3"]);
    bench.tell(TAKEN, TAKEN, TAKEN);
    expect(bench.owed).toBe(0);
  });

  it("[REG9] a refusal for good is no more tried, and the rest goes on", () => {
    const errors = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const bench = new Bench();
    bench.take("1", "2");
    bench.tell(refuse("not-declared", "the topic is not declared"), TAKEN);
    expect(errors).toHaveBeenCalledTimes(1);
    errors.mockRestore();
    expect(bench.owed).toBe(0);
    vi.advanceTimersByTime(10 * RETRY_MS);
    expect(bench.waiting).toEqual([]);
    bench.take("3");
    expect(bench.waiting).toEqual(["3"]);
  });

  it("[REG10] beyond its room more is refused, until some has arrived", () => {
    const bench = new Bench();
    bench.answer = AWAY;
    const bodies = Array.from({ length: 2 * MAX_OUTBOX_MESSAGES + 10 }, (_, index) => `${index}`);
    const outcomes = bench.take(...bodies);
    bench.commit();
    const refused = outcomes.findIndex(isRefusal);
    expect(refused).toBeGreaterThanOrEqual(MAX_OUTBOX_MESSAGES);
    expect(outcomes[refused]).toMatchObject({ kind: "too-many" });
    // Whatever was not refused arrives, in order.
    bench.answer = undefined;
    const arrived: unknown[] = [];
    for (let tries = 0; bench.owed > 0 && tries < 100; tries++) {
      vi.advanceTimersByTime(RETRY_MS);
      arrived.push(...bench.waiting);
      bench.tell(...bench.waiting.map(() => TAKEN));
    }
    expect(arrived).toEqual(bodies.slice(0, refused));
    expect(bench.take("again")).toEqual([undefined]);
  });

  it("[REG9] [BKL2] what had not arrived when the gateway went goes on when it is back, in order and under the same ids", () => {
    const bench = new Bench();
    bench.take("1", "2", "3", "4");
    const ids = bench.calls.map((call) => call.message.messageId);
    bench.tell(TAKEN);
    bench.commit();
    bench.wake();
    expect(bench.waiting).toEqual(["2", "3", "4"]);
    expect(bench.calls.map((call) => call.message.messageId)).toEqual(ids.slice(1));
    bench.tell(TAKEN, AWAY, AWAY);
    bench.take("5");
    bench.commit();
    bench.wake();
    expect(bench.waiting).toEqual(["3", "4", "5"]);
    bench.tell(TAKEN, TAKEN, TAKEN);
    bench.commit();
    bench.wake();
    expect(bench.waiting).toEqual([]);
    bench.take("6");
    expect(ids).not.toContain(bench.calls[0]!.message.messageId);
  });

  it("[REG9] the time of a will begins when it is taken over", () => {
    const bench = new Bench();
    bench.outbox.takeOverWill("ann", { ...will("gone", 0), ttlMs: 500 }, 7_000);
    expect(bench.calls).toMatchObject([{ message: { body: "gone", time: 7_000, expiresAt: 7_500 } }]);
  });

  it("[REG13] a queue is told of a message that was taken over, until it has answered, over restarts too", () => {
    const bench = new Bench();
    const queue = "$share/g/t";
    const taken = { position: 65_536, lease: 7 };
    const isSettling = () => bench.outbox.isSettling("n", queue, taken.position);
    expect(bench.outbox.settle("n", queue, taken)).toBeUndefined();
    bench.commit();
    expect(isSettling()).toBe(true);
    bench.wake();
    expect(isSettling()).toBe(true);
    const settlements = [{ ...taken, outcome: "ack" }];
    expect(bench.settles).toMatchObject([{ address: `n:queue:${queue}`, settle: { settlements } }]);
    bench.settles.shift()!.done({ type: "refused", refusal: AWAY }, 0);
    expect(isSettling()).toBe(true);
    vi.advanceTimersByTime(RETRY_MS);
    bench.settles.shift()!.done({ type: "settled", settled: [true] }, 1);
    expect(isSettling()).toBe(false);
    bench.commit();
    bench.wake();
    expect([isSettling(), bench.settles.length, bench.owed]).toEqual([false, 0, 0]);
  });
});
