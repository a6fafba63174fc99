// What a gateway keeps on disk: sessions that outlive their connections, and subscriptions. A session of a connection alone is in
// the socket's attachment, which costs nothing.
import type { Address } from "../address.ts";
import type { Principal } from "../auth/principal.ts";
import type { Sql } from "../log/sql.ts";
import { type Session, type Subscription, sessionKey } from "./session.ts";

/* PERSISTED. Grows only by optional fields.
 *   session      ( key TEXT PRIMARY KEY | data TEXT ) WITHOUT ROWID   data: SavedSession as JSON
 *   subscription ( ref INTEGER PRIMARY KEY | data TEXT )              data: SavedSubscription as JSON
 */

/** A session as it is kept. */
export interface SavedSession {
  id: string;
  namespace: string;
  client: string;
  principal: Principal;
  expirySeconds: number;
  /** null while it had a connection. */
  endsAt: number | null;
}

/** A subscription as it is kept. */
export interface SavedSubscription {
  session: string;
  sub: number;
  address: Address;
  target: string;
  credit: number;
  leaseMs: number | null;
  generation: number;
}

/** The tables of one gateway. They are made at the first write. */
export class SessionStore {
  readonly #sql: Sql;
  #exists: boolean;

  constructor(sql: Sql) {
    this.#sql = sql;
    this.#exists = sql.all("SELECT 1 FROM sqlite_master WHERE name = 'session'").length > 0;
  }

  saveSession(session: Session): void {
    this.#create();
    const { id, namespace, client, principal, expirySeconds, endsAt } = session;
    const saved: SavedSession = {
      id,
      namespace,
      client,
      principal,
      expirySeconds,
      endsAt: Number.isFinite(endsAt) ? endsAt : null,
    };
    this.#sql.all(
      "INSERT OR REPLACE INTO session VALUES (?, ?)",
      sessionKey(namespace, client),
      JSON.stringify(saved),
    );
  }

  removeSession(session: Session): void {
    if (!this.#exists) return;
    this.#sql.all("DELETE FROM session WHERE key = ?", sessionKey(session.namespace, session.client));
  }

  saveSubscription(subscription: Subscription): void {
    this.#create();
    const { ref, sub, session, address, target, credit, leaseMs = null, generation } = subscription;
    const key = sessionKey(session.namespace, session.client);
    const saved: SavedSubscription = { session: key, sub, address, target, credit, leaseMs, generation };
    this.#sql.all("INSERT OR REPLACE INTO subscription VALUES (?, ?)", ref, JSON.stringify(saved));
  }

  removeSubscription(ref: number): void {
    this.#sql.all("DELETE FROM subscription WHERE ref = ?", ref);
  }

  sessions(): SavedSession[] {
    if (!this.#exists) return [];
    return this.#sql
      .all("SELECT data FROM session")
      .map((row) => JSON.parse(row.data as string) as SavedSession);
  }

  subscriptions(): (SavedSubscription & { ref: number })[] {
    if (!this.#exists) return [];
    return this.#sql
      .all("SELECT ref, data FROM subscription")
      .map((row) => ({ ref: row.ref as number, ...(JSON.parse(row.data as string) as SavedSubscription) }));
  }

  #create(): void {
    if (this.#exists) return;
    this.#sql.all("CREATE TABLE session (key TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID");
    this.#sql.all("CREATE TABLE subscription (ref INTEGER PRIMARY KEY, data TEXT NOT NULL)");
    this.#exists = true;
  }
}
