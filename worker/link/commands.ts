// What gateways and HTTP calls ask of a queue: many commands in one byte array, so that one call carries a whole batch.
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import { type Condition, readCondition, writeCondition } from "./condition.ts";
import type { Handle } from "./handle.ts";

/** What becomes of a delivery: done, back without blame, failed, or given up. */
export type Outcome = "ack" | "release" | "fail" | "dead";

/** One settled delivery. */
export interface Settlement extends Handle {
  outcome: Outcome;
  /** Wait before the next attempt, ms; undefined: the queue's back-off. Only for `fail`. */
  delayMs: number | undefined;
  /** Why it failed or died, "" when not told. */
  reason: string;
}

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
  | { type: "detach"; refs: number[] };

/* Not stored; sent between objects that may run neighbouring versions, so unknown versions are refused as a whole.
 *
 *   u8 version (1), then commands until the end, each: u8 kind, then
 *   1 publish  u32 length of the records, records (message/record.ts)
 *   2 settle   u32 count × { f64 position, f64 lease, u8 outcome, f64 delayMs (-1: none), text16 reason }
 *   3 extend   f64 leaseMs, u32 count × { f64 position, f64 lease }
 *   4 attach   f64 ref, text16 gateway, u32 credit, f64 leaseMs (0: the queue's), u32 generation, u8 resend (read, no longer written)
 *   5 credit   f64 ref, u32 add
 *   6 pause, 7 detach   u32 count × f64 ref
 *   8 publish on condition   condition (condition.ts), u32 length of the record, record
 *   9 attach   as 4, then text16 client, text16 filter
 *  10 settle by a consumer   f64 ref, then as 2
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
const OUTCOMES: readonly Outcome[] = ["ack", "release", "fail", "dead"];

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
      return { type: "settle", settlements: times(from.u32(), () => readSettlement(from)) };
    case SETTLE_BY:
      return {
        type: "settle",
        by: from.f64(),
        settlements: times(from.u32(), () => readSettlement(from)),
      };
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
      throw new RangeError(`unknown command ${kind}`);
  }
}

function writeSettlements(to: Writer, settlements: Settlement[]): void {
  to.u32(settlements.length);
  for (const settlement of settlements) {
    writeHandle(to, settlement);
    to.u8(OUTCOMES.indexOf(settlement.outcome));
    to.f64(settlement.delayMs ?? -1);
    to.text16(settlement.reason);
  }
}

function readSettlement(from: Reader): Settlement {
  const position = from.f64();
  const lease = from.f64();
  const outcome = OUTCOMES[from.u8()]!;
  const delayMs = from.f64();
  return { position, lease, outcome, delayMs: delayMs < 0 ? undefined : delayMs, reason: from.text16() };
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
