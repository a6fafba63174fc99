// The finished keys as a table of SQLite, be it a file of Node's or a Durable Object's storage. Both reach it through one function.
import { type OnceLimits, onceLimits } from "./limits.ts";

/** Runs one statement and returns its rows. */
export type RunSql = (sql: string, ...values: (string | number)[]) => Record<string, unknown>[];

/** What an effect returns if it waits for anything: SQLite's transactions here do not. */
export type Synchronous<Result> = Result extends PromiseLike<unknown> ? never : Result;

/** A table of keys, the oldest first. */
export class SqlKeys {
  readonly #sql: RunSql;
  readonly #limits: Required<OnceLimits>;

  constructor(sql: RunSql, limits: OnceLimits) {
    this.#sql = sql;
    this.#limits = onceLimits(limits);
    // The order of ids is the order of age, so that the oldest are found without an index of their own.
    sql(
      "CREATE TABLE IF NOT EXISTS dunlin_once (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, time INTEGER NOT NULL)",
    );
  }

  has(key: string): boolean {
    return this.#sql("SELECT 1 FROM dunlin_once WHERE key = ?", key).length > 0;
  }

  /** Adds a key and forgets what is beyond the limits. To be called within a transaction. */
  add(key: string): void {
    const nowMs = Date.now();
    const [added] = this.#sql(
      "INSERT INTO dunlin_once (key, time) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING id",
      key,
      nowMs,
    );
    if (!added) return;
    this.#sql("DELETE FROM dunlin_once WHERE id <= ?", Number(added.id) - this.#limits.maxKeys);
    this.#sql(
      "DELETE FROM dunlin_once WHERE id < (SELECT id FROM dunlin_once WHERE time >= ? ORDER BY id LIMIT 1)",
      nowMs - this.#limits.maxAgeMs,
    );
  }
}

/** @throws TypeError when an effect waits: its transaction would not contain what it does then */
export function refuseWaiting(result: unknown): void {
  if (typeof (result as PromiseLike<unknown> | undefined)?.then !== "function") return;
  throw new TypeError(
    "The effect returned a promise: in a transaction of SQLite it must be done when it returns",
  );
}
