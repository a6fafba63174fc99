// What earlier versions stored is read by this one: records, facts and checkpoints as their bytes were then, written here by hand.
import { describe, expect, it } from "vitest";
import { Log, positionOf } from "../../../worker/log/log.ts";
import { QueueStore } from "../../../worker/log/store.ts";
import { RecordView } from "../../../worker/message/record.ts";
import { replay } from "../../../worker/queue/events.ts";
import { Ledger } from "../../../worker/queue/ledger.ts";
import { Queue } from "../../../worker/queue/queue.ts";
import { Segments, segmentKey } from "../../../worker/queue/segments.ts";
import { DEFAULT_SETTINGS } from "../../../worker/queue/settings.ts";
import { Machine } from "../../support/machine.ts";
import { NodeSql } from "../../support/node-sql.ts";

/** Bytes one number or text after the other, little-endian; apart from the code that writes them today. */
class Bytes {
  readonly #parts: Buffer[] = [];

  u8(...values: number[]): this {
    return this.raw(Buffer.from(values));
  }

  u16(...values: number[]): this {
    return this.#each(2, values, (part, value) => part.writeUInt16LE(value));
  }

  u32(...values: number[]): this {
    return this.#each(4, values, (part, value) => part.writeUInt32LE(value));
  }

  f64(...values: number[]): this {
    return this.#each(8, values, (part, value) => part.writeDoubleLE(value));
  }

  text(value: string): this {
    return this.raw(Buffer.from(value));
  }

  text16(value: string): this {
    return this.u16(Buffer.byteLength(value)).text(value);
  }

  text32(value: string): this {
    return this.u32(Buffer.byteLength(value)).text(value);
  }

  raw(part: Buffer): this {
    this.#parts.push(part);
    return this;
  }

  take(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#parts));
  }

  #each(size: number, values: number[], write: (part: Buffer, value: number) => void): this {
    for (const value of values) {
      const part = Buffer.alloc(size);
      write(part, value);
      this.#parts.push(part);
    }
    return this;
  }
}

/** A record of version 1: bytes 66 and 67, later the length of receiptTo, are 0. */
function recordOfVersion1(): Uint8Array {
  const texts = ["", "ann", "m-1", "g", "text/plain", "queue:r", "c-1", '{"a":"b"}', ""];
  const body = "hello";
  const size = 76 + [...texts, body].reduce((sum, text) => sum + text.length, 0);
  const [topic, publisher, messageId, group, contentType, replyTo, correlationId, headers, deaths] =
    texts.map(({ length }) => length) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
  // Flags: the id is the publisher's, the body UTF-8.
  const record = new Bytes()
    .u32(size)
    .u8(1, 4, 1, 1 | 4)
    .f64(9, 1_000_000, 0, 0)
    .u16(3, 2);
  record.u16(messageId, group, contentType, replyTo, correlationId, topic).u32(headers, deaths);
  record.u16(publisher, 0).f64(0);
  for (const text of texts) record.text(text);
  return record.text(body).take();
}

const emptyLedger = () => new Ledger(new Segments(new Log(new NodeSql())));

describe("a record of version 1", () => {
  it("[DUR7] is read whole, and wants no receipt", () => {
    const view = new RecordView(recordOfVersion1());
    expect(view.wantsReceipt).toBe(false);
    expect(view.decode()).toMatchObject({
      ...{ topic: "", publisher: "ann", messageId: "m-1", publisherId: true, group: "g", priority: 4 },
      ...{ contentType: "text/plain", replyTo: "queue:r", correlationId: "c-1", headers: '{"a":"b"}' },
      ...{ deaths: "", receiptTo: "", body: "hello", seq: 9, time: 1_000_000, attempts: 3, failures: 2 },
    });
    view.next();
    expect(view.valid).toBe(false);
  });
});

describe("facts of before", () => {
  it("[DUR7] a consumer without a name (attached), and a message taken for it", () => {
    const position = positionOf(3, 0);
    const facts = new Bytes();
    facts.u8(1).f64(500, 70);
    facts.u8(3).f64(3).u32(1).f64(120);
    facts.u8(12).f64(8).text16("gateway-0").u32(5).f64(0).u32(2);
    facts.u8(6).f64(position).f64(1).u32(120).f64(1_000_000, 0).u16(0, 0).text16("");
    facts.u8(7).f64(position, 8, 1_030_000);
    const ledger = emptyLedger();
    replay(facts.take(), ledger);
    expect(ledger.consumers.get(8)).toMatchObject({
      ...{ gateway: "gateway-0", credit: 5, generation: 2, client: "", filter: "", used: 1 },
    });
    expect(ledger.entries.get(position)).toMatchObject({ state: "leased", lease: 71, level: 0, seq: 1 });
    expect(ledger.counts).toMatchObject({ accepted: 1, leased: 1, ready: 0, bytes: 120 });
  });
});

describe("a checkpoint of version 1", () => {
  it("[DUR7] opens: its consumer, its settings, its message", () => {
    const machine = new Machine();
    const record = recordOfVersion1();
    machine.turn({ type: "publish", records: record.slice() });
    const { ledger, store } = machine.queue;
    const turn = 2;
    expect([...store.log.eventsAfter(0)].at(-1)!.turn, "the message's turn").toBe(turn);
    const { leaseMs, maxFailures, backoff, ttlMs, maxMessages, maxBytes, overflow, dedupWindowMs, paused } =
      DEFAULT_SETTINGS;
    const settings = {
      ...{ leaseMs, maxFailures, backoff, ttlMs, maxMessages, maxBytes, overflow, dedupWindowMs, paused },
    };
    const saved = new Bytes().u8(1).f64(turn, 4);
    saved.f64(ledger.epoch, 2, 70, 0, 1_000, 8);
    // accepted, ready, delayed, leased, settled, expired, deadLettered, readyBytes, bytes
    saved.f64(1, 1, 0, 0, 0, 0, 0, record.length, record.length);
    saved.text32(JSON.stringify(settings));
    saved.u32(1).f64(segmentKey(positionOf(turn, 0)), 1);
    saved.u32(1).text16("default:other").f64(12);
    saved.u32(1).f64(8).text16("gateway-0").u32(5).f64(0).u32(2).u8(0);
    saved.u32(0);
    saved.u32(16_384).raw(Buffer.alloc(16_384));
    store.writeCheckpoint(saved.take());
    const opened = Queue.open("orders", new QueueStore(machine.sql), machine.now);
    expect(opened.ledger.consumers.get(8)).toMatchObject({
      credit: 5,
      client: "",
      filter: "",
      paused: false,
    });
    expect(opened.ledger.sources.get("default:other")).toBe(12);
    expect(opened.settings).toEqual(DEFAULT_SETTINGS);
    machine.queue = opened;
    machine.turn();
    expect(machine.delivered).toMatchObject([{ ref: 8, messageId: "m-1", body: "hello", attempt: 4 }]);
    machine.settle(machine.delivered[0]!, "ack");
    // What is written from now on is of today.
    machine.reopen();
    expect(machine.queue.ledger.counts).toMatchObject({ accepted: 1, settled: 1, bytes: 0 });
  });
});
