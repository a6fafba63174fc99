// A once store in a file of SQLite, for Node: never part of a browser's bundle.
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import type { OnceLimits } from "../once/limits.ts";
import type { OnceStore } from "../once/once.ts";
import { refuseWaiting, SqlKeys, type Synchronous } from "../once/sql-keys.ts";

/**
 * Remembers finished messages in a SQLite database, in its table `dunlin_once`. With `run`, the effect of a message and its key are
 * one transaction, so that the effect is made once whatever is killed when. Several processes may share the file.
 *
 * @param database a file's path, or an open database that the effects write to
 * @example
 * const once = sqliteOnce("shop.db");
 * for await (const message of dunlin.queue<Order>("orders").consume({ once })) {
 *   await once.run(onceKey(message), (db) => db.prepare("INSERT INTO orders VALUES (?)").run(message.body.id));
 *   await message.ack();
 * }
 */
export function sqliteOnce(database: string | DatabaseSync, limits: OnceLimits = {}): SqliteOnce {
  return new SqliteOnce(typeof database === "string" ? openDurable(database) : database, limits);
}

/** Made by {@link sqliteOnce}. */
export class SqliteOnce implements OnceStore {
  /** The database, for effects and for reading. */
  readonly database: DatabaseSync;
  readonly #keys: SqlKeys;

  /** @internal */
  constructor(database: DatabaseSync, limits: OnceLimits) {
    this.database = database;
    const run = (sql: string, ...values: SQLInputValue[]) => database.prepare(sql).all(...values);
    this.#keys = new SqlKeys(run, limits);
  }

  async has(key: string): Promise<boolean> {
    return this.#keys.has(key);
  }

  async add(key: string): Promise<void> {
    this.#transact(() => this.#keys.add(key));
  }

  /**
   * Runs an effect on the database and keeps the key, both in one transaction; or neither, when the effect throws.
   *
   * @param effect must not wait for anything, and leaves the transaction alone
   * @returns whether it ran now: not when the key was there already
   */
  async run<Result>(key: string, effect: (database: DatabaseSync) => Synchronous<Result>): Promise<boolean> {
    return this.#transact(() => {
      if (this.#keys.has(key)) return false;
      refuseWaiting(effect(this.database));
      this.#keys.add(key);
      return true;
    });
  }

  /** Closes the database. */
  close(): void {
    this.database.close();
  }

  #transact<Result>(work: () => Result): Result {
    // Not deferred: two processes that both read first could then both not write.
    this.database.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.database.exec("COMMIT");
      return result;
    } catch (error) {
      if (this.database.isTransaction) this.database.exec("ROLLBACK");
      throw error;
    }
  }
}

function openDurable(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 5_000 });
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  return database;
}
