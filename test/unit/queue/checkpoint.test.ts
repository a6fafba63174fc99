// The books as bytes: what is saved is what is loaded, for any books.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Writer } from "../../../worker/bytes/writer.ts";
import { Log } from "../../../worker/log/log.ts";
import { Books } from "../../../worker/queue/book.ts";
import { loadLedger, saveLedger } from "../../../worker/queue/checkpoint.ts";
import { replay } from "../../../worker/queue/events.ts";
import { Ledger } from "../../../worker/queue/ledger.ts";
import { Outcomes } from "../../../worker/queue/outcomes.ts";
import { Segments } from "../../../worker/queue/segments.ts";
import { DEFAULT_SETTINGS } from "../../../worker/queue/settings.ts";
import { Machine } from "../../support/machine.ts";
import { NodeSql } from "../../support/node-sql.ts";

function emptyLedger(): Ledger {
  return new Ledger(new Segments(new Log(new NodeSql())));
}

const whole = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const name = fc.string({ unit: "grapheme", maxLength: 40 });
const entry = fc.record({
  seq: whole,
  size: fc.nat({ max: 2 ** 32 - 1 }),
  time: whole,
  expiresAt: whole,
  group: fc.oneof(fc.constant(""), fc.constantFrom("a", "b"), name),
  level: fc.constantFrom(0, 0, 0, 9),
  state: fc.constantFrom("ready" as const, "leased" as const, "waiting" as const),
  attempts: fc.nat({ max: 65_535 }),
  failures: fc.nat({ max: 65_535 }),
  lease: whole,
  ref: fc.integer({ min: -3, max: 5 }),
  deadline: whole,
});
const consumer = fc.record({
  ref: fc.integer({ min: 1, max: 5 }),
  gateway: name,
  client: name,
  filter: name,
  credit: fc.nat({ max: 10_000 }),
  leaseMs: fc.nat({ max: 43_200_000 }),
  generation: fc.nat({ max: 2 ** 32 - 1 }),
  paused: fc.boolean(),
});
const books = fc.record({
  numbers: fc.array(whole, { minLength: 14, maxLength: 14 }),
  entries: fc.uniqueArray(fc.tuple(whole, entry), { selector: ([position]) => position, maxLength: 40 }),
  consumers: fc.uniqueArray(consumer, { selector: ({ ref }) => ref, maxLength: 5 }),
  sources: fc.uniqueArray(fc.tuple(name, whole), { selector: ([source]) => source, maxLength: 10 }),
  segments: fc.uniqueArray(fc.tuple(whole, whole), { selector: ([first]) => first, maxLength: 10 }),
  settled: fc.array(fc.nat({ max: 131_071 }), { maxLength: 50 }),
  deadLetterTo: fc.option(name, { nil: undefined }),
  outcomes: fc.uint8Array({ minLength: 16_384, maxLength: 16_384 }),
});

/** Books with random content in every field. */
function fill(ledger: Ledger, of: typeof books extends fc.Arbitrary<infer T> ? T : never): void {
  const [epoch, nextSeq, newestLease, cursor, nextOutboxId, ...counts] = of.numbers as [
    number,
    number,
    number,
    number,
    number,
    ...number[],
  ];
  Object.assign(ledger, { epoch, nextSeq, newestLease, cursor, nextOutboxId });
  for (const [index, key] of Object.keys(ledger.counts).entries()) {
    ledger.counts[key as keyof typeof ledger.counts] = counts[index]!;
  }
  ledger.settings = { ...DEFAULT_SETTINGS, deadLetterTo: of.deadLetterTo, paused: nextSeq % 2 === 0 };
  ledger.segments.load(of.segments);
  for (const [source, id] of of.sources) ledger.sources.set(source, id);
  for (const { paused, ...spec } of of.consumers) {
    ledger.consumers.add({ ...spec, used: 0, paused, inLine: false });
  }
  for (const [position, fields] of of.entries) {
    ledger.entries.set(position, { position, ...fields });
    const holder = fields.state === "leased" ? ledger.consumers.get(fields.ref) : undefined;
    if (holder !== undefined) holder.used++;
  }
  ledger.outcomes = new Outcomes(of.outcomes.slice());
  ledger.rebuildDerived();
}

function shown(ledger: Ledger): unknown {
  const { epoch, nextSeq, newestLease, cursor, nextOutboxId, settings, counts, parked, untaken } = ledger;
  return {
    ...{ epoch, nextSeq, newestLease, cursor, nextOutboxId, settings, counts, parked, untaken },
    entries: [...ledger.entries],
    groups: [...ledger.groups.values()],
    consumers: [...ledger.consumers.values()].map(({ inLine: _, ...consumer }) => consumer),
    sources: [...ledger.sources],
    segments: ledger.segments.entries(),
    outcomes: Buffer.from(ledger.outcomes.save()).toString("base64"),
    ready: ledger.ready.size,
    timers: ledger.timers.size,
  };
}

describe("a checkpoint", () => {
  it("[DUR2] loads as it was saved, for any books", () => {
    fc.assert(
      fc.property(books, fc.record({ turn: whole, rowsWritten: whole }), (content, head) => {
        const ledger = emptyLedger();
        fill(ledger, content);
        const saved = saveLedger(ledger, head);
        const loaded = emptyLedger();
        expect(loadLedger(saved, loaded)).toEqual(head);
        expect(shown(loaded)).toEqual(shown(ledger));
        expect(Buffer.compare(saveLedger(loaded, head), saved)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it("[DUR2] of another version, or cut short, is refused rather than half read", () => {
    const ledger = emptyLedger();
    ledger.consumers.add({
      ref: 1,
      gateway: "g",
      client: "c",
      filter: "",
      credit: 1,
      leaseMs: 0,
      generation: 1,
      used: 0,
      paused: false,
      inLine: false,
    });
    const saved = saveLedger(ledger, { turn: 1, rowsWritten: 2 });
    expect(() => loadLedger(saved.slice(0, -1), emptyLedger())).toThrow();
    expect(() => loadLedger(saved.with(0, 9), emptyLedger())).toThrow(/version/);
  });

  it("[DUR2] of a version that knew fewer books is read", () => {
    const ledger = emptyLedger();
    ledger.active.set(7);
    const saved = saveLedger(ledger, { turn: 1, rowsWritten: 2 });
    const books = (of: { save(to: Writer): void }) => {
      const to = new Writer();
      of.save(to);
      return to.take();
    };
    const older = books(new Books([ledger.producers]));
    const before = saved.subarray(0, saved.length - books(ledger.books).length);
    const loaded = emptyLedger();
    loadLedger(Uint8Array.from([...before, ...older]), loaded);
    expect([loaded.active.ref, loaded.ahead.size, loaded.everyone.out.size]).toEqual([0, 0, 0]);
    loadLedger(saved, loaded);
    expect(loaded.active.ref).toBe(7);
  });

  it("[DUR2] facts of a kind this version does not know are refused by number", () => {
    const ledger = emptyLedger();
    ledger.take(7, { seq: 1, size: 1, time: 0, expiresAt: 0, group: "", attempts: 0, failures: 0 });
    const bytes = new Uint8Array(9);
    bytes[0] = 200;
    new DataView(bytes.buffer).setFloat64(1, 7, true);
    expect(() => replay(bytes, ledger)).toThrow(/200/);
  });

  it("[EVC1] [CST4] a queue that wrote checkpoints and turned over opens with the same books and figures", () => {
    const machine = new Machine("orders", { maxFailures: 3 });
    machine.attach(1, 500);
    let checkpoints = 0;
    for (let round = 0; round < 40; round++) {
      const group = (i: number) => (i % 3 === 0 ? "" : `${"g".repeat(100)}${i % 50}`);
      machine.publish(...Array.from({ length: 500 }, (_, i) => ({ body: `${i}`, group: group(i) })));
      const outcomes = ["ack", "ack", "release", "dead", "fail"] as const;
      const settlements = machine.delivered.map(({ position, lease }, i) => ({
        ...{ position, lease, reason: "" },
        outcome: outcomes[i % outcomes.length]!,
        delayMs: i % 2 === 0 ? 500 : undefined,
      }));
      machine.turn({ type: "settle", settlements });
      const before = { books: machine.books(), rows: machine.queue.rowsWritten };
      const saved = machine.queue.store.readCheckpoint();
      if (saved !== undefined) checkpoints++;
      machine.reopen();
      expect(machine.books() === before.books, `the books after round ${round}`).toBe(true);
      machine.pass(100);
    }
    expect(checkpoints).toBeGreaterThan(5);
  });
});
