// Places in a topic's history, as URLs and event ids say them.
import { describe, expect, it } from "vitest";
import { parseEventId, parseFrom } from "../../../worker/http/from.ts";

describe("from", () => {
  it.each([
    ["first", "first"],
    ["last", "last"],
    ["new", "new"],
    ["0", { seq: 0 }],
    ["41", { seq: 41 }],
    ["time:1700000000000", { time: 1_700_000_000_000 }],
    ["last:10", { last: 10 }],
  ])("[HTT4] %s is %j", (text, expected) => {
    expect(parseFrom(text)).toEqual(expected);
  });

  it.each(["", "-1", "1.5", "First", "time:", "time:x", "last:0", "last:-1", "seq:5", ":5", "9".repeat(16)])(
    "[HTT4] %j is refused with what it may be",
    (text) => {
      expect(parseFrom(text)).toMatchObject({
        kind: "bad-field",
        message: expect.stringContaining("first, last, new, a seq, time:MS or last:COUNT"),
      });
    },
  );
});

describe("event ids", () => {
  it("[SSE2] are EPOCH:SEQ and nothing else", () => {
    expect(parseEventId("1795384856200:7")).toEqual({ epoch: 1_795_384_856_200, seq: 7 });
    for (const other of ["", "7", "1:", ":7", "1:2:3", "a:1", "1:-1", "1:2 "]) {
      expect(parseEventId(other)).toBeUndefined();
    }
  });
});
