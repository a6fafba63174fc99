// A raw client of the JSON framing for tests: it sends what it is told and shows every frame that comes back.
// It never reconnects, retries, batches or hides anything; the product's own client is in client/.
import { WebSocket } from "ws";

const SUBPROTOCOL = "dunlin.v1.json";
const REPLY_TIMEOUT_MS = 20_000;

/** One frame of either direction. Only the fields that tests read often are named. */
export interface WireFrame {
  op: string;
  id?: number;
  sub?: number;
  seq?: number;
  epoch?: string | number;
  messageId?: string;
  delivery?: string;
  attempt?: number;
  redelivered?: boolean;
  duplicate?: boolean;
  body?: unknown;
  code?: number;
  kind?: string;
  message?: string;
  settled?: number | string[];
  lost?: string[];
  [field: string]: unknown;
}

/** How to open a connection. */
export interface WireOptions {
  /** Fields of the hello frame, such as `token`, `client`, `session: { expirySeconds }`. `false` sends no hello. */
  hello?: Record<string, unknown> | false;
  /** Sees each frame before anything else does, and hides it from `next` by returning true. */
  onFrame?: (frame: WireFrame) => boolean | undefined;
  /** Subprotocols offered; by default `dunlin.v1.json`. */
  protocols?: string[];
  /** Limit for each reply, for opening and for `next`. */
  timeoutMs?: number;
}

/** How a socket closed. */
export interface WireClose {
  code: number;
  reason: string;
}

/** A reply with `op: "error"`, thrown by `WireClient.ok`. */
export class WireError extends Error {
  readonly frame: WireFrame;
  constructor(asked: WireFrame, frame: WireFrame) {
    super(`${show(asked)} was answered with ${show(frame)}`);
    this.frame = frame;
  }
}

interface Waiter {
  accepts(frame: WireFrame): boolean;
  resolve(frame: WireFrame): void;
  reject(error: Error): void;
}

/**
 * A connection to `/ws`.
 *
 * @example
 * const wire = await WireClient.connect(broker.wsUrl, { hello: { client: "a" } });
 * const { seq } = await wire.ok({ op: "publish", to: "queue:jobs", body: 1 });
 * await wire.ok({ op: "subscribe", sub: 1, to: "queue:jobs", credit: 1 });
 * const message = await wire.nextMessage();
 * await wire.ok({ op: "settle", sub: 1, ack: [message.delivery] });
 * await wire.close();
 */
export class WireClient {
  /** The answer to hello; absent with `hello: false`. */
  welcome: WireFrame | undefined;
  /** Settles when the socket is closed, by whichever side. */
  readonly closed: Promise<WireClose>;
  /** Frames without an `id` that nobody has taken yet, oldest first. */
  readonly pushes: WireFrame[] = [];
  /** Frames as they came, with text that is no JSON object or array of them (such as `pong`) as it is. */
  readonly raw: string[] = [];
  readonly socket: WebSocket;
  private readonly replies = new Map<number, Waiter>();
  private readonly waiters = new Set<Waiter>();
  private readonly onFrame: WireOptions["onFrame"];
  private readonly timeoutMs: number;
  private closedWith: WireClose | undefined;
  private lastId = 0;

  private constructor(url: string, options: WireOptions) {
    this.onFrame = options.onFrame;
    this.timeoutMs = options.timeoutMs ?? REPLY_TIMEOUT_MS;
    this.socket = new WebSocket(url, options.protocols ?? [SUBPROTOCOL], { perMessageDeflate: false });
    this.socket.on("message", (data, isBinary) => this.receive(String(data), isBinary));
    this.closed = new Promise((resolve) => {
      this.socket.once("close", (code, reason) => {
        this.closedWith = { code, reason: String(reason) };
        const error = new Error(`the socket closed with ${code} ${String(reason)}; ${this.diagnosis()}`);
        for (const waiter of [...this.replies.values(), ...this.waiters]) waiter.reject(error);
        resolve(this.closedWith);
      });
    });
  }

  /**
   * Opens a connection and says hello.
   *
   * @param url a `ws:` URL, with `?ns=` or `?token=` as wanted
   * @throws Error when the upgrade is refused, with its HTTP status, or hello is answered with an error
   */
  static async connect(url: string, options: WireOptions = {}): Promise<WireClient> {
    const client = new WireClient(url, options);
    await client.opened();
    if (options.hello !== false) client.welcome = await client.ok({ op: "hello", ...options.hello });
    return client;
  }

  /** Sends a frame, or several as one batch, and waits for nothing. */
  send(frame: WireFrame | WireFrame[]): void {
    this.socket.send(JSON.stringify(frame));
  }

  /** Sends text as it stands, for frames that are not JSON. */
  sendText(text: string): void {
    this.socket.send(text);
  }

  /** An `id` not used before on this connection. */
  nextId(): number {
    this.lastId += 1;
    return this.lastId;
  }

  /** Sends a frame under an `id` (its own, or a new one) and returns the reply, be it an error or not. */
  async request(frame: WireFrame, timeoutMs = this.timeoutMs): Promise<WireFrame> {
    const [reply] = this.requestAll([frame], timeoutMs);
    return reply!;
  }

  /** Sends several frames as one batch; the replies come in the order of the frames, each its own promise. */
  requestAll(frames: WireFrame[], timeoutMs = this.timeoutMs): Promise<WireFrame>[] {
    const numbered = frames.map((frame) => ({ ...frame, id: frame.id ?? this.nextId() }));
    const replies = numbered.map((frame) => this.reply(frame, timeoutMs));
    // A caller awaits them one by one; a closed socket rejects all of them at once.
    for (const reply of replies) reply.catch(() => {});
    this.send(numbered.length === 1 ? numbered[0]! : numbered);
    return replies;
  }

  /** As `request`, but throws a `WireError` when the reply is an error. */
  async ok(frame: WireFrame, timeoutMs = this.timeoutMs): Promise<WireFrame> {
    const reply = await this.request(frame, timeoutMs);
    if (reply.op === "error") throw new WireError(frame, reply);
    return reply;
  }

  /** As `request`, but throws when the reply is not an error. */
  async error(frame: WireFrame, timeoutMs = this.timeoutMs): Promise<WireFrame> {
    const reply = await this.request(frame, timeoutMs);
    if (reply.op !== "error")
      throw new Error(`${show(frame)} was answered with ${show(reply)}, not with an error`);
    return reply;
  }

  /**
   * Takes the oldest push that `accepts`, waiting for it when it is not here yet; others stay for later.
   *
   * @throws Error after `timeoutMs` or when the socket closes, with the pushes that are here
   */
  next(accepts: (frame: WireFrame) => boolean, timeoutMs = this.timeoutMs): Promise<WireFrame> {
    const index = this.pushes.findIndex(accepts);
    if (index >= 0) return Promise.resolve(this.pushes.splice(index, 1)[0]!);
    return this.wait(timeoutMs, `no such push`, accepts, (waiter) => {
      this.waiters.add(waiter);
      return () => this.waiters.delete(waiter);
    });
  }

  /** Takes the next `message` push, of any subscription or of one. */
  nextMessage(sub?: number, timeoutMs = this.timeoutMs): Promise<WireFrame> {
    return this.next(
      (frame) => frame.op === "message" && (sub === undefined || frame.sub === sub),
      timeoutMs,
    );
  }

  /** Throws when a push that `accepts` is here or comes within `quietMs`; for what must not be sent at all. */
  async none(accepts: (frame: WireFrame) => boolean, quietMs = 300): Promise<void> {
    const frame = await this.next(accepts, quietMs).catch(() => undefined);
    if (frame) throw new Error(`unexpected push ${show(frame)}`);
  }

  /** Closes with a closing handshake and waits for its end. */
  async close(code = 1000): Promise<WireClose> {
    this.socket.close(code);
    return this.closed;
  }

  /** Cuts the connection as a lost network does: no closing handshake. */
  cut(): void {
    this.socket.terminate();
  }

  private opened(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.socket.terminate();
        reject(new Error(`the socket did not open within ${this.timeoutMs} ms`));
      }, this.timeoutMs);
      const settle = (error?: Error) => {
        clearTimeout(timer);
        if (error) reject(error);
        else resolve();
      };
      this.socket.once("open", () => settle());
      this.socket.on("error", settle);
      this.socket.once("unexpected-response", (_, response) => {
        this.socket.terminate();
        settle(new Error(`the upgrade was answered with HTTP ${response.statusCode}`));
      });
    });
  }

  private receive(text: string, isBinary: boolean): void {
    if (isBinary || (text[0] !== "{" && text[0] !== "[")) {
      this.raw.push(text);
      return;
    }
    const parsed = JSON.parse(text) as WireFrame | WireFrame[];
    for (const frame of Array.isArray(parsed) ? parsed : [parsed]) this.dispatch(frame);
  }

  private dispatch(frame: WireFrame): void {
    if (this.onFrame?.(frame)) return;
    const asked = frame.id === undefined ? undefined : this.replies.get(frame.id);
    if (asked) {
      asked.resolve(frame);
      return;
    }
    for (const waiter of this.waiters) {
      if (waiter.accepts(frame)) {
        waiter.resolve(frame);
        return;
      }
    }
    this.pushes.push(frame);
  }

  private reply(frame: WireFrame & { id: number }, timeoutMs: number): Promise<WireFrame> {
    return this.wait(
      timeoutMs,
      `no reply to ${show(frame)}`,
      () => true,
      (waiter) => {
        this.replies.set(frame.id, waiter);
        return () => this.replies.delete(frame.id);
      },
    );
  }

  private wait(
    timeoutMs: number,
    what: string,
    accepts: Waiter["accepts"],
    register: (waiter: Waiter) => () => void,
  ): Promise<WireFrame> {
    return new Promise((resolve, reject) => {
      if (this.closedWith) {
        reject(
          new Error(`${what}: the socket is closed (${this.closedWith.code} ${this.closedWith.reason})`),
        );
        return;
      }
      const timer = setTimeout(() => {
        forget();
        reject(new Error(`${what} within ${timeoutMs} ms; ${this.diagnosis()}`));
      }, timeoutMs);
      const forget = register({
        accepts,
        resolve: (frame) => {
          clearTimeout(timer);
          forget();
          resolve(frame);
        },
        reject: (error) => {
          clearTimeout(timer);
          forget();
          reject(new Error(`${what}: ${error.message}`));
        },
      });
    });
  }

  private diagnosis(): string {
    const shown = this.pushes.slice(-5).map((frame) => show(frame));
    return `${this.pushes.length} other pushes are here${shown.length ? `, the last: ${shown.join(" ")}` : ""}`;
  }
}

function show(frame: unknown): string {
  const text = JSON.stringify(frame);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
