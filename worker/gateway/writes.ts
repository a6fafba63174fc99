// When what was written to connections is sent. An answer goes at once. What goes to many waits a little while more of it is on its
// way, as a frame costs a socket the same whether it holds one message or fifty.
import type { Connection } from "./connection.ts";

/** What one frame costs, ms: waiting for longer than all frames take would not pay. */
const MS_PER_FRAME = 0.03;
/** Nothing waits longer than this, ms. */
const MAX_HOLD_MS = 20;
/** Bytes or characters for one connection that do not wait. */
const MAX_HELD = 65_536;

/** What a flush does with a connection. */
export interface WritesOwner {
  /** Writes down what has changed of it. */
  remember: (connection: Connection) => void;
  /** Hears how much was sent to it. */
  sent: (connection: Connection, size: number) => void;
  /** Flushes everything when a wait is over. */
  flush: () => void;
}

/** Connections that have something to be sent or written down. */
export class Writes {
  readonly #owner: WritesOwner;
  readonly #changed = new Set<Connection>();
  #closed: Connection[] = [];
  readonly #now = new Set<Connection>();
  readonly #soon = new Set<Connection>();
  #since = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(owner: WritesOwner) {
    this.#owner = owner;
  }

  /** The next flush sends what the connection has. */
  now(connection: Connection): void {
    this.#now.add(connection);
  }

  /** A flush soon sends what the connection has: at the latest when nothing is under way. */
  soon(connection: Connection): void {
    this.#soon.add(connection);
  }

  changed(connection: Connection): void {
    this.#changed.add(connection);
  }

  /** The broker has closed the connection. */
  closed(connection: Connection): void {
    this.#closed.push(connection);
  }

  /** Connections closed since the last call. */
  takeClosed(): Connection[] {
    const closed = this.#closed;
    this.#closed = [];
    return closed;
  }

  /**
   * Ends an event.
   *
   * @param busy whether calls are under way that will bring more
   * @param now ms since the epoch; it stands still during an event
   */
  flush(busy: boolean, now: number): void {
    for (const connection of this.#changed) this.#owner.remember(connection);
    this.#changed.clear();
    for (const connection of this.#now) {
      this.#send(connection);
      this.#soon.delete(connection);
    }
    this.#now.clear();
    this.#flushSoon(busy, now);
  }

  #flushSoon(busy: boolean, now: number): void {
    if (this.#soon.size === 0) {
      this.#since = 0;
      return;
    }
    if (this.#since === 0) this.#since = now;
    const hold = Math.min(MAX_HOLD_MS, this.#soon.size * MS_PER_FRAME);
    if (busy && now - this.#since < hold) {
      for (const connection of this.#soon) {
        if (connection.size < MAX_HELD) break;
        return this.#sendSoon();
      }
      this.#timer ??= setTimeout(() => this.#expired(), Math.ceil(hold));
      return;
    }
    this.#sendSoon();
  }

  #sendSoon(): void {
    for (const connection of this.#soon) this.#send(connection);
    this.#soon.clear();
    this.#since = 0;
  }

  #expired(): void {
    this.#timer = undefined;
    if (this.#soon.size > 0) this.#owner.flush();
  }

  #send(connection: Connection): void {
    this.#owner.sent(connection, connection.flush());
  }
}
