// Frames as Server-Sent Events, line by line.
import { describe, expect, it } from "vitest";
import { eventOf, framesOf, HEARTBEAT, openingEvent } from "../../../worker/http/event-text.ts";

describe("events", () => {
  it("[SSE1] [SSE2] a message has its epoch and seq as id and its fields as data", () => {
    const frame = { op: "message", sub: 1, epoch: 3, seq: 9, to: "topic:a", messageId: "m", body: "x\ny" };
    expect(eventOf(frame)).toBe(
      'id: 3:9\nevent: message\ndata: {"epoch":3,"seq":9,"to":"topic:a","messageId":"m","body":"x\\ny"}\n\n',
    );
  });

  it("[SSE2] a retained message has no id, which would lead back behind the stream's beginning", () => {
    const frame = { op: "message", sub: 1, epoch: 3, seq: 2, to: "topic:a", body: 1, retained: true };
    expect(eventOf(frame)).toBe(
      'event: message\ndata: {"epoch":3,"seq":2,"to":"topic:a","body":1,"retained":true}\n\n',
    );
  });

  it("[SSE4] [SSE5] what happened to the subscription is an event of its kind", () => {
    expect(eventOf({ op: "event", kind: "lag", sub: 1, skipped: 12 })).toBe(
      'event: lag\ndata: {"skipped":12}\n\n',
    );
    expect(eventOf({ op: "event", kind: "gone", sub: 1, reason: "r" })).toBe(
      'event: gone\ndata: {"reason":"r"}\n\n',
    );
    expect(eventOf({ op: "welcome", id: 1 })).toBeUndefined();
  });

  it("[SSE2] [SSE3] the first event says where the stream begins; an earlier place of the reader stays its id", () => {
    const ok = { op: "ok", id: 2, sub: 1, epoch: 3, seq: 9, recovered: true };
    expect(openingEvent(ok, true)).toBe(
      'retry: 1000\nid: 3:9\nevent: subscribed\ndata: {"epoch":3,"seq":9,"recovered":true}\n\n',
    );
    expect(openingEvent({ ...ok, recovered: false }, false)).toBe(
      'retry: 1000\nevent: subscribed\ndata: {"epoch":3,"seq":9,"recovered":false}\n\n',
    );
  });

  it("[SSE1] one text holds one frame or several; a heartbeat is a comment", () => {
    expect(framesOf('{"op":"ok"}')).toEqual([{ op: "ok" }]);
    expect(framesOf('[{"op":"ok"},{"op":"message"}]')).toHaveLength(2);
    expect(HEARTBEAT).toMatch(/^:.*\n\n$/);
  });
});
