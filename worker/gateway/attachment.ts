// What a socket carries through its object's sleep: in the platform's attachment as long as it fits there, beyond that in a row.
import type { Principal } from "../auth/principal.ts";
import type { Sql } from "../log/sql.ts";
import type { Connection } from "./connection.ts";
import type { Session } from "./session.ts";

/* PERSISTED with a socket, by structured clone. Grows only by optional fields. */
export interface Attached {
  version: 1;
  id: string;
  protocol: string;
  urlNamespace: string;
  principal: Principal | null;
  session:
    | (Pick<Session, "id" | "namespace" | "client" | "principal"> & {
        /** null: it never ends by itself. */
        expirySeconds: number | null;
      })
    | null;
  /** The protocol's own: plain JSON data. */
  state: unknown;
}

/** A session as its socket carries it. */
export function attachedSession(session: Session): NonNullable<Attached["session"]> {
  const { id, namespace, client, principal, expirySeconds } = session;
  const seconds = Number.isFinite(expirySeconds) ? expirySeconds : null;
  return { id, namespace, client, principal, expirySeconds: seconds };
}

/** A connection as its socket carries it. */
export function attachedConnection(connection: Connection): Attached {
  const { id, protocol, urlNamespace, principal = null, session } = connection;
  return {
    ...{ version: 1, id, protocol: protocol.names[0], urlNamespace },
    // Once there is a session, its principal is the one that counts: both would not fit.
    principal: session === undefined ? principal : null,
    session: session === undefined ? null : attachedSession(session),
    state: protocol.save(connection),
  };
}

/** The session of a connection, as its socket carried it; its subscriptions are in the gateway's tables. */
export function carriedSession(session: NonNullable<Attached["session"]>, connection: Connection): Session {
  const { protocol } = connection;
  return {
    ...{ ...session, protocol, connection, will: undefined },
    expirySeconds: session.expirySeconds ?? Number.POSITIVE_INFINITY,
    endsAt: Number.POSITIVE_INFINITY,
    subscriptions: new Map(),
  };
}

/** Stands in the attachment when its state is in the table. */
interface Elsewhere extends Omit<Attached, "state"> {
  elsewhere: true;
}

/* PERSISTED: attachment ( id TEXT PRIMARY KEY | state TEXT ) WITHOUT ROWID, id of the connection, state as JSON */

/** The platform takes 16,384 bytes; text of other scripts takes two bytes a character there. */
const MAX_CHARS = 7_000;

/** Reads and fits attachments. */
export class AttachmentStore {
  readonly #sql: Sql;
  #exists: boolean;
  /** Connections with a row. */
  readonly #rows = new Set<string>();

  constructor(sql: Sql) {
    this.#sql = sql;
    this.#exists = sql.all("SELECT 1 FROM sqlite_master WHERE name = 'attachment'").length > 0;
    if (!this.#exists) return;
    for (const row of sql.all("SELECT id FROM attachment")) this.#rows.add(row.id as string);
  }

  /** What to give to the socket. A state that is too large for it is written to the table. */
  toCarry(attached: Attached): Attached | Elsewhere {
    const { state, ...rest } = attached;
    const text = state === undefined ? "" : JSON.stringify(state);
    const { session } = attached;
    const principal = JSON.stringify(session?.principal ?? attached.principal).length;
    if (text.length + principal <= MAX_CHARS || text === "") {
      this.forget(attached.id);
      return attached;
    }
    this.#create();
    this.#sql.all("INSERT OR REPLACE INTO attachment VALUES (?, ?)", attached.id, text);
    this.#rows.add(attached.id);
    return { ...rest, elsewhere: true };
  }

  /** What a socket carries; undefined when it is not ours. */
  read(value: unknown): Attached | undefined {
    const attached = value as Attached | Elsewhere | null;
    if (attached === null || attached === undefined || attached.version !== 1) return undefined;
    if (!("elsewhere" in attached)) return attached;
    const row = this.#sql.all("SELECT state FROM attachment WHERE id = ?", attached.id)[0];
    return { ...attached, state: row === undefined ? undefined : JSON.parse(row.state as string) };
  }

  /** The socket is gone, or carries everything itself again. */
  forget(id: string): void {
    if (this.#rows.delete(id)) this.#sql.all("DELETE FROM attachment WHERE id = ?", id);
  }

  /** Forgets the rows of all other connections: their sockets went while the object was away. */
  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of [...this.#rows]) if (!ids.has(id)) this.forget(id);
  }

  #create(): void {
    if (this.#exists) return;
    this.#sql.all("CREATE TABLE attachment (id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID");
    this.#exists = true;
  }
}
