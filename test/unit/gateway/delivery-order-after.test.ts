// What a Topic object answers, between the live packets it sent before and after.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DeliveryOrder } from "../../../worker/gateway/delivery-order.ts";

interface Packet {
  stream: number;
  number: number;
}

function ordered() {
  const handed: string[] = [];
  const order = new DeliveryOrder<Packet>(() => handed.push("flush"));
  return {
    handed,
    take: (stream: number, number: number) =>
      order.take({ stream, number }, (packet) => handed.push(`${packet.stream}:${packet.number}`)),
    answered: (stream: number, number: number) =>
      order.after({ stream, number }, () => handed.push(`after ${stream}:${number}`)),
  };
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe("an answer", () => {
  it("[SSN9] goes at once when the packets before it were handed on", () => {
    const { handed, take, answered } = ordered();
    take(5, 1);
    take(5, 2);
    answered(5, 2);
    answered(5, 1);
    expect(handed).toEqual(["5:1", "5:2", "after 5:2", "after 5:1"]);
  });

  it("[SSN9] waits for the packets before it, and goes before the next", () => {
    const { handed, take, answered } = ordered();
    take(5, 1);
    answered(5, 3);
    take(5, 3);
    expect(handed).toEqual(["5:1"]);
    take(5, 2);
    expect(handed).toEqual(["5:1", "5:2", "5:3", "after 5:3"]);
    take(5, 4);
    expect(handed.at(-1)).toBe("5:4");
  });

  it("[SSN9] waits no longer than two seconds", () => {
    const { handed, take, answered } = ordered();
    take(5, 1);
    answered(5, 2);
    vi.advanceTimersByTime(1_999);
    expect(handed).toEqual(["5:1"]);
    vi.advanceTimersByTime(1);
    expect(handed).toEqual(["5:1", "after 5:2", "flush"]);
    vi.advanceTimersByTime(10_000);
    expect(handed).toHaveLength(3);
  });

  it("[SSN9] that is the first word of an object says where its packets stand", () => {
    const { handed, take, answered } = ordered();
    answered(5, 7);
    take(5, 8);
    expect(handed).toEqual(["after 5:7", "5:8"]);
  });

  it("[SSN9] of an object that woke anew follows what its earlier life sent", () => {
    const { handed, take, answered } = ordered();
    take(5, 1);
    take(5, 3);
    answered(6, 0);
    take(6, 1);
    answered(5, 9);
    expect(handed).toEqual(["5:1", "5:3", "after 6:0", "6:1", "after 5:9"]);
  });
});
