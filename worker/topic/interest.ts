// Who gets the messages of which topics: exact interests, which are stored here, and filters, which the Directory keeps.
import type { RegisteredFilter } from "../directory/rpc.ts";
import { type Refusal, refuse } from "../errors.ts";
import { isExact } from "../filter/filter.ts";
import { FilterTrie } from "../filter/trie.ts";
import { MAX_INTERESTS, MAX_TOPICS } from "../limits.ts";
import type { RecordView } from "../message/record.ts";
import { RecordFields } from "../selector/record-fields.ts";
import { type Selector, selectorOf } from "../selector/selector.ts";
import type { TopicStore } from "./store.ts";

/** The targets of one topic, each once; durable if any of its interests is. */
export interface Target {
  /** `gateway-0` or `queue:NAME`. */
  readonly name: string;
  readonly queue: boolean;
  readonly durable: boolean;
  /** It gets what one of these lets through; absent: everything. */
  readonly selectors?: readonly Selector[];
}

/** A filter as it is kept here. */
interface Entry extends RegisteredFilter {
  /** Its selector, parsed when a topic first asks. */
  parsed?: Selector | undefined;
}

/** One gateway's interest in one topic. */
interface Exact {
  durable: boolean;
  /** The number of the last packet made for the gateway when it said so last. */
  since: number;
}

const QUEUE = "queue:";

/** Whether a target is a queue: its interests stand in the Directory, whatever their filter. */
export function isQueue(target: string): boolean {
  return target.startsWith(QUEUE);
}

/** The queue's name of a target that is one. */
export function queueOf(target: string): string {
  return target.slice(QUEUE.length);
}

/** The interests in the topics of one object. */
export class Interests {
  readonly #store: TopicStore;
  /** By topic and target. */
  readonly #exact = new Map<string, Map<string, Exact>>();
  #exactCount = 0;
  #trie = new FilterTrie<Entry>();
  /** By filter and target. */
  #filters = new Map<string, Map<string, Entry>>();
  /** Filters with a selector. */
  #selective = 0;
  /** What was found out; at most one entry for each topic in memory. */
  readonly #targets = new Map<string, readonly Target[]>();
  readonly #pending = new Map<string, { topic: string; target: string; durable: boolean | undefined }>();
  /** Changes of filters while the Directory is being asked: its answer may be older than they. */
  #meanwhile: (() => void)[] | undefined;

  constructor(store: TopicStore) {
    this.#store = store;
    for (const row of store.read("interest", "SELECT topic, target, durable FROM interest")) {
      this.#setExact(row.topic as string, row.target as string, { durable: row.durable === 1, since: 0 });
    }
  }

  get dirty(): boolean {
    return this.#pending.size > 0;
  }

  /** Who gets the messages of a topic. */
  targets(topic: string): readonly Target[] {
    let targets = this.#targets.get(topic);
    if (targets === undefined) {
      if (this.#targets.size >= MAX_TOPICS) this.#targets.clear();
      targets = this.#find(topic);
      this.#targets.set(topic, targets);
    }
    return targets;
  }

  /** Who gets a message of a topic: a target that only wants what a selector lets through is asked about each. */
  targetsOf(topic: string, record: RecordView): readonly Target[] {
    const targets = this.targets(topic);
    if (this.#selective === 0) return targets;
    const fields = new RecordFields(record);
    return targets.filter(
      ({ selectors }) => selectors === undefined || selectors.some((selector) => selector.matches(fields)),
    );
  }

  /** Registers an interest, or changes what was known of it. `since`: the last packet's number for the target. */
  add(
    filter: string,
    target: string,
    durable: boolean,
    since: number,
    selector?: string,
  ): Refusal | undefined {
    if (isQueue(target) || !isExact(filter)) {
      const registered = { filter, target, durable, ...(selector === undefined ? {} : { selector }) };
      this.#change(() => this.#addFilter(registered));
      return undefined;
    }
    const known = this.#exact.get(filter)?.get(target);
    if (known === undefined && this.#exactCount >= MAX_INTERESTS) {
      return refuse(
        "too-many",
        `${MAX_INTERESTS} subscriptions are remembered here, which is the limit`,
        10_000,
      );
    }
    if (known?.durable !== durable) this.#note(filter, target, durable);
    this.#setExact(filter, target, { durable, since });
    this.#targets.delete(filter);
    return undefined;
  }

  remove(filter: string, target: string): void {
    if (isQueue(target) || !isExact(filter)) this.#change(() => this.#removeFilter(filter, target));
    else this.#removeExact(filter, target);
  }

  /** A gateway said of a packet that nobody there wants a topic: it counts unless it has subscribed since that packet was made. */
  unwanted(topic: string, target: string, number: number): void {
    const known = this.#exact.get(topic)?.get(target);
    if (known !== undefined && known.since < number) this.#removeExact(topic, target);
  }

  /** From now until `enter`, changes of filters are kept in mind. */
  beginEnter(): void {
    this.#meanwhile = [];
  }

  /** Takes the Directory's filters in place of those known, then repeats what changed since it was asked. */
  enter(filters: RegisteredFilter[] | undefined): void {
    const meanwhile = this.#meanwhile ?? [];
    this.#meanwhile = undefined;
    if (filters === undefined || this.#same(filters)) return;
    this.#trie = new FilterTrie();
    this.#filters = new Map();
    this.#selective = 0;
    for (const filter of filters) this.#addFilter(filter);
    for (const change of meanwhile) change();
    this.#targets.clear();
  }

  /** Forgets who gets a topic's messages until it is asked again. */
  forget(topic: string): void {
    this.#targets.delete(topic);
  }

  /** Writes what the turn changed. */
  flush(): void {
    for (const { topic, target, durable } of this.#pending.values()) {
      if (durable === undefined) {
        this.#store.remove("interest", "DELETE FROM interest WHERE topic = ? AND target = ?", topic, target);
      } else {
        this.#store.write(
          "interest",
          "INSERT OR REPLACE INTO interest VALUES (?, ?, ?)",
          topic,
          target,
          durable ? 1 : 0,
        );
      }
    }
    this.#pending.clear();
  }

  #find(topic: string): readonly Target[] {
    const durable = new Map<string, boolean>();
    for (const [target, exact] of this.#exact.get(topic) ?? []) durable.set(target, exact.durable);
    const entries = this.#trie.match(topic);
    for (const { target, durable: kept } of entries) {
      durable.set(target, kept || durable.get(target) === true);
    }
    return [...durable].map(([name, kept]) => {
      const queue = isQueue(name);
      const selectors = queue && this.#selective > 0 ? selectorsOf(entries, name) : undefined;
      const target = { name, queue, durable: kept || queue };
      return selectors === undefined ? target : { ...target, selectors };
    });
  }

  #change(change: () => void): void {
    this.#meanwhile?.push(change);
    change();
    this.#targets.clear();
  }

  /** Most questions to the Directory change nothing: then what is known of the topics stays. */
  #same(filters: RegisteredFilter[]): boolean {
    if (this.#trie.values !== filters.length) return false;
    return filters.every(({ filter, target, durable, selector }) => {
      const known = this.#filters.get(filter)?.get(target);
      return known?.durable === durable && known.selector === selector;
    });
  }

  #addFilter(filter: RegisteredFilter): void {
    this.#removeFilter(filter.filter, filter.target);
    let targets = this.#filters.get(filter.filter);
    if (targets === undefined) {
      targets = new Map();
      this.#filters.set(filter.filter, targets);
    }
    const entry = { ...filter };
    targets.set(filter.target, entry);
    this.#trie.add(filter.filter, entry);
    if (filter.selector !== undefined) this.#selective++;
  }

  #removeFilter(filter: string, target: string): void {
    const targets = this.#filters.get(filter);
    const known = targets?.get(target);
    if (known === undefined) return;
    targets!.delete(target);
    if (targets!.size === 0) this.#filters.delete(filter);
    this.#trie.remove(filter, known);
    if (known.selector !== undefined) this.#selective--;
  }

  #setExact(topic: string, target: string, exact: Exact): void {
    let targets = this.#exact.get(topic);
    if (targets === undefined) {
      targets = new Map();
      this.#exact.set(topic, targets);
    }
    if (!targets.has(target)) this.#exactCount++;
    targets.set(target, exact);
  }

  #removeExact(topic: string, target: string): void {
    const targets = this.#exact.get(topic);
    if (!targets?.delete(target)) return;
    this.#exactCount--;
    if (targets.size === 0) this.#exact.delete(topic);
    this.#targets.delete(topic);
    this.#note(topic, target, undefined);
  }

  #note(topic: string, target: string, durable: boolean | undefined): void {
    this.#pending.set(`${topic}\0${target}`, { topic, target, durable });
  }
}

/** What the bindings of one queue let through; undefined when one of them has no selector, and so takes everything. */
function selectorsOf(entries: Entry[], target: string): Selector[] | undefined {
  const selectors: Selector[] = [];
  for (const entry of entries) {
    if (entry.target !== target) continue;
    if (entry.selector === undefined) return undefined;
    entry.parsed ??= selectorOf(entry.selector);
    selectors.push(entry.parsed!);
  }
  return selectors;
}
