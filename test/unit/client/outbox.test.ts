import { describe, expect, it } from "vitest";
import { DunlinError } from "../../../client/errors.ts";
import { type Entry, Outbox } from "../../../client/outbox.ts";
import type { ErrorFrame, Reply } from "../../../client/wire.ts";

const LIMITS = { maxMessages: 10_000, maxBytes: 10_000_000, retryForMs: 240_000 };
const LOST = new DunlinError("lost", { kind: "closed" });

interface Recorded extends Entry {
  replies: Reply[];
  abandoned: DunlinError[];
}

function entry(id: number, fields: Partial<Entry> = {}): Recorded {
  const replies: Reply[] = [];
  const abandoned: DunlinError[] = [];
  return {
    id,
    text: JSON.stringify({ id }),
    counted: 1,
    kept: true,
    reply: (frame) => replies.push(frame),
    abandon: (error) => abandoned.push(error),
    replies,
    abandoned,
    ...fields,
  };
}

function outbox(limits = LIMITS) {
  const retries: { run: () => void; afterMs: number }[] = [];
  const box = new Outbox(limits, (run, afterMs) => retries.push({ run, afterMs }));
  return { box, retries };
}

function unavailable(id: number, fields: Partial<ErrorFrame> = {}): ErrorFrame {
  return { op: "error", id, code: 501, kind: "unavailable", message: "restarting", retry: "now", ...fields };
}

const idsOf = (frames: string[]) =>
  frames.flatMap((text) => JSON.parse(text) as { id: number } | { id: number }[]);

describe("outbox", () => {
  it("[CLI4] gives one request as an object, and several as one array in their order", () => {
    const { box } = outbox();
    box.add(entry(1));
    expect(box.takeFrames(0)).toEqual(['{"id":1}']);
    box.add(entry(2));
    box.add(entry(3));
    expect(box.takeFrames(0)).toEqual(['[{"id":2},{"id":3}]']);
    expect(box.takeFrames(0)).toEqual([]);
  });

  it("[CLI4] puts at most 1,000 requests and about a million characters into a frame", () => {
    const { box } = outbox();
    for (let id = 1; id <= 2_001; id++) box.add(entry(id));
    expect(box.takeFrames(0).map((text) => (JSON.parse(text) as unknown[]).length ?? 1)).toEqual([
      1_000, 1_000, 1,
    ]);

    const large = outbox().box;
    for (let id = 1; id <= 5; id++)
      large.add(entry(id, { text: JSON.stringify({ id, body: "x".repeat(400_000) }) }));
    const frames = large.takeFrames(0);
    expect(idsOf(frames).map(({ id }) => id)).toEqual([1, 2, 3, 4, 5]);
    expect(frames.length).toBe(3);
    for (const text of frames) expect(text.length).toBeLessThan(1_100_000);
  });

  it("[CLI4] sends a message larger than that in a frame of its own", () => {
    const { box } = outbox();
    box.add(entry(1));
    box.add(entry(2, { text: JSON.stringify({ id: 2, body: "x".repeat(2_000_000) }) }));
    box.add(entry(3));
    expect(box.takeFrames(0).length).toBe(3);
  });

  it("[CLI3] sends what is unanswered again after a lost socket, oldest first, behind what must go first", () => {
    const { box } = outbox();
    const requests = [1, 2, 3, 4].map((id) => entry(id));
    for (const request of requests) box.add(request);
    box.takeFrames(0);
    box.answer({ op: "ok", id: 2 });
    box.add(entry(5));
    box.rewind([entry(9)], 0);
    expect(idsOf(box.takeFrames(0)).map(({ id }) => id)).toEqual([9, 1, 3, 4, 5]);
  });

  it("[CLI5] abandons after a lost socket what is renewed instead of repeated", () => {
    const { box } = outbox();
    const subscribe = entry(1, { kept: false, counted: 0 });
    box.add(subscribe);
    box.rewind([entry(2, { kept: false, counted: 0 })], 0);
    expect(subscribe.abandoned).toMatchObject([{ kind: "lost" }]);
    expect(idsOf(box.takeFrames(0))).toEqual([{ id: 2 }]);
    expect(box.size).toBe(1);
  });

  it("[CLI3] hands an answer over once, though a request sent twice is answered twice", () => {
    const { box } = outbox();
    const request = entry(1);
    box.add(request);
    box.rewind([], 0);
    box.answer({ op: "ok", id: 1 });
    box.answer({ op: "ok", id: 1 });
    expect(request.replies).toHaveLength(1);
    expect(box.size).toBe(0);
  });

  it("[CLI3] does not repeat what the broker may have forgotten: first sent too long ago, however often since", () => {
    const { box } = outbox();
    const sent = entry(1);
    const settle = entry(2, { counted: 0 });
    box.add(sent);
    box.add(settle);
    box.takeFrames(1_000);
    box.rewind([], 241_000);
    expect(idsOf(box.takeFrames(241_000)).map(({ id }) => id)).toEqual([1, 2]);
    const unsent = entry(3);
    box.add(unsent);
    box.rewind([], 241_001);
    expect(idsOf(box.takeFrames(241_001)).map(({ id }) => id)).toEqual([2, 3]);
    expect(sent.abandoned).toMatchObject([{ code: 0, kind: "outcome-unknown", retry: "none" }]);
    expect(box.size).toBe(2);
  });

  it("[CLI10] has room until its limits of messages and bytes, and again after each answer", () => {
    const { box } = outbox({ ...LIMITS, maxMessages: 2, maxBytes: 100 });
    expect(box.hasRoom(2, 100)).toBe(true);
    expect(box.hasRoom(3, 1)).toBe(false);
    expect(box.hasRoom(1, 101)).toBe(false);
    box.add(entry(1));
    box.add(entry(2));
    box.add(entry(3, { counted: 0 }));
    expect(box.hasRoom(1, 1)).toBe(false);
    box.answer({ op: "ok", id: 1 });
    expect(box.hasRoom(1, 1)).toBe(true);
    box.rewind([], 0);
    expect(box.hasRoom(1, 1)).toBe(true);
    expect(box.hasRoom(2, 1)).toBe(false);
  });

  it("[CLI3] repeats a request by itself while the broker is in trouble, with growing waits, and then gives up", () => {
    const { box, retries } = outbox();
    const request = entry(1);
    box.add(request);
    box.takeFrames(0);
    const waits: number[] = [];
    while (request.replies.length === 0) {
      box.answer(unavailable(1));
      const retry = retries.shift();
      if (!retry) continue;
      waits.push(retry.afterMs);
      retry.run();
      expect(idsOf(box.takeFrames(0))).toEqual([{ id: 1 }]);
    }
    expect(waits).toEqual([100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800]);
    expect(request.replies).toEqual([unavailable(1)]);
  });

  it("[CLI3] waits at least as long as the broker asks", () => {
    const { box, retries } = outbox();
    box.add(entry(1));
    box.answer(unavailable(1, { code: 500, kind: "internal", retry: "after", afterMs: 700 }));
    expect(retries.map(({ afterMs }) => afterMs)).toEqual([700]);
  });

  it("[LIM2] hands over at once what a repetition would not change", () => {
    const { box, retries } = outbox();
    const refusals: ErrorFrame[] = [
      { op: "error", id: 1, code: 303, kind: "queue-full", message: "full", retry: "after", afterMs: 1_000 },
      { op: "error", id: 2, code: 502, kind: "not-supported", message: "no", retry: "none" },
    ];
    for (const refusal of refusals) {
      const request = entry(refusal.id!);
      box.add(request);
      box.answer(refusal);
      expect(request.replies).toEqual([refusal]);
    }
    expect(retries).toEqual([]);
  });

  it("[CLI2] tells when nothing is unanswered any more", async () => {
    const { box } = outbox();
    await box.drained();
    box.add(entry(1));
    const drained = box.drained();
    box.answer({ op: "ok", id: 1 });
    await drained;
    box.add(entry(3, { kept: false, counted: 0 }));
    const abandoned = box.drained();
    box.rewind([], 0);
    await abandoned;
    const last = entry(2);
    box.add(last);
    const ended = box.drained();
    box.abandon(LOST);
    await ended;
    expect(last.abandoned).toEqual([LOST]);
    expect(box.takeFrames(0)).toEqual([]);
  });
});
