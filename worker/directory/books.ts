// What exists in one namespace: its queues by name, and how they come into being. Knows nothing of messages.
import { type Refusal, refuse } from "../errors.ts";
import type { Sql } from "../log/sql.ts";
import type { ListedQueue, NamespaceSettings } from "./rpc.ts";

/* PERSISTED.
 *   queue   ( name TEXT PRIMARY KEY | created_at )   ms since the epoch; WITHOUT ROWID, so that a queue is one row
 *   setting ( name TEXT PRIMARY KEY | value )        only what was configured
 */
const DECLARE_FIRST = "declareFirst";

/** The books of one namespace. They come into being with the first entry: looking at an unknown namespace writes nothing. */
export class NamespaceBooks {
  readonly #sql: Sql;
  #opened: boolean;

  constructor(sql: Sql) {
    this.#sql = sql;
    this.#opened = sql.all("SELECT 1 FROM sqlite_master WHERE name = 'queue'").length > 0;
  }

  /** Enters a queue; refuses one that is new and was used without being declared where that is asked for. */
  addQueue(name: string, createdAt: number, declared: boolean): Refusal | undefined {
    if (this.#has(name)) return undefined;
    if (!declared && this.settings().declareFirst) {
      return refuse(
        "not-declared",
        `queues of this namespace must be declared: PUT /v1/queues/… for "${name}"`,
      );
    }
    this.#open();
    this.#sql.all("INSERT INTO queue VALUES (?, ?)", name, createdAt);
    return undefined;
  }

  removeQueue(name: string): void {
    if (this.#opened) this.#sql.all("DELETE FROM queue WHERE name = ?", name);
  }

  /** Up to `limit` queues after a name, in the order of their UTF-8 bytes; `next` is the `after` of the following page. */
  listQueues(after: string, limit: number): { queues: ListedQueue[]; next?: string } {
    if (!this.#opened) return { queues: [] };
    const rows = this.#sql.all(
      "SELECT name, created_at FROM queue WHERE name > ? ORDER BY name LIMIT ?",
      after,
      limit + 1,
    );
    const queues = rows
      .slice(0, limit)
      .map((row) => ({ name: row.name as string, createdAt: row.created_at as number }));
    return rows.length > limit ? { queues, next: queues.at(-1)!.name } : { queues };
  }

  settings(): NamespaceSettings {
    if (!this.#opened) return { declareFirst: false };
    const [row] = this.#sql.all("SELECT value FROM setting WHERE name = ?", DECLARE_FIRST);
    return { declareFirst: row?.value === 1 };
  }

  configure({ declareFirst }: NamespaceSettings): NamespaceSettings {
    this.#open();
    this.#sql.all("INSERT OR REPLACE INTO setting VALUES (?, ?)", DECLARE_FIRST, declareFirst ? 1 : 0);
    return this.settings();
  }

  #has(name: string): boolean {
    return this.#opened && this.#sql.all("SELECT 1 FROM queue WHERE name = ?", name).length > 0;
  }

  #open(): void {
    if (this.#opened) return;
    this.#sql.all("CREATE TABLE queue (name TEXT PRIMARY KEY, created_at INTEGER NOT NULL) WITHOUT ROWID");
    this.#sql.all("CREATE TABLE setting (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID");
    this.#opened = true;
  }
}
