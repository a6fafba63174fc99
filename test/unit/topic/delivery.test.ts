// Who gets what, and what a target that does not answer finds when it comes back.
import { describe, expect, it } from "vitest";
import { TopicMachine } from "../../support/topics.ts";

const say = (...bodies: string[]) => bodies.map((body) => ({ topic: "t", body }));

describe("interest", () => {
  it("[TOP10] an exact interest is remembered over a restart, for one row", () => {
    const machine = new TopicMachine();
    machine.subscribe("gateway-0", "t");
    const before = machine.sql.rowsWritten;
    machine.subscribe("gateway-0", "t");
    expect(machine.sql.rowsWritten).toBe(before);
    machine.reopen();
    machine.publish(...say("a"));
    expect(machine.at("gateway-0").bodies()).toEqual(["a"]);
    machine.unsubscribe("gateway-0", "t");
    machine.reopen();
    machine.publish(...say("b"));
    expect(machine.at("gateway-0").bodies()).toEqual([]);
  });

  it("[TOP10] a gateway gets a message once, whatever number of its filters match", () => {
    const machine = new TopicMachine();
    for (const filter of ["t", "+", "#"]) machine.subscribe("gateway-0", filter);
    machine.publish(...say("a"));
    expect(machine.at("gateway-0").bodies()).toEqual(["a"]);
  });

  it("[TOP11] a gateway that wants a topic no more is forgotten, unless it subscribed again since", () => {
    const machine = new TopicMachine();
    machine.subscribe("gateway-0", "t");
    machine.publish(...say("a"));
    machine.subscribe("gateway-0", "t");
    machine.call(() => machine.topics.interests.unwanted("t", "gateway-0", 1));
    machine.publish(...say("b"));
    expect(machine.at("gateway-0").bodies()).toEqual(["a", "b"]);
    machine.call(() => machine.topics.interests.unwanted("t", "gateway-0", 2));
    machine.publish(...say("c"));
    expect(machine.at("gateway-0").bodies()).toEqual([]);
  });

  it("[TOP12] the Directory's answer replaces the filters, but for what changed while it was asked", () => {
    const machine = new TopicMachine();
    const { interests } = machine.topics;
    const filter = (name: string) => ({ filter: "#", target: name, durable: false });
    interests.beginEnter();
    interests.add("+", "gateway-2", false, 0);
    interests.remove("#", "gateway-1");
    interests.enter([filter("gateway-0"), filter("gateway-1")]);
    expect(interests.targets("t").map(({ name }) => name)).toEqual(["gateway-0", "gateway-2"]);
    interests.beginEnter();
    interests.enter([filter("gateway-3")]);
    expect(interests.targets("t").map(({ name }) => name)).toEqual(["gateway-3"]);
  });
});

describe("what must arrive", () => {
  it("[TOP13] is sent again in order until it is confirmed, later messages wait behind it", () => {
    const machine = new TopicMachine();
    machine.subscribe("gateway-0", "t", { durable: true });
    machine.publish(...say("a"));
    const gateway = machine.at("gateway-0");
    gateway.up = false;
    machine.publish(...say("b"));
    gateway.up = true;
    machine.publish(...say("c"));
    expect(gateway.bodies()).toEqual(["a"]);
    machine.pass(1_000);
    expect(gateway.bodies()).toEqual(["b", "c"]);
    machine.publish(...say("d"));
    expect(gateway.bodies()).toEqual(["d"]);
  });

  it("[TOP13] comes once when only the answer was lost, over a restart too", () => {
    for (const restart of [false, true]) {
      const machine = new TopicMachine();
      machine.subscribe("gateway-0", "t", { durable: true });
      const gateway = machine.at("gateway-0");
      gateway.answers = false;
      machine.publish(...say("a"));
      machine.publish(...say("b"));
      gateway.answers = true;
      if (restart) machine.reopen();
      machine.pass(5_000);
      expect(gateway.bodies()).toEqual(["a", "b"]);
      machine.reopen();
      machine.travel();
      expect(gateway.bodies()).toEqual([]);
    }
  });

  it("[TOP13] survives restarts while the gateway is away", () => {
    const machine = new TopicMachine();
    machine.subscribe("gateway-0", "t", { durable: true });
    machine.subscribe("gateway-1", "t", { durable: true });
    machine.at("gateway-0").up = false;
    for (const body of ["a", "b", "c"]) {
      machine.publish(...say(body));
      machine.reopen();
      machine.travel();
    }
    expect(machine.at("gateway-1").bodies()).toEqual(["a", "b", "c"]);
    machine.at("gateway-0").up = true;
    machine.pass(60_000);
    expect(machine.at("gateway-0").bodies()).toEqual(["a", "b", "c"]);
    expect(machine.topics.outbox.waiting).toBe(false);
  });

  it("[TOP14] a target that answers is not held up by one that does not", () => {
    const machine = new TopicMachine();
    machine.subscribe("gateway-0", "t", { durable: true });
    machine.subscribe("gateway-1", "t", { durable: true });
    machine.at("gateway-0").up = false;
    machine.publish(...say("a"));
    machine.publish(...say("b"));
    expect(machine.at("gateway-1").bodies()).toEqual(["a", "b"]);
  });

  it("[TOP15] QoS 0 is dropped while a gateway does not answer, and for a gateway alone", () => {
    const machine = new TopicMachine();
    machine.subscribe("gateway-0", "t", { durable: true });
    machine.topics.interests.add("t", "queue:q", true, 0);
    machine.at("gateway-0").up = false;
    machine.publish({ topic: "t", body: "a" }, { topic: "t", body: "b", qos: 0 });
    machine.at("gateway-0").up = true;
    machine.pass(1_000);
    expect(machine.at("gateway-0").bodies()).toEqual(["a"]);
    expect(machine.at("queue:q").bodies()).toEqual(["a", "b"]);
  });

  it("[TOP16] outbox tables go when all is confirmed and no id of theirs is in the dedup window", () => {
    const machine = new TopicMachine();
    machine.subscribe("gateway-0", "t", { durable: true });
    const rows = () => machine.topics.outbox.nextId;
    machine.publish({ topic: "t", body: "a", messageId: "1", publisherId: true });
    const tables = () =>
      machine.sql
        .all("SELECT name FROM sqlite_master WHERE name LIKE 'outbox_%'")
        .map(({ name }) => name as string);
    const [first] = tables();
    machine.sql.transaction(() => machine.topics.sweep(machine.now, true));
    expect(tables()).toEqual([first]);
    machine.pass(300_000);
    const next = rows();
    machine.sql.transaction(() => machine.topics.sweep(machine.now, true));
    expect(tables()).toEqual([`outbox_${next}`]);
    // Ids rise though everything was dropped and the clock went back.
    machine.now = 1;
    machine.reopen();
    expect(rows()).toBeGreaterThanOrEqual(next);
  });
});

describe("bindings", () => {
  it("[BND1] [BND2] a bound queue gets every matching message of any QoS, in order", () => {
    const machine = new TopicMachine();
    machine.topics.interests.add("t/#", "queue:q", true, 0);
    machine.publish(
      { topic: "t", body: "a", qos: 0 },
      { topic: "t/x", body: "b" },
      { topic: "u", body: "c" },
    );
    expect(machine.at("queue:q").bodies()).toEqual(["a", "b"]);
  });

  it("[BND3] exactly once when the answer to a transfer is lost and the object restarts", () => {
    const machine = new TopicMachine();
    machine.topics.interests.add("t", "queue:q", true, 0);
    const queue = machine.at("queue:q");
    queue.answers = false;
    machine.publish(...say("a"));
    machine.publish(...say("b"));
    machine.reopen();
    machine.travel();
    queue.answers = true;
    machine.pass(60_000);
    expect(queue.bodies()).toEqual(["a", "b"]);
  });

  it("[BND4] after an unbinding was noted, a restart sends nothing of the past", () => {
    const machine = new TopicMachine();
    machine.topics.interests.add("t", "queue:q", true, 0);
    machine.publish(...say("a"));
    machine.unsubscribe("queue:q", "t");
    machine.call(() => machine.topics.outbox.note(machine.now));
    machine.reopen();
    expect(machine.topics.outbox.waiting).toBe(false);
  });
});
