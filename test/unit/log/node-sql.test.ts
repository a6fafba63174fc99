// The machine's tests stand on Node's SQLite: it must refuse and take back what the platform's would.
import { describe, expect, it } from "vitest";
import { NodeSql } from "../../support/node-sql.ts";
import { MAX_STORED_ROW_BYTES } from "../../support/row-size.ts";

describe("SQLite inside Node", () => {
  it("[DUR1] refuses a row beyond the platform's limit, which the local runtime does not", () => {
    const sql = new NodeSql();
    sql.all("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB, c BLOB)");
    const half = new Uint8Array(MAX_STORED_ROW_BYTES / 2);
    sql.all("INSERT INTO t VALUES (?, ?, ?)", 1, half, half.slice(0, -10));
    expect(() => sql.all("INSERT INTO t VALUES (?, ?, ?)", 2, half, half)).toThrow(/too big/);
    expect(sql.largestRowBytes).toBeLessThanOrEqual(MAX_STORED_ROW_BYTES);
    expect(sql.rowsWritten).toBe(1);
  });

  it("[DUR3] takes a whole transaction back when it throws", () => {
    const sql = new NodeSql();
    sql.all("CREATE TABLE t (a INTEGER PRIMARY KEY)");
    expect(() =>
      sql.transaction(() => {
        sql.all("INSERT INTO t VALUES (1)");
        sql.all("CREATE TABLE u (a)");
        throw new Error("no");
      }),
    ).toThrow("no");
    expect(sql.all("SELECT * FROM t")).toEqual([]);
    expect(sql.all("SELECT name FROM sqlite_master WHERE name = 'u'")).toEqual([]);
  });
});
