import { describe, expect, it } from "vitest";
import { judge, type Sent } from "../../../../client/durable/judge.ts";
import { DunlinError } from "../../../../client/index.ts";

const ok = { messageId: "m", seq: 1, epoch: 1, duplicate: false };
const error = (kind: string, code: number, retry: "none" | "after" = "none", afterMs?: number) =>
  new DunlinError(kind, { kind, code, retry, afterMs });
const BAD = error("bad-field", 102);
const FULL = error("queue-full", 303, "after", 5_000);
const ORDER = error("out-of-sequence", 407);
const FENCED = error("fenced", 405);
const LOST = error("outcome-unknown", 0);

/** Each answer as it came; a message that was in doubt is written as a list of one. */
function judged(...answers: (Sent["answer"] | [Sent["answer"]])[]) {
  const sent = answers.map((answer, index) => ({
    place: index + 1,
    producer: { id: "p", epoch: 1, seq: index + 1 },
    wasInDoubt: Array.isArray(answer),
    answer: Array.isArray(answer) ? answer[0] : answer,
  }));
  const { verdicts, renumber, isDoubtful, afterMs } = judge(sent);
  const short = verdicts.map((verdict) => {
    if (verdict.is === "kept") return verdict.inDoubt ? "doubt" : "kept";
    return verdict.is === "refused" ? verdict.error.kind : verdict.is;
  });
  return { short, renumber, isDoubtful, afterMs };
}

describe("a round of sends to one address", () => {
  it("[OBX5] without trouble confirms all", () => {
    expect(judged(ok, [ok], ok)).toMatchObject({
      short: ["confirmed", "confirmed", "confirmed"],
      isDoubtful: false,
    });
  });

  it("[OBX6] takes a message refused for good out, and numbers those behind it anew in the next epoch", () => {
    expect(judged(ok, BAD, ORDER, BAD, ORDER)).toEqual({
      short: ["confirmed", "bad-field", "kept", "bad-field", "kept"],
      renumber: "next",
      isDoubtful: false,
      afterMs: undefined,
    });
  });

  it("[OBX7] keeps what is refused for a while, and the numbers of those behind it", () => {
    expect(judged(ok, FULL, ORDER, [ORDER])).toEqual({
      short: ["confirmed", "kept", "kept", "doubt"],
      renumber: undefined,
      isDoubtful: false,
      afterMs: 5_000,
    });
    for (const kind of ["unauthenticated", "token-expired"]) {
      expect(judged(error(kind, 200))).toMatchObject({ short: ["kept"], renumber: undefined });
    }
  });

  it("[OBX7] keeps what has no answer, in doubt, and the numbers of those behind it", () => {
    expect(judged(LOST, ORDER, error("closed", 0))).toMatchObject({
      short: ["doubt", "kept", "doubt"],
      renumber: undefined,
    });
    expect(judged(error("outbox-full", 0), [error("outbox-full", 0)])).toMatchObject({
      short: ["kept", "doubt"],
    });
    expect(judged(error("forbidden", 4_403))).toMatchObject({ short: ["doubt"], renumber: undefined });
  });

  it("[OBX8] says that the outcome is unknown of what was in doubt when the broker has forgotten the outbox", () => {
    expect(judged(ORDER, [ORDER], ORDER)).toMatchObject({
      short: ["kept", "outcome-unknown", "kept"],
      renumber: "next",
      isDoubtful: true,
    });
    expect(judged([FENCED], FENCED)).toMatchObject({ short: ["outcome-unknown", "kept"], renumber: "new" });
  });

  it("[OBX8] and of what was in doubt and is refused now for want of a permission, but not of what is wrong in itself", () => {
    expect(judged([error("forbidden", 202)], [ORDER])).toMatchObject({
      short: ["outcome-unknown", "kept"],
      renumber: "next",
      isDoubtful: true,
    });
    for (const wrong of [BAD, error("message-too-large", 300), error("frame-too-large", 0)]) {
      expect(judged([wrong], [ORDER], ORDER)).toMatchObject({
        short: [wrong.kind, "kept", "kept"],
        renumber: "next",
        isDoubtful: false,
      });
    }
  });
});
