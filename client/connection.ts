// One logical connection over any number of sockets: opens them (partysocket), says hello, notices when one is dead, waits with
// jitter between attempts, keeps the token fresh. What travels over it is the engine's affair.
import ReconnectingWebSocket from "partysocket/ws";
import { backoffMs } from "./backoff.ts";
import { closedError, closeError, DunlinError, errorOf, mayReconnect } from "./errors.ts";
import {
  type ByeFrame,
  type ErrorFrame,
  type ResumePoint,
  type ServerFrame,
  SUBPROTOCOL,
  type WelcomeFrame,
} from "./wire.ts";

/**
 * Whether frames travel: `connecting` for the first time, `open`, `reconnecting` after a lost socket, `closed` for ever.
 *
 * @example
 * dunlin.on("state", (state) => console.log(`Dunlin is ${state}`));
 */
export type ConnectionState = "connecting" | "open" | "reconnecting" | "closed";

/**
 * Runs something every so many milliseconds, until the function it returns is called.
 *
 * @example
 * const every: Every = (run, ms) => {
 *   const timer = setInterval(run, ms);
 *   return () => clearInterval(timer);
 * };
 */
export type Every = (run: () => void, ms: number) => () => void;

/** Where and as whom to connect. */
export interface ConnectionOptions {
  url: string;
  client: string;
  token: string | (() => string | Promise<string>) | undefined;
  sessionExpirySeconds: number;
  /** A silent connection is probed after this time, and given up after half of it more. */
  pingMs: number;
  WebSocket: (new (url: string, protocols: string) => object) | undefined;
  every: Every;
}

/** What the connection tells its owner. */
export interface ConnectionEvents {
  /** Where hello asks subscriptions to go on. */
  places(): ResumePoint[];
  /** A socket is ready: nothing was sent on it yet but hello. */
  opened(welcome: WelcomeFrame): void;
  /** A frame came. Not called for what concerns the connection alone. */
  received(frame: ServerFrame, nowMs: number): void;
  state(state: ConnectionState, error: DunlinError | undefined): void;
  report(error: DunlinError): void;
  /** Whether an answer is outstanding, so that silence is suspicious. */
  isWaiting(): boolean;
}

const CONNECT_TIMEOUT_MS = 15_000;
/** A socket that lasted this long was a working one: the next wait is the shortest again. */
const STABLE_MS = 1_000;
/** Quarters of `pingMs` to wait for an answer to hello. */
const WELCOME_BEATS = 4;
/** The least time between two calls of the token callback on one connection, whatever the life of its tokens. */
const TOKEN_INTERVAL_MS = 1_000;
const CLOSE_GIVEN_UP = 4000;
/** Replies to hello and auth: the engine counts from above. */
const HELLO_ID = 1;
const AUTH_ID = 2;
/** The first request id that the engine may use. */
export const FIRST_ID = 3;

/** A connection that lasts until it is closed or refused for good. */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #events: ConnectionEvents;
  readonly #socket: ReconnectingWebSocket;
  readonly #online = () => this.#probe();
  #state: ConnectionState = "connecting";
  #token: string | undefined;
  #tokenAtMs = 0;
  #attempt = 0;
  #waitAtLeastMs = 0;
  #endWait: (() => void) | undefined;
  /** Between the start of an attempt and its success or failure. */
  #dialling = false;
  #openedAtMs = 0;
  #bye: ByeFrame | undefined;
  #stopBeat: (() => void) | undefined;
  /** Quarters of `pingMs` since the last frame. */
  #silentBeats = 0;
  #probed = false;
  #beatsBeforeWelcome = 0;

  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options;
    this.#events = events;
    this.#socket = new ReconnectingWebSocket(() => this.#prepare(), SUBPROTOCOL, {
      WebSocket: options.WebSocket,
      // It would send its queue before hello; the outbox is the only queue there is.
      maxEnqueuedMessages: 0,
      connectionTimeout: CONNECT_TIMEOUT_MS,
      // Its own waits have no jitter and cannot be cut short: #prepare waits instead.
      minReconnectionDelay: 0,
      maxReconnectionDelay: 0,
      shouldReconnectOnClose: (event) => this.#mayReconnect(event.code),
    });
    // Not `onopen` and `onmessage`: partysocket calls those and then dispatches the event, and workerd's dispatchEvent calls them
    // once more. Not a listener for close: the event it gets has lost its code. To be told twice of a close does no harm.
    this.#socket.addEventListener("open", () => this.#sayHello());
    this.#socket.addEventListener("message", (event: MessageEvent) => this.#receive(event.data));
    this.#socket.onclose = (event) => this.#lost(event.code, event.reason);
    if (typeof navigator !== "undefined" && "onLine" in navigator) addEventListener("online", this.#online);
  }

  /** Whether frames travel. */
  get state(): ConnectionState {
    return this.#state;
  }

  /** Sends a frame. Only while `open`. */
  send(text: string): void {
    this.#socket.send(text);
  }

  /** Says bye and closes for good. */
  close(): void {
    if (this.#state === "closed") return;
    if (this.#state === "open") this.send('{"op":"bye"}');
    this.#end(closedError());
  }

  /** Waits as long as is due and gets a token, so that a new socket's hello need not wait for either. */
  async #prepare(): Promise<string> {
    if (this.#attempt > 0) {
      const waitMs = backoffMs(this.#attempt - 1, Math.random(), this.#waitAtLeastMs);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waitMs);
        this.#endWait = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#endWait = undefined;
    this.#attempt += 1;
    this.#waitAtLeastMs = 0;
    if (this.#state === "closed") return this.#options.url;
    try {
      await this.#refreshToken();
    } catch (cause) {
      const error = tokenError(cause);
      this.#events.report(error);
      // partysocket takes it for a failed attempt, and makes the next.
      throw error;
    }
    this.#dialling = true;
    return this.#options.url;
  }

  async #refreshToken(): Promise<void> {
    const { token } = this.#options;
    this.#tokenAtMs = Date.now();
    this.#token = typeof token === "function" ? await token() : token;
  }

  #sayHello(): void {
    const { client, sessionExpirySeconds, pingMs } = this.#options;
    this.#bye = undefined;
    this.#dialling = false;
    this.#heard();
    this.#beatsBeforeWelcome = 0;
    this.#stopBeat?.();
    this.#stopBeat = this.#options.every(() => this.#checkSilence(), pingMs / 4);
    const session = { expirySeconds: sessionExpirySeconds };
    const places = this.#events.places();
    const resume = places.length > 0 ? places : undefined;
    this.send(JSON.stringify({ op: "hello", id: HELLO_ID, client, token: this.#token, session, resume }));
  }

  #receive(data: unknown): void {
    this.#heard();
    if (typeof data !== "string" || data === "pong") return;
    const frames = JSON.parse(data) as ServerFrame | ServerFrame[];
    const nowMs = Date.now();
    if (!Array.isArray(frames)) this.#take(frames, nowMs);
    else for (const frame of frames) this.#take(frame, nowMs);
  }

  #take(frame: ServerFrame, nowMs: number): void {
    if (frame.op === "welcome") this.#welcomed(frame, nowMs);
    else if (frame.op === "bye") this.#bye = frame;
    else if (frame.op === "event" && frame.kind === "expiring") void this.#reauthenticate();
    else if ((frame.op === "ok" || frame.op === "error") && frame.id !== undefined && frame.id < FIRST_ID) {
      if (frame.op === "error") this.#refused(frame);
    } else this.#events.received(frame, nowMs);
  }

  #welcomed(frame: WelcomeFrame, nowMs: number): void {
    this.#openedAtMs = nowMs;
    this.#setState("open", undefined);
    this.#events.opened(frame);
  }

  #refused(frame: ErrorFrame): void {
    const error = errorOf(frame);
    this.#events.report(error);
    if (frame.id !== HELLO_ID) return;
    // The broker may leave the socket open; without a session there is nothing to do on it.
    if (error.retry === "none") this.#end(error);
    else {
      this.#waitAtLeastMs = error.afterMs ?? 0;
      this.#giveUp();
    }
  }

  async #reauthenticate(): Promise<void> {
    if (typeof this.#options.token !== "function") return;
    const openedAtMs = this.#openedAtMs;
    const isCurrent = () => this.#state === "open" && this.#openedAtMs === openedAtMs;
    while (isCurrent()) {
      const waitMs = Math.max(0, this.#tokenAtMs + TOKEN_INTERVAL_MS - Date.now());
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      try {
        await this.#refreshToken();
        if (isCurrent()) this.send(JSON.stringify({ op: "auth", id: AUTH_ID, token: this.#token }));
        return;
      } catch (error) {
        this.#events.report(tokenError(error));
      }
    }
  }

  #heard(): void {
    this.#silentBeats = 0;
    this.#probed = false;
  }

  #checkSilence(): void {
    this.#silentBeats += 1;
    if (this.#state !== "open" && ++this.#beatsBeforeWelcome === WELCOME_BEATS) {
      // `ping` is answered before anything of the broker runs, so it tells nothing of a hello without an answer.
      this.#giveUp();
    } else if (this.#probed) {
      // Two beats to answer: one may follow the probe at once when the timers of a sleeping machine wake up.
      if (this.#silentBeats >= 2) this.#giveUp();
    } else if (this.#silentBeats >= (this.#events.isWaiting() ? 1 : 4)) this.#probe();
  }

  #probe(): void {
    this.#endWait?.();
    if (this.#socket.readyState !== 1) return;
    this.#silentBeats = 0;
    this.#probed = true;
    this.send("ping");
  }

  /** This socket is of no use: on to the next one. */
  #giveUp(): void {
    this.#socket.reconnect(CLOSE_GIVEN_UP);
  }

  #mayReconnect(code: number): boolean {
    return this.#state !== "closed" && mayReconnect(code) && this.#bye?.reconnect !== false;
  }

  /** Also called by partysocket for attempts that never opened, and then with code 1000. */
  #lost(code: number, reason: string): void {
    this.#stopBeat?.();
    if (this.#state === "closed") return;
    if (!this.#mayReconnect(code)) {
      this.#end(closeError(code, reason));
      return;
    }
    if (this.#dialling) {
      this.#dialling = false;
      const message = `No connection to ${this.#options.url}: trying again`;
      this.#events.report(new DunlinError(message, { kind: "unreachable", retry: "after" }));
    }
    if (this.#state !== "open") return;
    if (Date.now() - this.#openedAtMs > STABLE_MS) this.#attempt = 1;
    this.#waitAtLeastMs = this.#bye?.afterMs ?? 0;
    this.#setState("reconnecting", undefined);
  }

  #end(error: DunlinError): void {
    this.#stopBeat?.();
    this.#setState("closed", error);
    this.#endWait?.();
    if (typeof navigator !== "undefined" && "onLine" in navigator)
      removeEventListener("online", this.#online);
    this.#socket.close();
  }

  #setState(state: ConnectionState, error: DunlinError | undefined): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#events.state(state, error);
  }
}

function tokenError(error: unknown): DunlinError {
  return new DunlinError(`The token callback failed: ${String(error)}`, { kind: "token", retry: "after" });
}
