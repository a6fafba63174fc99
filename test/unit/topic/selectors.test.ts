// Bindings with selectors: what a topic object stores and sends for a queue that does not want everything.
import { describe, expect, it } from "vitest";
import { TopicMachine } from "../../support/topics.ts";

function draft(body: string, color?: string) {
  return { topic: "t", body, headers: color === undefined ? "" : JSON.stringify({ color }) };
}

function bind(machine: TopicMachine, filter: string, selector?: string, queue = "q"): void {
  machine.call(() => machine.topics.interests.add(filter, `queue:${queue}`, true, 0, selector));
}

describe("a binding with a selector", () => {
  it("[SEL14] carries only what matches, and nothing is stored for what does not", () => {
    const machine = new TopicMachine();
    bind(machine, "t", "color = 'blue'");
    const before = machine.sql.rowsWritten;
    machine.publish(draft("1"), draft("2", "red"));
    expect(machine.sql.rowsWritten).toBe(before);
    expect(machine.at("queue:q").calls).toBe(0);
    machine.publish(draft("3", "blue"), draft("4", "red"), draft("5", "blue"));
    expect(machine.at("queue:q").bodies()).toEqual(["3", "5"]);
  });

  it("[SEL14] two bindings of a queue that both match carry a message once; one without a selector lets everything through", () => {
    const machine = new TopicMachine();
    bind(machine, "t", "color = 'blue'");
    bind(machine, "+", "color LIKE 'b%'");
    machine.publish(draft("1", "blue"), draft("2", "brown"), draft("3", "red"));
    expect(machine.at("queue:q").bodies()).toEqual(["1", "2"]);
    bind(machine, "#");
    machine.publish(draft("4", "blue"), draft("5", "red"));
    expect(machine.at("queue:q").bodies()).toEqual(["4", "5"]);
    machine.call(() => machine.topics.interests.remove("#", "queue:q"));
    machine.publish(draft("6", "red"));
    expect(machine.at("queue:q").bodies()).toEqual([]);
  });

  it("[SEL14] is its queue's alone: another queue and a gateway get everything", () => {
    const machine = new TopicMachine();
    machine.subscribe("gateway-0", "t");
    bind(machine, "t", "color = 'blue'");
    bind(machine, "t", undefined, "other");
    machine.publish(draft("1", "red"), draft("2", "blue"));
    expect(machine.at("queue:q").bodies()).toEqual(["2"]);
    expect(machine.at("queue:other").bodies()).toEqual(["1", "2"]);
    expect(machine.at("gateway-0").bodies()).toEqual(["1", "2"]);
  });

  it("[SEL15] another selector, or none, takes the place of the one before", () => {
    const machine = new TopicMachine();
    bind(machine, "t", "color = 'blue'");
    machine.publish(draft("1", "red"));
    bind(machine, "t", "color = 'red'");
    machine.publish(draft("2", "red"), draft("3", "blue"));
    bind(machine, "t");
    machine.publish(draft("4", "blue"));
    expect(machine.at("queue:q").bodies()).toEqual(["2", "4"]);
  });

  it("[SEL15] the Directory's word counts when the object enters itself, also where only a selector is another", () => {
    const machine = new TopicMachine();
    bind(machine, "t", "color = 'blue'");
    machine.topics.interests.beginEnter();
    machine.topics.interests.enter([
      { filter: "t", target: "queue:q", durable: true, selector: "color = 'red'" },
    ]);
    machine.publish(draft("1", "red"), draft("2", "blue"));
    expect(machine.at("queue:q").bodies()).toEqual(["1"]);
  });

  it("[SEL14] sees the time that the topic gives, the publisher's fields, and the topic's name", () => {
    const machine = new TopicMachine();
    bind(
      machine,
      "t",
      `time = ${machine.now} AND topic = 't' AND priority = 3 AND "group" IS NULL AND attempt IS NULL`,
    );
    machine.publish({ topic: "t", body: "1", priority: 3, time: 5 });
    expect(machine.at("queue:q").bodies()).toEqual(["1"]);
  });
});
