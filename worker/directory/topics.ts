// What exists in one namespace of topics: their names, and the objects that own them. Knows nothing of messages.
import { isExact, matches } from "../filter/filter.ts";
import type { Sql } from "../log/sql.ts";
import { ownTopic } from "../topic/placement.ts";
import type { ListedTopic } from "./rpc.ts";

/* PERSISTED.
 *   topic        ( name TEXT PRIMARY KEY | created_at )   ms since the epoch; WITHOUT ROWID, so that a topic is one row
 *   topic_object ( name TEXT PRIMARY KEY )                "NAMESPACE:TOPIC" or "NAMESPACE:#NUMBER"
 */

/** The topics of one namespace. Their tables come into being with the first entry. */
export class TopicBooks {
  readonly #sql: Sql;
  readonly #namespace: string;
  #opened: boolean;

  constructor(sql: Sql, namespace: string) {
    this.#sql = sql;
    this.#namespace = namespace;
    this.#opened = sql.all("SELECT 1 FROM sqlite_master WHERE name = 'topic_object'").length > 0;
  }

  has(topic: string): boolean {
    return this.#opened && this.#sql.all("SELECT 1 FROM topic WHERE name = ?", topic).length > 0;
  }

  /** Enters a topic; one that stands here keeps its time. */
  add(topic: string, createdAt: number): void {
    if (this.has(topic)) return;
    this.#open();
    this.#sql.all("INSERT INTO topic VALUES (?, ?)", topic, createdAt);
  }

  /** Strikes a topic, and its object when that owns nothing else. */
  remove(topic: string, objectName: string): void {
    if (!this.#opened) return;
    this.#sql.all("DELETE FROM topic WHERE name = ?", topic);
    if (ownTopic(objectName) !== undefined) {
      this.#sql.all("DELETE FROM topic_object WHERE name = ?", objectName);
    }
  }

  /** Up to `limit` topics after a name, in the order of their UTF-8 bytes; `next` is the `after` of the following page. */
  list(after: string, limit: number): { topics: ListedTopic[]; next?: string } {
    if (!this.#opened) return { topics: [] };
    const rows = this.#sql.all(
      "SELECT name, created_at FROM topic WHERE name > ? ORDER BY name LIMIT ?",
      after,
      limit + 1,
    );
    const topics = rows
      .slice(0, limit)
      .map((row) => ({ name: row.name as string, createdAt: row.created_at as number }));
    return rows.length > limit ? { topics, next: topics.at(-1)!.name } : { topics };
  }

  /** Enters an object that owns topics. */
  addObject(objectName: string): void {
    this.#open();
    if (this.#hasObject(objectName)) return;
    this.#sql.all("INSERT INTO topic_object VALUES (?)", objectName);
  }

  /** Every object that owns topics. */
  objects(): string[] {
    if (!this.#opened) return [];
    return this.#sql.all("SELECT name FROM topic_object ORDER BY name").map((row) => row.name as string);
  }

  /** The objects that own, or may come to own, a topic which the filter matches: all pools, and of the others those it matches. */
  objectsFor(filter: string): string[] {
    if (!this.#opened) return [];
    const before = `${this.#namespace}:`;
    // "$" follows "#", so this range holds the pools.
    const pools = this.#namesBetween(`${before}#`, `${before}$`);
    const levels = filter.split("/");
    const wild = levels.findIndex((level) => !isExact(level));
    // What stands before the first wildcard narrows the search down; ";" follows ":", and "0" follows "/".
    const fixed = before + levels.slice(0, wild < 0 ? undefined : wild).join("/");
    const own =
      wild === 0
        ? this.#namesBetween(before, `${this.#namespace};`)
        : [...(this.#hasObject(fixed) ? [fixed] : []), ...this.#namesBetween(`${fixed}/`, `${fixed}0`)];
    return [
      ...pools,
      ...own.filter((name) => {
        const topic = ownTopic(name);
        return topic !== undefined && matches(filter, topic);
      }),
    ];
  }

  #hasObject(objectName: string): boolean {
    return this.#sql.all("SELECT 1 FROM topic_object WHERE name = ?", objectName).length > 0;
  }

  #namesBetween(from: string, to: string): string[] {
    return this.#sql
      .all("SELECT name FROM topic_object WHERE name >= ? AND name < ? ORDER BY name", from, to)
      .map((row) => row.name as string);
  }

  #open(): void {
    if (this.#opened) return;
    this.#sql.all("CREATE TABLE topic (name TEXT PRIMARY KEY, created_at INTEGER NOT NULL) WITHOUT ROWID");
    this.#sql.all("CREATE TABLE topic_object (name TEXT PRIMARY KEY) WITHOUT ROWID");
    this.#opened = true;
  }
}
