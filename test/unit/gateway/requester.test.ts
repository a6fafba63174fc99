// A request as it leaves its gateway, and what becomes of it: the address of its reply, its time, and the packets of replies.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Writer } from "../../../worker/bytes/writer.ts";
import { isRefusal, type Refusal, refuse } from "../../../worker/errors.ts";
import type { ObjectLink, PublishDone } from "../../../worker/gateway/object-link.ts";
import { replyGateway } from "../../../worker/gateway/placement.ts";
import { Requester } from "../../../worker/gateway/requester.ts";
import { CommandWriter } from "../../../worker/link/commands.ts";
import { readResults } from "../../../worker/link/results.ts";
import { type Message, RecordView, writeMessage } from "../../../worker/message/record.ts";
import { message } from "../../support/message.ts";

const STORED = { seq: 7, duplicate: false, epoch: 3 };
const START = 1_000_000;

/** One gateway's requests, and what takes them. */
class Bench {
  readonly sent: { to: string; message: Message; done: PublishDone; condition: unknown }[] = [];
  readonly told: unknown[] = [];
  flushes = 0;
  readonly requester = new Requester({
    gateway: "gateway-2",
    link: (namespace, address) =>
      ({
        publish: (sent: Message, done: PublishDone, condition: unknown) =>
          this.sent.push({ to: `${namespace}:${address}`, message: sent, done, condition }),
      }) as unknown as ObjectLink,
    flush: () => this.flushes++,
  });

  ask(fields: Partial<Message> = {}, { timeoutMs = 1_000, owner = "c", asker = "ann" } = {}): void {
    const asked = message({ body: "", messageId: "m", time: Date.now(), ...fields });
    const request = {
      namespace: "n",
      owner,
      asker,
      address: "queue:q",
      condition: { expectSeq: 3 },
      timeoutMs,
    };
    this.requester.ask({ ...request, message: asked }, (outcome) =>
      this.told.push(isRefusal(outcome) ? outcome.kind : outcome),
    );
  }

  /** Publishes to the address of the last request. */
  reply(fields: Partial<Message> = {}, namespace = "n"): unknown {
    const topic = this.sent.at(-1)!.message.replyTo.slice("topic:".length);
    const packet = new CommandWriter();
    const mark = packet.beginPublish();
    writeMessage(packet.to, message({ body: "", topic, ...fields }));
    packet.endPublish(mark);
    const { results } = readResults(this.requester.take(namespace, packet.take()));
    const [result] = results;
    if (result?.type !== "published") return result;
    const [outcome] = result.messages;
    return isRefusal(outcome) ? (outcome as Refusal).kind : outcome;
  }
}

beforeEach(() => {
  vi.useFakeTimers({ now: START });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a request", () => {
  it("[REQ1] [REQ3] is a message with an address and a correlation of its own; the reply is handed on", () => {
    const bench = new Bench();
    bench.ask({ body: "question" });
    const [request] = bench.sent;
    expect(request).toMatchObject({ to: "n:queue:q", condition: { expectSeq: 3, responders: true } });
    expect(request!.message).toMatchObject({ body: "question", correlationId: expect.stringMatching(/./) });
    expect(request!.message.replyTo).toMatch(/^topic:\$reply\/gateway-2\/[\w-]{22}$/);
    request!.done(STORED);
    expect(bench.reply({ body: "answer", correlationId: request!.message.correlationId })).toMatchObject({
      seq: 1,
    });
    expect(bench.told).toMatchObject([{ body: "answer", correlationId: "" }]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("[REQ1] no two have the same address", () => {
    const bench = new Bench();
    for (let index = 0; index < 1_000; index++) bench.ask();
    expect(new Set(bench.sent.map(({ message: { replyTo } }) => replyTo)).size).toBe(1_000);
  });

  it("[REQ3] the asker's correlation comes back, whatever the reply says", () => {
    const bench = new Bench();
    bench.ask({ correlationId: "mine" });
    expect(bench.sent[0]!.message.correlationId).toBe("mine");
    bench.reply({ correlationId: "other" });
    expect(bench.told).toMatchObject([{ correlationId: "mine" }]);
  });

  it("[REQ9] its message lives no longer than it waits", () => {
    const bench = new Bench();
    for (const [ttlMs, expected] of [
      [0, 1_000],
      [400, 400],
      [5_000, 1_000],
    ] as const) {
      bench.ask({ expiresAt: ttlMs === 0 ? 0 : START + ttlMs });
      expect(bench.sent.at(-1)!.message.expiresAt).toBe(START + expected);
    }
  });

  it("[REQ10] brings no address of its own, and is not retained", () => {
    const bench = new Bench();
    bench.ask({ replyTo: "queue:mine" });
    bench.ask({ retain: true });
    expect(bench.told).toEqual(["bad-field", "bad-field"]);
    expect(bench.sent).toEqual([]);
  });

  it("[REQ4] [REQ11] what its destination refuses, or has had before, ends it", () => {
    const bench = new Bench();
    bench.ask();
    bench.sent[0]!.done(refuse("no-responders", "nobody"));
    bench.ask();
    bench.sent[1]!.done({ ...STORED, duplicate: true });
    expect(bench.told).toEqual(["no-responders", "conflict"]);
    expect(bench.reply()).toBe("not-found");
    expect(vi.getTimerCount()).toBe(0);
  });

  it("[REQ6] a reply that overtakes the receipt counts, and the receipt says nothing more", () => {
    const bench = new Bench();
    bench.ask();
    bench.reply({ body: "fast" });
    bench.sent[0]!.done(refuse("unavailable", "the answer was lost"));
    expect(bench.told).toMatchObject([{ body: "fast" }]);
  });

  it("[REQ5] ends when its time is over, by one timer for all", () => {
    const bench = new Bench();
    bench.ask({}, { timeoutMs: 300 });
    bench.ask({}, { timeoutMs: 100 });
    bench.ask({}, { timeoutMs: 200 });
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(99);
    expect(bench.told).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(bench.told).toEqual(["timeout"]);
    expect(bench.flushes).toBe(1);
    vi.advanceTimersByTime(200);
    expect(bench.told).toEqual(["timeout", "timeout", "timeout"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("[REQ8] ends with its owner", () => {
    const bench = new Bench();
    bench.ask();
    bench.requester.leave("c");
    expect(bench.reply()).toBe("not-found");
    expect(vi.getTimerCount()).toBe(0);
    expect(bench.told).toEqual([]);
  });

  it("[REQ11] asked again by the same under its own messageId is sent once; by another, or without one, anew", () => {
    const bench = new Bench();
    const fields = { messageId: "q", publisherId: true };
    bench.ask(fields);
    bench.requester.leave("c");
    bench.ask(fields, { owner: "d" });
    expect(bench.sent).toHaveLength(1);
    bench.ask(fields, { owner: "e", asker: "bob" });
    bench.ask({ messageId: "q" }, { owner: "d" });
    expect(bench.sent).toHaveLength(3);
    bench.sent.splice(1);
    expect(bench.reply({ body: "answer" })).toMatchObject({ seq: 1 });
    expect(bench.told).toMatchObject([{ body: "answer" }]);
  });

  it("[REQ13] in the name of a namespace: records in, record out", async () => {
    const bench = new Bench();
    const record = new Writer(256);
    writeMessage(record, message({ body: "question", time: START }));
    const asked = {
      namespace: "n",
      asker: "ann",
      address: "topic:t",
      record: record.take(),
      condition: undefined,
      timeoutMs: 50,
    };
    const reply = bench.requester.askFor(asked);
    bench.reply({ body: "answer" });
    expect(new RecordView((await reply) as Uint8Array).decode()).toMatchObject({ body: "answer" });
    const none = bench.requester.askFor(asked);
    vi.advanceTimersByTime(50);
    expect(await none).toMatchObject({ kind: "timeout" });
  });
});

describe("what is no reply", () => {
  it("[REQ6] [REQ7] another namespace's, and a command that is no publish, are refused", () => {
    const bench = new Bench();
    bench.ask();
    expect(bench.reply({}, "other")).toBe("not-found");
    const packet = new CommandWriter();
    packet.command({ type: "detach", refs: [1] });
    const { results } = readResults(bench.requester.take("n", packet.take()));
    expect(results).toMatchObject([{ type: "refused", refusal: { kind: "bad-state" } }]);
    expect(bench.told).toEqual([]);
  });

  it("[REQ6] an invented gateway is the first, so that no name makes an object", () => {
    expect(replyGateway("$reply/gateway-3/t", 4)).toBe("gateway-3");
    for (const topic of [
      "gateway-4/t",
      "gateway-x/t",
      "gateway-1",
      "",
      "a/b",
      "gateway--1/t",
      "gateway-1e0/t",
    ]) {
      expect(replyGateway(`$reply/${topic}`, 4), topic).toBe("gateway-0");
    }
  });
});
