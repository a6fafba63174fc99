// Who wants messages of which topics of one namespace, as far as it is not a single topic's own business: the wildcard filters of
// gateways and the bindings of queues. Kept in memory too, since every new topic object asks.
import { type Refusal, refuse } from "../errors.ts";
import { FilterTrie } from "../filter/trie.ts";
import { MAX_BINDING_SELECTOR_CHARS } from "../limits.ts";
import type { Sql } from "../log/sql.ts";
import type { RegisteredFilter } from "./rpc.ts";

/* PERSISTED.
 *   filter ( filter TEXT, target TEXT PRIMARY KEY | durable | selector )   WITHOUT ROWID
 *     target: "gateway-0" or "queue:NAME"; durable: 0 or 1; selector: NULL when there is none. Tables of before selectors lack the
 *     column until the first one comes.
 */

/** The filters of one namespace. Their table comes into being with the first one. */
export class FilterBooks {
  readonly #sql: Sql;
  readonly #maxFilters: number;
  #opened: boolean;
  #hasSelectors: boolean;
  /** Read from the table at first use. */
  #known: Known | undefined;

  /** @param maxFilters most pairs of filter and target */
  constructor(sql: Sql, maxFilters: number) {
    this.#sql = sql;
    this.#maxFilters = maxFilters;
    const [table] = sql.all("SELECT sql FROM sqlite_master WHERE name = 'filter'");
    this.#opened = table !== undefined;
    this.#hasSelectors = /\bselector\b/.test((table?.sql as string | undefined) ?? "");
  }

  /** Enters a filter of a target, or changes whether it is durable and its selector; `too-many` when the namespace is full. */
  add(entry: RegisteredFilter): Refusal | undefined {
    const { filter, target, durable, selector } = entry;
    const known = this.#load();
    const present = known.byTarget.get(target)?.get(filter);
    if (present?.durable === durable && present.selector === selector) return undefined;
    if (present === undefined && known.trie.values >= this.#maxFilters) {
      return refuse(
        "too-many",
        `a namespace has at most ${this.#maxFilters} wildcard filters and bindings, got one more`,
      );
    }
    const selectorChars = known.selectorChars + lengthOf(selector) - lengthOf(present?.selector);
    if (selectorChars > MAX_BINDING_SELECTOR_CHARS && lengthOf(selector) > lengthOf(present?.selector)) {
      const limit = `the filters of a namespace's bindings have at most ${MAX_BINDING_SELECTOR_CHARS} characters`;
      return refuse("too-many", `${limit} together, got ${selectorChars}`);
    }
    this.#open();
    this.#write(entry);
    if (present !== undefined) leave(known, present);
    enter(known, entry);
    return undefined;
  }

  /** Strikes a filter of a target; false when it does not stand here. */
  remove(filter: string, target: string): boolean {
    const known = this.#load();
    const present = known.byTarget.get(target)?.get(filter);
    if (present === undefined) return false;
    leave(known, present);
    this.#sql.all("DELETE FROM filter WHERE filter = ? AND target = ?", filter, target);
    return true;
  }

  /** The filters of a target, in the order of their UTF-16 units. */
  of(target: string): RegisteredFilter[] {
    const filters = this.#load().byTarget.get(target)?.values() ?? [];
    return [...filters].sort((a, b) => (a.filter < b.filter ? -1 : 1));
  }

  /** All filters. */
  all(): RegisteredFilter[] {
    return [...this.#load().byTarget.values()].flatMap((filters) => [...filters.values()]);
  }

  /** The filters that match a topic: a target comes once for each of its filters. */
  matching(topic: string): RegisteredFilter[] {
    return this.#load().trie.match(topic);
  }

  #load(): Known {
    if (this.#known !== undefined) return this.#known;
    const known: Known = { trie: new FilterTrie(), byTarget: new Map(), selectorChars: 0 };
    const rows = this.#opened ? this.#sql.all("SELECT * FROM filter") : [];
    for (const row of rows) {
      const entry = {
        filter: row.filter as string,
        target: row.target as string,
        durable: row.durable === 1,
      };
      enter(known, typeof row.selector === "string" ? { ...entry, selector: row.selector } : entry);
    }
    this.#known = known;
    return known;
  }

  #write({ filter, target, durable, selector }: RegisteredFilter): void {
    const values = [filter, target, durable ? 1 : 0];
    if (selector === undefined) {
      this.#sql.all("INSERT OR REPLACE INTO filter (filter, target, durable) VALUES (?, ?, ?)", ...values);
      return;
    }
    if (!this.#hasSelectors) this.#sql.all("ALTER TABLE filter ADD COLUMN selector TEXT");
    this.#hasSelectors = true;
    this.#sql.all("INSERT OR REPLACE INTO filter VALUES (?, ?, ?, ?)", ...values, selector);
  }

  #open(): void {
    if (this.#opened) return;
    this.#sql.all(
      `CREATE TABLE filter (filter TEXT NOT NULL, target TEXT NOT NULL, durable INTEGER NOT NULL, selector TEXT,
       PRIMARY KEY (filter, target)) WITHOUT ROWID`,
    );
    this.#opened = true;
    this.#hasSelectors = true;
  }
}

interface Known {
  trie: FilterTrie<RegisteredFilter>;
  /** By target and filter. */
  byTarget: Map<string, Map<string, RegisteredFilter>>;
  /** Characters of all selectors. */
  selectorChars: number;
}

function lengthOf(selector: string | undefined): number {
  return selector?.length ?? 0;
}

function enter(known: Known, entry: RegisteredFilter): void {
  let filters = known.byTarget.get(entry.target);
  if (filters === undefined) {
    filters = new Map();
    known.byTarget.set(entry.target, filters);
  }
  filters.set(entry.filter, entry);
  known.trie.add(entry.filter, entry);
  known.selectorChars += lengthOf(entry.selector);
}

function leave(known: Known, entry: RegisteredFilter): void {
  const filters = known.byTarget.get(entry.target)!;
  filters.delete(entry.filter);
  if (filters.size === 0) known.byTarget.delete(entry.target);
  known.trie.remove(entry.filter, entry);
  known.selectorChars -= lengthOf(entry.selector);
}
