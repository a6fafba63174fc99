// A once store in IndexedDB, in a database of its own or in the application's, so that an effect there can be one with its key.
import { type IDBPDatabase, openDB, unwrap } from "idb";
import { type OnceLimits, onceLimits } from "../once/limits.ts";
import type { OnceStore } from "../once/once.ts";
import { inTransaction, STRICT } from "./transaction.ts";

const STORE = "dunlin-once";

/**
 * Which database holds the keys. All are optional.
 *
 * @example
 * const upgrade = (db: IDBDatabase) => void db.createObjectStore("orders", { keyPath: "id" });
 * const once = await indexedDbOnce({ name: "shop", version: 1, upgrade });
 */
export interface IndexedDbOnceOptions extends OnceLimits {
  /** The database: `dunlin-once` by default. */
  name?: string;
  /** Its version, for an application that keeps other things in it: 1 by default. Raise it when `upgrade` changes. */
  version?: number;
  /** Makes the application's own object stores, as an `upgradeneeded` event of IndexedDB does. */
  upgrade?: (database: IDBDatabase, oldVersion: number) => void;
}

/**
 * Remembers finished messages over reloads and crashes of the page. All tabs of a site share it.
 *
 * @throws DOMException when IndexedDB cannot be opened
 * @example
 * const once = await indexedDbOnce();
 * for await (const message of dunlin.queue("notifications").consume({ once })) {
 *   new Notification(String(message.body));
 *   await message.ack();
 * }
 */
export async function indexedDbOnce(options: IndexedDbOnceOptions = {}): Promise<IndexedDbOnce> {
  const { name = STORE, version = 1, upgrade } = options;
  const database = await openDB(name, version, {
    upgrade(made, oldVersion) {
      if (!made.objectStoreNames.contains(STORE)) {
        // Ids grow with time, so the oldest keys are the first.
        const keys = made.createObjectStore(STORE, { keyPath: "id", autoIncrement: true });
        keys.createIndex("key", "key", { unique: true });
      }
      upgrade?.(unwrap(made), oldVersion);
    },
    blocking: (_current, _blocked, event) => (event.target as IDBDatabase).close(),
  });
  return new IndexedDbOnce(database, options);
}

/** Made by {@link indexedDbOnce}. */
export class IndexedDbOnce implements OnceStore {
  readonly #database: IDBPDatabase;
  readonly #limits: Required<OnceLimits>;

  /** @internal */
  constructor(database: IDBPDatabase, limits: OnceLimits) {
    this.#database = database;
    this.#limits = onceLimits(limits);
  }

  // IndexedDB runs a transaction that overlaps a writing one after it: what is being added is waited for.
  async has(key: string): Promise<boolean> {
    return (await this.#database.countFromIndex(STORE, "key", key)) > 0;
  }

  async add(key: string): Promise<void> {
    await this.run(key, () => {});
  }

  /**
   * Runs an effect on the database and keeps the key, both in one transaction; or neither, when the effect throws or the page is
   * gone in the middle.
   *
   * @param effect may only wait for requests of the transaction it gets: the transaction ends when it waits for anything else
   * @param stores the application's object stores that the effect needs
   * @returns whether it ran now: not when the key was there already
   * @example
   * await once.run(onceKey(message), (tx) => void tx.objectStore("orders").put(message.body), ["orders"]);
   */
  async run(
    key: string,
    effect: (transaction: IDBTransaction) => unknown,
    stores: readonly string[] = [],
  ): Promise<boolean> {
    return inTransaction(this.#database.transaction([STORE, ...stores], "readwrite", STRICT), async (tx) => {
      const keys = tx.objectStore(STORE);
      if ((await keys.index("key").count(key)) > 0) return false;
      const nowMs = Date.now();
      const id = Number(await keys.add({ key, time: nowMs }));
      const working = effect(unwrap(tx));
      const tooMany = keys.delete(IDBKeyRange.upperBound(id - this.#limits.maxKeys));
      await Promise.all([working, tooMany, this.#forget(keys, nowMs - this.#limits.maxAgeMs)]);
      return true;
    });
  }

  /** Closes the database. */
  close(): void {
    this.#database.close();
  }

  async #forget(keys: OldestFirst, beforeMs: number): Promise<void> {
    for (let cursor = await keys.openCursor(); cursor && cursor.value.time < beforeMs; ) {
      await cursor.delete();
      cursor = await cursor.continue();
    }
  }
}

interface Cursor {
  value: { time: number };
  delete(): Promise<void>;
  continue(): Promise<Cursor | null>;
}

interface OldestFirst {
  openCursor(): Promise<Cursor | null>;
}
