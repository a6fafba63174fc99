// Timers that go on in a hidden tab: browsers run those of a page that is hidden for long once a minute, but not those of its workers.
import type { Every } from "../connection.ts";

/** Ticks for the page: a message `{ id, ms }` starts a timer, `{ id }` ends it. It says so once when it runs. */
const TICKER = `const timers = new Map();
onmessage = ({ data: { id, ms } }) => {
  clearInterval(timers.get(id));
  if (ms) timers.set(id, setInterval(() => postMessage(id), ms));
  else timers.delete(id);
};
postMessage(0);`;

interface Timer {
  run: () => void;
  ms: number;
  /** Present while the page itself keeps it. */
  own: ReturnType<typeof setInterval> | undefined;
}

/** All steady timers of a page. */
class Ticker {
  readonly #timers = new Map<number, Timer>();
  #lastId = 0;
  #worker: Worker | undefined;
  /** Whether the worker keeps the timers. */
  #isTicking = false;

  constructor() {
    const page = globalThis.document;
    if (!page) return;
    const hidden = () => {
      if (!page.hidden) return;
      page.removeEventListener("visibilitychange", hidden);
      this.#hire();
    };
    page.addEventListener("visibilitychange", hidden);
    hidden();
  }

  every(run: () => void, ms: number): () => void {
    const id = ++this.#lastId;
    const timer: Timer = { run, ms, own: undefined };
    this.#timers.set(id, timer);
    this.#start(id, timer);
    return () => {
      clearInterval(timer.own);
      if (this.#timers.delete(id)) this.#worker?.postMessage({ id });
    };
  }

  #start(id: number, timer: Timer): void {
    if (this.#isTicking) this.#worker!.postMessage({ id, ms: timer.ms });
    else timer.own = setInterval(timer.run, timer.ms);
  }

  /** The page keeps the timers until the worker has said that it runs, and where it is not allowed to. */
  #hire(): void {
    const url = URL.createObjectURL(new Blob([TICKER], { type: "text/javascript" }));
    try {
      this.#worker = new Worker(url);
    } catch {
      return;
    }
    this.#worker.onmessage = ({ data: id }) => {
      if (id === 0) this.#handOver();
      else this.#timers.get(id)?.run();
    };
    // A content security policy may forbid workers of this kind, and browsers tell that in either of two ways.
    this.#worker.onerror = () => {
      this.#worker = undefined;
      if (!this.#isTicking) return;
      this.#isTicking = false;
      for (const [id, timer] of this.#timers) this.#start(id, timer);
    };
  }

  #handOver(): void {
    this.#isTicking = true;
    for (const [id, timer] of this.#timers) {
      clearInterval(timer.own);
      timer.own = undefined;
      this.#start(id, timer);
    }
  }
}

let ticker: Ticker | undefined;

/**
 * Keep-alive timers for `connect` that go on while the page is hidden: leases are extended and a dead connection is noticed in time. They
 * are the page's own until it is hidden for the first time, and then those of a small worker; where a content security policy forbids
 * that (`worker-src` needs `blob:`), they stay the page's own.
 *
 * @example
 * const dunlin = connect("https://broker.example.com", { every: steadyTimers() });
 */
export function steadyTimers(): Every {
  ticker ??= new Ticker();
  const shared = ticker;
  return (run, ms) => shared.every(run, ms);
}
