// Packets of one queue that reach its gateway by two ways, in whatever order they come.
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DeliveryOrder } from "../../../worker/gateway/delivery-order.ts";
import { DeliveryView, DeliveryWriter } from "../../../worker/link/deliveries.ts";

const PATIENCE_MS = 2_000;

function packet(stream: number, number: number): DeliveryView {
  return new DeliveryView(new DeliveryWriter(1).take(stream, number));
}

/** An order and what it handed on, as `stream:number`. */
function ordered(): {
  order: DeliveryOrder<DeliveryView>;
  handed: string[];
  take: (stream: number, number: number) => void;
} {
  const handed: string[] = [];
  const order = new DeliveryOrder<DeliveryView>(() => handed.push("flush"));
  const take = (stream: number, number: number) =>
    order.take(packet(stream, number), (view) => handed.push(`${view.stream}:${view.number}`));
  return { order, handed, take };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("packets of one queue", () => {
  it("[SUB11] go in their order, each once, in whatever order they come after the first", () => {
    const numbers = Array.from({ length: 8 }, (_, i) => i + 2);
    fc.assert(
      fc.property(fc.shuffledSubarray(numbers, { minLength: 8, maxLength: 8 }), (arrivals) => {
        const { handed, take } = ordered();
        for (const number of [1, ...arrivals]) take(5, number);
        expect(handed).toEqual([1, ...numbers].map((number) => `5:${number}`));
      }),
    );
  });

  it("[SUB13] wait for a lost one no longer than their patience, and a late one goes at once", () => {
    const { handed, take } = ordered();
    take(5, 1);
    take(5, 4);
    take(5, 3);
    expect(handed).toEqual(["5:1"]);
    vi.advanceTimersByTime(PATIENCE_MS);
    expect(handed).toEqual(["5:1", "5:3", "5:4", "flush"]);
    take(5, 2);
    take(5, 5);
    expect(handed.slice(4)).toEqual(["5:2", "5:5"]);
  });

  it("[EVC1] of a gateway that woke begin with whatever comes first", () => {
    const { handed, take } = ordered();
    take(5, 17);
    take(5, 16);
    take(5, 18);
    expect(handed).toEqual(["5:17", "5:16", "5:18"]);
  });

  it("[EVC1] of a queue that woke begin anew, after those that still waited", () => {
    const { handed, take } = ordered();
    take(5, 1);
    take(5, 3);
    take(6, 2);
    expect(handed).toEqual(["5:1", "5:3"]);
    take(6, 1);
    take(5, 2);
    expect(handed).toEqual(["5:1", "5:3", "6:1", "6:2", "5:2"]);
  });

  it("[SUB11] wait their whole patience, though others waited before them", () => {
    const { handed, take } = ordered();
    take(5, 1);
    take(5, 3);
    take(5, 2);
    vi.advanceTimersByTime(PATIENCE_MS - 100);
    take(5, 5);
    vi.advanceTimersByTime(200);
    take(5, 4);
    expect(handed).toEqual(["5:1", "5:2", "5:3", "5:4", "5:5"]);
  });
});
