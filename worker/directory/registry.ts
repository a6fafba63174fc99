// How topic objects and those who want their messages find each other: what an object learns when it enters itself, and whom a new
// filter concerns. Every method is one step, so either the object learns of the filter or the filter's owner of the object.
import { type Refusal, refuse } from "../errors.ts";
import { MAX_FILTERS } from "../limits.ts";
import type { Sql } from "../log/sql.ts";
import { isPresence } from "../message/presence.ts";
import { ownTopic } from "../topic/placement.ts";
import { FilterBooks } from "./filters.ts";
import type { ListedTopic, RegisteredFilter, TopicObjectEntry } from "./rpc.ts";
import { TopicBooks } from "./topics.ts";

/** Topics and filters of one namespace. */
export class TopicRegistry {
  readonly #topics: TopicBooks;
  readonly #filters: FilterBooks;

  constructor(sql: Sql, namespace: string, maxFilters = MAX_FILTERS) {
    this.#topics = new TopicBooks(sql, namespace);
    this.#filters = new FilterBooks(sql, maxFilters);
  }

  /**
   * Enters a topic object with topics that it did not know.
   *
   * @param mayCreate whether topics that do not stand here may come into being
   */
  enter(objectName: string, topics: string[], mayCreate: boolean, now: number): TopicObjectEntry {
    // Nobody declares rooms: whoever may enter one brings it about.
    const wanted = (topic: string) => !isPresence(topic) && !this.#topics.has(topic);
    const refused = mayCreate ? [] : topics.filter(wanted);
    const own = ownTopic(objectName);
    const filters = own === undefined ? this.#filters.all() : this.#filters.matching(own);
    // An object of one topic that may not be leaves no trace.
    if (own === undefined || refused.length === 0) this.#topics.addObject(objectName);
    for (const topic of topics) if (!refused.includes(topic)) this.#topics.add(topic, now);
    return refused.length === 0 ? { filters } : { filters, refusal: notDeclared(refused), refused };
  }

  /** Strikes a topic, and its object when that owns nothing else. */
  removeTopic(topic: string, objectName: string): void {
    this.#topics.remove(topic, objectName);
  }

  /** A page of topics by name. */
  listTopics(after: string, limit: number): { topics: ListedTopic[]; next?: string } {
    return this.#topics.list(after, limit);
  }

  /** The names of all topic objects. */
  topicObjects(): string[] {
    return this.#topics.objects();
  }

  /** Stores a filter and names the objects to tell. */
  addFilter(
    filter: string,
    target: string,
    durable: boolean,
    selector?: string,
  ): { objects: string[] } | Refusal {
    const entry = { filter, target, durable, ...(selector === undefined ? {} : { selector }) };
    return this.#filters.add(entry) ?? { objects: this.#topics.objectsFor(filter) };
  }

  /** Strikes a filter and names the objects to tell. */
  removeFilter(filter: string, target: string): { removed: boolean; objects: string[] } {
    return { removed: this.#filters.remove(filter, target), objects: this.#topics.objectsFor(filter) };
  }

  /** The objects whose topics a filter may match. */
  objectsFor(filter: string): string[] {
    return this.#topics.objectsFor(filter);
  }

  /** Strikes all filters of a target and names the objects to tell. */
  removeTarget(target: string): { filters: string[]; objects: string[] } {
    const filters = this.#filters.of(target).map(({ filter }) => filter);
    const objects = new Set<string>();
    for (const filter of filters) {
      this.#filters.remove(filter, target);
      for (const name of this.#topics.objectsFor(filter)) objects.add(name);
    }
    return { filters, objects: [...objects] };
  }

  /** The filters of a target. */
  filtersOf(target: string): RegisteredFilter[] {
    return this.#filters.of(target);
  }
}

function notDeclared(topics: string[]): Refusal {
  return refuse(
    "not-declared",
    `topics of this namespace must be declared: PUT /v1/topics/… for ${JSON.stringify(topics[0])}`,
  );
}
