// The machine of a topic object against a naive reference, under random commands, with an eviction possible between any two of them,
// and targets that fail to hear or to answer.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../worker/errors.ts";
import { matches } from "../../worker/filter/filter.ts";
import type { Message } from "../../worker/message/record.ts";
import { TopicMachine } from "../support/topics.ts";

const RUNS = Number(process.env.MODEL_RUNS ?? 400);
const TOPICS = ["a", "a/b", "c"];
const FILTERS = ["a", "a/b", "c", "a/#", "+"];
const TARGETS = ["gateway-0", "gateway-1", "queue:q"];
const MAX_MESSAGES = 5;
const WINDOW_MS = 2_000;

interface Draft {
  topic: string;
  id: number;
  qos: 0 | 1;
  retain: boolean;
  empty: boolean;
}

type Step =
  | { do: "publish"; messages: Draft[] }
  | { do: "subscribe"; target: string; filter: string; durable: boolean }
  | { do: "unsubscribe"; target: string; filter: string }
  | { do: "history"; topic: string; on: boolean }
  | { do: "remove"; topic: string }
  | { do: "cut"; target: string; what: "up" | "answers"; value: boolean }
  | { do: "pass"; ms: number }
  | { do: "reopen" };

const target = fc.constantFrom(...TARGETS);
const filter = fc.constantFrom(...FILTERS);
const topic = fc.constantFrom(...TOPICS);
const draft: fc.Arbitrary<Draft> = fc.record({
  topic,
  id: fc.integer({ min: 0, max: 9 }),
  qos: fc.constantFrom(0 as const, 1 as const),
  retain: fc.boolean(),
  empty: fc.boolean(),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("publish" as const),
      messages: fc.array(draft, { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("subscribe" as const), target, filter, durable: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("unsubscribe" as const), target, filter }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("history" as const), topic, on: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove" as const), topic }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("cut" as const),
      target,
      what: fc.constantFrom("up" as const, "answers" as const),
      value: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.constantFrom(1, 700, 1_500, 70_000) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("reopen" as const) }) },
);

/** What is known of one topic, kept the naive way. */
interface Known {
  seq: number;
  /** The last that was told, and the lowest that the next one may be. */
  epoch: number;
  notBelow: number;
  history: boolean;
  stored: string[];
  /** By message id. */
  ids: Map<string, { seq: number; epoch: number; time: number; stored: boolean }>;
}

/** Runs the steps on the machine, and beside it on maps and arrays. */
class Run {
  readonly machine = new TopicMachine();
  readonly topics = new Map<string, Known>();
  /** The last epochs of deleted topics. */
  readonly ended = new Map<string, number>();
  readonly retained = new Map<string, string>();
  /** By target and filter: whether durable. */
  readonly interests = new Map<string, boolean>();
  /** Bodies that must reach a target, in order. */
  readonly must = new Map<string, string[]>(TARGETS.map((name) => [name, []]));
  /** Bodies that may. */
  readonly may = new Map<string, Set<string>>(TARGETS.map((name) => [name, new Set()]));
  #count = 0;

  step(next: Step): void {
    const { machine } = this;
    switch (next.do) {
      case "publish":
        return this.#publish(next.messages);
      case "subscribe": {
        const durable = next.durable || next.target.startsWith("queue:");
        machine.subscribe(next.target, next.filter, { durable });
        this.interests.set(`${next.target} ${next.filter}`, durable);
        return;
      }
      case "unsubscribe":
        machine.unsubscribe(next.target, next.filter);
        this.interests.delete(`${next.target} ${next.filter}`);
        return;
      case "history": {
        machine.configure(next.topic, {
          retention: { maxMessages: next.on ? MAX_MESSAGES : null },
          dedupWindowMs: WINDOW_MS,
        });
        const known = this.#known(next.topic);
        known.history = next.on;
        if (!next.on) known.stored = [];
        return;
      }
      case "remove":
        // The Directory is told first, which takes time.
        machine.now++;
        machine.call(() => machine.topics.remove(next.topic, machine.now));
        this.ended.set(next.topic, this.topics.get(next.topic)?.epoch ?? this.ended.get(next.topic) ?? 0);
        this.topics.delete(next.topic);
        this.retained.delete(next.topic);
        return;
      case "cut":
        machine.at(next.target)[next.what] = next.value;
        return;
      case "pass":
        return machine.pass(next.ms);
      case "reopen":
        return this.#reopen();
    }
  }

  /** After every step: what can be looked at is as the reference has it. */
  check(): void {
    const { machine } = this;
    for (const name of TOPICS) {
      expect(machine.retained(name)).toBe(this.retained.get(name));
      const known = this.topics.get(name);
      if (known?.history) {
        const { bodies, recovered } = machine.history(name, "first");
        expect(bodies).toEqual(known.stored.slice(-MAX_MESSAGES));
        expect(recovered && known.seq > known.stored.slice(-MAX_MESSAGES).length).toBe(false);
      }
    }
  }

  /** At the end everybody answers: what had to arrive has arrived, once and in order, and nothing that nobody wanted. */
  finish(): void {
    for (const name of TARGETS) Object.assign(this.machine.at(name), { up: true, answers: true });
    for (let i = 0; i < 3; i++) this.machine.pass(70_000);
    for (const name of TARGETS) {
      const got = this.machine.at(name).got.map(({ body }: Message) => String(body));
      const must = this.must.get(name)!;
      expect(got.filter((body) => must.includes(body))).toEqual(must);
      expect(got.filter((body) => !must.includes(body) && !this.may.get(name)!.has(body))).toEqual([]);
      const told = got.filter((body) => body !== "");
      expect(new Set(told).size).toBe(told.length);
    }
    expect(this.machine.topics.outbox.waiting).toBe(false);
  }

  #publish(messages: Draft[]): void {
    const { machine } = this;
    const drafts = messages.map(({ topic, id, qos, retain, empty }) => ({
      topic,
      qos,
      retain,
      // Bodies tell messages apart, so only those that nobody stores may be empty.
      body: empty && retain ? "" : `${++this.#count}`,
      messageId: `m${id}`,
      publisherId: id > 0,
    }));
    const expected = drafts.map((each) => this.#expect(each));
    const outcomes = machine.publish(...drafts);
    for (const [at, outcome] of outcomes.entries()) {
      if (isRefusal(outcome)) throw new Error(outcome.message);
      const { duplicate, seq, known, id } = expected[at]!;
      expect(outcome).toMatchObject({ duplicate, seq });
      if (duplicate) expect(outcome.epoch).toBe(id!.epoch);
      else {
        // A new epoch is the machine's to choose, but it rises.
        expect(outcome.epoch).toBeGreaterThanOrEqual(known.notBelow);
        known.epoch = outcome.epoch;
        known.notBelow = outcome.epoch;
        if (id !== undefined) id.epoch = outcome.epoch;
      }
    }
  }

  #expect(message: {
    topic: string;
    body: string;
    messageId: string;
    publisherId: boolean;
    qos: number;
    retain: boolean;
  }) {
    const { topic, body, messageId, publisherId, qos, retain } = message;
    const known = this.#known(topic);
    const { now } = this.machine;
    const before = publisherId ? known.ids.get(messageId) : undefined;
    if (before !== undefined && before.time > now - WINDOW_MS)
      return { duplicate: true, seq: before.seq, known, id: before };
    const seq = ++known.seq;
    let stored = known.history;
    if (known.history) known.stored.push(body);
    if (retain && body === "") this.retained.delete(topic);
    else if (retain) this.retained.set(topic, body);
    for (const name of TARGETS) {
      const wishes = [...this.interests]
        .filter(([key]) => key.startsWith(`${name} `) && matches(key.slice(name.length + 1), topic))
        .map(([, durable]) => durable);
      if (wishes.length === 0) continue;
      const kept = wishes.includes(true) && (qos > 0 || name.startsWith("queue:"));
      // Several empty bodies look the same: they may come, and are looked at no further.
      if (kept && body !== "") this.must.get(name)!.push(body);
      else this.may.get(name)!.add(body);
      stored ||= kept;
    }
    const id = { seq, epoch: 0, time: now, stored };
    if (publisherId) known.ids.set(messageId, id);
    return { duplicate: false, seq, known, id };
  }

  #reopen(): void {
    // Filters and bindings are the Directory's: it tells them again.
    const filters = [...this.interests].map(([key, durable]) => {
      const [name, wildcard] = key.split(" ") as [string, string];
      return { target: name, filter: wildcard, durable };
    });
    // After a deletion epochs are up to 1 ms ahead of the clock; no restart is as quick.
    this.machine.now++;
    this.machine.reopen();
    this.machine.topics.entered(
      [],
      filters.filter(({ target: name, filter: text }) => name.startsWith("queue:") || /[+#]/.test(text)),
      this.machine.now,
    );
    this.machine.travel();
    for (const known of this.topics.values()) {
      if (!known.history) {
        known.seq = 0;
        known.notBelow = known.epoch + 1;
      }
      known.ids = new Map([...known.ids].filter(([, { stored }]) => stored));
    }
  }

  #known(name: string): Known {
    let known = this.topics.get(name);
    if (known === undefined) {
      const epoch = this.ended.get(name) ?? 0;
      known = { seq: 0, epoch, notBelow: epoch + 1, history: false, stored: [], ids: new Map() };
      this.topics.set(name, known);
    }
    return known;
  }
}

describe("topics", () => {
  it("[TOP1] [TOP13] [RTN1] [REP1] [BND3] behave as the reference, whatever happens between two steps", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40, size: "max" }), (steps) => {
        const run = new Run();
        for (const each of steps) {
          run.step(withoutIds(each));
          run.check();
        }
        run.finish();
      }),
      { numRuns: RUNS },
    );
  });

  it("[TOP3] [TOP4] duplicates are answered alike before and after an eviction", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40, size: "max" }), (steps) => {
        const run = new Run();
        for (const name of TOPICS) run.step({ do: "history", topic: name, on: true });
        run.machine.now += 1;
        // A history keeps the id of every message, also of those beyond its limits.
        for (const each of steps.filter(steady)) {
          run.step(withoutEmpty(each));
        }
        run.finish();
      }),
      { numRuns: RUNS },
    );
  });
});

function withoutIds(each: Step): Step {
  if (each.do !== "publish") return each;
  return { ...each, messages: each.messages.map((message) => ({ ...message, id: 0 })) };
}

function withoutEmpty(each: Step): Step {
  if (each.do !== "publish") return each;
  return { ...each, messages: each.messages.map((message) => ({ ...message, empty: false })) };
}

function steady(each: Step): boolean {
  return each.do !== "history" && each.do !== "remove" && each.do !== "unsubscribe";
}
