// Watches the tokens of live connections: warns before one expires and ends the connection when it does.
import type { Connection } from "./connection.ts";

/** How long before its end a client is told to bring a fresh token, ms; at half its life when that is shorter. */
const WARNING_MS = 60_000;
const NEVER = Number.POSITIVE_INFINITY;

/** Connections whose token will expire. */
export class TokenClock {
  /** Watched connections, and when each is warned of its present token's end; Infinity once it was. */
  readonly #warnAt = new Map<Connection, number>();
  /** When to run next, ms since the epoch. */
  nextDeadline = NEVER;

  /** Watches a connection that has said hello or brought a fresh token. */
  watch(connection: Connection, now: number): void {
    this.#warnAt.delete(connection);
    const expiresAt = expiryOf(connection);
    if (expiresAt === NEVER) return;
    this.#warnAt.set(connection, expiresAt - Math.min(WARNING_MS, (expiresAt - now) / 2));
    this.run(now);
  }

  /** Warns and closes whatever is due. */
  run(now: number): void {
    this.nextDeadline = NEVER;
    for (const [connection, warnAt] of [...this.#warnAt]) {
      const expiresAt = expiryOf(connection);
      if (!connection.open || expiresAt === NEVER || expiresAt <= now) {
        this.#warnAt.delete(connection);
        if (expiresAt <= now) connection.protocol.expired(connection);
        continue;
      }
      if (warnAt <= now) {
        this.#warnAt.set(connection, NEVER);
        connection.protocol.expiring(connection, expiresAt);
      }
      this.nextDeadline = Math.min(this.nextDeadline, warnAt > now ? Math.min(warnAt, expiresAt) : expiresAt);
    }
  }
}

function expiryOf(connection: Connection): number {
  return connection.session?.principal.expiresAt ?? NEVER;
}
