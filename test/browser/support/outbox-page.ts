// What runs inside the pages of the outbox's test: a producer whose messages must survive its death, and a consumer whose effects are
// rows in IndexedDB. Both use the modules as they are served.
import { indexedDbOnce, openOutbox } from "../../../client/durable/index.ts";
import { connect, onceKey } from "../../../client/index.ts";

/** The page's functions, as `globalThis.page`. */
export interface OutboxPage {
  /** Sends `life-0`, `life-1` … until the page dies or `stop` is called; tells the test of each that is safely stored. */
  produce(url: string, queue: string, life: string): Promise<void>;
  stop(): void;
  /** Resolves when the outbox is empty. @returns how many messages were refused */
  drained(url: string): Promise<number>;
  /** Counts in IndexedDB how often each job was done. */
  consume(url: string, queue: string): Promise<void>;
  /** How often each job was done. */
  effects(): Promise<[string, number][]>;
}

/** Provided by the test. */
declare const stored: (job: string) => Promise<void>;

let isStopped = false;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const effectsStore = () =>
  indexedDbOnce({ name: "effects", upgrade: (database) => void database.createObjectStore("effects") });

const page: OutboxPage = {
  async produce(url, queue, life) {
    const outbox = await openOutbox(connect(url), { name: "jobs" });
    const send = async (job: string) => {
      await outbox.queue(queue).send({ job });
      void stored(job);
    };
    for (let n = 0; !isStopped; n += 5) {
      await Promise.all(Array.from({ length: 5 }, (_, index) => send(`${life}-${n + index}`)));
      await pause(5);
    }
  },

  stop() {
    isStopped = true;
  },

  async drained(url) {
    const outbox = await openOutbox(connect(url), { name: "jobs" });
    await outbox.drained();
    const { length } = await outbox.refused();
    await outbox.close();
    return length;
  },

  async consume(url, queue) {
    const once = await effectsStore();
    const dunlin = connect(url, { sessionExpirySeconds: 2 });
    const options = { once, leaseMs: 2_000, credit: 32 };
    for await (const message of dunlin.queue<{ job: string }>(queue).consume(options)) {
      const { job } = message.body;
      await once.run(
        onceKey(message),
        (tx) => {
          const effects = tx.objectStore("effects");
          const before = effects.get(job);
          before.onsuccess = () => void effects.put(((before.result as number | undefined) ?? 0) + 1, job);
        },
        ["effects"],
      );
      void message.ack();
    }
  },

  async effects() {
    (await effectsStore()).close();
    const opening = indexedDB.open("effects");
    const database = await new Promise<IDBDatabase>((resolve) => {
      opening.onsuccess = () => resolve(opening.result);
    });
    const found: [string, number][] = [];
    await new Promise<void>((resolve) => {
      const walking = database.transaction("effects").objectStore("effects").openCursor();
      walking.onsuccess = () => {
        const cursor = walking.result;
        if (!cursor) return resolve();
        found.push([String(cursor.key), cursor.value as number]);
        cursor.continue();
      };
    });
    database.close();
    return found;
  },
};

(globalThis as { page?: OutboxPage }).page = page;
