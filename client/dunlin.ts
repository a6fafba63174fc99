// The client as an application holds it: options with their defaults, states and errors as events.
import { type CommitOptions, type CommitReceipt, commit } from "./commit.ts";
import type { ConnectionState, Every } from "./connection.ts";
import { Engine } from "./engine.ts";
import type { DunlinError } from "./errors.ts";
import { Queue } from "./queue.ts";
import { Topic } from "./topic.ts";

/**
 * How to connect. All are optional.
 *
 * @example
 * connect("https://broker.example.com", { token: () => fetch("/token").then((response) => response.text()) });
 */
export interface ConnectOptions {
  /** A token, or a function that gets one: called for each connection, and again before the token expires. */
  token?: string | (() => string | Promise<string>);
  /** Stable id of this client. Two connections must not share one: the later takes over. By default a random one. */
  client?: string;
  /**
   * How long the broker keeps subscriptions and leases after a lost connection, in seconds: 30 by default. What a tab held that was
   * closed without `close()` comes back to the queue after this time.
   */
  sessionExpirySeconds?: number;
  /** Namespace, where the token names none. */
  namespace?: string;
  /** Sends beyond this many unconfirmed messages are refused with `outbox-full`: 10,000 by default, and at most 20,000. */
  maxOutboxMessages?: number;
  /** The same for the length of their JSON text: 64 MiB by default. */
  maxOutboxBytes?: number;
  /**
   * A message whose confirm did not come is sent again after a reconnection, but not when it first left longer ago than this: it
   * then rejects with `outcome-unknown`. 240,000 ms by default, below the 5 minutes for which queues recognise a repetition.
   */
  retryForMs?: number;
  /** A connection silent for this long is probed, and given up after half of it more: 20,000 ms by default. */
  pingMs?: number;
  /** Runs something every so many milliseconds until the function it returns is called: `setInterval` by default. */
  every?: Every;
  /** Requests and subscriptions are numbered from here on: for several clients that share a socket. */
  firstNumber?: number;
  /** A WebSocket class to use in place of the platform's. */
  WebSocket?: new (
    url: string,
    protocols: string,
  ) => object;
}

/**
 * What {@link Dunlin.on} tells, by name.
 *
 * @example
 * const show = (state: DunlinEvents["state"]) => console.log(state);
 * dunlin.on("state", show);
 */
export interface DunlinEvents {
  /** The connection's new state. */
  state: ConnectionState;
  /** Something failed that no promise tells of: an attempt to connect, a token callback, a refused hello or frame. */
  error: DunlinError;
}

type Listener<Type extends keyof DunlinEvents> = (value: DunlinEvents[Type]) => void;
type Listeners = { [Type in keyof DunlinEvents]: Set<Listener<Type>> };

const SESSION_EXPIRY_SECONDS = 30;
const MAX_OUTBOX_MESSAGES = 10_000;
const MAX_OUTBOX_BYTES = 67_108_864;
const RETRY_FOR_MS = 240_000;
const PING_MS = 20_000;
const CLOSE_TIMEOUT_MS = 5_000;

/**
 * A connection to a broker, which repairs itself. Made by {@link connect}.
 *
 * @example
 * const dunlin = connect("http://127.0.0.1:8787");
 * dunlin.on("error", (error) => console.warn(error.message));
 * await dunlin.queue("jobs").send({ n: 1 });
 * await dunlin.close();
 */
export class Dunlin {
  /** The id this client is known by. */
  readonly client: string;
  readonly #engine: Engine;
  readonly #listeners: Listeners = { state: new Set(), error: new Set() };

  /** @internal */
  constructor(url: string, options: ConnectOptions) {
    const own = randomId();
    let count = 0;
    this.client = options.client ?? own;
    this.#engine = new Engine(
      {
        url: socketUrl(url, this.client, options.namespace),
        client: this.client,
        token: options.token,
        sessionExpirySeconds: options.sessionExpirySeconds ?? SESSION_EXPIRY_SECONDS,
        pingMs: options.pingMs ?? PING_MS,
        WebSocket: options.WebSocket,
        // Not made of the client id, which may be stable: ids must not come again in the next life of the page.
        newMessageId: () => `${own}-${(count++).toString(36)}`,
        every: options.every ?? every,
        limits: {
          maxMessages: options.maxOutboxMessages ?? MAX_OUTBOX_MESSAGES,
          maxBytes: options.maxOutboxBytes ?? MAX_OUTBOX_BYTES,
          retryForMs: options.retryForMs ?? RETRY_FOR_MS,
        },
        // A stable client id may resume a session with subscriptions of its former life, which are not ours.
        firstNumber:
          options.firstNumber ?? (options.client === undefined ? 0 : Math.floor(Math.random() * 2 ** 31)),
      },
      {
        state: (state) => this.#tell("state", state),
        error: (error) => this.#tell("error", error),
      },
    );
  }

  /** Whether the connection is `connecting` for the first time, `open`, `reconnecting` or `closed` for good. */
  get state(): ConnectionState {
    return this.#engine.state;
  }

  /**
   * A queue of the namespace.
   *
   * @example
   * dunlin.queue<{ n: number }>("jobs");
   */
  queue<Body = unknown>(name: string): Queue<Body> {
    return new Queue<Body>(name, this.#engine);
  }

  /**
   * A topic of the namespace; or, to subscribe, all topics that a filter with the wildcards `+` and `#` matches.
   *
   * @example
   * dunlin.topic<Headline>("news/sports");
   * dunlin.topic<Headline>("news/#");
   */
  topic<Body = unknown>(name: string): Topic<Body> {
    return new Topic<Body>(name, this.#engine);
  }

  /**
   * Settles messages and publishes others, all of it or nothing: so a step of work is taken and its result passed on exactly once,
   * whatever fails in between. It is sent again after a lost connection, and still made once.
   *
   * @returns a receipt for each published message, in the same order
   * @throws DunlinError `lease-lost` when a message is settled or its lease was lost, or why the broker refused; nothing was done
   * then, and the messages can still be settled. With kind `outcome-unknown` or `closed` it may be done or not
   * @example
   * for await (const message of dunlin.queue<Order>("orders").consume()) {
   *   await dunlin.commit({ ack: [message], publish: [{ to: "queue:invoices", body: invoiceOf(message.body) }] });
   * }
   */
  commit(options: CommitOptions): Promise<CommitReceipt[]> {
    return commit(this.#engine, options);
  }

  /**
   * Resolves when the connection is open. Nothing needs to wait for it: what is sent earlier leaves then.
   *
   * @throws DunlinError when the broker refuses the connection for good
   */
  ready(): Promise<void> {
    return this.#engine.ready();
  }

  /**
   * Ends the consumers, giving back what they have not settled, waits for the confirms of what was sent, and closes.
   *
   * @param options.timeoutMs how long to wait for confirms: 5,000 ms by default. What has none by then rejects with `closed`
   */
  close(options: { timeoutMs?: number } = {}): Promise<void> {
    return this.#engine.close(options.timeoutMs ?? CLOSE_TIMEOUT_MS);
  }

  /**
   * Listens to what no promise tells of.
   *
   * @returns a function that ends the listening
   * @example
   * const off = dunlin.on("error", (error) => console.warn(error.message));
   */
  on<Type extends keyof DunlinEvents>(type: Type, listener: Listener<Type>): () => void {
    const listeners = this.#listeners[type];
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }

  #tell<Type extends keyof DunlinEvents>(type: Type, value: DunlinEvents[Type]): void {
    const listeners = this.#listeners[type];
    for (const listener of listeners) {
      try {
        listener(value);
      } catch (error) {
        // The application's mistake: it shows as an uncaught error, and does not stop the client in the middle of its work.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

/**
 * Connects to a broker. Returns at once: what is sent before the connection is open waits for it.
 *
 * @param url where the broker listens, as `http:`, `https:`, `ws:` or `wss:`, or in a page as a path; without a path, `/ws`
 * @throws TypeError when `url` is none
 * @example
 * const dunlin = connect("http://127.0.0.1:8787", { token });
 */
export function connect(url: string, options: ConnectOptions = {}): Dunlin {
  return new Dunlin(url, options);
}

function every(run: () => void, ms: number): () => void {
  const timer = setInterval(run, ms);
  return () => clearInterval(timer);
}

function socketUrl(text: string, client: string, namespace: string | undefined): string {
  const url = new URL(text, globalThis.location?.href);
  url.protocol = url.protocol.replace("http", "ws");
  if (url.pathname === "/") url.pathname = "/ws";
  url.hash = "";
  // The broker's front door chooses the session's gateway by it, before hello.
  url.searchParams.set("client", client);
  if (namespace !== undefined) url.searchParams.set("ns", namespace);
  return url.href;
}

/** 100 random bits in digits and letters. */
function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(20)), (byte) => (byte & 31).toString(32)).join("");
}
