// The Directory as a Durable Object, one per namespace: the only code here that touches the platform.
import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env.ts";
import type { Refusal } from "../errors.ts";
import { DurableSql } from "../log/sql.ts";
import { NamespaceBooks } from "./books.ts";
import type { DirectoryRpc, ListedQueue, NamespaceSettings } from "./rpc.ts";

/** Knows what exists in a namespace. Every call is one synchronous step, so each is stored wholly or not at all. */
export class Directory extends DurableObject<Env> implements DirectoryRpc {
  readonly #books: NamespaceBooks;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#books = new NamespaceBooks(new DurableSql(ctx.storage.sql));
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

  async settings(): Promise<NamespaceSettings> {
    return this.#books.settings();
  }

  async configure(settings: NamespaceSettings): Promise<NamespaceSettings> {
    return this.#books.configure(settings);
  }
}
