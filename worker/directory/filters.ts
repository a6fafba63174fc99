// Who wants messages of which topics of one namespace, as far as it is not a single topic's own business: the wildcard filters of
// gateways and the bindings of queues. Kept in memory too, since every new topic object asks.
import { type Refusal, refuse } from "../errors.ts";
import { FilterTrie } from "../filter/trie.ts";
import type { Sql } from "../log/sql.ts";
import type { RegisteredFilter } from "./rpc.ts";

/* PERSISTED.
 *   filter ( filter TEXT, target TEXT PRIMARY KEY | durable )   target: "gateway-0" or "queue:NAME"; durable: 0 or 1; WITHOUT ROWID
 */

/** The filters of one namespace. Their table comes into being with the first one. */
export class FilterBooks {
  readonly #sql: Sql;
  readonly #maxFilters: number;
  #opened: boolean;
  /** Read from the table at first use. */
  #known: Known | undefined;

  /** @param maxFilters most pairs of filter and target */
  constructor(sql: Sql, maxFilters: number) {
    this.#sql = sql;
    this.#maxFilters = maxFilters;
    this.#opened = sql.all("SELECT 1 FROM sqlite_master WHERE name = 'filter'").length > 0;
  }

  /** Enters a filter of a target, or changes whether it is durable; `too-many` when the namespace is full. */
  add(filter: string, target: string, durable: boolean): Refusal | undefined {
    const known = this.#load();
    const present = known.byTarget.get(target)?.get(filter);
    if (present?.durable === durable) return undefined;
    if (present === undefined && known.trie.values >= this.#maxFilters) {
      return refuse(
        "too-many",
        `a namespace has at most ${this.#maxFilters} wildcard filters and bindings, got one more`,
      );
    }
    this.#open();
    this.#sql.all("INSERT OR REPLACE INTO filter VALUES (?, ?, ?)", filter, target, durable ? 1 : 0);
    if (present === undefined) enter(known, { filter, target, durable });
    else present.durable = durable;
    return undefined;
  }

  /** Strikes a filter of a target; false when it does not stand here. */
  remove(filter: string, target: string): boolean {
    const known = this.#load();
    const filters = known.byTarget.get(target);
    const present = filters?.get(filter);
    if (present === undefined) return false;
    filters!.delete(filter);
    if (filters!.size === 0) known.byTarget.delete(target);
    known.trie.remove(filter, present);
    this.#sql.all("DELETE FROM filter WHERE filter = ? AND target = ?", filter, target);
    return true;
  }

  /** The filters of a target, in the order of their UTF-16 units. */
  of(target: string): string[] {
    return [...(this.#load().byTarget.get(target)?.keys() ?? [])].sort();
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
    const known: Known = { trie: new FilterTrie(), byTarget: new Map() };
    const rows = this.#opened ? this.#sql.all("SELECT filter, target, durable FROM filter") : [];
    for (const row of rows) {
      enter(known, {
        filter: row.filter as string,
        target: row.target as string,
        durable: row.durable === 1,
      });
    }
    this.#known = known;
    return known;
  }

  #open(): void {
    if (this.#opened) return;
    this.#sql.all(
      "CREATE TABLE filter (filter TEXT NOT NULL, target TEXT NOT NULL, durable INTEGER NOT NULL, PRIMARY KEY (filter, target)) WITHOUT ROWID",
    );
    this.#opened = true;
  }
}

interface Known {
  trie: FilterTrie<RegisteredFilter>;
  /** By target and filter. */
  byTarget: Map<string, Map<string, RegisteredFilter>>;
}

function enter(known: Known, entry: RegisteredFilter): void {
  let filters = known.byTarget.get(entry.target);
  if (filters === undefined) {
    filters = new Map();
    known.byTarget.set(entry.target, filters);
  }
  filters.set(entry.filter, entry);
  known.trie.add(entry.filter, entry);
}
