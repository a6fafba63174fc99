// The books of a namespace, on SQLite in Node.
import { DatabaseSync } from "node:sqlite";
import { beforeEach, describe, expect, it } from "vitest";
import { NamespaceBooks } from "../../../worker/directory/books.ts";
import type { Sql, SqlRow, SqlValue } from "../../../worker/log/sql.ts";

/** A database that counts the statements which can write. */
class Database implements Sql {
  rowsWritten = 0;
  private readonly database = new DatabaseSync(":memory:");

  all(query: string, ...bindings: SqlValue[]): SqlRow[] {
    if (!query.startsWith("SELECT")) this.rowsWritten += 1;
    return this.database.prepare(query).all(...bindings) as SqlRow[];
  }
}

let database: Database;
let books: NamespaceBooks;
beforeEach(() => {
  database = new Database();
  books = new NamespaceBooks(database);
});

function names(after = "", limit = 100): string[] {
  return books.listQueues(after, limit).queues.map((queue) => queue.name);
}

describe("queues", () => {
  it("[QUE5] looking at an unknown namespace writes nothing", () => {
    expect(books.listQueues("", 10)).toEqual({ queues: [] });
    expect(books.settings()).toEqual({ declareFirst: false });
    books.removeQueue("q");
    expect(database.rowsWritten).toBe(0);
  });

  it("[QUE9] are listed by name, page by page", () => {
    for (const name of ["b", "a/1", "日本", "a", "Z"]) books.addQueue(name, 7, false);
    expect(books.listQueues("", 2)).toEqual({
      queues: [
        { name: "Z", createdAt: 7 },
        { name: "a", createdAt: 7 },
      ],
      next: "a",
    });
    expect(books.listQueues("a", 3)).toEqual({
      queues: ["a/1", "b", "日本"].map((name) => ({ name, createdAt: 7 })),
    });
    expect(books.listQueues("日本", 3)).toEqual({ queues: [] });
  });

  it("[QUE6] [QUE9] are entered once, and leave when they are deleted", () => {
    books.addQueue("a", 1, false);
    const { rowsWritten } = database;
    books.addQueue("a", 2, true);
    expect(database.rowsWritten).toBe(rowsWritten);
    expect(books.listQueues("", 9).queues).toEqual([{ name: "a", createdAt: 1 }]);
    books.removeQueue("a");
    expect(names()).toEqual([]);
    books.addQueue("a", 3, false);
    expect(books.listQueues("", 9).queues).toEqual([{ name: "a", createdAt: 3 }]);
  });

  it("[EVC1] are found again by the next object on the same storage", () => {
    books.addQueue("a", 1, false);
    books.configure({ declareFirst: true });
    books = new NamespaceBooks(database);
    expect(names()).toEqual(["a"]);
    expect(books.settings()).toEqual({ declareFirst: true });
  });
});

describe("declare-first", () => {
  it("[ADR8] [QUE1] only declared queues come into being while it is set", () => {
    books.addQueue("old", 1, false);
    expect(books.configure({ declareFirst: true })).toEqual({ declareFirst: true });
    expect(books.addQueue("new", 2, false)).toMatchObject({
      kind: "not-declared",
      message: expect.stringContaining("new"),
    });
    expect(books.addQueue("old", 2, false)).toBeUndefined();
    expect(books.addQueue("declared", 2, true)).toBeUndefined();
    expect(names()).toEqual(["declared", "old"]);
    books.configure({ declareFirst: false });
    expect(books.addQueue("new", 3, false)).toBeUndefined();
    expect(names()).toEqual(["declared", "new", "old"]);
  });
});
