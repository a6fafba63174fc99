// The judge of what readers of topics saw, on histories made by hand: correct ones pass, each kind of fault is found.
import { describe, expect, it } from "vitest";
import { checkStreams, type Reader, type StreamEvent } from "../check/streams.ts";

const reader = (promise: Reader["promise"], ordered = true): Reader => ({
  name: "r",
  promise,
  ordered,
  streams: ["p"],
});
const sent = (...numbers: number[]): StreamEvent[] =>
  numbers.flatMap((number) => [
    { kind: "sent", stream: "p", number },
    { kind: "confirmed", stream: "p", number },
  ]);
const got = (...numbers: number[]): StreamEvent[] =>
  numbers.map((number) => ({ kind: "received", reader: "r", stream: "p", number }));
const live = (number: number, seq: number, epoch = 1): StreamEvent => {
  return { kind: "received", reader: "r", stream: "p", number, epoch, seq };
};
const joined = (recovered: boolean): StreamEvent => ({ kind: "joined", reader: "r", recovered });
const cut: StreamEvent = { kind: "cut", reader: "r" };

interface Story {
  events: StreamEvent[];
  by: Reader;
  repeating?: string[];
  first?: number;
  drained?: boolean;
}

function breaches({ events, by, repeating = [], first = 0, drained = true }: Story): string[] {
  const options = { repeating: new Set(repeating), first: new Map([["p", first]]), drained };
  return checkStreams(events, [by], options).map(({ breach }) => breach);
}

describe("[CHK2] a correct history of topics passes:", () => {
  it.each<[string, Story]>([
    ["each once, in order", { events: [...sent(0, 1, 2), ...got(0, 1, 2)], by: reader("exactly") }],
    [
      "several consumers, in any order",
      { events: [...sent(0, 1), ...got(1, 0)], by: reader("exactly", false) },
    ],
    [
      "a repetition after a cut, at least once",
      { events: [...sent(0), ...got(0), cut, ...got(0)], by: reader("at-least") },
    ],
    [
      "a publisher without identity that repeats after a refusal",
      {
        events: [
          { kind: "sent", stream: "p", number: 0 },
          { kind: "failed", stream: "p", number: 0 },
          ...sent(0),
          ...got(0, 0),
        ],
        by: reader("exactly"),
        repeating: ["p"],
      },
    ],
    [
      "a message refused first and stored later",
      {
        events: [...sent(0, 1), { kind: "failed", stream: "p", number: 0 }, ...got(1, 0)],
        by: reader("exactly"),
      },
    ],
    [
      "an announced gap",
      {
        events: [...sent(0, 1, 2), joined(false), live(0, 1), { kind: "gap", reader: "r" }, live(2, 3)],
        by: reader("live"),
      },
    ],
    [
      "a resume that says that something is missing",
      {
        events: [...sent(0, 1, 2), live(0, 1), joined(false), live(2, 3)],
        by: reader("live"),
      },
    ],
    [
      "what was not confirmed and did not come",
      { events: [{ kind: "sent", stream: "p", number: 0 }], by: reader("exactly") },
    ],
  ])("%s", (_, story) => {
    expect(breaches(story)).toEqual([]);
  });
});

describe("[CHK3] in a history of topics is found:", () => {
  it.each<[string, string, Story]>([
    [
      "a confirmed message that never came",
      "lost",
      { events: [...sent(0, 1), ...got(0)], by: reader("exactly") },
    ],
    [
      "a message that came twice",
      "duplicated",
      { events: [...sent(0), ...got(0), cut, ...got(0)], by: reader("exactly") },
    ],
    [
      "a repetition without a cause",
      "duplicated",
      { events: [...sent(0), ...got(0, 0)], by: reader("at-least") },
    ],
    ["a message that nobody sent", "duplicated", { events: got(0), by: reader("exactly") }],
    [
      "a publisher's messages out of order",
      "reordered",
      { events: [...sent(0, 1), ...got(1, 0)], by: reader("exactly") },
    ],
    [
      "a message of an earlier part",
      "resurrected",
      { events: [...sent(5), ...got(5, 4)], by: reader("exactly"), first: 5 },
    ],
    [
      "a silent gap",
      "lost",
      { events: [...sent(0, 1, 2), joined(true), live(0, 1), live(2, 3)], by: reader("live") },
    ],
    [
      "a seq that goes back",
      "reordered",
      { events: [...sent(0, 1, 2), live(1, 2), live(2, 3), live(0, 1)], by: reader("live", false) },
    ],
    [
      "a gap after a resume that promised none",
      "lost",
      {
        events: [...sent(0, 1, 2), live(0, 1), joined(true), live(2, 3)],
        by: reader("live"),
      },
    ],
  ])("%s", (_, breach, story) => {
    expect(breaches(story)).toContain(breach);
  });
});
