// Where consumers put what they have computed: one SQLite file that outlives them, shared by all of them.
//
// Why an effect is recorded together with its message id, in one transaction: a broker promises that no job is lost, so
// it must deliver a job again when it cannot know that it was done. A consumer may die between its effect and its ack, an
// ack may be lost in a crash, a lease may run out under a slow consumer. To such a redelivery the id says "done already":
// it is acked and nothing is added. Deliver at least once, apply at most once: together exactly once. In a real service
// this is the unique key of an order, a payment's idempotency key, or just such a table beside the data.
import { DatabaseSync } from "node:sqlite";
import { addFlight, type Flight, type HourlyTotals, type Totals } from "./flights.ts";

/** One job as a consumer has it. */
export interface Job {
  messageId: string;
  seq: number;
  body: Flight;
}

/** What redeliveries met. */
export interface Absorbed {
  /** Jobs that came again and were done already: nothing was added for them. */
  redelivered: number;
  /** Jobs that came again as another message: the broker stored one send twice. Must be 0. */
  storedTwice: number;
}

/** The durable effects of all consumers. */
export class Effects {
  readonly #database: DatabaseSync;

  /** Opens the file, and creates it if there is none. */
  constructor(path: string) {
    this.#database = new DatabaseSync(path);
    // `synchronous = FULL`: an ack must not leave before its effect is on disk.
    this.#database.exec(`
      PRAGMA busy_timeout = 60000;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      CREATE TABLE IF NOT EXISTS done (message_id TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS totals (
        hour INTEGER PRIMARY KEY, flights INTEGER, distance INTEGER, delay INTEGER, checksum INTEGER
      );
      CREATE TABLE IF NOT EXISTS absorbed (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1), redelivered INTEGER, stored_twice INTEGER
      );
      INSERT OR IGNORE INTO absorbed VALUES (1, 0, 0);
    `);
  }

  /** Applies jobs, each once however often it comes; on return their effects are on disk. */
  apply(jobs: Job[]): void {
    const database = this.#database;
    database.exec("BEGIN IMMEDIATE");
    try {
      const markDone = database.prepare("INSERT INTO done VALUES (?, ?) ON CONFLICT DO NOTHING");
      const fresh: HourlyTotals = new Map();
      const absorbed: Absorbed = { redelivered: 0, storedTwice: 0 };
      for (const { messageId, seq, body } of jobs) {
        if (markDone.run(messageId, seq).changes === 1) addFlight(fresh, body);
        else if (this.#seqOf(messageId) === seq) absorbed.redelivered += 1;
        else absorbed.storedTwice += 1;
      }
      this.#add(fresh, absorbed);
      database.exec("COMMIT");
    } catch (error) {
      database.exec("ROLLBACK");
      throw error;
    }
  }

  /** Jobs applied so far. */
  count(): number {
    const row = this.#database.prepare("SELECT coalesce(sum(flights), 0) AS count FROM totals").get();
    return row!.count as number;
  }

  /** Everything computed so far. */
  totals(): HourlyTotals {
    const rows = this.#database.prepare("SELECT * FROM totals").all() as unknown as (Totals & {
      hour: number;
    })[];
    return new Map(rows.map(({ hour, ...totals }) => [hour, totals]));
  }

  /** What redeliveries met so far. */
  absorbed(): Absorbed {
    const row = this.#database.prepare("SELECT redelivered, stored_twice AS storedTwice FROM absorbed").get();
    return { ...row } as unknown as Absorbed;
  }

  close(): void {
    this.#database.close();
  }

  #seqOf(messageId: string): number {
    return this.#database.prepare("SELECT seq FROM done WHERE message_id = ?").get(messageId)!.seq as number;
  }

  #add(totals: HourlyTotals, { redelivered, storedTwice }: Absorbed): void {
    const add = this.#database.prepare(`
      INSERT INTO totals VALUES (?, ?, ?, ?, ?) ON CONFLICT (hour) DO UPDATE SET
        flights = flights + excluded.flights, distance = distance + excluded.distance,
        delay = delay + excluded.delay, checksum = checksum + excluded.checksum`);
    for (const [hour, { flights, distance, delay, checksum }] of totals) {
      add.run(hour, flights, distance, delay, checksum);
    }
    if (redelivered + storedTwice === 0) return;
    this.#database
      .prepare("UPDATE absorbed SET redelivered = redelivered + ?, stored_twice = stored_twice + ?")
      .run(redelivered, storedTwice);
  }
}
