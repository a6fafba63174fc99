// The synchronous SQL that every store is written on: SQLite inside a Durable Object, and SQLite inside Node for its tests.

/** A value of a column. BLOBs are always Uint8Array. */
export type SqlValue = number | string | Uint8Array | null;

/** One row, by column name. */
export type SqlRow = Record<string, SqlValue>;

/** Runs SQL and counts what the platform bills. */
export interface Sql {
  /** Runs one statement and returns its rows. */
  all(query: string, ...bindings: SqlValue[]): SqlRow[];
  /** Rows written so far through this object. */
  readonly rowsWritten: number;
}

/** What a Durable Object's `ctx.storage.sql` offers, as far as it is used here. */
interface ObjectSql {
  exec(
    query: string,
    ...bindings: (ArrayBuffer | string | number | null)[]
  ): { toArray(): Record<string, ArrayBuffer | string | number | null>[]; readonly rowsWritten: number };
}

/** Wraps a Durable Object's SQL. */
export class DurableSql implements Sql {
  readonly #sql: ObjectSql;
  rowsWritten = 0;

  constructor(sql: ObjectSql) {
    this.#sql = sql;
  }

  all(query: string, ...bindings: SqlValue[]): SqlRow[] {
    // The platform takes views as well as whole buffers; its types name only buffers.
    const cursor = this.#sql.exec(query, ...(bindings as (ArrayBuffer | string | number | null)[]));
    const rows = cursor.toArray() as Record<string, SqlValue | ArrayBuffer>[];
    this.rowsWritten += cursor.rowsWritten;
    for (const row of rows) {
      for (const column in row) {
        const value = row[column];
        if (value instanceof ArrayBuffer) row[column] = new Uint8Array(value);
      }
    }
    return rows as SqlRow[];
  }
}
