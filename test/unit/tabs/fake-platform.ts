// A browser's locks, channels and sockets in one process, where everything that is on its way arrives when a test lets it: in any order
// but for that between two ends. Tabs can die at once, with all they hold.
import type { Channel, Locks, Platform, RealSocket } from "../../../client/tabs/platform.ts";

type Granted = () => unknown;
interface Request {
  name: string;
  owner: number;
  granted: Granted;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** Lets everything that waits for promises run. */
export const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

/** One browser with any number of tabs. */
export class FakeBrowser {
  /** What is on its way, by the line it travels on. */
  readonly #lines = new Map<string, (() => void)[]>();
  readonly #held = new Map<string, Request>();
  #queue: Request[] = [];
  readonly #listeners: { name: string; owner: number; heard: (message: unknown) => void; open: boolean }[] =
    [];
  readonly #ticks = new Map<number, Set<{ run: () => void; ms: number }>>();
  readonly #suspends = new Map<number, () => void>();
  readonly #frozen = new Set<number>();
  readonly #dead = new Set<number>();
  readonly #connect: (url: string, owner: number) => RealSocket;

  /** @param connect opens a socket to the broker for a tab */
  constructor(connect: (url: string, owner: number) => RealSocket) {
    this.#connect = connect;
  }

  /** Lines on which something waits. */
  get waiting(): string[] {
    return [...this.#lines.keys()];
  }

  /** Sends something over a line; what belongs to a dead tab never arrives. */
  later(line: string, owner: number, arrive: () => void): void {
    const queue = this.#lines.get(line) ?? [];
    this.#lines.set(line, queue);
    queue.push(() => {
      if (!this.#dead.has(owner)) arrive();
    });
  }

  /** Lets the first thing on a line arrive. */
  async step(line: string): Promise<void> {
    const queue = this.#lines.get(line)!;
    const arrive = queue.shift()!;
    if (queue.length === 0) this.#lines.delete(line);
    arrive();
    await settle();
  }

  /** Lets everything arrive, in the order in which lines came up, except for what frozen tabs should get. */
  async run(): Promise<void> {
    await settle();
    for (let steps = 0; ; steps++) {
      const line = this.waiting.find((each) => !this.isFrozen(each));
      if (!line) return;
      if (steps > 20_000) throw new Error(`no end of it: ${this.waiting.join(" ")}`);
      await this.step(line);
    }
  }

  isFrozen(line: string): boolean {
    return this.#frozen.has(Number(line.split(">")[1]));
  }

  /** The timers of a tab that come by at least so often. */
  async tick(owner: number, everyMs = 1_000): Promise<void> {
    if (this.#frozen.has(owner)) return;
    for (const { run, ms } of [...(this.#ticks.get(owner) ?? [])]) if (ms <= everyMs) run();
    await settle();
  }

  /** The page is put away, and told so. */
  suspend(owner: number): void {
    this.#suspends.get(owner)?.();
  }

  /** The page stands still without a word. */
  freeze(owner: number): void {
    this.#frozen.add(owner);
  }

  thaw(owner: number): void {
    this.#frozen.delete(owner);
  }

  /** The tab is gone, in the middle of whatever it did. */
  kill(owner: number): void {
    this.#dead.add(owner);
    this.#ticks.delete(owner);
    for (const one of this.#listeners) if (one.owner === owner) one.open = false;
    this.#queue = this.#queue.filter((request) => request.owner !== owner);
    for (const [name, request] of this.#held) if (request.owner === owner) this.#release(name);
  }

  /** The browser as one tab sees it. */
  platform(owner: number): Platform {
    return {
      locks: this.#locks(owner),
      channel: (name, heard) => this.#channel(name, owner, heard),
      connect: (url) => this.#connect(url, owner),
      every: (run, ms) => {
        const ticks = this.#ticks.get(owner) ?? new Set();
        const timer = { run, ms };
        this.#ticks.set(owner, ticks.add(timer));
        return () => ticks.delete(timer);
      },
      onSuspend: (suspend) => this.#suspends.set(owner, suspend),
    };
  }

  #locks(owner: number): Locks {
    return {
      request: (name, { steal, signal }, granted) =>
        new Promise((resolve, reject) => {
          const request = { name, owner, granted, resolve, reject };
          const abort = () => {
            if (!this.#queue.includes(request)) return;
            this.#queue = this.#queue.filter((each) => each !== request);
            reject(new DOMException("given up", "AbortError"));
          };
          if (signal?.aborted) return reject(new DOMException("given up", "AbortError"));
          signal?.addEventListener("abort", abort);
          if (steal) {
            const robbed = this.#held.get(name);
            this.#held.delete(name);
            if (robbed) {
              this.later(`lock>${robbed.owner}`, robbed.owner, () =>
                robbed.reject(new DOMException("stolen", "AbortError")),
              );
            }
            this.#queue.unshift(request);
          } else this.#queue.push(request);
          this.#grant(name);
        }),
      query: () =>
        new Promise((resolve) => {
          const held = [...this.#held.keys()].map((name) => ({ name }));
          this.later(`lock>${owner}`, owner, () => resolve({ held }));
        }),
    };
  }

  #grant(name: string): void {
    const next = this.#queue.find((request) => request.name === name);
    if (!next || this.#held.has(name)) return;
    this.#queue = this.#queue.filter((request) => request !== next);
    this.#held.set(name, next);
    this.later(`lock>${next.owner}`, next.owner, () => {
      void Promise.resolve(next.granted()).then((value) => {
        next.resolve(value);
        if (this.#held.get(name) === next) this.#release(name);
      });
    });
  }

  #release(name: string): void {
    this.#held.delete(name);
    this.#grant(name);
  }

  #channel(name: string, owner: number, heard: (message: unknown) => void): Channel {
    const self = { name, owner, heard, open: true };
    this.#listeners.push(self);
    return {
      post: (message) => {
        const copy = structuredClone(message);
        for (const other of this.#listeners) {
          if (other === self || other.name !== name || !other.open) continue;
          this.later(`${owner} ${name}>${other.owner}`, other.owner, () => other.open && other.heard(copy));
        }
      },
      close: () => {
        self.open = false;
      },
    };
  }
}
