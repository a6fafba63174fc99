// Who of a gateway's sessions gets a topic's messages, and what is missing before them.
import { describe, expect, it } from "vitest";
import { Writer } from "../../../worker/bytes/writer.ts";
import type { Protocol } from "../../../worker/gateway/connection.ts";
import { Fanout, type TopicRun } from "../../../worker/gateway/fanout.ts";
import type { Session, TopicSubscription } from "../../../worker/gateway/session.ts";
import { RecordView, writeMessage } from "../../../worker/message/record.ts";
import { selectorOf } from "../../../worker/selector/selector.ts";
import { message } from "../../support/message.ts";

/** A fan-out, and what its protocols were told: `NAME: topic body…` and `NAME: lag`. */
class Bench {
  readonly told: string[] = [];
  sent = 0;
  readonly fanout = new Fanout((_, messages) => {
    this.sent += messages;
  });
  #lastRef = 0;

  protocol(name: string): Protocol {
    const notes = {
      fanout: ({ topic, bytes, start, end, matches }: TopicRun) => {
        const bodies: string[] = [];
        for (const view = new RecordView(bytes, start); view.at < end; view.next()) {
          bodies.push(String(view.decode().body));
        }
        const clients = matches.map(
          ({ session, subscriptions }) => `${session.client}${subscriptions.length}`,
        );
        this.told.push(`${name}: ${topic} ${bodies.join("")} to ${clients.sort().join()}`);
      },
      lag: ({ session }: TopicSubscription, missing: number) =>
        this.told.push(`${name}: ${session.client} lacks ${missing}`),
    };
    return notes as unknown as Protocol;
  }

  subscription(client: string, filter: string, protocol: Protocol, session?: Session): TopicSubscription {
    const fields = { client, namespace: "n", protocol };
    return {
      ...{
        kind: "topic",
        ref: ++this.#lastRef,
        sub: this.#lastRef,
        filter,
        selector: undefined,
        durable: false,
      },
      session: session ?? (fields as unknown as Session),
      options: { qos: 0, noLocal: false, retainAsPublished: false, subscriptionId: 0 },
      ...{ credit: Number.POSITIVE_INFINITY, skipped: 0, woken: undefined, behind: undefined },
    };
  }

  /** `topic:seq` or `topic:seq:epoch`; the body is the seq. @returns topics that nobody wants */
  deliver(...places: string[]): string[] {
    const records = new Writer(256);
    for (const place of places) {
      const [topic = "", seq, epoch = "1"] = place.split(":");
      writeMessage(records, message({ topic, body: `${seq}`, seq: Number(seq), epoch: Number(epoch) }));
    }
    this.told.length = 0;
    return this.fanout.deliver("n", records.take());
  }
}

describe("the fan-out", () => {
  it("[SSN5] hands each run of a topic once to each protocol, with its sessions and all of their subscriptions", () => {
    const bench = new Bench();
    const [json, mqtt] = [bench.protocol("json"), bench.protocol("mqtt")];
    const ann = bench.subscription("ann", "a", json);
    bench.fanout.add(ann);
    bench.fanout.add(bench.subscription("ann", "+", json, ann.session));
    bench.fanout.add(bench.subscription("bob", "#", mqtt));
    bench.fanout.add(bench.subscription("cid", "b", json));
    expect(bench.deliver("a:1", "a:2", "b:1", "a:3", "$x:1")).toEqual(["$x"]);
    expect(bench.told.sort()).toEqual([
      "json: a 12 to ann2",
      "json: a 3 to ann2",
      "json: b 1 to ann1,cid1",
      "mqtt: a 12 to bob1",
      "mqtt: a 3 to bob1",
      "mqtt: b 1 to bob1",
    ]);
    expect(bench.sent).toBe(2 + 2 + 2 + 1 + 1 + 1);
    expect(bench.fanout.deliver("other", new Uint8Array(0))).toEqual([]);
  });

  it("[SSN5] the same matches are handed out until a subscription changes", () => {
    const bench = new Bench();
    const seen: unknown[] = [];
    const protocol = { fanout: (run: TopicRun) => seen.push(run.matches), lag: () => undefined };
    const a = bench.subscription("a", "t", protocol as unknown as Protocol);
    bench.fanout.add(a);
    bench.deliver("t:1");
    bench.deliver("t:2");
    bench.fanout.changed(a);
    bench.deliver("t:3");
    expect(seen[0]).toBe(seen[1]);
    expect(seen[1]).not.toBe(seen[2]);
  });

  it("[SEL10] subscriptions with selectors get what theirs let through, and nothing else is sent or missing to them", () => {
    const bench = new Bench();
    const json = bench.protocol("json");
    const add = (client: string, text: string, session?: Session) => {
      const subscription = bench.subscription(client, "t", json, session);
      subscription.selector = selectorOf(text);
      bench.fanout.add(subscription);
      return subscription;
    };
    add("all", "");
    const ann = add("ann", "priority > 2");
    add("bob", "priority > 2");
    add("ann", "priority = 4", ann.session);
    add("cid", "color = 'blue'");
    const records = new Writer(256);
    for (const seq of [1, 2, 3, 4, 5, 6]) {
      writeMessage(
        records,
        message({ topic: "t", body: `${seq}`, seq, epoch: 1, priority: seq === 6 ? 0 : seq }),
      );
    }
    bench.fanout.deliver("n", records.take());
    expect(bench.told).toEqual([
      ...["json: t 123456 to all1", "json: t 345 to ann1,bob1", "json: t 4 to ann1"],
    ]);
    expect(bench.sent).toBe(6 + 3 * 2 + 1);
  });

  it("[SEL10] what a subscription does not take is not kept for it while it reads what was before", () => {
    const bench = new Bench();
    const ann = bench.subscription("ann", "t", bench.protocol("json"));
    ann.selector = selectorOf("messageId = 'none'");
    ann.behind = { records: [], bytes: 0, dropped: 0 };
    bench.fanout.add(ann);
    expect(bench.deliver("t:1", "t:2")).toEqual([]);
    expect(ann.behind).toEqual({ records: [], bytes: 0, dropped: 0 });
  });

  it("[SSN10] says how many messages of a topic are missing before one, but not across epochs", () => {
    const bench = new Bench();
    bench.fanout.add(bench.subscription("ann", "t", bench.protocol("json")));
    // What comes first says where the topic stands.
    bench.deliver("t:1");
    bench.deliver("t:2", "t:5");
    expect(bench.told).toEqual(["json: t 25 to ann1"]);
    bench.deliver("t:9");
    expect(bench.told).toEqual(["json: ann lacks 3", "json: t 9 to ann1"]);
    bench.deliver("t:1:2");
    expect(bench.told.at(-1)).toBe("json: t 1 to ann1");
    expect(bench.told).toHaveLength(1);
  });

  it("[SSN10] a topic that nobody followed for a while has no gap", () => {
    const bench = new Bench();
    const json = bench.protocol("json");
    const wild = bench.subscription("ann", "+", json);
    bench.fanout.add(wild);
    bench.fanout.add(bench.subscription("bob", "other", json));
    bench.deliver("t:1");
    bench.fanout.remove(wild);
    expect(bench.deliver("t:2")).toEqual(["t"]);
    bench.fanout.add(bench.subscription("cid", "t", json));
    bench.deliver("t:9");
    expect(bench.told).toEqual(["json: t 9 to cid1"]);
  });

  it("[SSN11] keeps for a subscription that still reads what was before, up to a megabyte, in copies", () => {
    const bench = new Bench();
    const subscription = bench.subscription("ann", "t", bench.protocol("json"));
    subscription.behind = { records: [], bytes: 0, dropped: 0 };
    bench.fanout.add(subscription);
    expect(bench.deliver("t:1", "t:2")).toEqual([]);
    expect(bench.told).toEqual([]);
    expect(subscription.behind.records).toHaveLength(2);
    const large = new Writer(256);
    writeMessage(large, message({ topic: "t", body: "x".repeat(1_000_000), seq: 3, epoch: 1 }));
    bench.fanout.deliver("n", large.take());
    bench.deliver("t:4");
    expect(subscription.behind).toEqual({ records: [], bytes: 0, dropped: 4 });
    subscription.behind = undefined;
    bench.fanout.changed(subscription);
    bench.deliver("t:5");
    expect(bench.told.at(-1)).toBe("json: t 5 to ann1");
  });
});
