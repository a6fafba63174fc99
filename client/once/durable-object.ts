// A once store in the storage of a Durable Object.
import type { OnceLimits } from "./limits.ts";
import type { OnceStore } from "./once.ts";
import { refuseWaiting, SqlKeys, type Synchronous } from "./sql-keys.ts";

/** What it needs of `ctx.storage`, in an object with SQLite. */
export interface SqlStorage {
  sql: { exec(sql: string, ...values: (string | number)[]): { toArray(): Record<string, unknown>[] } };
  transactionSync<Result>(work: () => Result): Result;
  sync(): Promise<void>;
}

/**
 * Remembers finished messages in a Durable Object, in its table `dunlin_once`: two rows written per message.
 *
 * @param storage `ctx.storage` of an object with SQLite
 * @example
 * const once = durableObjectOnce(this.ctx.storage);
 * for await (const message of dunlin.queue<Order>("orders").consume({ once })) {
 *   await once.run(onceKey(message), () => this.ctx.storage.sql.exec("INSERT INTO orders VALUES (?)", message.body.id));
 *   await message.ack();
 * }
 */
export function durableObjectOnce(storage: SqlStorage, limits: OnceLimits = {}): DurableObjectOnce {
  return new DurableObjectOnce(storage, limits);
}

/** Made by {@link durableObjectOnce}. */
export class DurableObjectOnce implements OnceStore {
  readonly #storage: SqlStorage;
  readonly #keys: SqlKeys;

  /** @internal */
  constructor(storage: SqlStorage, limits: OnceLimits) {
    this.#storage = storage;
    this.#keys = new SqlKeys((sql, ...values) => storage.sql.exec(sql, ...values).toArray(), limits);
  }

  async has(key: string): Promise<boolean> {
    return this.#keys.has(key);
  }

  async add(key: string): Promise<void> {
    this.#storage.transactionSync(() => this.#keys.add(key));
    await this.#storage.sync();
  }

  /**
   * Runs an effect on the object's storage and keeps the key, both in one transaction; or neither, when the effect throws.
   *
   * @returns whether it ran now: not when the key was there already
   */
  async run<Result>(key: string, effect: (storage: SqlStorage) => Synchronous<Result>): Promise<boolean> {
    const isNew = this.#storage.transactionSync(() => {
      if (this.#keys.has(key)) return false;
      refuseWaiting(effect(this.#storage));
      this.#keys.add(key);
      return true;
    });
    await this.#storage.sync();
    return isNew;
  }
}
