// What a queue's tables must do on every SQLite they run on: the same tests for Node's and for a Durable Object's.
import { describe, expect, it } from "vitest";
import { Writer } from "../../worker/bytes/writer.ts";
import { Log, positionOf, turnOf } from "../../worker/log/log.ts";
import type { Sql, SqlRow, SqlValue } from "../../worker/log/sql.ts";
import { QueueStore } from "../../worker/log/store.ts";
import { writeMessage } from "../../worker/message/record.ts";
import { message } from "./message.ts";
import { MAX_STORED_ROW_BYTES, rowBytes } from "./row-size.ts";

/** Runs a test on an empty database of one kind. */
export type WithSql = (test: (sql: Sql) => void) => void | Promise<void>;

/** Passes everything on, and keeps the size of the largest row. */
class MeasuredSql implements Sql {
  readonly #sql: Sql;
  largestRowBytes = 0;
  statements = 0;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  get rowsWritten(): number {
    return this.#sql.rowsWritten;
  }

  all(query: string, ...bindings: SqlValue[]): SqlRow[] {
    this.statements++;
    const rows = this.#sql.all(query, ...bindings);
    this.largestRowBytes = Math.max(this.largestRowBytes, rowBytes(bindings));
    return rows;
  }
}

function recordsOf(...bodies: string[]): Uint8Array {
  const to = new Writer();
  for (const body of bodies) writeMessage(to, message({ body }));
  return to.take();
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function bodyAt(log: Log, position: number): unknown {
  return log.record(position)?.decode().body;
}

/** Appends a row of messages, or of facts alone when there is no body. */
function append(log: Log, turn: number, ...bodies: string[]): void {
  if (log.wantsSegment(turn)) log.beginSegment(turn);
  const messages = bodies.length === 0 ? null : recordsOf(...bodies);
  log.append({
    turn,
    count: bodies.length,
    events: bytesOf(`e${turn}`),
    ids: turn % 2 === 0 ? bytesOf(`i${turn}`) : null,
    messages,
  });
}

/** Every position from the beginning, by walking. */
function walk(log: Log): number[] {
  const found: number[] = [];
  for (let at = log.next(0); at !== undefined; at = log.next(at + 1)) found.push(at);
  return found;
}

function logTests(withSql: WithSql): void {
  it("[DUR2] finds every record again, in order, also after it was opened anew", () =>
    withSql((sql) => {
      const log = new Log(sql);
      append(log, 1, "a", "b");
      append(log, 2);
      append(log, 3, "c");
      const expected = [positionOf(1, 0), positionOf(1, 1), positionOf(3, 0)];
      for (const opened of [log, new Log(sql)]) {
        expect(walk(opened)).toEqual(expected);
        expect(expected.map((at) => bodyAt(opened, at))).toEqual(["a", "b", "c"]);
        expect(opened.record(positionOf(1, 2))).toBeUndefined();
        expect(opened.record(positionOf(2, 0))).toBeUndefined();
        expect(opened.record(positionOf(9, 0))).toBeUndefined();
        expect(opened.next(positionOf(3, 1))).toBeUndefined();
      }
    }));

  it("[SUB13] shows a staged row before it is written, and the same row afterwards", () =>
    withSql((sql) => {
      const log = new Log(sql);
      log.beginSegment(1);
      append(log, 1, "a");
      const messages = recordsOf("b", "c");
      log.stage(2, messages, 2);
      expect(walk(log)).toEqual([positionOf(1, 0), positionOf(2, 0), positionOf(2, 1)]);
      expect(bodyAt(log, positionOf(2, 1))).toBe("c");
      log.append({ turn: 2, count: 2, events: null, ids: null, messages });
      expect(bodyAt(log, positionOf(2, 1))).toBe("c");
      expect(walk(new Log(sql))).toHaveLength(3);
    }));

  it("[CST4] begins a segment after 4,096 turns or 16 MB, and drops one for no rows", () =>
    withSql((sql) => {
      const log = new Log(sql);
      expect(log.wantsSegment(1)).toBe(true);
      append(log, 1, "a");
      expect(log.wantsSegment(4_096)).toBe(false);
      expect(log.wantsSegment(4_097)).toBe(true);
      append(log, 4_097, "b");
      for (let turn = 4_098; !log.wantsSegment(turn); turn++) append(log, turn, "x".repeat(1_900_000));
      const third = log.segments.at(-1)! + 9;
      append(log, third, "c");
      expect(log.segments).toEqual([1, 4_097, third]);
      expect([1, 4_096, 4_097, third - 1, third, third + 5_000].map((turn) => log.segmentOf(turn))).toEqual([
        1,
        1,
        4_097,
        4_097,
        third,
        third,
      ]);
      const before = sql.rowsWritten;
      log.dropSegments((first, next) => first === 4_097 && next === third);
      expect(sql.rowsWritten - before).toBe(0);
      expect(walk(new Log(sql)).map(turnOf)).toEqual([1, third]);
      log.dropSegments(() => true);
      expect(new Log(sql).segments).toEqual([third]);
    }));

  it("[CST4] writes one row per turn, and none by reading", () =>
    withSql((sql) => {
      const log = new Log(sql);
      append(log, 1, "a");
      const before = sql.rowsWritten;
      append(log, 2, "a", "b", "c");
      expect(sql.rowsWritten - before).toBe(1);
      walk(new Log(sql));
      expect([...new Log(sql).eventsAfter(0)]).toHaveLength(2);
      expect(sql.rowsWritten - before).toBe(1);
    }));

  it("[DUR2] reads facts after a turn in order, over pages and segments", () =>
    withSql((sql) => {
      const log = new Log(sql);
      for (let turn = 1; turn <= 1_200; turn++) append(log, turn);
      log.beginSegment(1_201);
      for (let turn = 1_201; turn <= 1_210; turn++) append(log, turn, "a");
      const text = new TextDecoder();
      for (const after of [0, 1, 500, 1_000, 1_199, 1_200, 1_205, 1_210]) {
        const found = [...log.eventsAfter(after)].map(({ turn, events }) => `${turn}:${text.decode(events)}`);
        const expected = Array.from(
          { length: 1_210 - after },
          (_, i) => `${after + 1 + i}:e${after + 1 + i}`,
        );
        expect(found).toEqual(expected);
      }
    }));

  it("[DED3] reads ids newest first, over pages and segments", () =>
    withSql((sql) => {
      const log = new Log(sql);
      for (let turn = 1; turn <= 1_100; turn++) append(log, turn);
      log.beginSegment(1_101);
      for (let turn = 1_101; turn <= 1_104; turn++) append(log, turn);
      const turns = [...log.idsBackwards()].map(({ turn }) => turn);
      expect(turns).toEqual(Array.from({ length: 552 }, (_, i) => 1_104 - 2 * i));
    }));

  it("[DUR6] reads a backlog far beyond its cache, a row at a time", () =>
    withSql((sql) => {
      const log = new Log(sql);
      const body = "x".repeat(500_000);
      for (let turn = 1; turn <= 24; turn++) append(log, turn, `${turn}`, body);
      const measured = new MeasuredSql(sql);
      const opened = new Log(measured);
      expect(measured.statements).toBe(1);
      expect(bodyAt(opened, opened.next(0)!)).toBe("1");
      expect(measured.statements).toBeLessThanOrEqual(4);
      for (const turn of [24, 1, 13, 1, 24]) expect(bodyAt(opened, positionOf(turn, 0))).toBe(`${turn}`);
      expect(walk(opened)).toHaveLength(48);
    }));
}

function storeTests(withSql: WithSql): void {
  it("[QUE5] exists only once it was created", () =>
    withSql((sql) => {
      const store = new QueueStore(sql);
      expect(store.exists()).toBe(false);
      store.create();
      expect(store.exists()).toBe(true);
      expect(store.readCheckpoint()).toBeUndefined();
    }));

  it("[DUR2] keeps a checkpoint of any size, in rows below the platform's limit", () =>
    withSql((sql) => {
      const measured = new MeasuredSql(sql);
      const store = new QueueStore(measured);
      store.create();
      for (const bytes of [10, 1_499_999, 1_500_000, 1_500_001, 7_654_321, 3_000_000, 1]) {
        const data = new Uint8Array(bytes).map((_, i) => (i * 31 + bytes) % 251);
        store.writeCheckpoint(data);
        const read = new QueueStore(sql).readCheckpoint()!;
        expect(read.length).toBe(bytes);
        expect(equal(read, data)).toBe(true);
      }
      expect(measured.largestRowBytes).toBeLessThanOrEqual(MAX_STORED_ROW_BYTES);
    }));

  it("[DLY3] gives delayed rows back by due time, not before it, each once", () =>
    withSql((sql) => {
      const store = new QueueStore(sql);
      store.create();
      expect(store.nextDelayed()).toBeUndefined();
      expect(store.takeDelayed(1e12)).toBeUndefined();
      const due = 1_800_000_000_000;
      for (const [at, name] of [
        [due + 5, "late"],
        [due, "a"],
        [due + 1, "c"],
        [due, "b"],
      ] as const)
        store.addDelayed(at, 1, bytesOf(name));
      const opened = new QueueStore(sql);
      expect(opened.nextDelayed()).toBe(due);
      expect(names([...opened.delayed()])).toEqual(["a", "b", "c", "late"]);
      expect(opened.takeDelayed(due - 0.5)).toBeUndefined();
      expect(names(takeAll(opened, due + 1.7))).toEqual(["a", "b", "c"]);
      expect(opened.nextDelayed()).toBe(due + 5);
      expect(names(takeAll(opened, due + 5))).toEqual(["late"]);
      expect(opened.nextDelayed()).toBeUndefined();
      opened.addDelayed(due, 1, bytesOf("again"));
      expect(opened.nextDelayed()).toBe(due);
    }));

  it("[DLY3] keeps more rows of one millisecond than a millisecond has keys", () =>
    withSql((sql) => {
      const store = new QueueStore(sql);
      store.create();
      for (let i = 0; i < 1_030; i++) store.addDelayed(5_000, 1, bytesOf(`${i}`));
      store.addDelayed(5_001, 1, bytesOf("next"));
      const all = names(takeAll(store, 5_001));
      expect(all.slice(0, 1_030)).toEqual(Array.from({ length: 1_030 }, (_, i) => `${i}`));
      expect(all.slice(1_030)).toEqual(["next"]);
    }));

  it("[DLQ8] keeps the outbox in the order of its ids until each is removed", () =>
    withSql((sql) => {
      const store = new QueueStore(sql);
      store.create();
      const first = 1_800_000_000_000_000;
      store.addOutbox({ id: first + 1, target: "b", data: bytesOf("2") });
      store.addOutbox({ id: first, target: "a", data: bytesOf("1") });
      expect(new QueueStore(sql).nextOutbox()).toEqual({ id: first, target: "a", data: bytesOf("1") });
      store.removeOutbox(first);
      store.removeOutbox(first);
      expect(store.nextOutbox()?.id).toBe(first + 1);
      store.removeOutbox(first + 1);
      expect(store.nextOutbox()).toBeUndefined();
    }));

  it("[DUR1] takes rows up to the platform's limit", () =>
    withSql((sql) => {
      const log = new Log(sql);
      log.beginSegment(1);
      const events = new Uint8Array(MAX_STORED_ROW_BYTES - 100).fill(7);
      log.append({ turn: 1, count: 0, events, ids: null, messages: null });
      const [row] = [...new Log(sql).eventsAfter(0)];
      expect(equal(row!.events, events)).toBe(true);
    }));
}

function takeAll(store: QueueStore, now: number): Uint8Array[] {
  const taken: Uint8Array[] = [];
  for (let row = store.takeDelayed(now); row !== undefined; row = store.takeDelayed(now))
    taken.push(row.records);
  return taken;
}

function names(rows: Uint8Array[]): string[] {
  return rows.map((row) => new TextDecoder().decode(row));
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Registers the tests of log.ts and store.ts for one kind of SQLite. */
export function storeSuite(world: string, withSql: WithSql): void {
  describe(`the log on ${world}`, () => logTests(withSql));
  describe(`the store on ${world}`, () => storeTests(withSql));
}
