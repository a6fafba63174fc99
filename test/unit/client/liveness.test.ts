import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { scripted } from "./scripted-socket.ts";

/** A worker that never runs by itself. */
class FakeWorker {
  static made: FakeWorker[] = [];
  readonly asked: { id: number; ms?: number }[] = [];
  onmessage: ((event: { data: number }) => void) | undefined;
  onerror: (() => void) | undefined;

  constructor() {
    FakeWorker.made.push(this);
  }

  postMessage(message: { id: number; ms?: number }): void {
    this.asked.push(message);
  }
}

const page = Object.assign(new EventTarget(), { hidden: false });

/** The module as a fresh page has it. */
async function freshTimers() {
  vi.resetModules();
  const { steadyTimers } = await import("../../../client/liveness/steady-timers.ts");
  return steadyTimers();
}

function hide(): FakeWorker {
  page.hidden = true;
  page.dispatchEvent(new Event("visibilitychange"));
  return FakeWorker.made[0]!;
}

beforeEach(() => {
  FakeWorker.made = [];
  page.hidden = false;
  vi.stubGlobal("document", page);
  vi.stubGlobal("Worker", FakeWorker);
  vi.useFakeTimers();
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("steady timers", () => {
  it("[LIV1] are the page's own until it is hidden, and then a worker's", async () => {
    const every = await freshTimers();
    const run = vi.fn();
    const stop = every(run, 100);
    vi.advanceTimersByTime(250);
    expect(run).toHaveBeenCalledTimes(2);
    const worker = hide();
    vi.advanceTimersByTime(100);
    expect(run).toHaveBeenCalledTimes(3);
    worker.onmessage!({ data: 0 });
    vi.advanceTimersByTime(1_000);
    expect(run).toHaveBeenCalledTimes(3);
    const { id } = worker.asked[0]!;
    expect(worker.asked).toEqual([{ id, ms: 100 }]);
    worker.onmessage!({ data: id });
    expect(run).toHaveBeenCalledTimes(4);
    stop();
    expect(worker.asked.at(-1)).toEqual({ id });
    worker.onmessage!({ data: id });
    expect(run).toHaveBeenCalledTimes(4);
  });

  it("[LIV1] share one worker", async () => {
    const every = await freshTimers();
    const worker = hide();
    worker.onmessage!({ data: 0 });
    every(() => {}, 100);
    every(() => {}, 200);
    hide();
    expect(FakeWorker.made.length).toBe(1);
    expect(worker.asked.map(({ ms }) => ms)).toEqual([100, 200]);
  });

  it("[LIV2] are the page's own again when the worker fails, and where it never came to be", async () => {
    const every = await freshTimers();
    const run = vi.fn();
    every(run, 100);
    const worker = hide();
    worker.onmessage!({ data: 0 });
    worker.onerror!();
    vi.advanceTimersByTime(200);
    expect(run).toHaveBeenCalledTimes(2);
    vi.stubGlobal(
      "Worker",
      class {
        constructor() {
          throw new DOMException("forbidden", "SecurityError");
        }
      },
    );
    const strict = await freshTimers();
    strict(run, 100);
    vi.advanceTimersByTime(100);
    expect(run).toHaveBeenCalledTimes(4);
  });
});

describe("the client's timers", () => {
  it("[LIV3] are those it is given, and end with what they keep alive", async () => {
    vi.useRealTimers();
    const running: number[] = [];
    const every = (_run: () => void, ms: number) => {
      running.push(ms);
      return () => void running.splice(running.indexOf(ms), 1);
    };
    const tab = scripted({ every, pingMs: 800 });
    const socket = await tab.opened();
    const jobs = tab.dunlin.queue("jobs").consume({ leaseMs: 6_000 });
    void jobs.next();
    socket.confirm(await socket.next());
    expect(running).toEqual([200, 1_500]);
    await jobs.return!();
    expect(running).toEqual([200]);
    await tab.dunlin.close({ timeoutMs: 0 });
    expect(running).toEqual([]);
  });
});
