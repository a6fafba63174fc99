// SQLite inside Node behind the same port as inside a Durable Object, with a transaction that rolls back like the object's
// and the object's limit on rows.
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import type { Sql, SqlRow, SqlValue } from "../../worker/log/sql.ts";
import { MAX_STORED_ROW_BYTES, rowBytes } from "./row-size.ts";

/** A database in memory, or in a file. Counts the rows it wrote as SQLite does, without what indexes would add. */
export class NodeSql implements Sql {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  rowsWritten = 0;
  /** The largest row that was written, bytes. */
  largestRowBytes = 0;

  constructor(path = ":memory:") {
    this.#db = new DatabaseSync(path);
  }

  all(query: string, ...bindings: SqlValue[]): SqlRow[] {
    const bytes = rowBytes(bindings);
    if (bytes > MAX_STORED_ROW_BYTES)
      throw new Error(`a row of ${bytes} bytes: string or blob too big: SQLITE_TOOBIG`);
    this.largestRowBytes = Math.max(this.largestRowBytes, bytes);
    const statement = this.#prepare(query);
    const before = this.#totalChanges();
    const rows = statement.all(...(bindings as SQLInputValue[])) as SqlRow[];
    this.rowsWritten += this.#totalChanges() - before;
    return rows;
  }

  /** Runs a function as one transaction; a throw takes everything back. */
  transaction<T>(run: () => T): T {
    this.#db.exec("BEGIN");
    try {
      const result = run();
      this.#db.exec("COMMIT");
      return result;
    } catch (error) {
      this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  #totalChanges(): number {
    return Number((this.#prepare("SELECT total_changes() AS n").get() as { n: number }).n);
  }

  #prepare(query: string): StatementSync {
    const known = this.#statements.get(query);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(query);
    this.#statements.set(query, statement);
    return statement;
  }
}
