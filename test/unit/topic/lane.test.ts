// What is on its way to one target: merging, numbers, limits, retries.
import { describe, expect, it } from "vitest";
import { TopicPacketView, TopicPacketWriter } from "../../../worker/link/topic-packet.ts";
import type { Parcel } from "../../../worker/topic/fan.ts";
import { Lane } from "../../../worker/topic/lane.ts";
import { messagesIn, records } from "../../support/machine.ts";

function parcel(body: string, id = 0): Parcel {
  const packet = new TopicPacketWriter();
  packet.add(records({ body }));
  return { target: "gateway-0", id, packet };
}

const bodies = (packet: TopicPacketWriter | undefined) =>
  packet && messagesIn(packet.records()).map(({ body }) => String(body));

describe("a lane", () => {
  it("[TOP14] has one call with stored messages at a time; what comes meanwhile joins the next", () => {
    const lane = new Lane();
    lane.add(parcel("a", 1), false);
    const first = lane.take(0)!;
    for (const [body, id] of [
      ["b", 2],
      ["c", 0],
      ["d", 3],
    ] as const) {
      lane.add(parcel(body, id), true);
      expect(lane.take(0)).toBeUndefined();
    }
    lane.done(first);
    const second = lane.take(0)!;
    expect([first.number, second.number, second.ids, bodies(second.packet)]).toEqual([
      1,
      2,
      [2, 3],
      ["b", "c", "d"],
    ]);
  });

  it("[TOP14] live messages go in several calls, and ride when nothing waits before them", () => {
    const lane = new Lane();
    for (let i = 0; i < 6; i++) lane.add(parcel(`${i}`), false) ?? lane.take(0);
    const ridden = new Lane().add(parcel("x"), true);
    expect(bodies(ridden?.packet)).toEqual(["x"]);
    expect(lane.take(0)).toBeUndefined();
    expect(lane.add(parcel("y"), true)).toBeUndefined();
  });

  it("[TOP13] a shipment that was called is repeated as it was: nothing joins it", () => {
    const lane = new Lane();
    lane.add(parcel("a", 1), false);
    lane.failed(lane.take(0)!, 0);
    lane.add(parcel("b", 2), false);
    expect(lane.take(999)).toBeUndefined();
    const again = lane.take(1_000)!;
    expect([again.number, again.ids, again.packet]).toEqual([1, [1], undefined]);
    lane.failed(again, 1_000);
    expect(lane.retryAt).toBe(3_000);
    const third = lane.take(3_000)!;
    lane.done(third);
    expect(lane.retryAt).toBe(Number.POSITIVE_INFINITY);
    expect(lane.take(3_000)!.ids).toEqual([2]);
  });

  it("[TOP13] nothing joins what an earlier life of the object may have delivered under its id", () => {
    const lane = new Lane();
    lane.restore([1, 2]);
    lane.failed(lane.take(0)!, 0);
    lane.add(parcel("c", 3), false);
    const groups: number[][] = [];
    for (let next = lane.take(1_000); next !== undefined; next = lane.take(1_000)) {
      groups.push(next.ids);
      lane.done(next);
    }
    expect(groups).toEqual([[1], [2], [3]]);
  });

  it("[REP6] a read parts what was before from what follows", () => {
    const lane = new Lane();
    lane.add(parcel("a", 1), false);
    lane.take(0);
    lane.add(parcel("b", 2), false);
    expect(lane.mark()).toBe(2);
    lane.add(parcel("c", 3), false);
    expect(lane.number).toBe(3);
  });

  it("[TOP15] beyond 16 MB on their way live messages are dropped, stored ones wait in the outbox", () => {
    const lane = new Lane();
    const large = "x".repeat(1_000_000);
    for (let i = 0; i < 30; i++) lane.add(parcel(large), false);
    expect(lane.number).toBe(15);
    lane.add(parcel(large, 7), false);
    let last = lane.take(0);
    for (let next = last; next !== undefined; next = lane.take(0)) {
      last = next;
      lane.done(next);
    }
    expect([last!.ids, last!.packet]).toEqual([[7], undefined]);
    expect(lane.idle).toBe(true);
  });
});

describe("a topic packet", () => {
  it("holds records behind its head, and refuses another version", () => {
    const { packet } = parcel("a");
    packet.add(records({ body: "b" }));
    const taken = packet.take({ stream: 1.5e12, number: 7, id: 2 ** 50 });
    const view = new TopicPacketView(taken);
    expect([view.stream, view.number, view.id]).toEqual([1.5e12, 7, 2 ** 50]);
    const found: unknown[] = [];
    for (; view.valid; view.next()) found.push(view.message.decode().body);
    expect(found).toEqual(["a", "b"]);
    taken[0] = 9;
    expect(() => new TopicPacketView(taken)).toThrow(RangeError);
  });
});
