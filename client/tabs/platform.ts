// What the tabs need of a browser.
import type { Every } from "../connection.ts";

/** A line between two tabs, heard by all that open it under the same name but its speaker. */
export interface Channel {
  post(message: object): void;
  close(): void;
}

/** As much of Web Locks as is used here. */
export interface Locks {
  request(name: string, options: LockOptions, granted: () => unknown): Promise<unknown>;
  query(): Promise<{ held?: { name?: string }[] }>;
}

/** A WebSocket to the broker. */
export interface RealSocket extends EventTarget {
  readonly readyState: number;
  send(text: string): void;
  close(code: number): void;
}

/** A browser, or what stands for it in a test. */
export interface Platform {
  locks: Locks;
  channel(name: string, heard: (message: unknown) => void): Channel;
  connect(url: string, protocol: string): RealSocket;
  every: Every;
  /** Tells when the page is about to be frozen or put away. */
  onSuspend(suspend: () => void): void;
}

/** The browser's, or undefined where it lacks any of it. */
export function browserPlatform(every: Every): Platform | undefined {
  const locks = globalThis.navigator?.locks;
  if (!locks || typeof BroadcastChannel === "undefined" || typeof WebSocket === "undefined") return undefined;
  return {
    locks,
    channel(name, heard) {
      const channel = new BroadcastChannel(name);
      channel.onmessage = (event) => heard(event.data);
      return { post: (message) => channel.postMessage(message), close: () => channel.close() };
    },
    connect: (url, protocol) => new WebSocket(url, protocol),
    every,
    onSuspend(suspend) {
      // Workers have neither: they end, and their locks with them.
      globalThis.addEventListener?.("pagehide", suspend);
      globalThis.document?.addEventListener("freeze", suspend);
    },
  };
}
