// One client's socket, and what is about to be written to it. How frames look is the protocol's business.
import type { Principal } from "../auth/principal.ts";
import type { DeliveryView } from "../link/deliveries.ts";
import type { TopicRun } from "./fanout.ts";
import type { QueueSubscription, Session, Subscription, TopicSubscription } from "./session.ts";
import type { Writes } from "./writes.ts";

/** A piece of a frame: text, or whole packets. */
export type Chunk = string | Uint8Array;

/** The adapter of one protocol: reads what a socket says, writes what the broker has for it. */
export interface Protocol {
  /** The WebSocket subprotocols that it answers to; sessions are kept under the first. */
  readonly names: readonly [string, ...string[]];
  /** When `run` wants to be called, ms since the epoch; Infinity when never. */
  readonly nextDeadline: number;
  /** Does what time has brought about. */
  run(now: number): void;
  /** A frame arrived. */
  receive(connection: Connection, data: string | ArrayBuffer): void;
  /** A message of a queue for one of the connection's subscriptions. */
  deliver(connection: Connection, subscription: QueueSubscription, delivery: DeliveryView): void;
  /** A queue's word to one of the connection's subscriptions: which one is the delivery's `kind`. */
  notice(connection: Connection, subscription: QueueSubscription, delivery: DeliveryView): void;
  /** Live messages of one topic, for all of this protocol's sessions that want them, connected or not. */
  fanout(run: TopicRun): void;
  /**
   * Messages from before the subscription, for it alone; the first `retained` records are retained messages. More is handed over when
   * they are on their way.
   */
  replay(subscription: TopicSubscription, records: Uint8Array, retained: number): Promise<void> | void;
  /** Messages are missing from what a subscription gets. */
  lag(subscription: TopicSubscription, skipped: number): void;
  /** A subscription ended by no wish of the client. */
  gone(connection: Connection, subscription: Subscription, reason: string): void;
  /** The connection's token ends soon. */
  expiring(connection: Connection, expiresAt: number): void;
  /** The connection's token has ended: it is told, and closed. */
  expired(connection: Connection): void;
  /** Another connection of the same client has come: this one is told, and closed. */
  takenOver(connection: Connection): void;
  /** No session came about in time. */
  unannounced(connection: Connection): void;
  /** A socket is gone; its session, if it had one, has not heard of it yet. */
  closed(connection: Connection): void;
  /** A session ended. */
  ended(session: Session): void;
  /** What of a connection must outlive the object's memory (plain data for the socket's attachment), and its way back. */
  save(connection: Connection): unknown;
  restore(connection: Connection, saved: unknown): void;
  /** One frame of everything that was written since the last one. */
  join(chunks: Chunk[]): Chunk;
}

/** The part of a WebSocket that a connection uses. */
export interface Socket {
  readonly readyState: number;
  send(data: Chunk): void;
  close(code: number, reason: string): void;
}

const OPEN = 1;
/** A frame of several pieces grows to this size, characters or bytes; a client may limit what it reads. */
const MAX_JOINED = 2_000_000;

/** A socket with the session it belongs to, once it has said hello. */
export class Connection {
  readonly id: string;
  readonly protocol: Protocol;
  /** `?ns=` of the URL, "" when it had none. */
  readonly urlNamespace: string;
  /** Who opened the socket, when the handshake told. */
  readonly principal: Principal | undefined;
  session: Session | undefined;
  /** What arrived while the connection was being authenticated, in order. */
  readonly held: (() => void)[] = [];
  authenticating = false;
  /** Size of what arrived meanwhile, characters or bytes. */
  heldBytes = 0;
  /** Ends the connection when no hello comes. */
  helloTimer: ReturnType<typeof setTimeout> | null = null;
  /** Requests that were not answered yet. */
  waiting = 0;
  /** Nothing more is taken from it: it was closed from this side, or its socket is gone. One that its client is closing still counts. */
  ended = false;
  readonly #socket: Socket;
  readonly #writes: Writes;
  #chunks: Chunk[] = [];
  #size = 0;

  constructor(
    socket: Socket,
    writes: Writes,
    facts: Pick<Connection, "id" | "protocol" | "urlNamespace" | "principal">,
  ) {
    this.#socket = socket;
    this.#writes = writes;
    this.id = facts.id;
    this.protocol = facts.protocol;
    this.urlNamespace = facts.urlNamespace;
    this.principal = facts.principal;
  }

  get open(): boolean {
    return this.#socket.readyState === OPEN;
  }

  /** Characters or bytes that wait to be sent. */
  get size(): number {
    return this.#size;
  }

  /** Adds to what the next flush sends. */
  write(chunk: Chunk): void {
    this.#add(chunk);
    this.#writes.now(this);
  }

  /** Adds to what is sent soon: what may wait for more of its kind. */
  writeSoon(chunk: Chunk): void {
    this.#add(chunk);
    this.#writes.soon(this);
  }

  /** Has its state written down with the next flush. */
  change(): void {
    this.#writes.changed(this);
  }

  /** Sends what was written, as one frame; returns its size, characters or bytes. */
  flush(): number {
    const chunks = this.#chunks;
    const size = this.#size;
    if (chunks.length === 0) return 0;
    this.#chunks = [];
    this.#size = 0;
    if (this.open) this.#socket.send(chunks.length === 1 ? chunks[0]! : this.protocol.join(chunks));
    return size;
  }

  #add(chunk: Chunk): void {
    if (this.#size + chunk.length > MAX_JOINED) this.flush();
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }

  /** Sends what was written and closes. A socket that is closing already is left alone. */
  close(code: number, reason: string): void {
    this.ended = true;
    this.flush();
    if (!this.open) return;
    this.#socket.close(code, reason);
    this.#writes.closed(this);
  }
}
