// Objects that sleep and backlogs that do not fit into memory: what nobody may notice from outside.
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect } from "vitest";
import type { WireClient } from "../support/wire-client.ts";
import { message, noMessage, pass, take, withBroker } from "./harness.ts";

const it = withBroker();

/** Longer than the runtime keeps an idle object with sockets in memory. */
const IDLE_MS = 12_000;
const BACKLOG = 60_000;
const BODY_BYTES = 4_000;

/** Memory of a process group, bytes; undefined where the system does not tell. */
function residentBytes(group: number): number | undefined {
  let total = 0;
  try {
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      // After the name in parentheses: state, parent, group.
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      if (Number(stat[2]) !== group) continue;
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      total += Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1_024;
    }
  } catch {
    return undefined;
  }
  return total === 0 ? undefined : total;
}

async function publishBacklog(wire: WireClient): Promise<void> {
  const body = "x".repeat(BODY_BYTES);
  const perFrame = 500;
  const frame = Array.from({ length: perFrame }, () => ({ op: "publish", to: "queue:q", body }));
  let under: Promise<unknown>[] = [];
  for (let sent = 0; sent < BACKLOG; sent += perFrame) {
    // One publish after each frame is confirmed: those before it are stored by then.
    wire.send(frame.slice(1));
    under.push(wire.ok(frame[0]!, 60_000));
    if (under.length >= 4) {
      await Promise.all(under);
      under = [];
    }
  }
  await Promise.all(under);
}

describe("idle objects", () => {
  it("[EVC3] [EVC1] [EVC2] a socket idle long enough for its gateway to sleep goes on as before", async ({
    world,
  }) => {
    const wire = await world.connect({ client: "c" });
    await wire.ok({ op: "subscribe", sub: 7, to: "queue:q", credit: 2, leaseMs: 60_000 });
    await world.publish("q", 1);
    const held = message(await wire.nextMessage());
    const silent = await world.connect();
    await silent.ok({ op: "subscribe", sub: 1, to: "queue:short", leaseMs: 5_000 });
    await world.publish("short", 1);
    expect(message(await silent.nextMessage()).attempt).toBe(1);
    await pass(IDLE_MS);
    expect(message(await silent.nextMessage())).toMatchObject({ attempt: 2, redelivered: true });
    for (const body of [2, 3]) await world.publish("q", body);
    expect(message(await wire.nextMessage())).toMatchObject({ sub: 7, body: 2, attempt: 1 });
    await noMessage(wire);
    expect(await wire.ok({ op: "settle", sub: 7, ack: [held.delivery] })).toMatchObject({
      settled: 1,
      lost: [],
    });
    expect(message(await wire.nextMessage())).toMatchObject({ sub: 7, body: 3 });
    expect(await wire.ok({ op: "publish", to: "queue:q", body: 4 })).toMatchObject({ seq: 4 });
    wire.cut();
    expect(await world.receive("q", { max: 10, waitMs: 20_000 })).toMatchObject([
      { body: 2, attempt: 2 },
      { body: 3 },
      { body: 4 },
    ]);
  });
});

describe("a large backlog", () => {
  it("[DUR6] is opened without being loaded, and read in bounded memory", async ({ world }) => {
    const fresh = residentBytes(world.broker.pid);
    const wire = await world.connect();
    await publishBacklog(wire);
    await expect.poll(() => world.stats("q"), { timeout: 30_000 }).toMatchObject({ ready: BACKLOG });
    await world.broker.restart();
    const reader = await world.connect();
    const start = performance.now();
    await reader.ok({ op: "subscribe", sub: 1, to: "queue:q", credit: 100 });
    expect(message(await reader.nextMessage())).toMatchObject({ seq: 1 });
    expect(performance.now() - start).toBeLessThan(2_000);
    for (let read = 1; read < 10_000; ) {
      const got = await take(reader, Math.min(50, 10_000 - read));
      read += got.length;
      reader.send({ op: "settle", sub: 1, ack: got.map((m) => m.delivery) });
    }
    const resident = residentBytes(world.broker.pid);
    // The backlog is 240 MB: the difference would be more than that if it were in memory.
    if (fresh !== undefined && resident !== undefined) expect(resident - fresh).toBeLessThan(150_000_000);
  });
});
