// What waits for the confirms of a topic object's durable targets: one row per turn, however many targets it is for.
import { Writer } from "../bytes/writer.ts";
import { MAX_OUTBOX_BYTES } from "../limits.ts";
import { RecordView } from "../message/record.ts";
import type { TopicStore } from "./store.ts";

/* Confirms are not written: a row is never changed, and a table is dropped whole. Each row tells, as of when it was written,
 *   cursors   JSON { target: first id that it has not confirmed }; who is not named had confirmed all before
 *   targets   JSON [[target, -1]] for all records of the row, or [[target, index, index …]]
 * An object that wakes sends again what the newest row does not say to be confirmed, and the targets know what they have by its id.
 * Rows with publishers' ids stay until the dedup window is over. A table's name is the first id that it may hold: since there is
 * always one, ids go on rising when everything was dropped and the clock went back.
 */
const MAX_TABLE_ROWS = 1_024;
const MAX_TABLE_BYTES = 16_000_000;
const IDS_PER_MS = 1_024;

interface Table {
  first: number;
  rows: number;
  bytes: number;
  /** The time of the newest row that holds publishers' ids, 0 for none. */
  idsAt: number;
}

/** What one target gets of a row: `true` for all, or the indexes of its records. */
export type Share = true | number[];

/** The outbox of one topic object. */
export class Outbox {
  readonly #store: TopicStore;
  readonly #tables: Table[] = [];
  /** Ids that each target has not confirmed, rising. */
  readonly #pending = new Map<string, Set<number>>();
  /** Rows that some target has not confirmed. */
  readonly #rows = new Map<number, { bytes: number; left: number }>();
  #nextId = 1;
  #unconfirmedBytes = 0;

  constructor(store: TopicStore, now: number) {
    this.#store = store;
    for (const first of store.numbered("outbox")) {
      const name = `outbox_${first}`;
      const [sum] = store.read(
        name,
        `SELECT count(*) AS n, coalesce(sum(bytes), 0) AS bytes, coalesce(max(id), 0) AS last,
         coalesce(max(time * ids), 0) AS ids_at FROM ${name}`,
      );
      const { n, bytes, last, ids_at } = sum as { n: number; bytes: number; last: number; ids_at: number };
      this.#tables.push({ first, rows: n, bytes, idsAt: ids_at });
      this.#nextId = Math.max(this.#nextId, first, last + 1);
    }
    this.#nextId = Math.max(this.#nextId, now * IDS_PER_MS);
    this.#restore();
  }

  /** Whether something waits for a confirm. */
  get waiting(): boolean {
    return this.#rows.size > 0;
  }

  get full(): boolean {
    return this.#unconfirmedBytes >= MAX_OUTBOX_BYTES;
  }

  /** The ids that wait, by target. */
  get pending(): ReadonlyMap<string, ReadonlySet<number>> {
    return this.#pending;
  }

  /** The id that the next row gets. */
  get nextId(): number {
    return this.#nextId;
  }

  /** Writes a row. */
  add(records: Uint8Array, targets: Map<string, Share>, now: number, ids: boolean): number {
    const id = this.#nextId++;
    const table = this.#current(id);
    const cursors = JSON.stringify(
      Object.fromEntries([...this.#pending].map(([target, waiting]) => [target, first(waiting)])),
    );
    const shares = JSON.stringify(
      [...targets].map(([target, share]) => (share === true ? [target, -1] : [target, ...share])),
    );
    this.#store.insertOutbox(table.first, id, now, records.length, ids ? 1 : 0, cursors, shares, records);
    table.rows++;
    table.bytes += records.length;
    if (ids) table.idsAt = now;
    for (const target of targets.keys()) this.#wait(target, id, records.length);
    return id;
  }

  /**
   * Writes down what is confirmed so far. Without this an object that wakes sends the newest row again, which would bring a queue back
   * that was deleted in between.
   */
  note(now: number): void {
    if (this.#tables.some(({ rows }) => rows > 0)) this.add(new Uint8Array(0), new Map(), now, false);
  }

  /** A target has these rows. */
  confirm(target: string, ids: readonly number[]): void {
    const waiting = this.#pending.get(target);
    for (const id of ids) {
      if (!waiting?.delete(id)) continue;
      const row = this.#rows.get(id)!;
      if (--row.left > 0) continue;
      this.#rows.delete(id);
      this.#unconfirmedBytes -= row.bytes;
    }
    if (waiting?.size === 0) this.#pending.delete(target);
  }

  /** The records of a row that are for a target. */
  records(id: number, target: string): Uint8Array | undefined {
    const table = this.#tables.findLast(({ first }) => first <= id);
    if (table === undefined) return undefined;
    const name = `outbox_${table.first}`;
    const [row] = this.#store.read(name, `SELECT targets, data FROM ${name} WHERE id = ?`, id);
    if (row === undefined) return undefined;
    const share = sharesOf(row.targets as string).get(target);
    const data = row.data as Uint8Array;
    if (share === undefined || share === true) return share && data;
    const to = new Writer(data.length);
    let index = 0;
    let next = 0;
    for (const view = new RecordView(data); view.valid; view.next()) {
      if (index++ !== share[next]) continue;
      to.raw(view.record);
      next++;
    }
    return to.take();
  }

  /** Records with publishers' ids that came after a time, oldest first. */
  *remembered(notBefore: number): Generator<Uint8Array> {
    for (const { first, idsAt } of this.#tables) {
      if (idsAt <= notBefore) continue;
      const name = `outbox_${first}`;
      const query = `SELECT id FROM ${name} WHERE ids = 1 AND time > ? ORDER BY id`;
      for (const { id } of this.#store.read(name, query, notBefore)) {
        yield this.#store.read(name, `SELECT data FROM ${name} WHERE id = ?`, id!)[0]!.data as Uint8Array;
      }
    }
  }

  /**
   * Drops the tables that nothing needs any more.
   *
   * @param idsUntil publishers' ids that came at or before this time are not needed
   * @param idle nothing is going on: the table in use may go as well
   */
  sweep(idsUntil: number, idle: boolean): void {
    const needed = Math.min(...[...this.#pending.values()].map(first), this.#nextId);
    for (const [at, table] of [...this.#tables.entries()].reverse()) {
      const next = this.#tables[at + 1]?.first ?? this.#nextId;
      if (next > needed || table.idsAt > idsUntil || table.rows === 0) continue;
      if (at === this.#tables.length - 1) {
        if (!idle) continue;
        this.#begin(this.#nextId);
      }
      this.#store.drop(`outbox_${table.first}`);
      this.#tables.splice(at, 1);
    }
  }

  #current(id: number): Table {
    const last = this.#tables.at(-1);
    if (last !== undefined && last.rows < MAX_TABLE_ROWS && last.bytes < MAX_TABLE_BYTES) return last;
    return this.#begin(id);
  }

  #begin(first: number): Table {
    const table = { first, rows: 0, bytes: 0, idsAt: 0 };
    this.#store.createOutbox(first);
    this.#tables.push(table);
    return table;
  }

  #wait(target: string, id: number, bytes: number): void {
    let waiting = this.#pending.get(target);
    if (waiting === undefined) {
      waiting = new Set();
      this.#pending.set(target, waiting);
    }
    waiting.add(id);
    const row = this.#rows.get(id);
    if (row !== undefined) row.left++;
    else {
      this.#rows.set(id, { bytes, left: 1 });
      this.#unconfirmedBytes += bytes;
    }
  }

  /** Finds what the newest row does not say to be confirmed. */
  #restore(): void {
    const last = this.#tables.findLast(({ rows }) => rows > 0);
    if (last === undefined) return;
    const name = `outbox_${last.first}`;
    const newest = this.#store.read(name, `SELECT id, cursors FROM ${name} ORDER BY id DESC LIMIT 1`)[0]!;
    const cursors = new Map(Object.entries(JSON.parse(newest.cursors as string) as Record<string, number>));
    const from = Math.min(newest.id as number, ...cursors.values());
    for (const { first: start } of this.#tables) {
      const table = `outbox_${start}`;
      const query = `SELECT id, bytes, targets FROM ${table} WHERE id >= ? ORDER BY id`;
      for (const row of this.#store.read(table, query, from)) {
        const id = row.id as number;
        for (const target of sharesOf(row.targets as string).keys()) {
          const cursor = cursors.get(target);
          if (id === newest.id || (cursor !== undefined && id >= cursor)) {
            this.#wait(target, id, row.bytes as number);
          }
        }
      }
    }
  }
}

function sharesOf(text: string): Map<string, Share> {
  const rows = JSON.parse(text) as [string, ...number[]][];
  return new Map(rows.map(([target, ...indexes]) => [target, indexes[0] === -1 ? true : indexes]));
}

function first(ids: ReadonlySet<number>): number {
  return ids.values().next().value!;
}
