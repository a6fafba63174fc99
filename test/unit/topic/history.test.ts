// History: what retention keeps, reading it from anywhere, and whether a reader may have missed something.
import { describe, expect, it } from "vitest";
import { MAX_DEDUP_IDS } from "../../../worker/limits.ts";
import type { TopicSettingsPatch } from "../../../worker/topic/settings.ts";
import { bodiesOf, TopicMachine } from "../../support/topics.ts";

function filled(settings: TopicSettingsPatch, turns: string[][], gapMs = 100): TopicMachine {
  const machine = new TopicMachine();
  machine.configure("t", settings);
  for (const turn of turns) {
    machine.publish(...turn.map((body) => ({ topic: "t", body })));
    machine.pass(gapMs);
  }
  return machine;
}

const FIVE = [["1", "2"], ["3"], ["4", "5"]];

describe("retention", () => {
  it("[REP1] without limits there is no history", () => {
    const machine = filled({}, FIVE);
    expect(machine.history("t", "first")).toEqual({ bodies: [], recovered: false });
  });

  it("[REP1] maxMessages keeps the last ones, also inside a row", () => {
    const machine = filled({ retention: { maxMessages: 4 } }, FIVE);
    for (let i = 0; i < 2; i++) {
      expect(machine.history("t", "first")).toEqual({ bodies: ["2", "3", "4", "5"], recovered: false });
      machine.reopen();
    }
  });

  it("[REP1] maxAgeMs hides what is too old, before its row is dropped", () => {
    const machine = filled({ retention: { maxAgeMs: 250 } }, FIVE);
    expect(machine.history("t", "first").bodies).toEqual(["3", "4", "5"]);
    machine.pass(50);
    expect(machine.history("t", "first").bodies).toEqual(["4", "5"]);
    machine.pass(1_000);
    machine.reopen();
    expect(machine.history("t", "first").bodies).toEqual([]);
    expect(machine.publish({ topic: "t", body: "6" })).toMatchObject([{ seq: 6 }]);
    expect(machine.history("t", "first")).toEqual({ bodies: ["6"], recovered: false });
  });

  it("[REP1] [TOP2] the seq is kept when the last row was dropped", () => {
    const machine = filled({ retention: { maxAgeMs: 250 } }, FIVE);
    machine.pass(1_000);
    machine.sql.transaction(() => machine.topics.sweep(machine.now, true));
    expect(machine.topics.describe("t", machine.now)).toMatchObject({ stats: { stored: 0, seq: 5 } });
    machine.reopen();
    expect(machine.publish({ topic: "t", body: "6" })).toMatchObject([{ seq: 6 }]);
  });

  it("[REP1] maxBytes keeps the last messages that fit", () => {
    const machine = filled({ retention: { maxMessages: 100 } }, FIVE);
    const { stats } = machine.topics.describe("t", machine.now) as { stats: { storedBytes: number } };
    machine.configure("t", { retention: { maxMessages: null, maxBytes: (stats.storedBytes / 5) * 3 } });
    expect(machine.history("t", "first").bodies).toEqual(["3", "4", "5"]);
    machine.publish({ topic: "t", body: "6" });
    expect(machine.history("t", "first").bodies).toEqual(["4", "5", "6"]);
  });

  it("[REP1] one row per topic and turn, dropped whole when beyond the limits", () => {
    const machine = filled({ retention: { maxMessages: 2 } }, FIVE);
    const before = machine.sql.rowsWritten;
    machine.publish({ topic: "t", body: "6" }, { topic: "t", body: "7" });
    expect(machine.sql.rowsWritten - before).toBe(2);
    expect(machine.topics.describe("t", machine.now)).toMatchObject({ stats: { stored: 2 } });
  });

  /** Messages with ids of their own, one per turn, of which only the last is seen. */
  function withIds(settings: TopicSettingsPatch, count: number): TopicMachine {
    const machine = new TopicMachine();
    machine.configure("t", { dedupWindowMs: 1_000, ...settings });
    for (let i = 1; i <= count; i++) {
      machine.publish({ topic: "t", body: `${i}`, group: "g", messageId: `${i}`, publisherId: true });
      machine.pass(2);
    }
    return machine;
  }

  it.each<[string, TopicSettingsPatch]>([
    ["maxMessages", { retention: { maxMessages: 1 } }],
    ["maxBytes", { retention: { maxBytes: 150 } }],
    ["maxAgeMs", { retention: { maxAgeMs: 4 } }],
    ["compact", { retention: { maxMessages: 100 }, compact: true }],
    ["compact and maxBytes", { retention: { maxBytes: 150 }, compact: true }],
  ])(
    "[REP1] [TOP4] rows with ids in the dedup window stay on disk, where nobody sees them: %s",
    (_, settings) => {
      const machine = withIds(settings, 20);
      for (let i = 0; i < 2; i++) {
        expect(machine.history("t", "first")).toEqual({ bodies: ["20"], recovered: false });
        expect(machine.history("t", { seq: 18 })).toEqual({ bodies: ["20"], recovered: false });
        expect(machine.history("t", { seq: 19 })).toEqual({ bodies: ["20"], recovered: true });
        const again = { topic: "t", body: "again", messageId: "1", publisherId: true };
        expect(machine.publish(again)).toMatchObject([{ seq: 1, duplicate: true }]);
        expect(machine.sql.all("SELECT seq FROM history_1")).toHaveLength(20);
        machine.reopen();
      }
      machine.pass(1_000);
      machine.publish({ topic: "t", body: "21", group: "g" });
      expect(machine.history("t", "first").bodies).toEqual(["21"]);
      expect(machine.sql.all("SELECT seq FROM history_1").length).toBeLessThanOrEqual(2);
    },
  );

  it("[TOP4] rows whose ids the window had no room for do not stay", () => {
    const machine = withIds({ retention: { maxMessages: 1 } }, 1);
    for (let i = 0; i <= MAX_DEDUP_IDS; i += 1_000) {
      const ids = Array.from({ length: 1_000 }, (_, j) => `${i + j}`);
      machine.publish(...ids.map((messageId) => ({ topic: "u", body: "", messageId, publisherId: true })));
    }
    machine.pass(1);
    machine.publish({ topic: "t", body: "2" });
    expect(machine.sql.all("SELECT seq FROM history_1")).toHaveLength(1);
  });

  it("[REP2] expired messages are not read", () => {
    const machine = filled({ retention: { maxMessages: 10 } }, [["1"]]);
    machine.publish({ topic: "t", body: "2", expiresAt: machine.now + 10 }, { topic: "t", body: "3" });
    machine.pass(10);
    expect(machine.history("t", "first")).toEqual({ bodies: ["1", "3"], recovered: true });
  });

  it("[REP5] compaction keeps the last message of each group", () => {
    const machine = new TopicMachine();
    machine.configure("t", { compact: true, retention: { maxMessages: 100 } });
    const of = (group: string, body: string) => ({ topic: "t", group, body });
    machine.publish(of("a", "a1"), of("b", "b1"), of("a", "a2"));
    machine.publish(of("b", "b2"), of("", "plain"));
    machine.publish(of("a", "a3"));
    for (let i = 0; i < 2; i++) {
      expect(machine.history("t", "first")).toEqual({ bodies: ["b2", "plain", "a3"], recovered: false });
      expect(machine.topics.describe("t", machine.now)).toMatchObject({ stats: { stored: 3 } });
      machine.reopen();
    }
    machine.configure("t", { compact: false });
    machine.reopen();
    expect(machine.history("t", { seq: 2 }).recovered).toBe(false);
    expect(machine.history("t", { seq: 5 })).toEqual({ bodies: ["a3"], recovered: true });
  });
});

describe("reading", () => {
  const epochOf = (machine: TopicMachine) =>
    (machine.topics.describe("t", machine.now) as { epoch: number }).epoch;

  it("[REP3] from a seq, a time, the last ones, the first, or only new", () => {
    const machine = filled({ retention: { maxMessages: 100 } }, FIVE);
    const start = machine.now - 300;
    const whole = (from: Parameters<TopicMachine["history"]>[1], ...bodies: string[]) =>
      expect(machine.history("t", from)).toEqual({ bodies, recovered: true });
    for (let i = 0; i < 2; i++) {
      whole("first", "1", "2", "3", "4", "5");
      whole("last", "5");
      whole("new");
      whole({ last: 3 }, "3", "4", "5");
      whole({ last: 50 }, "1", "2", "3", "4", "5");
      whole({ seq: 0 }, "1", "2", "3", "4", "5");
      whole({ seq: 1, epoch: epochOf(machine) }, "2", "3", "4", "5");
      whole({ seq: 5 });
      whole({ time: start + 100 }, "3", "4", "5");
      whole({ time: start + 101 }, "4", "5");
      whole({ time: 0 }, "1", "2", "3", "4", "5");
      machine.reopen();
    }
  });

  it("[REP3] recovered is false when something may be missing", () => {
    const machine = filled({ retention: { maxMessages: 3 } }, FIVE);
    const { epoch } = machine.topics.describe("t", machine.now) as { epoch: number };
    expect(machine.history("t", { seq: 2, epoch })).toEqual({ bodies: ["3", "4", "5"], recovered: true });
    expect(machine.history("t", { seq: 1, epoch })).toEqual({ bodies: ["3", "4", "5"], recovered: false });
    expect(machine.history("t", { seq: 5, epoch: epoch - 1 })).toEqual({
      bodies: ["3", "4", "5"],
      recovered: false,
    });
    expect(machine.history("t", { seq: 9, epoch })).toEqual({ bodies: [], recovered: false });
    expect(machine.history("t", { last: 4 }).recovered).toBe(false);
    expect(machine.history("t", { time: 0 }).recovered).toBe(false);
  });

  it("[REP3] without history, only who has the last seq of this epoch misses nothing", () => {
    const machine = filled({}, FIVE);
    const epoch = epochOf(machine);
    expect(machine.history("t", { seq: 5, epoch })).toEqual({ bodies: [], recovered: true });
    expect(machine.history("t", { seq: 4, epoch }).recovered).toBe(false);
    expect(machine.history("t", { seq: 5 }).recovered).toBe(false);
    machine.reopen();
    machine.publish({ topic: "t", body: "6" });
    expect(machine.history("t", { seq: 5, epoch }).recovered).toBe(false);
  });

  it("[REP4] pages by bytes and goes on where a page ended, with what was published meanwhile", () => {
    const machine = filled({ retention: { maxMessages: 100 } }, FIVE);
    const found: string[] = [];
    let page = machine.subscribe("gateway-0", "t", { read: { from: "first", limitBytes: 250 } });
    machine.publish({ topic: "t", body: "6" });
    for (;;) {
      found.push(...bodiesOf(page));
      const { more, epoch } = page.topics[0]!;
      if (more === undefined) break;
      const from = { seq: more, epoch };
      page = machine.call(() =>
        machine.topics.read({ filter: "t", from, retained: "none", limitBytes: 250 }, machine.now),
      );
    }
    expect(found).toEqual(["1", "2", "3", "4", "5", "6"]);
  });

  it("[REP4] a wildcard reads every topic that matches, and tells where each stands", () => {
    const machine = filled({ retention: { maxMessages: 100 } }, FIVE);
    machine.configure("u", { retention: { maxMessages: 1 } });
    machine.publish({ topic: "u", body: "u1" }, { topic: "u", body: "u2" }, { topic: "v", body: "v1" });
    const answer = machine.subscribe("gateway-0", "+", { read: { from: "first" } });
    expect(bodiesOf(answer)).toEqual(["1", "2", "3", "4", "5", "u2"]);
    expect(answer.topics).toMatchObject([
      { topic: "t", seq: 5, recovered: true },
      { topic: "u", seq: 2, recovered: false },
      { topic: "v", seq: 1, recovered: false },
    ]);
    const short = machine.subscribe("gateway-0", "+", { read: { from: "first", limitBytes: 1 } });
    expect(bodiesOf(short)).toEqual(["1"]);
    expect(short.topics).toMatchObject([{ more: 1 }, { more: 1 }, {}]);
  });

  it("[REP4] an exact filter always has a position, an unknown topic's is 0", () => {
    const machine = new TopicMachine();
    expect(machine.subscribe("gateway-0", "x").topics).toMatchObject([
      { topic: "x", seq: 0, recovered: true },
    ]);
  });

  it("[TOP9] [REP1] deleting the topic deletes its history", () => {
    const machine = filled({ retention: { maxMessages: 3 } }, FIVE);
    machine.call(() => machine.topics.remove("t", machine.now));
    for (let i = 0; i < 2; i++) {
      expect(machine.topics.describe("t", machine.now)).toMatchObject({ kind: "not-found" });
      machine.reopen();
    }
  });
});
