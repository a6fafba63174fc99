// Producers, receipts, schedules, redrive and push of one queue together, under random steps with an eviction after each of them: every
// receipt, run and dead letter leaves exactly once, and the books are the same from facts, from a checkpoint and in memory.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../worker/errors.ts";
import { Log } from "../../worker/log/log.ts";
import { JSON_BODY, RecordView } from "../../worker/message/record.ts";
import { loadLedger, saveLedger } from "../../worker/queue/checkpoint.ts";
import { Ledger } from "../../worker/queue/ledger.ts";
import { peek } from "../../worker/queue/peek.ts";
import type { Receipt } from "../../worker/queue/receipts.ts";
import type { ScheduleSpec } from "../../worker/queue/schedules.ts";
import { Segments } from "../../worker/queue/segments.ts";
import { type Delivered, Machine, messagesIn, records } from "../support/machine.ts";
import { NodeSql } from "../support/node-sql.ts";

const RUNS = Math.ceil(Number(process.env.MODEL_RUNS ?? 400) / 4);
const SPEC: ScheduleSpec = { cron: "", timeZone: "UTC", missed: "skip", to: "", ttlMs: 0 };
const PUSH = { url: "https://example.com/", secret: "", headers: {}, service: "", timeoutMs: 1_000 };
const CLIENT = 7;

type Step =
  | {
      do: "publish";
      drafts: { letter: boolean; receipt: boolean; odd: boolean; ttlMs: number; delayMs: number }[];
    }
  | { do: "produce"; producer: number; what: "next" | "again" | "gap" | "older" | "reborn" }
  | { do: "schedule"; id: number; seconds: number; out: boolean }
  | { do: "unschedule"; id: number }
  | { do: "redrive"; max: number | null; perSecond: number | null; odd: boolean; to: "" | "elsewhere" }
  | { do: "push"; concurrency: number }
  | { do: "consume"; credit: number }
  | { do: "settle"; pick: number; outcome: "ack" | "release" | "fail" | "dead"; delayMs: number | undefined }
  | { do: "pass"; ms: number }
  | { do: "end-redrive" | "unpush" | "purge" | "confirm" };

const some = <T extends string>(name: T) => fc.constant(name);
const id = fc.nat({ max: 2 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: some("publish"),
      drafts: fc.array(
        fc.record({
          ...{ letter: fc.boolean(), receipt: fc.boolean(), odd: fc.boolean() },
          ...{ ttlMs: fc.constantFrom(0, 0, 0, 1_500), delayMs: fc.constantFrom(0, 0, 0, 700) },
        }),
        { minLength: 1, maxLength: 5 },
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      ...{ do: some("produce"), producer: id },
      what: fc.constantFrom("next", "next", "next", "again", "gap", "older", "reborn"),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      ...{ do: some("schedule"), id, seconds: fc.constantFrom(1, 2, 5), out: fc.boolean() },
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: some("unschedule"), id }) },
  {
    weight: 2,
    arbitrary: fc.record({
      ...{
        do: some("redrive"),
        max: fc.constantFrom(null, 1, 3),
        perSecond: fc.constantFrom(null, null, 1, 2),
      },
      ...{ odd: fc.boolean(), to: fc.constantFrom("" as const, "elsewhere" as const) },
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: some("push"), concurrency: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ do: some("consume"), credit: fc.nat({ max: 3 }) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      ...{ do: some("settle"), pick: fc.nat({ max: 1_000 }), delayMs: fc.constantFrom(undefined, 0, 900) },
      outcome: fc.constantFrom(
        "ack" as const,
        "ack" as const,
        "release" as const,
        "fail" as const,
        "dead" as const,
      ),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: some("pass"), ms: fc.integer({ min: 1, max: 4_000 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom("end-redrive", "unpush", "confirm", "confirm", "purge") }),
  },
);

/** What a producer has stored, as a plain list: the seq of each of its numbers. */
interface Produced {
  epoch: number;
  seqs: number[];
}

/** A queue with what must have left it. */
class World {
  readonly machine = new Machine("graves", { deadLetterTo: "crypt", maxFailures: 2, leaseMs: 2_000 });
  readonly known: Delivered[] = [];
  /** Seqs of messages that want a receipt, and of those that a purge dropped. */
  readonly wanting = new Set<number>();
  readonly purged = new Set<number>();
  /** Seqs of what was published by id and body. */
  readonly seqs = new Map<string, number>();
  readonly receipts = new Map<number, Receipt>();
  /** Ids and bodies of what left as it is, by where it went. */
  readonly redriven: string[] = [];
  readonly buried: string[] = [];
  readonly runs: string[] = [];
  readonly expectedRuns: string[] = [];
  readonly #running = new Map<string, { seconds: number; since: number }>();
  readonly #producers = new Map<number, Produced>();
  readonly #ran = new Map<string, number>();
  #lastRow = 0;
  #bodies = 0;

  run(next: Step): void {
    const { machine } = this;
    switch (next.do) {
      case "publish":
        this.#publish(next.drafts);
        break;
      case "produce":
        this.#produce(next.producer, next.what);
        break;
      case "schedule":
      case "unschedule":
        this.#schedule(next);
        break;
      case "redrive": {
        const { max, perSecond, odd, to } = next;
        machine.turn({
          type: "redrive",
          options: { to, origin: "", filter: odd ? "kind = 'odd'" : "", max, perSecond },
        });
        break;
      }
      case "push":
        machine.turn({ type: "push", spec: { ...PUSH, concurrency: next.concurrency } });
        break;
      case "unpush":
        machine.turn({ type: "push", spec: undefined });
        break;
      case "consume":
        machine.attach(CLIENT, next.credit, { client: "ann" });
        break;
      case "settle":
        this.#settle(next);
        break;
      case "pass":
        machine.pass(next.ms);
        break;
      case "confirm":
        this.confirm();
        return;
      case "purge":
        this.#purge();
        break;
      case "end-redrive":
        machine.turn({ type: next.do });
        break;
    }
    this.#afterwards();
  }

  /** Lets everything come to its end. */
  drain(): void {
    this.run({ do: "end-redrive" });
    for (const id of [0, 1, 2]) this.run({ do: "unschedule", id });
    this.run({ do: "unpush" });
    this.run({ do: "consume", credit: 1_000 });
    for (let round = 0; round < 60 && this.machine.queue.ledger.counts.bytes > 0; round++) {
      for (const delivery of this.known.splice(0)) {
        this.machine.settle(delivery, "ack");
        this.known.push(...this.machine.delivered);
      }
      this.run({ do: "pass", ms: 1_000 });
    }
    expect(this.machine.queue.ledger.counts).toMatchObject({ ready: 0, leased: 0, delayed: 0 });
    this.confirm();
  }

  /** The other objects take what waits for them. */
  confirm(): void {
    const { machine } = this;
    for (let row = machine.queue.store.nextOutbox(); row; row = machine.queue.store.nextOutbox()) {
      expect(row.id, "ids of the outbox rise").toBeGreaterThan(this.#lastRow);
      this.#lastRow = row.id;
      for (const { body, messageId } of messagesIn(row.data)) {
        if (row.target === "told") this.#told(JSON.parse(String(body)) as Receipt);
        else if (row.target === "out") this.runs.push(messageId);
        else (row.target === "crypt" ? this.buried : this.redriven).push(`${messageId} ${body}`);
      }
      machine.turn({ type: "confirmed", outboxId: row.id });
      this.#afterwards();
    }
  }

  #told(receipt: Receipt): void {
    expect(this.receipts.has(receipt.seq), `a second receipt of ${receipt.seq}`).toBe(false);
    expect(this.wanting.has(receipt.seq), "somebody wanted it").toBe(true);
    this.receipts.set(receipt.seq, receipt);
  }

  #publish(drafts: Extract<Step, { do: "publish" }>["drafts"]): void {
    const { machine } = this;
    const deaths = JSON.stringify([
      { queue: "home", reason: "failures", count: 2, firstTime: 1, lastTime: 2 },
    ]);
    const first = this.#bodies + 1;
    const outcomes = machine.publish(
      ...drafts.map(({ letter, receipt, odd, ttlMs, delayMs }) => ({
        ...{ body: `${++this.#bodies}`, bodyKind: JSON_BODY, deaths: letter ? deaths : "" },
        headers: JSON.stringify({ kind: odd ? "odd" : "even" }),
        receiptTo: receipt ? "queue:told" : "",
        expiresAt: ttlMs > 0 ? machine.now + ttlMs : 0,
        dueAt: delayMs > 0 ? machine.now + delayMs : 0,
      })),
    );
    for (const [index, outcome] of outcomes.entries()) {
      if (isRefusal(outcome)) throw new Error(outcome.message);
      if (drafts[index]!.receipt) this.wanting.add(outcome.seq);
      this.seqs.set(` ${first + index}`, outcome.seq);
    }
  }

  #produce(producer: number, what: Extract<Step, { do: "produce" }>["what"]): void {
    const known = this.#producers.get(producer) ?? { epoch: 5, seqs: [] };
    const last = known.seqs.length;
    const epoch = known.epoch + (what === "reborn" ? 1 : what === "older" ? -1 : 0);
    const seq =
      what === "next" ? last + 1 : what === "gap" ? last + 2 : what === "again" ? Math.max(1, last) : 1;
    const condition = { producer: { id: `p${producer}`, epoch, seq } };
    const command = { type: "publish" as const, records: records({ body: `${++this.#bodies}` }), condition };
    const [result] = this.machine.turn(command).results;
    const outcome = result!.type === "published" ? result!.messages[0]! : undefined;
    const stored = what === "reborn" ? [] : known.seqs;
    if (what === "older" && last > 0) expect(outcome).toMatchObject({ kind: "fenced" });
    else if (seq <= stored.length && what !== "older") {
      expect(outcome).toMatchObject({ duplicate: true, seq: stored[seq - 1]! });
    } else if (what === "gap") expect(outcome).toMatchObject({ kind: "out-of-sequence" });
    else {
      expect(outcome).toMatchObject({ duplicate: false });
      this.#producers.set(producer, { epoch, seqs: [...stored, (outcome as { seq: number }).seq] });
    }
  }

  #schedule(next: Extract<Step, { do: "schedule" | "unschedule" }>): void {
    const { machine } = this;
    const id = `s${next.id}`;
    const before = this.#running.get(id);
    if (before !== undefined) this.#expectRuns(id, before);
    this.#running.delete(id);
    if (next.do === "unschedule") machine.turn({ type: "unschedule", id });
    else {
      const spec = { ...SPEC, cron: `*/${next.seconds} * * * * *`, to: next.out ? "queue:out" : "" };
      machine.turn({ type: "schedule", id, spec, record: records({ body: `${++this.#bodies}` }) });
      if (next.out) this.#running.set(id, { seconds: next.seconds, since: machine.now });
    }
  }

  /** The runs of a schedule up to now, by counting seconds. */
  #expectRuns(id: string, { seconds, since }: { seconds: number; since: number }): void {
    const periodMs = seconds * 1_000;
    for (let at = (Math.floor(since / periodMs) + 1) * periodMs; at <= this.machine.now; at += periodMs) {
      // An hour has no fraction of five seconds, so the pattern goes on over its end.
      this.expectedRuns.push(`${id}@${new Date(at).toISOString()}`);
    }
  }

  #settle({ pick, outcome, delayMs }: Extract<Step, { do: "settle" }>): void {
    const recent = Math.min(this.known.length, 8);
    if (recent === 0) return;
    const delivery = this.known[this.known.length - 1 - (pick % recent)]!;
    this.machine.settle(delivery, outcome, delayMs === undefined ? {} : { delayMs });
  }

  #purge(): void {
    const { machine } = this;
    // What is due comes first, so that the purge finds what is shown here.
    machine.turn();
    this.#afterwards();
    // A look at time 0 shows those too that are over and were not found yet.
    const ready = peek(machine.queue, "ready", 1e6, 0);
    for (const view = new RecordView(ready); view.valid; view.next()) this.purged.add(view.decode().seq);
    machine.turn({ type: "purge" });
  }

  #afterwards(): void {
    const { machine } = this;
    this.known.push(...machine.delivered);
    for (const { messageId, seq } of machine.delivered) {
      if (!messageId.includes("@")) continue;
      expect(this.#ran.get(messageId) ?? seq, `${messageId} is one message`).toBe(seq);
      this.#ran.set(messageId, seq);
    }
    while (machine.turn().more) this.known.push(...machine.delivered);
    this.known.push(...machine.delivered);
    const { ledger } = machine.queue;
    const { accepted, ready, delayed, leased, settled, expired, deadLettered } = ledger.counts;
    expect(accepted, "[STA2]").toBe(ready + delayed + leased + settled + expired + deadLettered);
    const books = machine.books();
    const loaded = new Ledger(new Segments(new Log(new NodeSql())));
    loadLedger(saveLedger(ledger, { turn: 0, rowsWritten: 0 }), loaded);
    const again = saveLedger(loaded, { turn: 0, rowsWritten: 0 });
    expect(Buffer.from(again).toString("base64"), "the books from a checkpoint").toBe(books);
    machine.reopen();
    expect(machine.books(), "[EVC1] the books from facts").toBe(books);
    this.#resume();
  }

  /** As the shell does when a queue wakes: what was being pushed is pushed again, and nothing else. */
  #resume(): void {
    const { machine } = this;
    if (machine.queue.ledger.push.spec === undefined) return;
    const entries = [...machine.queue.ledger.entries.values()];
    const held = entries.filter(({ state, ref }) => state === "leased" && ref !== CLIENT);
    machine.turn({ type: "resume-push" });
    expect(machine.delivered.map(({ position }) => position)).toEqual(held.map(({ position }) => position));
    this.known.push(...machine.delivered);
  }
}

describe("the tools of a queue together", () => {
  it("[STA2] [RCP2] [RCR2] [RDV3] [PRD1] [PSH7] [EVC1] send everything exactly once, evicted after every step", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 45, size: "max" }), (steps) => {
        const world = new World();
        for (const next of steps) world.run(next);
        world.drain();
        expect(world.runs.toSorted(), "each run once").toEqual(world.expectedRuns.toSorted());
        const left = [...world.redriven, ...world.buried];
        expect(new Set(left).size, "no message left twice").toBe(left.length);
        const { settled, deadLettered } = world.machine.queue.ledger.counts;
        expect(world.buried.length, "each dead one is on its way").toBe(deadLettered);
        expect(world.redriven.length).toBeLessThanOrEqual(settled);
        const moved = new Set(world.redriven.map((text) => world.seqs.get(text)));
        for (const seq of world.wanting) {
          const ends = [world.receipts.has(seq), world.purged.has(seq), moved.has(seq)].filter(Boolean);
          expect(ends.length, `the ends of ${seq}`).toBe(1);
        }
        expect(world.machine.queue.ledger.receipts.size, "nothing is left behind").toBe(0);
      }),
      { numRuns: RUNS },
    );
  });
});
