// One connection for all tabs of an origin, as options of connect().
import type { Every } from "../connection.ts";
import type { ConnectOptions } from "../dunlin.ts";
import { Member } from "./member.ts";
import { chooseTab, firstNumberOf } from "./numbers.ts";
import { browserPlatform, type Platform } from "./platform.ts";
import { TabSocket } from "./tab-socket.ts";

/**
 * How to share.
 *
 * @example
 * const options: SharedSocketOptions = { name: `shop:${userId}` };
 */
export interface SharedSocketOptions {
  /**
   * Tabs of one origin that give the same name and connect to the same address share a connection. All of them act with the token of
   * the one that leads: name the connection after the user.
   */
  name: string;
  /** Timers that run in hidden tabs too; `setInterval` by default. */
  every?: Every;
}

/** The options that {@link sharedSocket} sets. */
export type SharedSocket = Pick<ConnectOptions, "client" | "firstNumber" | "WebSocket">;

/**
 * Options with which this tab's client shares one connection with those of the other tabs: one of them holds the socket, and when it
 * closes, crashes or is frozen, another goes on with the same session. Where the browser lacks Web Locks, BroadcastChannel or
 * storage, there are none of these options, and the tab gets a connection of its own. Call it once for each `connect`.
 *
 * @example
 * const dunlin = connect("https://broker.example.com", { token, ...sharedSocket({ name: `shop:${userId}` }) });
 */
export function sharedSocket({ name, every = plainly }: SharedSocketOptions): SharedSocket {
  const platform = browserPlatform(every);
  const client = clientOf(`dunlin-tabs:${name}`);
  return platform && client !== undefined ? sharedOn(platform, name, client) : {};
}

/**
 * The same on any platform.
 *
 * @internal
 */
export function sharedOn(platform: Platform, name: string, client: string): Required<SharedSocket> {
  const [part] = crypto.getRandomValues(new Uint32Array(1));
  const tab = chooseTab(part! / 2 ** 32);
  let member: Member | undefined;
  return {
    client,
    firstNumber: firstNumberOf(tab),
    WebSocket: class extends TabSocket {
      constructor(url: string, protocol: string) {
        // The address is part of the name: what is said under one namespace must not be heard under another.
        member ??= new Member(`dunlin-tabs:${name} ${url}`, tab, platform);
        super(member, url, protocol);
      }
    },
  };
}

/** The client id that all tabs have in common; undefined where nothing can be kept. */
function clientOf(key: string): string | undefined {
  try {
    if (!localStorage.getItem(key)) localStorage.setItem(key, crypto.randomUUID());
    return localStorage.getItem(key) ?? undefined;
  } catch {
    return undefined;
  }
}

function plainly(run: () => void, ms: number): () => void {
  const timer = setInterval(run, ms);
  return () => clearInterval(timer);
}
