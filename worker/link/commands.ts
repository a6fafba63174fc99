// What gateways and HTTP calls ask of a queue: many commands in one byte array, so that one call carries a whole batch.
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import { type Commit, type HoldRequest, readCommit, readHold, writeCommit, writeHold } from "./commit.ts";
import { type Condition, readCondition, writeCondition } from "./condition.ts";
import type { Handle } from "./handle.ts";
import { type Preparation, readPreparation, writePreparation } from "./preparation.ts";
import { readSettlements, type Settlement, writeSettlements } from "./settlement.ts";

/** A consumer of a queue, known by a number that its gateway chose at random. */
export interface ConsumerSpec {
  ref: number;
  gateway: string;
  /** Client id of whoever consumes. */
  client: string;
  /** A selector (selector/) that its messages must match, "" for all. */
  filter: string;
  credit: number;
  /** undefined: the queue's setting. */
  leaseMs: number | undefined;
  /** Rises with each new connection: deliveries name it, so that those meant for an older connection are known. */
  generation: number;
  /** Send what it holds unsettled again: its connection is new. */
  resend: boolean;
}

/** A command to a queue. */
export type QueueCommand =
  /** Records without a condition, or one record with it. */
  | { type: "publish"; records: Uint8Array; condition?: Condition }
  /** `by`: ref of the consumer that settles, when it is known. */
  | { type: "settle"; settlements: Settlement[]; by?: number }
  | { type: "extend"; handles: Handle[]; leaseMs: number }
  | { type: "attach"; consumer: ConsumerSpec }
  | { type: "credit"; ref: number; add: number }
  | { type: "pause"; refs: number[] }
  | { type: "detach"; refs: number[] }
  | { type: "commit"; commit: Commit }
  /** Keeps leases for a commit that another queue decides. */
  | { type: "hold"; hold: HoldRequest }
  /** What was held is settled, or the leases run on. */
  | { type: "conclude"; tx: string; committed: boolean }
  /** Asks the deciding queue what became of a transaction: one that it does not know will never be committed. */
  | { type: "resolve"; tx: string; participant: string }
  /** Stores one record that nobody sees until it is decided. */
  | { type: "prepare"; record: Uint8Array; preparation: Preparation }
  | { type: "decide"; messageId: string; commit: boolean };

/* Not stored; sent between objects that may run neighbouring versions, so unknown versions are refused as a whole.
 *
 *   u8 version (1), then commands until the end, each: u8 kind, then
 *   1 publish  u32 length of the records, records (message/record.ts)
 *   2 settle   settlements (settlement.ts)
 *   3 extend   f64 leaseMs, u32 count × { f64 position, f64 lease }
 *   4 attach   f64 ref, text16 gateway, u32 credit, f64 leaseMs (0: the queue's), u32 generation, u8 resend (read, no longer written)
 *   5 credit   f64 ref, u32 add
 *   6 pause, 7 detach   u32 count × f64 ref
 *   8 publish on condition   condition (condition.ts), u32 length of the record, record
 *   9 attach   as 4, then text16 client, text16 filter
 *  10 settle by a consumer   f64 ref, then as 2
 *  11 commit   commit (commit.ts)     12 hold   hold (commit.ts)     13 conclude   text16 tx, u8 committed
 *  14 resolve  text16 tx, text16 participant
 *  15 prepare  preparation (preparation.ts), u32 length of the record, record     16 decide   text16 messageId, u8 commit
 */
const VERSION = 1;
const PUBLISH = 1;
const SETTLE = 2;
const EXTEND = 3;
const ATTACH_UNNAMED = 4;
const CREDIT = 5;
const PAUSE = 6;
const DETACH = 7;
const PUBLISH_IF = 8;
const ATTACH = 9;
const SETTLE_BY = 10;
const COMMIT = 11;
const HOLD = 12;
const CONCLUDE = 13;
const RESOLVE = 14;
const PREPARE = 15;
const DECIDE = 16;

/**
 * Collects commands into one packet.
 *
 * @example const packet = new CommandWriter(); packet.command({ type: "detach", refs: [7] }); queue.apply(packet.take());
 */
export class CommandWriter {
  readonly #to = new Writer(4096);

  constructor() {
    this.#to.u8(VERSION);
  }

  /** Bytes collected so far. */
  get size(): number {
    return this.#to.length;
  }

  /** Where the records of an open publish are written. */
  get to(): Writer {
    return this.#to;
  }

  /** Opens a publish of any number of messages; write their records to `to`, then call `endPublish` with the mark. */
  beginPublish(): number {
    this.#to.u8(PUBLISH);
    this.#to.u32(0);
    return this.#to.length;
  }

  endPublish(mark: number): void {
    this.#to.patchU32(mark - 4, this.#to.length - mark);
  }

  command(command: QueueCommand): void {
    const to = this.#to;
    switch (command.type) {
      case "publish":
        to.u8(command.condition === undefined ? PUBLISH : PUBLISH_IF);
        if (command.condition !== undefined) writeCondition(to, command.condition);
        to.u32(command.records.length);
        to.raw(command.records);
        return;
      case "settle":
        to.u8(command.by === undefined ? SETTLE : SETTLE_BY);
        if (command.by !== undefined) to.f64(command.by);
        writeSettlements(to, command.settlements);
        return;
      case "extend":
        to.u8(EXTEND);
        to.f64(command.leaseMs);
        to.u32(command.handles.length);
        for (const handle of command.handles) writeHandle(to, handle);
        return;
      case "attach":
        to.u8(ATTACH);
        writeConsumer(to, command.consumer);
        return;
      case "credit":
        to.u8(CREDIT);
        to.f64(command.ref);
        to.u32(command.add);
        return;
      case "pause":
      case "detach":
        to.u8(command.type === "pause" ? PAUSE : DETACH);
        to.u32(command.refs.length);
        for (const ref of command.refs) to.f64(ref);
        return;
      default:
        writeTransactional(to, command);
    }
  }

  take(): Uint8Array {
    return this.#to.take();
  }
}

/**
 * Reads a packet of commands.
 *
 * @throws RangeError on another version or cut bytes: the caller is not one of ours
 */
export function readCommands(packet: Uint8Array): QueueCommand[] {
  const from = new Reader(packet);
  if (from.u8() !== VERSION) throw new RangeError("commands of an unknown version");
  const commands: QueueCommand[] = [];
  while (!from.done) commands.push(readCommand(from));
  return commands;
}

function readCommand(from: Reader): QueueCommand {
  const kind = from.u8();
  switch (kind) {
    case PUBLISH:
      return { type: "publish", records: from.raw(from.u32()) };
    case PUBLISH_IF: {
      const condition = readCondition(from);
      return { type: "publish", condition, records: from.raw(from.u32()) };
    }
    case SETTLE:
      return { type: "settle", settlements: readSettlements(from) };
    case SETTLE_BY:
      return { type: "settle", by: from.f64(), settlements: readSettlements(from) };
    case EXTEND: {
      const leaseMs = from.f64();
      return { type: "extend", leaseMs, handles: times(from.u32(), () => readHandle(from)) };
    }
    case ATTACH_UNNAMED:
      return { type: "attach", consumer: { ...readConsumer(from), client: "", filter: "" } };
    case ATTACH:
      return {
        type: "attach",
        consumer: { ...readConsumer(from), client: from.text16(), filter: from.text16() },
      };
    case CREDIT:
      return { type: "credit", ref: from.f64(), add: from.u32() };
    case PAUSE:
    case DETACH:
      return { type: kind === PAUSE ? "pause" : "detach", refs: times(from.u32(), () => from.f64()) };
    default:
      return readTransactional(from, kind);
  }
}

/** Commands of commits and of prepared messages. */
type Transactional = Extract<
  QueueCommand,
  { type: "commit" | "hold" | "conclude" | "resolve" | "prepare" | "decide" }
>;

function writeTransactional(to: Writer, command: Transactional): void {
  switch (command.type) {
    case "commit":
      to.u8(COMMIT);
      return writeCommit(to, command.commit);
    case "hold":
      to.u8(HOLD);
      return writeHold(to, command.hold);
    case "conclude":
      to.u8(CONCLUDE);
      to.text16(command.tx);
      return to.u8(command.committed ? 1 : 0);
    case "resolve":
      to.u8(RESOLVE);
      to.text16(command.tx);
      return to.text16(command.participant);
    case "prepare":
      to.u8(PREPARE);
      writePreparation(to, command.preparation);
      to.u32(command.record.length);
      return to.raw(command.record);
    case "decide":
      to.u8(DECIDE);
      to.text16(command.messageId);
      return to.u8(command.commit ? 1 : 0);
  }
}

function readTransactional(from: Reader, kind: number): Transactional {
  switch (kind) {
    case COMMIT:
      return { type: "commit", commit: readCommit(from) };
    case HOLD:
      return { type: "hold", hold: readHold(from) };
    case CONCLUDE:
      return { type: "conclude", tx: from.text16(), committed: from.u8() === 1 };
    case RESOLVE:
      return { type: "resolve", tx: from.text16(), participant: from.text16() };
    case PREPARE: {
      const preparation = readPreparation(from);
      return { type: "prepare", preparation, record: from.raw(from.u32()) };
    }
    case DECIDE:
      return { type: "decide", messageId: from.text16(), commit: from.u8() === 1 };
    default:
      throw new RangeError(`unknown command ${kind}`);
  }
}

function writeConsumer(to: Writer, consumer: ConsumerSpec): void {
  to.f64(consumer.ref);
  to.text16(consumer.gateway);
  to.u32(consumer.credit);
  to.f64(consumer.leaseMs ?? 0);
  to.u32(consumer.generation);
  to.u8(consumer.resend ? 1 : 0);
  to.text16(consumer.client);
  to.text16(consumer.filter);
}

function readConsumer(from: Reader): Omit<ConsumerSpec, "client" | "filter"> {
  const ref = from.f64();
  const gateway = from.text16();
  const credit = from.u32();
  const leaseMs = from.f64() || undefined;
  return { ref, gateway, credit, leaseMs, generation: from.u32(), resend: from.u8() === 1 };
}

function writeHandle(to: Writer, handle: Handle): void {
  to.f64(handle.position);
  to.f64(handle.lease);
}

function readHandle(from: Reader): Handle {
  const position = from.f64();
  return { position, lease: from.f64() };
}

function times<T>(count: number, make: () => T): T[] {
  const made: T[] = [];
  for (let i = 0; i < count; i++) made.push(make());
  return made;
}
