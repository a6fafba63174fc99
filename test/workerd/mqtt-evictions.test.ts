// Whole MQTT sessions over real sockets, with gateway and topic evicted between any two steps: nobody may notice.
import { describe, expect, it } from "vitest";
import type { MqttWire } from "./support/mqtt.ts";
import { EVICTIONS, lazyByHand, type MqttScript, runScript } from "./support/mqtt-script.ts";

const KEPT = { sessionExpiryInterval: 600 };

/** One message of each QoS through both handshakes, step by step, with a repeated PUBLISH and PUBREL. */
async function handshakes(run: MqttScript, expiry: number): Promise<void> {
  const { topic } = run;
  const properties = { sessionExpiryInterval: expiry };
  const to = await run.connect("subscriber", { properties });
  const from = await run.connect("publisher", { properties });
  await run.step(async () => expect(await to.subscribe(topic, { qos: 2 }, 7)).toEqual([2]));
  await run.step(() => from.publish(topic, "zero"), [to, 1]);
  await run.step(() => from.publish(topic, "one", { qos: 1, packetId: 9 }), [from, 1], [to, 1]);
  await run.step(() => to.answer("puback", 1));
  await run.step(() => from.publish(topic, "two", { qos: 2, packetId: 5 }), [from, 1], [to, 1]);
  await run.step(() => from.publish(topic, "two", { qos: 2, packetId: 5, dup: true }), [from, 1]);
  await run.step(() => from.answer("pubrel", 5), [from, 1]);
  await run.step(() => from.answer("pubrel", 5), [from, 1]);
  await run.step(() => from.publish(topic, "another", { qos: 2, packetId: 5 }), [from, 1], [to, 1]);
  await run.step(() => to.answer("pubrec", 2), [to, 1]);
  await run.step(() => to.answer("pubrec", 2), [to, 1]);
  await run.step(() => to.answer("pubcomp", 2));
  await run.step(() => from.answer("pubrel", 5), [from, 1]);
  await run.step(() => to.answer("pubrec", 3), [to, 1]);
  await run.step(() => to.answer("pubcomp", 3));
  await run.step(() => to.answer("puback", 3));
  await run.step(() => from.publish(topic, "last", { qos: 2, packetId: 6 }), [from, 1], [to, 1]);
}

/** Five messages to a client that takes two at a time, acknowledged out of order. */
async function windows(run: MqttScript, expiry: number): Promise<void> {
  const { topic } = run;
  const properties = { sessionExpiryInterval: expiry, receiveMaximum: 2 };
  const to = await run.connect("subscriber", { properties });
  const from = await run.connect("publisher");
  await run.step(async () => expect(await to.subscribe(topic)).toEqual([2]));
  const publish = (n: number, qos: 1 | 2) => () => from.publish(topic, `${n}`, { qos, packetId: n });
  await run.step(publish(1, 1), [from, 1], [to, 1]);
  await run.step(publish(2, 2), [from, 1], [to, 1]);
  await run.step(publish(3, 1), [from, 1]);
  await run.step(publish(4, 2), [from, 1]);
  await run.step(publish(5, 1), [from, 1]);
  // What is not counted is not held up [MQTT-3.3.4-10].
  await run.step(() => from.publish(topic, "zero"), [to, 1]);
  await run.step(() => to.answer("pubrec", 2), [to, 1]);
  await run.step(() => to.answer("puback", 1), [to, 1]);
  await run.step(() => to.answer("pubcomp", 2), [to, 1]);
  await run.step(() => to.answer("pubrec", 4, 0x80), [to, 1]);
  await run.step(() => to.answer("puback", 5));
  await run.step(() => to.answer("puback", 3));
  await run.step(publish(6, 1), [from, 1], [to, 1]);
  await run.step(publish(7, 1), [from, 1], [to, 1]);
}

/** A kept session loses its socket with messages in every state, and goes on. */
async function resumed(run: MqttScript, answered: boolean): Promise<void> {
  const { topic } = run;
  let to = await run.connect("subscriber", { properties: KEPT });
  const from = await run.connect("publisher");
  await run.step(async () => expect(await to.subscribe(topic)).toEqual([2]));
  const publish = (n: number, qos: 1 | 2) => () => from.publish(topic, `${n}`, { qos, packetId: n });
  for (const n of [1, 2, 3, 4, 5]) await run.step(publish(n, n < 3 ? 1 : 2), [from, 1], [to, 1]);
  await run.step(() => to.answer("puback", 1));
  await run.step(() => to.answer("pubrec", 4), [to, 1]);
  if (answered) {
    await run.step(() => to.answer("pubrec", 5), [to, 1]);
    await run.step(() => to.answer("pubcomp", 5));
  }
  await run.end(to, "drop");
  await run.step(publish(6, 1), [from, 1]);
  await run.step(() => from.publish(topic, "zero"));
  await run.step(publish(7, 2), [from, 1]);
  const again = answered ? 5 : 6;
  to = await run.connect("subscriber", { cleanStart: false, properties: KEPT }, again);
  await run.step(() => to.answer("pubcomp", 4));
  await run.step(() => to.answer("pubrec", 3), [to, 1]);
  await run.step(() => to.answer("pubcomp", 3));
  await run.step(() => to.answer("puback", 2));
  await run.end(to, "disconnect");
  to = await run.connect("subscriber", { cleanStart: false, properties: KEPT }, again - 3);
  await run.step(() => to.answer("puback", 6));
  await run.step(publish(8, 1), [from, 1], [to, 1]);
}

/** Aliases of both directions, in 5.0. */
async function aliases(run: MqttScript): Promise<void> {
  const { topic } = run;
  const other = `${topic}/other`;
  const properties = { topicAliasMaximum: 1 };
  const to = await run.connect("subscriber", { properties });
  const from = await run.connect("publisher");
  await run.step(async () => expect(await to.subscribe(`${topic}/#`)).toEqual([2]));
  const alias = (topicAlias: number) => ({ properties: { topicAlias } });
  await run.step(() => from.publish(topic, "set", alias(3)), [to, 1]);
  await run.step(() => from.publish("", "used", alias(3)), [to, 1]);
  await run.step(() => from.publish(other, "changed", alias(3)), [to, 1]);
  await run.step(() => from.publish("", "used again", alias(3)), [to, 1]);
  await run.step(
    () => from.publish(topic, "a second", { qos: 1, packetId: 1, ...alias(16) }),
    [from, 1],
    [to, 1],
  );
  await run.step(() => from.publish("", "sure", { qos: 2, packetId: 2, ...alias(16) }), [from, 1], [to, 1]);
}

/** Subscriptions that overlap, with all their options. */
async function options(run: MqttScript): Promise<void> {
  const { topic } = run;
  const properties = { sessionExpiryInterval: 600 };
  const a = await run.connect("a", { properties });
  const b = await run.connect("b");
  await run.step(() => a.subscribe(topic, { qos: 1, noLocal: true }, 11));
  await run.step(() => a.subscribe(`${topic}/#`, { qos: 0, retainAsPublished: true }, 268_435_455));
  await run.step(() => b.subscribe(topic, { qos: 2, noLocal: true }, 5));
  await run.step(() => a.publish(topic, "own", { qos: 2, packetId: 1 }), [a, 2], [b, 1]);
  await run.step(() => b.publish(topic, "others", { qos: 1, packetId: 1 }), [b, 1], [a, 1]);
  await run.step(() => b.publish(topic, "kept", { qos: 1, packetId: 2, retain: true }), [b, 1], [a, 1]);
  await run.step(() => b.subscribe(topic, { qos: 1, retainHandling: 1 }, 6));
  await run.step(() => b.subscribe(topic, { qos: 1, retainHandling: 0 }, 6), [b, 1]);
  await run.step(() => a.send({ type: "unsubscribe", packetId: 3, filters: [topic, "none"] }), [a, 1]);
  await run.step(() => b.publish(topic, "one left", { qos: 1, packetId: 3 }), [b, 1], [a, 1]);
}

/** Several connections of one client, one after the other. */
async function takenOver(run: MqttScript): Promise<void> {
  const { topic } = run;
  const from = await run.connect("publisher");
  const first = await run.connect("subscriber", { properties: KEPT });
  await run.step(() => first.subscribe(topic));
  await run.step(() => from.publish(topic, "1", { qos: 1, packetId: 1 }), [from, 1], [first, 1]);
  await run.step(() => from.publish(topic, "2", { qos: 2, packetId: 2 }), [from, 1], [first, 1]);
  const second = await run.connect("subscriber", { cleanStart: false, properties: KEPT }, 2);
  await run.step(() => undefined, [first, 1]);
  await run.step(() => second.answer("puback", 1));
  await run.step(() => from.publish(topic, "3", { qos: 1, packetId: 3 }), [from, 1], [second, 1]);
  const third = await run.connect("subscriber", { cleanStart: true });
  await run.step(() => undefined, [second, 1]);
  await run.step(() => from.publish(topic, "4", { qos: 1, packetId: 4 }), [from, 1]);
  await run.step(() => third.subscribe(topic, { qos: 1 }));
  await run.step(() => from.publish(topic, "5", { qos: 1, packetId: 5 }), [from, 1], [third, 1]);
}

/** Sessions of 3.1.1. */
async function older(run: MqttScript): Promise<void> {
  const { topic } = run;
  let to: MqttWire = await run.connect("subscriber", { version: 4, cleanStart: false });
  const from = await run.connect("publisher", { version: 4 });
  await run.step(async () => expect(await to.subscribe(topic)).toEqual([2]));
  await run.step(() => from.publish(topic, "1", { qos: 2, packetId: 1 }), [from, 1], [to, 1]);
  await run.end(to, "drop");
  await run.step(() => from.answer("pubrel", 1), [from, 1]);
  await run.step(() => from.publish(topic, "2", { qos: 1, packetId: 2 }), [from, 1]);
  to = await run.connect("subscriber", { version: 4, cleanStart: false }, 2);
  await run.step(() => to.answer("pubrec", 1), [to, 1]);
  await run.step(() => to.answer("puback", 2));
  await run.step(() => to.answer("pubcomp", 1));
  await run.end(to, "disconnect");
  to = await run.connect("subscriber", { version: 4, cleanStart: true });
  await run.step(() => from.publish(topic, "3", { qos: 1, packetId: 3 }), [from, 1]);
}

const SCRIPTS: Record<string, (run: MqttScript) => Promise<void>> = {
  "[MQV1] the handshakes of sessions that end with their sockets": (run) => handshakes(run, 0),
  "[MQV1] the handshakes of kept sessions": (run) => handshakes(run, 600),
  "[MQV2] the window of a session that ends with its socket": (run) => windows(run, 0),
  "[MQV2] the window of a kept session": (run) => windows(run, 600),
  "[MQV3] a session that goes on with messages in every state": (run) => resumed(run, false),
  "[MQV3] a session that goes on after some were finished": (run) => resumed(run, true),
  "[MQV4] topic aliases of both sides": aliases,
  "[MQV5] subscriptions with their options": options,
  "[MQV6] connections that take a session over": takenOver,
  "[MQV3] sessions of 3.1.1": older,
};

lazyByHand();

/** Scripts that are worth an eviction before each single step: it takes as many runs as they have steps. */
const THOROUGH = new Set([
  "[MQV1] the handshakes of kept sessions",
  "[MQV3] a session that goes on with messages in every state",
]);

describe.each(Object.keys(SCRIPTS))("%s", (name) => {
  const script = SCRIPTS[name]!;

  it.each(Object.keys(EVICTIONS))("[EVC1] with %s evicted before every step", async (what) => {
    const quiet = await runScript(script);
    expect(quiet.seen.length).toBeGreaterThan(8);
    const disturbed = await runScript(script, (run) => EVICTIONS[what]!(run));
    expect(disturbed.seen).toEqual(quiet.seen);
  });

  if (!THOROUGH.has(name)) return;
  it("[EVC1] with both evicted before any one step", async () => {
    const quiet = await runScript(script);
    for (let chosen = 0; chosen < quiet.steps; chosen += 1) {
      const disturbed = await runScript(script, async (run, step) => {
        if (step === chosen) await EVICTIONS["the topic, then the gateway"]!(run);
      });
      expect(disturbed.seen, `evicted before step ${chosen}`).toEqual(quiet.seen);
    }
  });
});
