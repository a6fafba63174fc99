// Retained messages: kept, replaced, removed, handed out.
import { describe, expect, it } from "vitest";
import { bodiesOf, TopicMachine } from "../../support/topics.ts";

const kept = (topic: string, body: string, more = {}) => ({ topic, body, retain: true, ...more });

describe("retained messages", () => {
  it("[RTN1] [RTN5] the last one of a turn is kept, over a restart too, for one row", () => {
    const machine = new TopicMachine();
    const before = machine.sql.rowsWritten;
    machine.publish(kept("a", "1"), kept("a", "2"));
    expect(machine.sql.rowsWritten - before).toBe(1);
    machine.reopen();
    expect(machine.retained("a")).toBe("2");
    expect(machine.topics.counts().retained).toBe(1);
  });

  it("[RTN2] an empty one removes it, goes to live subscribers, and is not kept", () => {
    const machine = new TopicMachine();
    machine.subscribe("gateway-0", "a");
    machine.publish(kept("a", "1"));
    machine.publish(kept("a", ""));
    expect(machine.retained("a")).toBeUndefined();
    expect(machine.at("gateway-0").got.map(({ body, retain }) => [body, retain])).toEqual([
      ["1", true],
      ["", true],
    ]);
    machine.reopen();
    expect(machine.retained("a")).toBeUndefined();
  });

  it("[RTN3] a message without the flag leaves it as it is", () => {
    const machine = new TopicMachine();
    machine.publish(kept("a", "1"), { topic: "a", body: "2" }, { topic: "a", body: "" });
    expect(machine.retained("a")).toBe("1");
  });

  it("[RTN4] one that has expired is handed out no more, and its row goes", () => {
    const machine = new TopicMachine();
    machine.publish(kept("a", "1", { expiresAt: machine.now + 500 }));
    expect(machine.retained("a")).toBe("1");
    machine.pass(500);
    expect(bodiesOf(machine.subscribe("gateway-0", "#", { read: { retained: "send" } }))).toEqual([]);
    expect(machine.topics.counts().retained).toBe(0);
    machine.reopen();
    expect(machine.topics.counts().retained).toBe(0);
  });

  it("[RTN6] a subscription gets those of all topics that match, by topic, paged by bytes", () => {
    const machine = new TopicMachine();
    machine.publish(...["b", "a", "c", "d"].map((name) => kept(`t/${name}`, name)), kept("u", "u"));
    const read = { retained: "send" as const };
    expect(bodiesOf(machine.subscribe("gateway-0", "t/+", { read }))).toEqual(["a", "b", "c", "d"]);
    expect(bodiesOf(machine.subscribe("gateway-0", "t/c", { read }))).toEqual(["c"]);
    const found: string[] = [];
    let after: string | undefined;
    do {
      const page = machine.subscribe("gateway-0", "t/+", {
        read: { ...read, limitBytes: 250, ...(after && { retainedAfter: after }) },
      });
      expect(page.retained).toBeLessThanOrEqual(2);
      found.push(...bodiesOf(page));
      after = page.moreRetained;
    } while (after !== undefined);
    expect(found).toEqual(["a", "b", "c", "d"]);
  });

  it("[RTN7] the topic's deletion removes it", () => {
    const machine = new TopicMachine();
    machine.publish(kept("a", "1"));
    machine.call(() => machine.topics.remove("a", machine.now));
    machine.reopen();
    expect(machine.retained("a")).toBeUndefined();
  });
});
