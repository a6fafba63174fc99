// What the client of a tab takes for its WebSocket. It has no connection of its own: member.ts carries its frames.

/** Who carries a socket's frames. */
export interface Carrier {
  /** The socket was made, and wants to be open. */
  join(socket: TabSocket): void;
  /** Its client sends a frame. */
  send(socket: TabSocket, text: string): void;
  /** Its client gives it up. */
  leave(socket: TabSocket): void;
}

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 3;

/** As much of a WebSocket as a client uses. */
export class TabSocket extends EventTarget {
  readonly url: string;
  /** The subprotocol asked for. */
  readonly protocol: string;
  /** Tells this socket from the others of its tab. */
  readonly life = crypto.getRandomValues(new Uint32Array(2)).join("-");
  binaryType = "blob";
  readonly #carrier: Carrier;
  #state = CONNECTING;

  constructor(carrier: Carrier, url: string, protocol: string) {
    super();
    this.#carrier = carrier;
    this.url = url;
    this.protocol = protocol;
    carrier.join(this);
  }

  /** 0 while it is connecting, 1 when open, 3 when closed, as a WebSocket's. */
  get readyState(): number {
    return this.#state;
  }

  send(text: string): void {
    if (this.#state === OPEN) this.#carrier.send(this, text);
  }

  close(): void {
    if (this.#state === CLOSED) return;
    this.#state = CLOSED;
    this.#carrier.leave(this);
  }

  /** There is a connection. */
  opened(): void {
    if (this.#state !== CONNECTING) return;
    this.#state = OPEN;
    this.dispatchEvent(new Event("open"));
  }

  /** A frame came for it. */
  received(data: string): void {
    if (this.#state === OPEN) this.dispatchEvent(new MessageEvent("message", { data }));
  }

  /** The connection is gone. */
  closed(code: number, reason: string): void {
    if (this.#state === CLOSED) return;
    this.#state = CLOSED;
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason, wasClean: false }));
  }
}
