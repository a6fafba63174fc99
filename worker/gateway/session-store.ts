// What a gateway keeps on disk: sessions that outlive their connections, and subscriptions. A session of a connection alone is in
// the socket's attachment, which costs nothing.
import type { Address } from "../address.ts";
import type { Principal } from "../auth/principal.ts";
import type { Sql } from "../log/sql.ts";
import { toBase64 } from "../message/base64.ts";
import {
  type Session,
  type Subscription,
  type SubscriptionOptions,
  sessionKey,
  type Will,
} from "./session.ts";

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
  /** null: it never ends by itself. */
  expirySeconds: number | null;
  /** null while it had a connection, and when it never ends. */
  endsAt: number | null;
  /** Whether it had a connection. Absent: by endsAt. */
  connected?: boolean;
  /** The first name of its adapter; absent: the JSON framing. */
  protocol?: string;
  will?: SavedWill;
}

/** A will as it is kept; the record in base64. */
interface SavedWill extends Omit<Will, "record" | "dueAt" | "namespace"> {
  record: string;
  /** null while the session had a connection. */
  dueAt: number | null;
}

/** A subscription as it is kept. */
export interface SavedSubscription {
  session: string;
  sub: number;
  address: Address;
  options?: SubscriptionOptions;
  /** null: as many as there are. */
  credit: number | null;
  /** A selector; absent: none. */
  filter?: string;
  /** Only of a queue. */
  target?: string;
  leaseMs?: number | null;
  generation?: number;
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
    const { id, namespace, client, principal, expirySeconds, endsAt, protocol, will } = session;
    const saved: SavedSession = {
      id,
      namespace,
      client,
      principal,
      protocol: protocol.names[0],
      expirySeconds: finite(expirySeconds),
      endsAt: finite(endsAt),
      connected: session.connection !== undefined,
    };
    if (will !== undefined) {
      const { namespace: _, ...rest } = will;
      saved.will = { ...rest, record: toBase64(will.record), dueAt: finite(will.dueAt) };
    }
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
    const { ref, sub, session, options } = subscription;
    const base = { session: sessionKey(session.namespace, session.client), sub, options };
    const credit = finite(subscription.credit);
    const saved: SavedSubscription =
      subscription.kind === "topic"
        ? {
            ...base,
            address: { kind: "topic", name: subscription.filter },
            credit,
            ...(subscription.selector === undefined ? {} : { filter: subscription.selector.text }),
          }
        : {
            ...base,
            address: subscription.address,
            credit,
            target: subscription.target,
            leaseMs: subscription.leaseMs ?? null,
            ...(subscription.filter === "" ? {} : { filter: subscription.filter }),
            generation: subscription.generation,
          };
    this.#sql.all("INSERT OR REPLACE INTO subscription VALUES (?, ?)", ref, JSON.stringify(saved));
  }

  removeSubscription(ref: number): void {
    if (!this.#exists) return;
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

/** Infinity is not JSON. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
