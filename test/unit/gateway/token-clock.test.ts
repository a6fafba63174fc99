// Tokens of live connections: the warning before their end, and the end.
import { describe, expect, it } from "vitest";
import type { Connection } from "../../../worker/gateway/connection.ts";
import { TokenClock } from "../../../worker/gateway/token-clock.ts";

const NEVER = Number.POSITIVE_INFINITY;

/** A connection with a token, and what it was told. */
function connected(expiresAt: number | undefined) {
  const told: string[] = [];
  const session = { principal: { subject: "ann", expiresAt } };
  const protocol = {
    expiring: (_: unknown, at: number) => told.push(`expiring ${at}`),
    expired: () => told.push("expired"),
  };
  const connection = { open: true, session, protocol };
  return { told, connection, watched: connection as unknown as Connection };
}

describe("tokens", () => {
  it("[SSN7] their end is told once, a minute before it, and ends the connection when it comes", () => {
    const clock = new TokenClock();
    const { told, watched } = connected(300_000);
    clock.watch(watched, 0);
    expect(clock.nextDeadline).toBe(240_000);
    clock.run(239_999);
    expect(told).toEqual([]);
    clock.run(240_000);
    clock.run(250_000);
    expect(told).toEqual(["expiring 300000"]);
    expect(clock.nextDeadline).toBe(300_000);
    clock.run(300_000);
    clock.run(300_001);
    expect(told).toEqual(["expiring 300000", "expired"]);
    expect(clock.nextDeadline).toBe(NEVER);
  });

  it("[SSN7] of a short life are told at half of it", () => {
    const clock = new TokenClock();
    const { told, watched } = connected(10_000);
    clock.watch(watched, 0);
    clock.run(5_000);
    expect(told).toEqual(["expiring 10000"]);
  });

  it("[SSN7] a fresh one takes the old one's place", () => {
    const clock = new TokenClock();
    const { told, watched, connection } = connected(100_000);
    clock.watch(watched, 0);
    clock.run(50_000);
    connection.session.principal.expiresAt = 500_000;
    clock.watch(watched, 50_000);
    clock.run(100_000);
    expect(told).toEqual(["expiring 100000"]);
    expect(clock.nextDeadline).toBe(440_000);
  });

  it("[SSN7] one that never ends, and one of a socket that is gone, wake nobody", () => {
    const clock = new TokenClock();
    const forEver = connected(undefined);
    const gone = connected(100_000);
    clock.watch(forEver.watched, 0);
    clock.watch(gone.watched, 0);
    gone.connection.open = false;
    clock.run(50_000);
    expect([...forEver.told, ...gone.told]).toEqual([]);
    expect(clock.nextDeadline).toBe(NEVER);
  });

  it("[SSN7] one that has ended when it is first seen ends the connection at once", () => {
    const clock = new TokenClock();
    const { told, watched } = connected(1_000);
    clock.watch(watched, 1_000);
    expect(told).toEqual(["expired"]);
  });
});
