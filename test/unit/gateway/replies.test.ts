// Who waits for which reply: every request ends once, by its reply, its time or its owner's end. Time is stepped.
import { describe, expect, it } from "vitest";
import { isRefusal, type Refusal, refuse } from "../../../worker/errors.ts";
import { Replies, type ReplyDone } from "../../../worker/gateway/replies.ts";
import {
  MAX_GATEWAY_REQUESTS,
  MAX_KEPT_REPLY_BYTES,
  MAX_REQUEST_KEY_CHARS,
  MAX_WAITING_REQUESTS,
} from "../../../worker/limits.ts";
import { message } from "../../support/message.ts";

/** One gateway's requests, and what each was told. */
class Bench {
  readonly replies = new Replies();
  readonly told: [topic: string, outcome: unknown][] = [];

  open(topic: string, deadline: number, owner = "ann", key = ""): Refusal | undefined {
    return this.replies.open(topic, { namespace: "n", owner, key, deadline, done: this.#hears(topic) });
  }

  goOn(key: string, owner: string, name: string): boolean {
    return this.replies.goOn({ key, owner, done: this.#hears(name) });
  }

  take(topic: string, body: string, namespace = "n", bytes = 100): string | undefined {
    return this.replies.take(namespace, topic, bytes, () => message({ body }))?.kind;
  }

  #hears(name: string): ReplyDone {
    return (outcome) => this.told.push([name, isRefusal(outcome) ? outcome.kind : outcome.body]);
  }
}

describe("a reply", () => {
  it("[REQ6] ends its request: a second one finds nobody", () => {
    const bench = new Bench();
    bench.open("a", 1_000);
    bench.open("b", 1_000);
    expect(bench.take("a", "first")).toBeUndefined();
    expect(bench.take("a", "second")).toBe("not-found");
    expect(bench.told).toEqual([["a", "first"]]);
  });

  it("[REQ6] of an unknown topic or another namespace finds nobody, and is not even read", () => {
    const bench = new Bench();
    bench.open("a", 1_000);
    const unread = () => {
      throw new Error("read");
    };
    expect(bench.replies.take("n", "forged", 1, unread)?.kind).toBe("not-found");
    expect(bench.replies.take("other", "a", 1, unread)?.kind).toBe("not-found");
    expect(bench.take("a", "right")).toBeUndefined();
    expect(bench.told).toEqual([["a", "right"]]);
  });

  it("[REQ1] may make who asked ask again at once", () => {
    const bench = new Bench();
    const done = () => void bench.open("b", 2_000);
    bench.replies.open("a", { namespace: "n", owner: "ann", key: "", deadline: 1_000, done });
    expect(bench.take("a", "one")).toBeUndefined();
    expect(bench.take("b", "two")).toBeUndefined();
    expect(bench.told).toEqual([["b", "two"]]);
  });
});

describe("time", () => {
  it("[REQ5] ends those whose time is over, never before and at most 10 ms after", () => {
    const bench = new Bench();
    bench.open("a", 1_003);
    bench.open("b", 1_010);
    bench.open("c", 5_000);
    expect(bench.replies.nextDeadline).toBe(1_010);
    bench.replies.expire(1_009);
    expect(bench.told).toEqual([]);
    bench.replies.expire(1_010);
    expect(bench.told).toEqual([
      ["a", "timeout"],
      ["b", "timeout"],
    ]);
    expect(bench.replies.nextDeadline).toBe(5_000);
    expect(bench.take("a", "late")).toBe("not-found");
  });

  it("[REQ5] nobody waits, nothing is due: the object may sleep", () => {
    const bench = new Bench();
    expect(bench.replies.nextDeadline).toBe(Number.POSITIVE_INFINITY);
    bench.open("a", 1_000);
    bench.open("b", 2_000);
    bench.take("a", "x");
    bench.replies.fail("b", refuse("no-responders", "nobody"));
    expect(bench.replies.nextDeadline).toBe(Number.POSITIVE_INFINITY);
    expect(bench.told).toEqual([
      ["a", "x"],
      ["b", "no-responders"],
    ]);
  });

  it("[REQ5] a deadline that nobody has any more is passed over", () => {
    const bench = new Bench();
    bench.open("a", 1_000);
    bench.open("b", 2_000);
    bench.take("a", "x");
    bench.replies.expire(1_000);
    expect(bench.replies.nextDeadline).toBe(2_000);
    expect(bench.told).toHaveLength(1);
  });
});

describe("an owner", () => {
  it("[REQ8] that is gone hears nothing any more, and others go on", () => {
    const bench = new Bench();
    bench.open("a", 1_000, "ann");
    bench.open("b", 1_000, "ann");
    bench.open("c", 1_000, "bob");
    bench.replies.leave("ann");
    expect(bench.take("a", "late")).toBe("not-found");
    bench.replies.expire(1_000);
    expect(bench.told).toEqual([["c", "timeout"]]);
  });

  it("[REQ15] waits for so many replies at most, and the gateway for so many in all", () => {
    const bench = new Bench();
    for (let index = 0; index < MAX_WAITING_REQUESTS; index++) bench.open(`ann ${index}`, 1_000, "ann");
    expect(bench.open("ann more", 1_000, "ann")).toMatchObject({ kind: "too-many" });
    expect(bench.open("bob 0", 1_000, "bob")).toBeUndefined();
    for (let index = MAX_WAITING_REQUESTS + 1; index < MAX_GATEWAY_REQUESTS; index++) {
      bench.open(`other ${index}`, 1_000, `other ${index % 20}`);
    }
    expect(bench.open("bob 1", 1_000, "bob")).toMatchObject({ kind: "too-many" });
    bench.take("ann 0", "x");
    expect(bench.open("bob 1", 1_000, "bob")).toBeUndefined();
    bench.replies.expire(1_000);
    expect(bench.told).toHaveLength(MAX_GATEWAY_REQUESTS + 1);
    expect(bench.replies.nextDeadline).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("who asks again", () => {
  it("[REQ11] takes the place of the one before, which is told so", () => {
    const bench = new Bench();
    bench.open("a", 1_000, "ann", "k");
    expect(bench.goOn("other", "bob", "again")).toBe(false);
    expect(bench.goOn("k", "ann 2", "again")).toBe(true);
    expect(bench.take("a", "x")).toBeUndefined();
    expect(bench.told).toEqual([
      ["a", "conflict"],
      ["again", "x"],
    ]);
    expect(bench.goOn("k", "ann 3", "once more")).toBe(false);
  });

  it("[REQ11] after its connection was lost hears the reply, be it there already or not", () => {
    const bench = new Bench();
    bench.open("a", 1_000, "ann", "k");
    bench.open("b", 1_000, "ann", "l");
    bench.open("c", 1_000, "ann");
    bench.replies.leave("ann");
    expect(bench.take("a", "early")).toBeUndefined();
    expect(bench.take("a", "second")).toBe("not-found");
    expect(bench.take("c", "for nobody")).toBe("not-found");
    expect(bench.goOn("k", "ann 2", "k again")).toBe(true);
    expect(bench.goOn("l", "ann 2", "l again")).toBe(true);
    expect(bench.take("b", "late")).toBeUndefined();
    expect(bench.told).toEqual([
      ["k again", "early"],
      ["l again", "late"],
    ]);
    expect(bench.replies.nextDeadline).toBe(Number.POSITIVE_INFINITY);
  });

  it("[REQ11] too late waits for nothing: the time is that of the first asking", () => {
    const bench = new Bench();
    bench.open("a", 1_000, "ann", "k");
    bench.replies.leave("ann");
    bench.take("a", "early");
    bench.replies.expire(1_000);
    expect(bench.goOn("k", "ann 2", "again")).toBe(false);
    expect(bench.told).toEqual([]);
  });

  it("[REQ11] a connection that is left for another takes nothing with it", () => {
    const bench = new Bench();
    bench.open("a", 1_000, "ann", "k");
    bench.goOn("k", "ann 2", "again");
    bench.replies.leave("ann");
    bench.take("a", "x");
    expect(bench.told.at(-1)).toEqual(["again", "x"]);
  });

  it("[REQ15] so many bytes of replies are kept at most, and what was given back makes room", () => {
    const bench = new Bench();
    for (const topic of ["a", "b", "c"]) bench.open(topic, 1_000, "ann", `key of ${topic}`);
    bench.replies.leave("ann");
    expect(bench.take("a", "x", "n", MAX_KEPT_REPLY_BYTES - 10)).toBeUndefined();
    expect(bench.take("b", "y", "n", 11)).toBe("too-many");
    expect(bench.take("b", "y", "n", 10)).toBeUndefined();
    bench.goOn("key of a", "ann 2", "again");
    expect(bench.take("c", "z", "n", 100)).toBeUndefined();
  });
});

it("[INP12] requests that can be asked again have a limit on what they are known by", () => {
  const bench = new Bench();
  const chars = 2_000_000;
  for (let at = 0; at < MAX_REQUEST_KEY_CHARS / chars; at++) {
    expect(bench.open(`${at}`, 1_000, "ann", `${at}`.padEnd(chars))).toBeUndefined();
  }
  expect(bench.open("more", 1_000, "bob", "k")?.kind).toBe("too-many");
  expect(bench.open("without", 1_000, "bob")).toBeUndefined();
  bench.take("0", "reply");
  expect(bench.open("more", 1_000, "bob", "k")).toBeUndefined();
});
