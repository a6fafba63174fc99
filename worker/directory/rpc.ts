// What the Directory of a namespace offers to the rest of the broker.
import type { Refusal } from "../errors.ts";

/** A queue as the list shows it. */
export interface ListedQueue {
  name: string;
  /** ms since the epoch. */
  createdAt: number;
}

/** How queues come into being in a namespace. */
export interface NamespaceSettings {
  /** Queues must be declared before their first use. */
  declareFirst: boolean;
}

/** Calls on a Directory. */
export interface DirectoryRpc {
  /** Records a queue at its first use; refuses with `not-declared` when the namespace wants it declared first. */
  addQueue(name: string, createdAt: number, declared: boolean): Promise<Refusal | undefined>;
  removeQueue(name: string): Promise<void>;
  /** Queues in the order of their names, after `after`. */
  listQueues(after: string, limit: number): Promise<{ queues: ListedQueue[]; next?: string }>;
  settings(): Promise<NamespaceSettings>;
  configure(settings: NamespaceSettings): Promise<NamespaceSettings>;
}
