// What the Directory of a namespace offers to the rest of the broker.
import type { Refusal } from "../errors.ts";

/** A queue as the list shows it. */
export interface ListedQueue {
  name: string;
  /** ms since the epoch. */
  createdAt: number;
}

/** A topic as the list shows it. */
export interface ListedTopic {
  name: string;
  /** ms since the epoch. */
  createdAt: number;
}

/** How queues and topics come into being in a namespace. */
export interface NamespaceSettings {
  /** Queues and topics must be declared before their first use. */
  declareFirst: boolean;
}

/** Somebody's wish for the messages of the topics that a filter matches. */
export interface RegisteredFilter {
  filter: string;
  /** `gateway-0`, or `queue:NAME` for a binding. */
  target: string;
  /** What the target must get is stored until it has it. */
  durable: boolean;
  /** Of a binding: which messages the queue gets; absent: all. */
  selector?: string;
}

/** What a topic object learns when it enters itself. */
export interface TopicObjectEntry {
  /** All filters of the namespace for a pool of topics; for an object of one topic those that match it. */
  filters: RegisteredFilter[];
  /** Why topics were not entered: `not-declared`. */
  refusal?: Refusal;
  /** The topics that the refusal is about; the others stand in the books. */
  refused?: string[];
}

/** Calls on a Directory. */
export interface DirectoryRpc {
  /** Records a queue at its first use; refuses with `not-declared` when the namespace wants it declared first. */
  addQueue(name: string, createdAt: number, declared: boolean): Promise<Refusal | undefined>;
  removeQueue(name: string): Promise<void>;
  /** Queues in the order of their names, after `after`. */
  listQueues(after: string, limit: number): Promise<{ queues: ListedQueue[]; next?: string }>;
  /**
   * Enters a topic object and new topics of its, and tells which filters concern it. From then on the object is among those that
   * `addFilter` and `removeFilter` name, so that no filter is missed whichever of the two calls comes first.
   */
  enterTopicObject(objectName: string, topics: string[], declared?: boolean): Promise<TopicObjectEntry>;
  /** Strikes a topic, and its object when that owns nothing else: it enters itself again when the topic is used again. */
  removeTopic(topic: string, objectName: string): Promise<void>;
  /** Topics in the order of their names, after `after`. */
  listTopics(after: string, limit: number): Promise<{ topics: ListedTopic[]; next?: string }>;
  /** The names of all topic objects. */
  topicObjects(): Promise<string[]>;
  /**
   * Stores a filter; the same filter and target again changes only `durable` and `selector`.
   *
   * @returns the topic objects whose topics it may match, which must be told; `too-many` beyond MAX_FILTERS, or beyond
   *   MAX_BINDING_SELECTOR_CHARS of all selectors
   */
  addFilter(
    filter: string,
    target: string,
    durable: boolean,
    selector?: string,
  ): Promise<{ objects: string[] } | Refusal>;
  /** Strikes a filter. @returns whether it stood there, and the objects to tell, also when it did not: a repeated call goes on. */
  removeFilter(filter: string, target: string): Promise<{ removed: boolean; objects: string[] }>;
  /** The topic objects whose topics a filter may match. */
  objectsFor(filter: string): Promise<string[]>;
  /** Strikes all filters of a target. @returns them, and the topic objects to tell */
  removeTarget(target: string): Promise<{ filters: string[]; objects: string[] }>;
  /** The filters that a queue is bound to. */
  bindings(queue: string): Promise<RegisteredFilter[]>;
  settings(): Promise<NamespaceSettings>;
  configure(settings: NamespaceSettings): Promise<NamespaceSettings>;
}
