// The tables of a topic object: what is written, and nothing of what it means.
import type { Sql, SqlRow, SqlValue } from "../log/sql.ts";

/* PERSISTED. Every table comes into being with its first row; one row is one billed row.
 *   topic     ( name TEXT PRIMARY KEY | number, epoch, seq, holes, settings )   topics with settings of their own (JSON text)
 *   interest  ( topic TEXT, target TEXT PRIMARY KEY | durable )                 who gets the messages of one topic: 0 or 1
 *   retained  ( name TEXT PRIMARY KEY | expires, remembered, data BLOB )        one record; ms, 0 for never; when its id came, 0 for none
 *   removed   ( name TEXT PRIMARY KEY | epoch )   deleted topics: what was stored of them under this epoch or an earlier one is no more
 *   room      ( name TEXT PRIMARY KEY | epoch, seq, members, bytes, counted, due )   rooms that are not empty: their topic's place, how many
 *               are in it, bytes of their ids and data, 1 while only the count is told, when time changes it next (ms, 0 for never)
 *   member    ( room TEXT, client TEXT PRIMARY KEY | session, since, expires, data )   session "" for none, ms, 0 for never, JSON text
 *   source    ( name TEXT PRIMARY KEY | id )      the last transfer taken from another object
 *   producer  ( name TEXT PRIMARY KEY | time, state )   topic, NUL and producer; ms; ProducerState as JSON text
 *   history_N ( seq INTEGER PRIMARY KEY | last, time, bytes, total, ids, data BLOB )   one turn's records of topic number N: first and
 *               last seq, ms, bytes of data, bytes of all rows up to it, whether publishers chose ids
 *   outbox_N  ( id INTEGER PRIMARY KEY | time, bytes, ids, cursors, targets, data BLOB )   one turn's records for durable targets; the
 *               table begins at id N, see outbox.ts
 */
const TABLES = {
  topic:
    "name TEXT PRIMARY KEY, number INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, holes INTEGER NOT NULL, settings TEXT NOT NULL",
  interest:
    "topic TEXT NOT NULL, target TEXT NOT NULL, durable INTEGER NOT NULL, PRIMARY KEY (topic, target)",
  retained:
    "name TEXT PRIMARY KEY, expires INTEGER NOT NULL, remembered INTEGER NOT NULL, data BLOB NOT NULL",
  removed: "name TEXT PRIMARY KEY, epoch INTEGER NOT NULL",
  room: "name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, members INTEGER NOT NULL, bytes INTEGER NOT NULL, counted INTEGER NOT NULL, due INTEGER NOT NULL",
  member:
    "room TEXT NOT NULL, client TEXT NOT NULL, session TEXT NOT NULL, since INTEGER NOT NULL, expires INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (room, client)",
  source: "name TEXT PRIMARY KEY, id INTEGER NOT NULL",
  producer: "name TEXT PRIMARY KEY, time INTEGER NOT NULL, state TEXT NOT NULL",
} as const;
const HISTORY =
  "seq INTEGER PRIMARY KEY, last INTEGER NOT NULL, time INTEGER NOT NULL, bytes INTEGER NOT NULL, total INTEGER NOT NULL, ids INTEGER NOT NULL, data BLOB NOT NULL";
const OUTBOX =
  "id INTEGER PRIMARY KEY, time INTEGER NOT NULL, bytes INTEGER NOT NULL, ids INTEGER NOT NULL, cursors TEXT NOT NULL, targets TEXT NOT NULL, data BLOB NOT NULL";

/** A table with a fixed name. */
export type TableName = keyof typeof TABLES;

/** The tables of one topic object. */
export class TopicStore {
  readonly #sql: Sql;
  readonly #tables: Set<string>;

  constructor(sql: Sql) {
    this.#sql = sql;
    this.#tables = new Set(
      sql.all("SELECT name FROM sqlite_master WHERE type = 'table'").map((row) => row.name as string),
    );
  }

  get rowsWritten(): number {
    return this.#sql.rowsWritten;
  }

  has(table: string): boolean {
    return this.#tables.has(table);
  }

  /** Numbers of the tables `PREFIX_N`, rising. */
  numbered(prefix: "history" | "outbox"): number[] {
    return [...this.#tables]
      .filter((name) => name.startsWith(`${prefix}_`))
      .map((name) => Number(name.slice(prefix.length + 1)))
      .sort((a, b) => a - b);
  }

  /** Rows of a table; none while it does not exist. The query names the table. */
  read(table: string, query: string, ...bindings: SqlValue[]): SqlRow[] {
    return this.#tables.has(table) ? this.#sql.all(query, ...bindings) : [];
  }

  /** Changes a table that is made if it is not there. */
  write(table: TableName, query: string, ...bindings: SqlValue[]): void {
    if (!this.#tables.has(table)) this.#create(table, TABLES[table], true);
    this.#sql.all(query, ...bindings);
  }

  /** Removes rows; nothing while the table does not exist. */
  remove(table: string, query: string, ...bindings: SqlValue[]): void {
    if (this.#tables.has(table)) this.#sql.all(query, ...bindings);
  }

  insertHistory(number: number, ...values: SqlValue[]): void {
    const table = `history_${number}`;
    if (!this.#tables.has(table)) this.#create(table, HISTORY, false);
    this.#sql.all(`INSERT INTO ${table} VALUES (?, ?, ?, ?, ?, ?, ?)`, ...values);
  }

  createOutbox(first: number): void {
    this.#create(`outbox_${first}`, OUTBOX, false);
  }

  insertOutbox(first: number, ...values: SqlValue[]): void {
    this.#sql.all(`INSERT INTO outbox_${first} VALUES (?, ?, ?, ?, ?, ?, ?)`, ...values);
  }

  /** Drops a table whole: no rows are billed. */
  drop(table: string): void {
    if (this.#tables.delete(table)) this.#sql.all(`DROP TABLE ${table}`);
  }

  #create(table: string, columns: string, withoutRowid: boolean): void {
    this.#sql.all(`CREATE TABLE ${table} (${columns})${withoutRowid ? " WITHOUT ROWID" : ""}`);
    this.#tables.add(table);
  }
}
