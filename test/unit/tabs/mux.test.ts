import { describe, expect, it } from "vitest";
import type { Join, Word } from "../../../client/tabs/messages.ts";
import { MAX_KEPT_CHARS, MAX_TABS, MAX_UNANSWERED, Mux } from "../../../client/tabs/mux.ts";
import { chooseTab, firstNumberOf, NUMBERS, tabOf } from "../../../client/tabs/numbers.ts";
import type { Frame } from "./fake-broker.ts";

const LEADER = 1;
const OTHER = 2;
const own = (tab: number, n: number) => firstNumberOf(tab) + n;

/** A mux whose ends are lists. */
class Bench {
  readonly broker: Frame[] = [];
  readonly words: [number, Word][] = [];
  readonly gone = new Set<number>();
  readonly mux: Mux;

  constructor(live: number[] = [], session?: string) {
    this.mux = new Mux(join(LEADER, session), live, this.gone, {
      toBroker: (text) => this.broker.push(text === "ping" ? { op: "ping" } : (JSON.parse(text) as Frame)),
      toTab: (tab, word) => this.words.push([tab, word]),
    });
  }

  /** The broker welcomes the leader. */
  welcome(resumed = false): this {
    this.mux.opened();
    this.send(LEADER, { op: "hello", id: 1 });
    this.receive({ op: "welcome", id: 1, session: "s", resumed, client: "c" });
    return this;
  }

  join(tab: number, fields: Partial<Join> = {}): this {
    this.mux.join({ ...join(tab), ...fields });
    return this;
  }

  hello(tab: number, fields: object = {}): this {
    return this.send(tab, { op: "hello", id: 1, ...fields });
  }

  send(tab: number, frames: object, life = `life-${tab}`): this {
    this.mux.fromTab(tab, life, JSON.stringify(frames));
    return this;
  }

  receive(frames: object): this {
    this.mux.fromBroker(JSON.stringify(frames));
    return this;
  }

  /** What a tab was sent since the last call, texts as what they hold. */
  got(tab: number): unknown[] {
    const words = this.words.filter(([to]) => to === tab).map(([, word]) => word);
    this.words.splice(0, this.words.length, ...this.words.filter(([to]) => to !== tab));
    return words.map((word) => (word.kind === "text" ? parsed(word.text) : word.kind));
  }

  /** What the broker was sent since the last call. */
  asked(): Frame[] {
    return this.broker.splice(0);
  }
}

const join = (tab: number, session?: string): Join => ({
  kind: "join",
  tab,
  life: `life-${tab}`,
  session,
  subs: [],
});
const parsed = (text: string): unknown => (text === "pong" ? text : JSON.parse(text));
const message = (tab: number, n: number, seq = 1) => ({
  op: "message",
  sub: own(tab, n),
  seq,
  to: "topic:t",
});

/** A bench with both tabs welcomed. */
function both(): Bench {
  const bench = new Bench().welcome().join(OTHER).hello(OTHER);
  bench.got(LEADER);
  bench.got(OTHER);
  bench.asked();
  return bench;
}

describe("numbers", () => {
  it("[TAB2] of any tab and count are safe integers, and tell the tab", () => {
    for (const chance of [0, 0.5, 1 - 2 ** -32]) {
      const tab = chooseTab(chance);
      expect(tab).toBeGreaterThanOrEqual(1);
      const last = firstNumberOf(tab) + NUMBERS - 1;
      expect(Number.isSafeInteger(last)).toBe(true);
      expect([tabOf(firstNumberOf(tab)), tabOf(last)]).toEqual([tab, tab]);
    }
  });

  it("[TAB2] that are not a tab's own end that tab alone", () => {
    const bench = both().send(OTHER, { op: "publish", id: own(LEADER, 5) });
    expect(bench.asked()).toEqual([]);
    expect(bench.words.find(([, word]) => word.kind === "close")).toMatchObject([OTHER, { code: 4400 }]);
    bench.send(LEADER, { op: "publish", id: own(LEADER, 5) });
    expect(bench.asked().length).toBe(1);
  });
});

describe("frames", () => {
  it("[TAB1] of the broker are split by tab, in their order, and each tab's joined again", () => {
    const bench = both();
    const [a, b, c] = [message(OTHER, 1), message(LEADER, 1), message(OTHER, 2)];
    const answer = { op: "ok", id: own(OTHER, 9) };
    bench.receive([a, b, answer, c]);
    expect(bench.got(OTHER)).toEqual([[a, answer, c]]);
    expect(bench.got(LEADER)).toEqual([b]);
  });

  it("[TAB1] that name nobody, and what concerns the token, are the leader's", () => {
    const bench = both();
    const frames = [
      { op: "event", kind: "expiring" },
      { op: "error", kind: "internal" },
      { op: "ok", id: 2 },
    ];
    for (const frame of frames) bench.receive(frame);
    expect(bench.got(LEADER)).toEqual(frames);
    expect(bench.got(OTHER)).toEqual([]);
    bench.send(OTHER, { op: "auth", id: 2, token: "t" });
    expect(bench.asked()).toEqual([]);
    expect(bench.got(OTHER)).toEqual([{ op: "ok", id: 2 }]);
  });

  it("[TAB1] a pong answers every tab", () => {
    const bench = both();
    bench.mux.fromTab(OTHER, "life-2", "ping");
    expect(bench.asked()).toEqual([{ op: "ping" }]);
    bench.mux.fromBroker("pong");
    expect([bench.got(LEADER), bench.got(OTHER)]).toEqual([["pong"], ["pong"]]);
  });

  it("[TAB10] beyond what the broker takes unanswered wait, and leave as answers come", () => {
    const bench = both();
    const batch = (tab: number, from: number) =>
      Array.from({ length: 1_000 }, (_, n) => ({ op: "publish", id: own(tab, from + n) }));
    for (let from = 0; from < MAX_UNANSWERED; from += 1_000) bench.send(OTHER, batch(OTHER, from));
    bench.asked();
    bench.send(LEADER, { op: "publish", id: own(LEADER, 5) });
    expect(bench.asked()).toEqual([]);
    bench.receive({ op: "ok", id: own(OTHER, 0) });
    expect(bench.asked()).toEqual([{ op: "publish", id: own(LEADER, 5) }]);
  });

  it("[TAB10] of one tab too many are turned away for now", () => {
    const live = Array.from({ length: MAX_TABS - 1 }, (_, n) => n + 2);
    const bench = new Bench(live).welcome().join(9_999);
    expect(bench.got(9_999)).toEqual(["close"]);
  });
});

describe("a tab that comes", () => {
  it("[TAB3] from another leader's connection goes on with what came meanwhile", () => {
    const bench = new Bench([OTHER], "s").welcome(true);
    bench.receive(message(OTHER, 1));
    bench.join(OTHER, { session: "s", subs: [own(OTHER, 1)] });
    bench.receive(message(OTHER, 1, 2));
    bench.hello(OTHER);
    expect(bench.got(OTHER)).toEqual([
      "open",
      expect.objectContaining({ op: "welcome", id: 1, resumed: true }),
      [message(OTHER, 1), message(OTHER, 1, 2)],
    ]);
    expect(bench.asked().map(({ op }) => op)).toEqual(["hello"]);
  });

  it("[TAB3] with another session begins anew, and what it may have left there ends", () => {
    const bench = new Bench([OTHER], "s").welcome(true);
    bench.asked();
    bench.receive(message(OTHER, 1));
    bench.join(OTHER, { session: "older", subs: [own(OTHER, 7)] }).hello(OTHER);
    expect(bench.got(OTHER)).toEqual(["open", expect.objectContaining({ resumed: false })]);
    expect(bench.asked().map(({ op, sub }) => [op, sub])).toEqual([
      ["unsubscribe", own(OTHER, 1)],
      ["unsubscribe", own(OTHER, 7)],
    ]);
  });

  it("[TAB3] a second time over one socket begins anew, also over the next one, until it has been told", () => {
    const bench = both();
    bench.send(OTHER, { op: "subscribe", id: own(OTHER, 3), sub: own(OTHER, 1), to: "queue:q" });
    bench.mux.leave(OTHER, "life-2");
    expect(bench.asked().map(({ op }) => op)).toEqual(["subscribe", "unsubscribe"]);
    expect(bench.got(OTHER)).toEqual(["forget"]);
    expect([...bench.gone]).toEqual([OTHER]);
    bench.join(OTHER, { session: "s", life: "second" });
    bench.send(OTHER, { op: "hello", id: 1 }, "second");
    expect(bench.got(OTHER)).toEqual(["open", expect.objectContaining({ resumed: false })]);
    expect([...bench.gone]).toEqual([]);
  });

  it("[TAB3] resumes a topic's place by a subscription from there, and hears nothing of the one before", () => {
    const bench = new Bench([OTHER], "s").welcome(true);
    bench.asked();
    bench.receive(message(OTHER, 1, 9));
    bench.join(OTHER, { session: "s" });
    const place = { sub: own(OTHER, 1), to: "topic:t", epoch: 1, seq: 6, credit: 10 };
    bench.hello(OTHER, { resume: [place] });
    const [end, begin] = bench.asked();
    expect(end).toMatchObject({ op: "unsubscribe", sub: place.sub });
    expect(begin).toMatchObject({ op: "subscribe", sub: place.sub, credit: 10, from: { epoch: 1, seq: 6 } });
    bench.receive(message(OTHER, 1, 10));
    bench.receive([{ op: "ok", id: begin!.id, epoch: 1, seq: 10, recovered: true }, message(OTHER, 1, 7)]);
    expect(bench.got(OTHER)).toEqual([
      "open",
      expect.objectContaining({ op: "welcome", resumed: true }),
      { op: "event", kind: "resumed", sub: place.sub, epoch: 1, seq: 10, recovered: true },
      message(OTHER, 1, 7),
    ]);
  });

  it("[TAB3] and is refused its place is told that the subscription is gone", () => {
    const bench = new Bench([OTHER], "s").welcome(true).join(OTHER, { session: "s" });
    bench.hello(OTHER, { resume: [{ sub: own(OTHER, 1), to: "topic:t", epoch: 1, seq: 6, credit: 10 }] });
    const { id } = bench.asked().at(-1)!;
    bench.receive({ op: "error", id, kind: "forbidden", message: "not for you" });
    const gone = { op: "event", kind: "gone", sub: own(OTHER, 1), reason: "forbidden: not for you" };
    expect(bench.got(OTHER).at(-1)).toEqual(gone);
  });

  it("[TAB10] too late for what was kept for it begins anew", () => {
    const bench = new Bench([OTHER], "s").welcome(true);
    const big = { ...message(OTHER, 1), body: "x".repeat(MAX_KEPT_CHARS) };
    bench.receive(big);
    expect(bench.got(OTHER)).toEqual(["forget"]);
    expect(bench.asked().at(-1)).toMatchObject({ op: "unsubscribe", sub: own(OTHER, 1) });
    bench.join(OTHER, { session: "s" }).hello(OTHER);
    expect(bench.got(OTHER)).toEqual(["open", expect.objectContaining({ resumed: false })]);
  });
});

describe("a tab that is not there", () => {
  it("[TAB4] has its subscription ended by the first message for it, once", () => {
    const bench = both();
    bench.receive([message(77, 1), message(77, 1, 2)]);
    const asked = bench.asked();
    expect(asked).toMatchObject([{ op: "unsubscribe", sub: own(77, 1) }]);
    bench.receive({ op: "ok", id: asked[0]!.id });
    bench.receive(message(77, 1, 3));
    expect(bench.asked().length).toBe(1);
  });

  it("[TAB4] is not answered, and what waited to be sent for it is not sent", () => {
    const bench = both();
    bench.send(OTHER, { op: "publish", id: own(OTHER, 3) });
    bench.mux.drop(OTHER);
    bench.got(OTHER);
    bench.receive({ op: "ok", id: own(OTHER, 3) });
    bench.send(OTHER, { op: "publish", id: own(OTHER, 4) });
    expect(bench.got(OTHER)).toEqual([]);
    expect(bench.asked().map(({ id }) => id)).toEqual([own(OTHER, 3)]);
  });
});

describe("a socket that is lost", () => {
  it("[TAB3] closes the others' so that they come again, and the leader's as it was closed; who waits goes on waiting", () => {
    const bench = both().join(3);
    bench.got(3);
    const late = new Bench().join(OTHER);
    expect(late.got(OTHER)).toEqual(["wait"]);
    expect(late.mux.closed(1006, "").map(({ tab }) => tab)).toEqual([OTHER]);
    bench.words.length = 0;
    expect(bench.mux.closed(4401, "expired")).toEqual([]);
    expect(bench.words.map(([tab, word]) => [tab, word.kind === "close" && word.code])).toEqual([
      [LEADER, 4401],
      [OTHER, 1012],
      [3, 1012],
    ]);
  });
});
