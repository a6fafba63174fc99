// Which object owns a topic.
import { describe, expect, it } from "vitest";
import { ownTopic, topicObjectName } from "../../../worker/topic/placement.ts";

describe("placement", () => {
  it("[TOP19] every topic has its own object when there are no buckets", () => {
    for (const TOPIC_BUCKETS of ["0", "", "-1", "x", "1.5"]) {
      expect(topicObjectName({ TOPIC_BUCKETS }, "ns", "a/b")).toBe("ns:a/b");
    }
    expect(topicObjectName({}, "ns", "a:b")).toBe("ns:a:b");
  });

  it("[TOP19] buckets are chosen by the name alone, evenly, but for filters with objects of their own", () => {
    const vars = { TOPIC_BUCKETS: "8", TOPIC_OWN: "big/#, $SYS/+" };
    const counts = new Map<string, number>();
    for (let i = 0; i < 8_000; i++) {
      const name = topicObjectName(vars, "ns", `sensors/${i}/value`);
      expect(name).toBe(topicObjectName(vars, "ns", `sensors/${i}/value`));
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual(Array.from({ length: 8 }, (_, i) => `ns:#${i}`));
    for (const count of counts.values()) expect(count).toBeGreaterThan(800);
    expect(topicObjectName(vars, "ns", "big/one")).toBe("ns:big/one");
    expect(topicObjectName(vars, "ns", "$SYS/uptime")).toBe("ns:$SYS/uptime");
  });

  it("[TOP19] stays where it is for ever", () => {
    expect(topicObjectName({ TOPIC_BUCKETS: "64" }, "default", "news")).toBe("default:#50");
  });

  it("tells an object of one topic from a pool", () => {
    expect(ownTopic("ns:a:b")).toBe("a:b");
    expect(ownTopic("ns:#3")).toBeUndefined();
  });
});
