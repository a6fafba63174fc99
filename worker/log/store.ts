// Everything a queue keeps besides its log: the checkpoint, delayed messages by due time, and what waits to go to other objects.
import { Log } from "./log.ts";
import type { Sql, SqlValue } from "./sql.ts";

/* PERSISTED.
 *   checkpoint ( part INTEGER PRIMARY KEY | data BLOB )            the books at one turn, cut into parts under the row limit
 *   delayed    ( key INTEGER PRIMARY KEY | count | data BLOB )     key = due ms × 1,024 + n, so the key is the order
 *   outbox     ( id INTEGER PRIMARY KEY | target | data BLOB )     what waits to go to another object (queue/destination.ts)
 *   prepared   ( key INTEGER PRIMARY KEY | data BLOB )             a record that waits for its decision; the table comes with the first
 */
const KEYS_PER_MS = 1_024;
const PART_BYTES = 1_500_000;

/** A row that waits for another object's confirm. */
export interface OutboxRow {
  id: number;
  target: string;
  data: Uint8Array;
}

/** The tables of one queue. */
export class QueueStore {
  readonly #sql: Sql;
  #log: Log | undefined;
  /** Most queues delay nothing: one look at the table answers until something is added. */
  #noneDelayed = false;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  get log(): Log {
    this.#log ??= new Log(this.#sql);
    return this.#log;
  }

  get rowsWritten(): number {
    return this.#sql.rowsWritten;
  }

  /** Whether the queue was created. Reading this writes nothing. */
  exists(): boolean {
    return this.#sql.all("SELECT 1 FROM sqlite_master WHERE name = 'checkpoint'").length > 0;
  }

  create(): void {
    this.#sql.all("CREATE TABLE checkpoint (part INTEGER PRIMARY KEY, data BLOB NOT NULL)");
    this.#sql.all(
      "CREATE TABLE delayed (key INTEGER PRIMARY KEY, count INTEGER NOT NULL, data BLOB NOT NULL)",
    );
    this.#sql.all("CREATE TABLE outbox (id INTEGER PRIMARY KEY, target TEXT NOT NULL, data BLOB NOT NULL)");
  }

  /** Replaces the checkpoint; one row for each 1.5 MB. */
  writeCheckpoint(data: Uint8Array): void {
    let part = 0;
    for (let at = 0; at < data.length; at += PART_BYTES) {
      const slice = data.slice(at, at + PART_BYTES);
      this.#sql.all("INSERT OR REPLACE INTO checkpoint VALUES (?, ?)", part++, slice);
    }
    this.#sql.all("DELETE FROM checkpoint WHERE part >= ?", part);
  }

  readCheckpoint(): Uint8Array | undefined {
    const parts = this.#sql
      .all("SELECT data FROM checkpoint ORDER BY part")
      .map((row) => row.data as Uint8Array);
    if (parts.length <= 1) return parts[0];
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  /** Keeps records that are due at the same time in one row. */
  addDelayed(dueAt: number, count: number, records: Uint8Array): void {
    const [from, to] = [dueAt * KEYS_PER_MS, (dueAt + 1) * KEYS_PER_MS];
    const last = this.#sql.all("SELECT max(key) AS key FROM delayed WHERE key >= ? AND key < ?", from, to)[0]
      ?.key;
    // A full millisecond flows over into the next, as keys do not repeat.
    const key = typeof last === "number" ? last + 1 : from;
    if (key < to) this.#sql.all("INSERT INTO delayed VALUES (?, ?, ?)", key, count, records);
    else this.addDelayed(dueAt + 1, count, records);
    this.#noneDelayed = false;
  }

  /** When the earliest delayed row is due, ms. */
  nextDelayed(): number | undefined {
    if (this.#noneDelayed) return undefined;
    const key = this.#sql.all("SELECT key FROM delayed ORDER BY key LIMIT 1")[0]?.key;
    if (typeof key === "number") return Math.floor(key / KEYS_PER_MS);
    this.#noneDelayed = true;
    return undefined;
  }

  /** Removes the earliest row if it is due. */
  takeDelayed(now: number): { count: number; records: Uint8Array } | undefined {
    if (this.#noneDelayed) return undefined;
    const row = this.#sql.all(
      "SELECT key, count, data FROM delayed WHERE key < ? ORDER BY key LIMIT 1",
      (Math.floor(now) + 1) * KEYS_PER_MS,
    )[0];
    if (row === undefined) return undefined;
    this.#sql.all("DELETE FROM delayed WHERE key = ?", row.key!);
    return { count: row.count as number, records: row.data as Uint8Array };
  }

  /** Rows of delayed records in the order they are due, one at a time. */
  *delayed(): Generator<Uint8Array> {
    let after = -1;
    for (;;) {
      const row = this.#sql.all("SELECT key, data FROM delayed WHERE key > ? ORDER BY key LIMIT 1", after)[0];
      if (row === undefined) return;
      after = row.key as number;
      yield row.data as Uint8Array;
    }
  }

  addOutbox(row: OutboxRow): void {
    this.#sql.all("INSERT INTO outbox VALUES (?, ?, ?)", row.id, row.target, row.data);
  }

  /** The oldest row that waits, but for those to some targets. */
  nextOutbox(except: readonly string[] = []): OutboxRow | undefined {
    const places = except.map(() => "?").join(", ");
    return this.#outbox(`WHERE target NOT IN (${places}) ORDER BY id LIMIT 1`, ...except)[0];
  }

  /** The oldest row that waits for a target. */
  nextOutboxTo(target: string): OutboxRow | undefined {
    return this.#outbox("WHERE target = ? ORDER BY id LIMIT 1", target)[0];
  }

  hasOutboxRow(id: number): boolean {
    return this.#sql.all("SELECT 1 FROM outbox WHERE id = ?", id).length > 0;
  }

  /** Whether just this waits for a target. */
  hasOutbox(target: string, data: Uint8Array): boolean {
    return this.#outbox("WHERE target = ? AND data = ?", target, data).length > 0;
  }

  #outbox(where: string, ...bindings: SqlValue[]): OutboxRow[] {
    return this.#sql
      .all(`SELECT id, target, data FROM outbox ${where}`, ...bindings)
      .map(({ id, target, data }) => ({
        id: id as number,
        target: target as string,
        data: data as Uint8Array,
      }));
  }

  removeOutbox(id: number): void {
    this.#sql.all("DELETE FROM outbox WHERE id = ?", id);
  }

  /** Keeps a record that nobody sees yet. */
  addPrepared(key: number, record: Uint8Array): void {
    this.#sql.all("CREATE TABLE IF NOT EXISTS prepared (key INTEGER PRIMARY KEY, data BLOB NOT NULL)");
    this.#sql.all("INSERT INTO prepared VALUES (?, ?)", key, record);
  }

  readPrepared(key: number): Uint8Array {
    return this.#sql.all("SELECT data FROM prepared WHERE key = ?", key)[0]!.data as Uint8Array;
  }

  removePrepared(key: number): void {
    this.#sql.all("DELETE FROM prepared WHERE key = ?", key);
  }
}
