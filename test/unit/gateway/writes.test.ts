// When what was written to connections is sent: answers at once, what goes to many as soon as waiting for more does not pay.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Connection, type Protocol, type Socket } from "../../../worker/gateway/connection.ts";
import { Writes } from "../../../worker/gateway/writes.ts";

/** Nothing waits longer than this, ms. */
const MAX_HOLD_MS = 20;
/** Characters for one connection that do not wait. */
const MAX_HELD = 65_536;
const OPEN = 1;

/** Connections of one gateway, the frames they were sent, and a clock that stands still during an event. */
class Bench {
  /** Frames as `CONNECTION text`, in the order they were sent in. */
  readonly frames: string[] = [];
  readonly remembered: string[] = [];
  readonly sizes: number[] = [];
  readonly closings: string[] = [];
  /** Whether calls are under way. */
  busy = true;
  now = 1_000;
  readonly writes = new Writes({
    remember: ({ id }) => this.remembered.push(id),
    sent: (_, size) => this.sizes.push(size),
    flush: () => this.flush(),
  });

  connection(id: string): Connection {
    const socket: Socket = {
      readyState: OPEN,
      send: (data) => this.frames.push(`${id} ${String(data)}`),
      close: (code) => this.closings.push(`${id} ${code}`),
    };
    const protocol = { join: (chunks: string[]) => chunks.join("") } as unknown as Protocol;
    return new Connection(socket, this.writes, { id, protocol, urlNamespace: "", principal: undefined });
  }

  connections(count: number): Connection[] {
    return Array.from({ length: count }, (_, index) => this.connection(`${index}`));
  }

  /** Ends an event; the frames that it sent. */
  flush(): string[] {
    const before = this.frames.length;
    this.writes.flush(this.busy, this.now);
    return this.frames.slice(before);
  }

  /** Lets time pass; the frames that were sent meanwhile. */
  pass(ms: number): string[] {
    const before = this.frames.length;
    for (let passed = 0; passed < ms; passed++) {
      this.now++;
      vi.advanceTimersByTime(1);
    }
    return this.frames.slice(before);
  }
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("what was written to connections", () => {
  it("[REG11] an answer is sent at the end of its event, in one frame", () => {
    const bench = new Bench();
    const [a, b] = bench.connections(2);
    a!.write("1");
    b!.write("2");
    a!.write("3");
    expect(bench.frames).toEqual([]);
    expect(bench.flush()).toEqual(["0 13", "1 2"]);
    expect(bench.sizes).toEqual([2, 1]);
    expect(bench.flush()).toEqual([]);
  });

  it("[REG11] what may wait does not while nothing is under way", () => {
    const bench = new Bench();
    bench.busy = false;
    bench.connection("a").writeSoon("1");
    expect(bench.flush()).toEqual(["a 1"]);
  });

  it("[REG11] what may wait does while calls are under way, and is sent with what came meanwhile when they are over", () => {
    const bench = new Bench();
    const connections = bench.connections(100);
    for (const connection of connections) connection.writeSoon("1");
    expect(bench.flush()).toEqual([]);
    for (const connection of connections) connection.writeSoon("2");
    bench.busy = false;
    expect(bench.flush()).toEqual(connections.map(({ id }) => `${id} 12`));
    bench.busy = true;
    expect(bench.pass(100)).toEqual([]);
  });

  it.for([
    [1, 1],
    [100, 3],
    [500, 15],
    [5_000, MAX_HOLD_MS],
  ] as const)(
    "[REG11] for %i connections it waits %i ms at most, whatever is under way",
    ([count, holdMs]) => {
      const bench = new Bench();
      const connections = bench.connections(count);
      for (const connection of connections) connection.writeSoon("x");
      expect(bench.flush()).toEqual([]);
      expect(bench.pass(holdMs - 1)).toEqual([]);
      expect(bench.pass(1)).toHaveLength(count);
    },
  );

  it("[REG11] the wait is for the first that waits: what comes later does not lengthen it", () => {
    const bench = new Bench();
    const connections = bench.connections(1_000);
    for (const connection of connections) connection.writeSoon("1");
    bench.flush();
    for (let ms = 0; ms < MAX_HOLD_MS - 1; ms++) {
      bench.pass(1);
      for (const connection of connections) connection.writeSoon("2");
      expect(bench.flush()).toEqual([]);
    }
    expect(bench.pass(1)).toHaveLength(1_000);
    // The next wait is as long as the first.
    for (const connection of connections) connection.writeSoon("3");
    expect(bench.flush()).toEqual([]);
    expect(bench.pass(MAX_HOLD_MS - 1)).toEqual([]);
    expect(bench.pass(1)).toHaveLength(1_000);
  });

  it("[REG11] so much of it for one connection that a frame more costs nothing does not wait", () => {
    const bench = new Bench();
    const connections = bench.connections(1_000);
    const half = "x".repeat(MAX_HELD / 2);
    for (const connection of connections) connection.writeSoon(half);
    expect(bench.flush()).toEqual([]);
    for (const connection of connections) connection.writeSoon(half);
    expect(bench.flush()).toHaveLength(1_000);
  });

  it("[REG11] [FRM3] an answer takes with it what waits for its connection, in the order it was written", () => {
    const bench = new Bench();
    const connections = bench.connections(1_000);
    for (const connection of connections) connection.writeSoon("1");
    bench.flush();
    connections[7]!.write("2");
    connections[7]!.writeSoon("3");
    expect(bench.flush()).toEqual(["7 123"]);
    connections[7]!.writeSoon("4");
    bench.flush();
    expect(bench.pass(MAX_HOLD_MS)).toHaveLength(1_000);
    expect(bench.frames.filter((frame) => frame.startsWith("7 "))).toEqual(["7 123", "7 4"]);
  });

  it("[REG11] what waits is sent before its connection is closed, and the closing is told once", () => {
    const bench = new Bench();
    const [a, b] = bench.connections(2);
    a!.writeSoon("1");
    b!.writeSoon("2");
    bench.flush();
    a!.close(4400, "wrong");
    expect(bench.frames).toEqual(["0 1"]);
    expect(bench.closings).toEqual(["0 4400"]);
    expect([bench.writes.takeClosed(), bench.writes.takeClosed()]).toEqual([[a], []]);
    expect(bench.pass(MAX_HOLD_MS)).toEqual(["1 2"]);
  });

  it("[EVC3] what has changed of a connection is written down once for each event, before anything is sent", () => {
    const bench = new Bench();
    const a = bench.connection("a");
    a.change();
    a.change();
    a.writeSoon("1");
    bench.flush();
    expect(bench.remembered).toEqual(["a"]);
    expect(bench.frames).toEqual([]);
    bench.pass(MAX_HOLD_MS);
    expect(bench.remembered).toEqual(["a"]);
  });
});
