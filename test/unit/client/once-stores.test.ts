import "fake-indexeddb/auto";
import { appendFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { indexedDbOnce } from "../../../client/durable/indexeddb-once.ts";
import { fileOnce } from "../../../client/node/file-once.ts";
import { sqliteOnce } from "../../../client/node/sqlite-once.ts";
import { durableObjectOnce, type SqlStorage } from "../../../client/once/durable-object.ts";
import { kvOnce } from "../../../client/once/kv.ts";
import type { OnceLimits } from "../../../client/once/limits.ts";
import { type OnceStore, onceKey } from "../../../client/once/once.ts";

const folder = await mkdtemp(join(tmpdir(), "dunlin-once-"));
const closing: { close(): unknown }[] = [];

afterEach(() => vi.useRealTimers());
afterAll(async () => {
  for (const store of closing) await store.close();
  await rm(folder, { recursive: true });
});

let number = 0;
const fresh = () => `store-${++number}`;

function closed<Store extends { close(): unknown }>(store: Store): Store {
  closing.push(store);
  return store;
}

/** The storage of a Durable Object as far as a once store uses it, on SQLite in memory. */
function objectStorage(): SqlStorage {
  const database = new DatabaseSync(":memory:");
  return {
    sql: { exec: (sql, ...values) => ({ toArray: () => database.prepare(sql).all(...values) }) },
    transactionSync(work) {
      database.exec("BEGIN");
      try {
        const result = work();
        database.exec("COMMIT");
        return result;
      } catch (error) {
        database.exec("ROLLBACK");
        throw error;
      }
    },
    sync: async () => {},
  };
}

/** Opens a store on the same ground as often as asked: as a page or process does that comes back. */
type Ground = (limits: OnceLimits) => Promise<OnceStore>;
const GROUNDS: Record<string, () => Ground> = {
  sqliteOnce: () => {
    const path = join(folder, fresh());
    return async (limits) => closed(sqliteOnce(path, limits));
  },
  fileOnce: () => {
    const path = join(folder, fresh());
    return async (limits) => closed(await fileOnce(path, limits));
  },
  durableObjectOnce: () => {
    const storage = objectStorage();
    return async (limits) => durableObjectOnce(storage, limits);
  },
  indexedDbOnce: () => {
    const name = fresh();
    return async (limits) => closed(await indexedDbOnce({ name, ...limits }));
  },
};

const has = (store: OnceStore, keys: string[]) => Promise.all(keys.map((key) => store.has(key)));

describe.each(Object.keys(GROUNDS))("%s", (name) => {
  const ground = () => GROUNDS[name]!();

  it("[ONC6] has what was added, also when it is opened anew, and knows what is being added", async () => {
    const at = ground();
    const store = await at({});
    const long = onceKey({ to: `queue:${"ž".repeat(256)}`, messageId: "🐦\n\"'\\" });
    expect(await has(store, ["a", long])).toEqual([false, false]);
    const adding = [store.add("a"), store.add(long), store.add("a")];
    expect(await has(store, ["a", long, "b"])).toEqual([true, true, false]);
    await Promise.all(adding);
    await store.add("a");
    expect(await has(await at({}), ["a", long, "b"])).toEqual([true, true, false]);
  });

  it("[ONC7] forgets the oldest beyond the number of keys it may have", async () => {
    const at = ground();
    const store = await at({ maxKeys: 3 });
    for (const key of ["a", "b", "c", "a", "d", "e"]) await store.add(key);
    for (const opened of [store, await at({ maxKeys: 3 })]) {
      expect(await has(opened, ["a", "b", "c", "d", "e"])).toEqual([false, false, true, true, true]);
    }
  });

  it("[ONC7] forgets what is older than it may be", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_000_000 });
    const store = await ground()({ maxAgeMs: 5_000 });
    await store.add("a");
    vi.setSystemTime(1_004_000);
    await store.add("b");
    expect(await has(store, ["a", "b"])).toEqual([true, true]);
    vi.setSystemTime(1_006_000);
    await store.add("c");
    expect(await has(store, ["a", "b", "c"])).toEqual([false, true, true]);
    vi.setSystemTime(1_016_000);
    await store.add("d");
    expect(await has(store, ["a", "b", "c", "d"])).toEqual([false, false, false, true]);
  });
});

describe("sqliteOnce and durableObjectOnce", () => {
  const stores = {
    sqlite: () => {
      const store = closed(sqliteOnce(join(folder, fresh())));
      const sql = (text: string) => store.database.prepare(text).all();
      return {
        run: (key: string, effect: () => void) => store.run(key, effect),
        has: (key: string) => store.has(key),
        sql,
      };
    },
    object: () => {
      const storage = objectStorage();
      const store = durableObjectOnce(storage);
      const sql = (text: string) => storage.sql.exec(text).toArray();
      return {
        run: (key: string, effect: () => void) => store.run(key, effect),
        has: (key: string) => store.has(key),
        sql,
      };
    },
  };

  it.each(["sqlite", "object"] as const)("[ONC8] %s: effect and key are one transaction", async (kind) => {
    const { run, has, sql } = stores[kind]();
    sql("CREATE TABLE effects (n INTEGER)");
    const effect = () => void sql("INSERT INTO effects VALUES (1)");
    expect(await run("a", effect)).toBe(true);
    expect(await run("a", effect)).toBe(false);
    const failing = run("b", () => {
      effect();
      throw new Error("no paper");
    });
    await expect(failing).rejects.toThrow("no paper");
    expect(await has("b")).toBe(false);
    const waiting = run("c", (async () => effect()) as () => never);
    await expect(waiting).rejects.toThrow("returned a promise");
    expect(sql("SELECT count(*) AS n FROM effects")).toEqual([{ n: 1 }]);
    expect(await run("b", effect)).toBe(true);
    expect(sql("SELECT count(*) AS n FROM effects")).toEqual([{ n: 2 }]);
  });

  it("[ONC8] two processes on one SQLite file make an effect once", async () => {
    const path = join(folder, fresh());
    const [one, two] = [closed(sqliteOnce(path)), closed(sqliteOnce(path))];
    one.database.exec("CREATE TABLE effects (n INTEGER)");
    const effect = (database: DatabaseSync) => void database.exec("INSERT INTO effects VALUES (1)");
    const ran = await Promise.all([one, two, two, one].map((store) => store.run("a", effect)));
    expect(ran.filter((isNew) => isNew)).toHaveLength(1);
    expect(two.database.prepare("SELECT count(*) AS n FROM effects").get()).toEqual({ n: 1 });
  });
});

describe("indexedDbOnce", () => {
  const shop = async (name = fresh()) =>
    closed(
      await indexedDbOnce({
        name,
        version: 1,
        upgrade: (database) => void database.createObjectStore("orders", { autoIncrement: true }),
      }),
    );

  async function orders(name: string): Promise<number> {
    const request = indexedDB.open(name);
    const database = await new Promise<IDBDatabase>((resolve) => {
      request.onsuccess = () => resolve(request.result);
    });
    const count = database.transaction("orders").objectStore("orders").count();
    await new Promise((resolve) => {
      count.onsuccess = resolve;
    });
    database.close();
    return count.result;
  }

  it("[ONC8] effect and key are one transaction, of one tab among several", async () => {
    const name = fresh();
    const [one, two] = [await shop(name), await shop(name)];
    const effect = (tx: IDBTransaction) => void tx.objectStore("orders").add({ n: 1 });
    const ran = await Promise.all([one, two, one].map((store) => store.run("a", effect, ["orders"])));
    expect(ran).toEqual([true, false, false]);
    expect(await orders(name)).toBe(1);
  });

  it("[ONC8] neither is kept when the effect throws, rejects or is aborted", async () => {
    const name = fresh();
    const store = await shop(name);
    const failures: ((tx: IDBTransaction) => unknown)[] = [
      (tx) => {
        tx.objectStore("orders").add({ n: 1 });
        throw new Error("no paper");
      },
      async (tx) => {
        tx.objectStore("orders").add({ n: 1 });
        throw new Error("no paper");
      },
      (tx) => {
        tx.objectStore("orders").add({ n: 1 });
        tx.abort();
      },
    ];
    for (const failure of failures) {
      await expect(store.run("a", failure, ["orders"])).rejects.toThrow();
      expect(await store.has("a")).toBe(false);
    }
    expect(await orders(name)).toBe(0);
    expect(await store.run("a", (tx) => void tx.objectStore("orders").add({ n: 1 }), ["orders"])).toBe(true);
    expect(await orders(name)).toBe(1);
  });
});

describe("kvOnce", () => {
  it("[ONC6] keeps keys of any length for its time, and knows what is being added", async () => {
    const entries = new Map<string, { expirationTtl: number }>();
    const store = kvOnce(
      {
        get: async (key) => (entries.has(key) ? "1" : null),
        put: async (key, _value, options) => {
          await new Promise((resolve) => setTimeout(resolve, 1));
          entries.set(key, options);
        },
      },
      { ttlSeconds: 3_600 },
    );
    const long = onceKey({ to: `queue:${"ž".repeat(256)}`, messageId: "a" });
    await store.add(long);
    expect(await has(store, [long, "b"])).toEqual([true, false]);
    expect([...entries]).toEqual([
      [expect.stringMatching(/^dunlin-once:[0-9a-f]{64}$/), { expirationTtl: 3_600 }],
    ]);
  });
});

describe("fileOnce", () => {
  it("[ONC9] cuts a line without its end off, and goes on behind it", async () => {
    const path = join(folder, fresh());
    const store = await fileOnce(path);
    await store.add("a");
    await store.close();
    await appendFile(path, "[17953848562");
    const opened = await fileOnce(path);
    expect(await has(opened, ["a", "b"])).toEqual([true, false]);
    await opened.add("b");
    await opened.close();
    expect(await has(closed(await fileOnce(path)), ["a", "b"])).toEqual([true, true]);
  });

  it("[ONC9] refuses a file that is not its own, and leaves it as it is", async () => {
    const path = join(folder, fresh());
    await appendFile(path, "my diary\n");
    await expect(fileOnce(path)).rejects.toThrow("not a file of finished messages");
    expect(await readFile(path, "utf8")).toBe("my diary\n");
  });

  it("[ONC7] is written anew before it has many more lines than keys", async () => {
    const path = join(folder, fresh());
    const store = closed(await fileOnce(path, { maxKeys: 10 }));
    for (let round = 0; round < 30; round++) {
      await Promise.all(Array.from({ length: 100 }, (_, index) => store.add(`${round}-${index}`)));
    }
    expect((await readFile(path, "utf8")).split("\n").length).toBeLessThan(1_200);
    expect(await has(closed(await fileOnce(path, { maxKeys: 10 })), ["29-99", "29-90", "29-89"])).toEqual([
      true,
      true,
      false,
    ]);
  });
});
