// The Directory as a Durable Object, one per namespace: the only code here that touches the platform.
import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env.ts";
import type { Refusal } from "../errors.ts";
import { DurableSql } from "../log/sql.ts";
import { NamespaceBooks } from "./books.ts";
import { TopicRegistry } from "./registry.ts";
import type {
  DirectoryRpc,
  ListedQueue,
  ListedTopic,
  NamespaceSettings,
  RegisteredFilter,
  TopicObjectEntry,
} from "./rpc.ts";

/** Knows what exists in a namespace. Every call is one synchronous step, so each is stored wholly or not at all. */
export class Directory extends DurableObject<Env> implements DirectoryRpc {
  readonly #books: NamespaceBooks;
  readonly #registry: TopicRegistry;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const sql = new DurableSql(ctx.storage.sql);
    this.#books = new NamespaceBooks(sql);
    this.#registry = new TopicRegistry(sql, ctx.id.name!);
  }

  async addQueue(name: string, createdAt: number, declared: boolean): Promise<Refusal | undefined> {
    return this.#books.addQueue(name, createdAt, declared);
  }

  async removeQueue(name: string): Promise<void> {
    this.#books.removeQueue(name);
  }

  async listQueues(after: string, limit: number): Promise<{ queues: ListedQueue[]; next?: string }> {
    return this.#books.listQueues(after, limit);
  }

  async enterTopicObject(objectName: string, topics: string[], declared = false): Promise<TopicObjectEntry> {
    const mayCreate = declared || !this.#books.settings().declareFirst;
    return this.#registry.enter(objectName, topics, mayCreate, Date.now());
  }

  async removeTopic(topic: string, objectName: string): Promise<void> {
    this.#registry.removeTopic(topic, objectName);
  }

  async listTopics(after: string, limit: number): Promise<{ topics: ListedTopic[]; next?: string }> {
    return this.#registry.listTopics(after, limit);
  }

  async topicObjects(): Promise<string[]> {
    return this.#registry.topicObjects();
  }

  async addFilter(
    filter: string,
    target: string,
    durable: boolean,
    selector?: string,
  ): Promise<{ objects: string[] } | Refusal> {
    return this.#registry.addFilter(filter, target, durable, selector);
  }

  async removeFilter(filter: string, target: string): Promise<{ removed: boolean; objects: string[] }> {
    return this.#registry.removeFilter(filter, target);
  }

  async objectsFor(filter: string): Promise<string[]> {
    return this.#registry.objectsFor(filter);
  }

  async removeTarget(target: string): Promise<{ filters: string[]; objects: string[] }> {
    return this.#registry.removeTarget(target);
  }

  async bindings(queue: string): Promise<RegisteredFilter[]> {
    return this.#registry.filtersOf(`queue:${queue}`);
  }

  async settings(): Promise<NamespaceSettings> {
    return this.#books.settings();
  }

  async configure(settings: NamespaceSettings): Promise<NamespaceSettings> {
    return this.#books.configure(settings);
  }
}
