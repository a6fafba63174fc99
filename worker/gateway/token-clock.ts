// Watches the tokens of live connections: warns before one expires and ends the connection when it does.
import type { Connection } from "./connection.ts";

/** How long before its end a client is told to bring a fresh token, ms; at once when less is left. */
const WARNING_MS = 60_000;
const NEVER = Number.POSITIVE_INFINITY;

/** Connections whose token will expire. */
export class TokenClock {
  /** Watched connections, and whether each was warned of its present token's end. */
  readonly #warned = new Map<Connection, boolean>();
  /** When to run next, ms since the epoch. */
  nextDeadline = NEVER;

  /** Watches a connection that has said hello or brought a fresh token. */
  watch(connection: Connection, now: number): void {
    this.#warned.delete(connection);
    if (expiryOf(connection) === NEVER) return;
    this.#warned.set(connection, false);
    this.run(now);
  }

  /** Warns and closes whatever is due. */
  run(now: number): void {
    this.nextDeadline = NEVER;
    for (const [connection, warned] of [...this.#warned]) {
      const expiresAt = expiryOf(connection);
      if (!connection.open || expiresAt === NEVER) {
        this.#warned.delete(connection);
      } else if (expiresAt <= now) {
        this.#warned.delete(connection);
        connection.protocol.expired(connection);
      } else if (warned || expiresAt - WARNING_MS > now) {
        this.nextDeadline = Math.min(this.nextDeadline, warned ? expiresAt : expiresAt - WARNING_MS);
      } else {
        this.#warned.set(connection, true);
        connection.protocol.expiring(connection, expiresAt);
        this.nextDeadline = Math.min(this.nextDeadline, expiresAt);
      }
    }
  }
}

function expiryOf(connection: Connection): number {
  return connection.session?.principal.expiresAt ?? NEVER;
}
