// One client's socket, and what is about to be written to it. How frames look is the protocol's business.
import type { Principal } from "../auth/principal.ts";
import type { DeliveryView } from "../link/deliveries.ts";
import type { Session, Subscription } from "./session.ts";

/** The adapter of one protocol: reads what a socket says, writes what the broker has for it. */
export interface Protocol {
  /** The WebSocket subprotocol. */
  readonly name: string;
  /** A frame arrived. */
  receive(connection: Connection, data: string | ArrayBuffer): void;
  /** A message for one of the connection's subscriptions. */
  deliver(connection: Connection, subscription: Subscription, delivery: DeliveryView): void;
  /** A subscription ended by no wish of the client. */
  gone(connection: Connection, subscription: Subscription, reason: string): void;
  /** The connection's token ends soon. */
  expiring(connection: Connection, expiresAt: number): void;
  /** The connection's token has ended: it is told, and closed. */
  expired(connection: Connection): void;
  /** One frame of everything that was written since the last one. */
  join(frames: string[]): string;
}

/** The part of a WebSocket that a connection uses. */
export interface Socket {
  readonly readyState: number;
  send(data: string): void;
  close(code: number, reason: string): void;
}

const OPEN = 1;
/** A frame of several objects grows to this size, characters; a client may limit what it reads. */
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
  /** Requests that arrived while the connection was being authenticated, in order. */
  readonly held: (() => void)[] = [];
  authenticating = false;
  /** Ends the connection when no hello comes. */
  helloTimer: ReturnType<typeof setTimeout> | null = null;
  /** Requests that were not answered yet. */
  waiting = 0;
  readonly #socket: Socket;
  readonly #dirty: Set<Connection>;
  #frames: string[] = [];
  #size = 0;

  constructor(
    socket: Socket,
    dirty: Set<Connection>,
    facts: Pick<Connection, "id" | "protocol" | "urlNamespace" | "principal">,
  ) {
    this.#socket = socket;
    this.#dirty = dirty;
    this.id = facts.id;
    this.protocol = facts.protocol;
    this.urlNamespace = facts.urlNamespace;
    this.principal = facts.principal;
  }

  get open(): boolean {
    return this.#socket.readyState === OPEN;
  }

  /** Adds to what the next flush sends. */
  write(frame: string): void {
    if (this.#size + frame.length > MAX_JOINED) this.flush();
    this.#frames.push(frame);
    this.#size += frame.length;
    this.#dirty.add(this);
  }

  /** Sends what was written, as one frame. */
  flush(): void {
    if (this.#frames.length === 0) return;
    const frames = this.#frames;
    this.#frames = [];
    this.#size = 0;
    if (this.open) this.#socket.send(this.protocol.join(frames));
  }

  /** Sends what was written and closes. A socket that is closing already is left alone. */
  close(code: number, reason: string): void {
    this.flush();
    if (this.open) this.#socket.close(code, reason);
  }
}
