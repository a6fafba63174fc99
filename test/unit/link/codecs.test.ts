// The packets between objects: they read as they were written, and bytes that are no packet end in an error, not in a loop.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Writer } from "../../../worker/bytes/writer.ts";
import { CommandWriter, type QueueCommand, readCommands } from "../../../worker/link/commands.ts";
import { DeliveryView, DeliveryWriter } from "../../../worker/link/deliveries.ts";
import { formatHandle, parseHandle } from "../../../worker/link/handle.ts";
import { type QueueResult, readResults, writeResults } from "../../../worker/link/results.ts";
import { type Message, RecordView, writeMessage } from "../../../worker/message/record.ts";

const whole = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const text = fc.string({ unit: "grapheme", maxLength: 80 });
const u16 = fc.nat({ max: 65_535 });
const u32 = fc.nat({ max: 2 ** 32 - 1 });
const handle = fc.record({ position: whole, lease: whole });

const messages: fc.Arbitrary<Message> = fc
  .record({
    topic: text,
    publisher: text,
    qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
    retain: fc.boolean(),
    utf8: fc.boolean(),
    epoch: whole,
    messageId: text,
    publisherId: fc.boolean(),
    group: text,
    contentType: text,
    replyTo: text,
    correlationId: text,
    headers: text,
    deaths: text,
    receiptTo: text,
    priority: fc.nat({ max: 9 }),
    seq: whole,
    time: whole,
    expiresAt: whole,
    dueAt: whole,
    attempts: u16,
    failures: u16,
  })
  .chain((fields) =>
    fc
      .oneof(
        fc.record({
          bodyKind: fc.constantFrom(0 as const, 1 as const),
          body: fc.oneof(text, fc.string({ maxLength: 2_000 })),
        }),
        fc.record({ bodyKind: fc.constant(2 as const), body: fc.uint8Array({ maxLength: 500 }) }),
      )
      .map((payload) => ({ ...fields, ...payload })),
  );

const settlements = fc.array(
  fc.record({
    position: whole,
    lease: whole,
    outcome: fc.constantFrom("ack" as const, "release" as const, "fail" as const, "dead" as const),
    delayMs: fc.option(whole, { nil: undefined }),
    reason: text,
  }),
  { maxLength: 5 },
);

const commands: fc.Arbitrary<QueueCommand> = fc.oneof(
  fc.record({
    type: fc.constant("commit" as const),
    commit: fc.record({
      key: text,
      tx: text,
      held: fc.boolean(),
      settlements,
      participants: fc.array(text, { maxLength: 3 }),
      publishes: fc.array(
        fc.record({
          to: text,
          record: fc.uint8Array({ maxLength: 300 }),
          expectSeq: fc.option(whole, { nil: undefined }),
        }),
        { maxLength: 3 },
      ),
    }),
  }),
  fc.record({
    type: fc.constant("hold" as const),
    hold: fc.record({ tx: text, decider: text, settlements }),
  }),
  fc.record({ type: fc.constant("conclude" as const), tx: text, committed: fc.boolean() }),
  fc.record({ type: fc.constant("resolve" as const), tx: text, participant: text }),
  fc.record({
    type: fc.constant("prepare" as const),
    record: fc.uint8Array({ maxLength: 300 }),
    preparation: fc.record({ checkTo: text, checkAfterMs: whole, checks: u32 }),
  }),
  fc.record({ type: fc.constant("decide" as const), messageId: text, commit: fc.boolean() }),
  fc.record({ type: fc.constant("publish" as const), records: fc.uint8Array({ maxLength: 300 }) }),
  fc.record({
    type: fc.constant("publish" as const),
    records: fc.uint8Array({ maxLength: 300 }),
    condition: fc.record(
      {
        expectSeq: whole,
        producer: fc.record({ id: text, epoch: whole, seq: whole }),
        responders: fc.constant(true),
      },
      { requiredKeys: [] },
    ),
  }),
  fc.record(
    {
      type: fc.constant("settle" as const),
      by: whole,
      settlements: fc.array(
        fc.record({
          position: whole,
          lease: whole,
          outcome: fc.constantFrom("ack" as const, "release" as const, "fail" as const, "dead" as const),
          delayMs: fc.option(whole, { nil: undefined }),
          reason: text,
        }),
        { maxLength: 5 },
      ),
    },
    { requiredKeys: ["type", "settlements"] },
  ),
  fc.record({
    type: fc.constant("extend" as const),
    leaseMs: whole,
    handles: fc.array(handle, { maxLength: 5 }),
  }),
  fc.record({
    type: fc.constant("attach" as const),
    consumer: fc.record({
      ref: whole,
      gateway: text,
      client: text,
      filter: text,
      credit: u32,
      leaseMs: fc.option(fc.integer({ min: 1, max: 43_200_000 }), { nil: undefined }),
      generation: u32,
      resend: fc.boolean(),
    }),
  }),
  fc.record({ type: fc.constant("credit" as const), ref: whole, add: u32 }),
  fc.record({
    type: fc.constantFrom("pause" as const, "detach" as const),
    refs: fc.array(whole, { maxLength: 5 }),
  }),
);

const refusal = fc.record({
  kind: fc.constantFrom("queue-full" as const, "too-many" as const, "not-found" as const),
  message: text,
});
const results: fc.Arbitrary<QueueResult> = fc.oneof(
  fc.record({
    type: fc.constant("published" as const),
    messages: fc.array(fc.oneof(fc.record({ seq: whole, duplicate: fc.boolean(), epoch: whole }), refusal), {
      maxLength: 5,
    }),
  }),
  fc.record({
    type: fc.constant("committed" as const),
    messages: fc.array(
      fc.oneof(
        fc.record({ seq: whole, duplicate: fc.boolean(), epoch: whole }),
        fc.record({ row: whole, at: u32 }),
        fc.constant("unknown" as const),
      ),
      { maxLength: 5 },
    ),
  }),
  fc.record({ type: fc.constant("settled" as const), settled: fc.array(fc.boolean(), { maxLength: 9 }) }),
  fc.record({ type: fc.constant("done" as const), seq: whole }),
  fc.record({
    type: fc.constant("refused" as const),
    refusal: fc.oneof(
      refusal,
      fc.record({
        kind: fc.constant("too-many" as const),
        message: text,
        afterMs: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
      }),
    ),
  }),
);

function recordsOf(list: Message[]): Uint8Array {
  const to = new Writer(16);
  for (const message of list) writeMessage(to, message);
  return to.take();
}

function commandsOf(list: QueueCommand[]): Uint8Array {
  const to = new CommandWriter();
  for (const command of list) to.command(command);
  return to.take();
}

/** Bytes inside a larger buffer, as they arrive when they were cut out of another packet. */
function within(bytes: Uint8Array): Uint8Array {
  const larger = new Uint8Array(bytes.length + 64).fill(0xa5);
  larger.set(bytes, 32);
  return larger.subarray(32, 32 + bytes.length);
}

/** Walks over records; throws what the walk throws, or when it does not end. */
function walkRecords(bytes: Uint8Array): number {
  let count = 0;
  for (const view = new RecordView(bytes); view.valid; view.next()) {
    view.decode();
    if (++count > bytes.length) throw new Error("the walk over records does not end");
  }
  return count;
}

function walkDeliveries(bytes: Uint8Array): number {
  let count = 0;
  for (const view = new DeliveryView(bytes); view.valid; view.next()) {
    if (++count > bytes.length) throw new Error("the walk over deliveries does not end");
    view.message.decode();
  }
  return count;
}

/** Runs a reader on bytes that are no packet: an error is right, an endless walk is not. */
function endsOn(read: (bytes: Uint8Array) => unknown, bytes: Uint8Array): void {
  try {
    read(bytes);
  } catch (error) {
    expect(error, `on ${Buffer.from(bytes).toString("hex").slice(0, 200)}`).toBeInstanceOf(RangeError);
  }
}

describe("packets read as they were written", () => {
  it("[DUR2] [PUB5] [PUB6] messages, many in one byte array, wherever it lies", () => {
    fc.assert(
      fc.property(fc.array(messages, { maxLength: 6 }), (list) => {
        const found: Message[] = [];
        for (const view = new RecordView(within(recordsOf(list))); view.valid; view.next()) {
          const message = view.decode();
          found.push(message);
          const { seq, time, expiresAt, dueAt, attempts, failures, group, messageId, priority, publisherId } =
            view;
          expect(message).toMatchObject({
            ...{ seq, time, expiresAt, dueAt, attempts, failures, group, messageId, priority, publisherId },
          });
        }
        expect(found).toEqual(list);
      }),
    );
  });

  it("[DUR2] the fields a queue sets change nothing else of a record", () => {
    fc.assert(
      fc.property(messages, whole, u16, (message, value, count) => {
        const view = new RecordView(recordsOf([message, message]));
        view.next();
        view.setSeq(value);
        view.setTime(value + 1);
        view.setExpiresAt(value + 2);
        view.setDueAt(value + 3);
        view.setCounts(count, 1_000_000);
        const changed = {
          seq: value,
          time: value + 1,
          expiresAt: value + 2,
          dueAt: value + 3,
          attempts: count,
          failures: 65_535,
        };
        expect(view.decode()).toEqual({ ...message, ...changed });
        expect(new RecordView(view.bytes).decode()).toEqual(message);
      }),
    );
  });

  it("[FRM3] commands, in their order", () => {
    fc.assert(
      fc.property(fc.array(commands, { maxLength: 8 }), (list) => {
        expect(readCommands(within(commandsOf(list)))).toEqual(list);
      }),
    );
  });

  it("[PUB13] a publish that is collected message by message", () => {
    const packet = new CommandWriter();
    packet.command({ type: "detach", refs: [1] });
    const mark = packet.beginPublish();
    const [a, b] = fc.sample(messages, 2);
    writeMessage(packet.to, a!);
    writeMessage(packet.to, b!);
    packet.endPublish(mark);
    packet.command({ type: "pause", refs: [2] });
    expect(readCommands(packet.take())).toEqual([
      { type: "detach", refs: [1] },
      { type: "publish", records: recordsOf([a!, b!]) },
      { type: "pause", refs: [2] },
    ]);
  });

  it("[FRM3] results, in their order", () => {
    fc.assert(
      fc.property(whole, fc.array(results, { maxLength: 8 }), (epoch, list) => {
        expect(readResults(within(writeResults(epoch, list)))).toEqual({ epoch, results: list });
      }),
    );
  });

  it("[SUB10] deliveries", () => {
    const delivery = fc.record({
      ref: whole,
      generation: u32,
      position: whole,
      lease: whole,
      attempt: u16,
      redelivered: fc.boolean(),
    });
    const packet = fc.record({ epoch: whole, stream: whole, number: u32 });
    const kind = fc.constantFrom(
      "message" as const,
      "settled" as const,
      "active" as const,
      "standby" as const,
    );
    fc.assert(
      fc.property(packet, fc.array(fc.tuple(delivery, messages, kind), { maxLength: 5 }), (head, list) => {
        const to = new DeliveryWriter(head.epoch);
        for (const [facts, message, word] of list) {
          if (word === "message") to.add(facts, recordsOf([message]));
          else to.tell(facts, word);
        }
        const view = new DeliveryView(within(to.take(head.stream, head.number)));
        const { epoch, stream, number } = view;
        expect({ epoch, stream, number }).toEqual(head);
        for (const [facts, message, word] of list) {
          const { ref, generation, position, lease, attempt, redelivered } = view;
          const told = word === "message" ? facts : { ...facts, redelivered: false };
          expect({ ref, generation, position, lease, attempt, redelivered }).toEqual(told);
          expect(view.kind).toBe(word);
          if (word === "message") expect(view.message.decode()).toEqual(message);
          view.next();
        }
        expect(view.valid).toBe(false);
      }),
    );
  });

  it("[INP2] a handle has one spelling", () => {
    fc.assert(
      fc.property(whole, whole, (position, lease) => {
        const [one, two] = formatHandle(position, lease).split(".");
        for (const text of [`0${one}.${two}`, `${one}.0${two}`]) {
          expect(parseHandle(text)).toEqual({ position: -1, lease: -1 });
        }
      }),
    );
  });

  it("[INP3] a text that its length has no room for is not written", () => {
    const to = new Writer();
    to.text16("x".repeat(65_535));
    for (const text of ["x".repeat(65_536), "ü".repeat(32_768)]) {
      expect(() => new Writer().text16(text)).toThrow(RangeError);
      expect(() => new CommandWriter().command({ type: "decide", messageId: text, commit: true })).toThrow(
        RangeError,
      );
    }
  });

  it("[SET7] handles; text that is none is a handle that is never valid", () => {
    fc.assert(
      fc.property(whole, whole, (position, lease) => {
        expect(parseHandle(formatHandle(position, lease))).toEqual({ position, lease });
      }),
    );
    fc.assert(
      fc.property(fc.string(), (text) => {
        const { position, lease } = parseHandle(text);
        if (position === -1) expect(lease).toBe(-1);
        else expect(formatHandle(position, lease)).toBe(text);
      }),
    );
    for (const text of ["", ".", "1.", ".1", "1.2.3", "-1.2", "1.Z", " 1.1", "1.1\n", "01.1", "1.01"]) {
      expect(parseHandle(text), JSON.stringify(text)).toEqual({ position: -1, lease: -1 });
    }
  });
});

describe("bytes that are no packet", () => {
  it("[EVC1] of another version are refused as a whole", () => {
    for (const read of [readCommands, readResults, (bytes: Uint8Array) => new DeliveryView(bytes)]) {
      expect(() => read(new Uint8Array(32).fill(9))).toThrow(/version/);
    }
  });

  it("[DUR2] packets cut anywhere end in an error or in what was whole, never in a part of a text", () => {
    fc.assert(
      fc.property(fc.array(commands, { minLength: 1, maxLength: 4 }), fc.nat(), (list, cut) => {
        const whole = commandsOf(list);
        const part = within(whole.slice(0, 1 + (cut % whole.length)));
        let read: QueueCommand[];
        try {
          read = readCommands(part);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
          return;
        }
        expect(read).toEqual(list.slice(0, read.length));
      }),
      { numRuns: 300 },
    );
  });

  it("[DUR2] records cut anywhere end in an error or in what was whole", () => {
    fc.assert(
      fc.property(fc.array(messages, { minLength: 1, maxLength: 3 }), fc.nat(), (list, cut) => {
        const bytes = recordsOf(list);
        endsOn(walkRecords, within(bytes.slice(0, cut % bytes.length)));
      }),
    );
  });

  it("[EVC1] random bytes and zeros never make a reader walk for ever", () => {
    const random = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc.nat({ max: 400 }).map((length) => new Uint8Array(length)),
    );
    const versioned = random.map((bytes) => Uint8Array.of(1, ...bytes));
    fc.assert(
      fc.property(versioned, random, (packet, bytes) => {
        endsOn(readCommands, packet);
        endsOn(readResults, packet);
        endsOn(walkDeliveries, packet);
        endsOn(walkRecords, bytes);
      }),
      { numRuns: 500 },
    );
  });
});
