// The judges of commits and of numbered producers, on histories made by hand: correct ones pass, each kind of fault is found.
import { describe, expect, it } from "vitest";
import { type Commit, checkMoves, type MoveHistory } from "../check/moves.ts";
import { checkNumbers, type NumberEvent, type Reached, type StoredNumber } from "../check/numbers.ts";

const commit = (hop: number, delivery: string, answers: Commit["answers"], noted = false): Commit => ({
  moves: [{ queue: "left", delivery, token: 1, hop }],
  noted,
  answers,
});
const at = (...hops: number[]) => hops.map((hop) => ({ queue: "right", token: 1, hop }));
const note = (hop: number, delivery: string) => ({ token: 1, hop, delivery });

function breachesOfMoves(history: Partial<MoveHistory>): string[] {
  const whole = { tokens: new Map([[1, 0]]), commits: [], places: [], notes: [], ...history };
  return checkMoves(whole).map(({ breach }) => breach);
}

describe("[CHK2] [CHK5] commits that a correct broker may have made pass:", () => {
  it.each<[string, Partial<MoveHistory>]>([
    ["nothing moved", { places: at(0) }],
    [
      "a move, refused, made, and made again",
      {
        commits: [commit(0, "a", ["conflict", "conflict"], true), commit(0, "b", ["made", "again"], true)],
        places: at(1),
        notes: [note(0, "b")],
      },
    ],
    ["a commit without an answer that took effect", { commits: [commit(0, "a", [])], places: at(1) }],
    ["a commit without an answer that did not", { commits: [commit(0, "a", [], true)], places: at(0) }],
    [
      "several without an answer, one of them noted",
      { commits: [commit(0, "a", [], true), commit(0, "b", [])], places: at(1), notes: [note(0, "a")] },
    ],
    [
      "several without an answer, made by the one that does not note",
      { commits: [commit(0, "a", [], true), commit(0, "b", [])], places: at(1) },
    ],
    [
      "one of before, made again",
      { tokens: new Map([[1, 3]]), commits: [commit(2, "a", ["again"])], places: at(3) },
    ],
  ])("%s", (_, history) => {
    expect(breachesOfMoves(history)).toEqual([]);
  });
});

describe("[CHK3] [CHK5] of commits is found:", () => {
  const made = commit(0, "a", ["made"], true);
  it.each<[string, string, Partial<MoveHistory>]>([
    ["a token that is gone", "lost", { commits: [made], notes: [note(0, "a")] }],
    [
      "a token that is there twice",
      "duplicated",
      { commits: [made], places: at(0, 1), notes: [note(0, "a")] },
    ],
    ["a token as it was before", "resurrected", { tokens: new Map([[1, 2]]), places: at(1) }],
    ["a commit that was answered and is undone", "lost", { commits: [made], places: at(0) }],
    ["a commit without its note", "lost", { commits: [made], places: at(1) }],
    [
      "a note that came twice",
      "duplicated",
      { commits: [made], places: at(1), notes: [note(0, "a"), note(0, "a")] },
    ],
    ["an old note", "duplicated", { tokens: new Map([[1, 3]]), places: at(3), notes: [note(2, "a")] }],
    [
      "a note of a move that was not made",
      "unfenced",
      { commits: [commit(0, "a", [], true)], places: at(0), notes: [note(0, "a")] },
    ],
    ["a refused commit in effect", "unfenced", { commits: [commit(0, "a", ["conflict"])], places: at(1) }],
    [
      "the note of a refused commit",
      "unfenced",
      {
        commits: [commit(0, "a", ["made"]), commit(0, "b", ["conflict"], true)],
        places: at(1),
        notes: [note(0, "b")],
      },
    ],
    [
      "two commits of one move",
      "duplicated",
      { commits: [commit(0, "a", ["made"]), commit(0, "b", ["made"])], places: at(1) },
    ],
    [
      "a commit that was made twice",
      "duplicated",
      { commits: [commit(0, "a", ["made", "made"])], places: at(1) },
    ],
    [
      "an answer that changed",
      "unfenced",
      { commits: [commit(0, "a", ["made", "conflict"])], places: at(1) },
    ],
  ])("%s", (_, breach, history) => {
    expect(breachesOfMoves(history)).toEqual([breach]);
  });
});

let calls = 0;
type Event = Omit<NumberEvent, "call" | "id">;
const event = (
  kind: Event["kind"],
  epoch: number,
  number: number,
  more: Partial<NumberEvent> = {},
): NumberEvent => {
  return { kind, call: calls, id: "n", epoch, number, ...more };
};
const sent = (epoch: number, number: number): NumberEvent => {
  calls += 1;
  return event("sent", epoch, number);
};
const published = (epoch: number, number: number, seq: number, duplicate = false): NumberEvent[] => {
  return [sent(epoch, number), event("confirmed", epoch, number, { seq, duplicate })];
};
const stored = (...places: [epoch: number, number: number][]): StoredNumber[] =>
  places.map(([epoch, number], index) => ({ id: "n", epoch, number, seq: index + 1 }));

interface Story {
  events: NumberEvent[];
  holds: StoredNumber[];
  before?: Reached;
}

function breachesOfNumbers({ events, holds, before = { epoch: 0, number: 0 } }: Story): string[] {
  return checkNumbers(events, holds, new Map([["n", before]])).map(({ breach }) => breach);
}

describe("[CHK2] [CHK6] numbers that a correct broker may have stored pass:", () => {
  /** Begun before the next life's first confirm, answered after it. */
  const late = sent(1, 2);
  it.each<[string, Story]>([
    [
      "each once, and one repeated",
      {
        events: [...published(1, 1, 1), ...published(1, 2, 2), ...published(1, 1, 1, true)],
        holds: stored([1, 1], [1, 2]),
      },
    ],
    ["one that was stored and never confirmed", { events: [sent(1, 1)], holds: stored([1, 1]) }],
    ["one that was never confirmed and is not there", { events: [sent(1, 1)], holds: [] }],
    [
      "a place that is forgotten",
      { events: [...published(1, 1, 1), ...published(1, 1, 0, true)], holds: stored([1, 1]) },
    ],
    [
      "a life that is fenced",
      {
        events: [...published(1, 1, 1), ...published(2, 1, 2), sent(1, 2), event("fenced", 1, 2)],
        holds: stored([1, 1], [2, 1]),
      },
    ],
    [
      "an answer that comes late",
      {
        events: [
          ...published(1, 1, 1),
          late,
          ...published(2, 1, 3),
          { ...late, kind: "confirmed", seq: 2, duplicate: false },
        ],
        holds: stored([1, 1], [1, 2], [2, 1]),
      },
    ],
    [
      "what goes on after a round",
      {
        events: [...published(3, 5, 1), ...published(3, 2, 0, true)],
        holds: stored([3, 5]),
        before: { epoch: 3, number: 4 },
      },
    ],
  ])("%s", (_, story) => {
    expect(breachesOfNumbers(story)).toEqual([]);
  });

  it("and it is known then how far they came", () => {
    const reached = new Map<string, Reached>();
    checkNumbers([sent(1, 1), sent(2, 1)], stored([1, 1], [2, 1]), reached);
    expect(reached).toEqual(new Map([["n", { epoch: 2, number: 1 }]]));
  });
});

describe("[CHK3] [CHK6] of numbers is found:", () => {
  it.each<[string, string, Story]>([
    ["one that is gone", "lost", { events: published(1, 1, 1), holds: [] }],
    [
      "one that is stored twice",
      "duplicated",
      {
        events: published(1, 1, 1),
        holds: stored([1, 1], [1, 1]).map((one, at) => ({ ...one, seq: 1 - at })),
      },
    ],
    ["a gap", "lost", { events: [sent(1, 1), sent(1, 2)], holds: stored([1, 2]) }],
    ["one that nobody sent", "duplicated", { events: [], holds: stored([1, 1]) }],
    [
      "a former life's message after the next one's",
      "unfenced",
      { events: [sent(1, 1), sent(2, 1)], holds: stored([2, 1], [1, 1]) },
    ],
    [
      "a confirm to a former life",
      "unfenced",
      {
        events: [...published(1, 1, 1), ...published(2, 1, 2), ...published(1, 1, 1, true)],
        holds: stored([1, 1], [2, 1]),
      },
    ],
    [
      "a life that is fenced by nobody",
      "unfenced",
      { events: [sent(1, 1), event("fenced", 1, 1)], holds: [] },
    ],
    [
      "one of a former round",
      "duplicated",
      { events: [sent(1, 2)], holds: stored([1, 2]), before: { epoch: 1, number: 4 } },
    ],
    [
      "one of a former round that is confirmed as new",
      "duplicated",
      { events: published(1, 2, 9), holds: [], before: { epoch: 1, number: 4 } },
    ],
    [
      "one that is confirmed as new twice",
      "duplicated",
      { events: [...published(1, 1, 1), ...published(1, 1, 1)], holds: stored([1, 1]) },
    ],
    [
      "what was confirmed and is not known any more",
      "lost",
      { events: [...published(1, 1, 1), sent(1, 2), event("ahead", 1, 2)], holds: stored([1, 1]) },
    ],
    [
      "the order of numbers",
      "reordered",
      { events: [sent(1, 2), sent(1, 1)], holds: stored([1, 2], [1, 1]), before: { epoch: 1, number: 0 } },
    ],
  ])("%s", (_, breach, story) => {
    expect(breachesOfNumbers(story)).toContain(breach);
  });
});
