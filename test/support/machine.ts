// Drives the machine of a queue in Node: publishes plain objects, reads deliveries back, reopens the queue from its store.
import { Writer } from "../../worker/bytes/writer.ts";
import type { Refusal } from "../../worker/errors.ts";
import { DeliveryView } from "../../worker/link/deliveries.ts";
import type { Handle } from "../../worker/link/handle.ts";
import type { Published } from "../../worker/link/results.ts";
import type { Outcome } from "../../worker/link/settlement.ts";
import { QueueStore } from "../../worker/log/store.ts";
import { type Message, RecordView, writeMessage } from "../../worker/message/record.ts";
import type { TurnCommand } from "../../worker/queue/carry-out.ts";
import { saveLedger } from "../../worker/queue/checkpoint.ts";
import { Queue, type TurnOutcome } from "../../worker/queue/queue.ts";
import type { QueueSettingsPatch } from "../../worker/queue/settings.ts";
import { message } from "./message.ts";
import { NodeSql } from "./node-sql.ts";

/** What a test says of a message; the rest is filled in. */
export type Draft = Partial<Message> & { body: string };

/** One delivery as a test sees it. */
export interface Delivered extends Handle {
  ref: number;
  seq: number;
  attempt: number;
  redelivered: boolean;
  messageId: string;
  body: string;
  group: string;
  deaths: string;
}

/** The records of drafts, as an adapter would write them. */
export function records(...drafts: Draft[]): Uint8Array {
  const to = new Writer();
  for (const draft of drafts) writeMessage(to, message(draft));
  return to.take();
}

/** The messages in records. */
export function messagesIn(bytes: Uint8Array): Message[] {
  const found: Message[] = [];
  for (const view = new RecordView(bytes); view.valid; view.next()) found.push(view.decode());
  return found;
}

/** A queue's machine on SQLite in memory, with a clock that only the test moves. */
export class Machine {
  readonly sql = new NodeSql();
  readonly name: string;
  queue: Queue;
  now = 1_000_000;
  /** Deliveries of the last turn. */
  delivered: Delivered[] = [];
  /** Words to consumers in the last turn: `1 active`, `2 settled 65536.7`. */
  told: string[] = [];

  constructor(name = "orders", settings: QueueSettingsPatch = {}) {
    this.name = name;
    this.queue = this.sql.transaction(() => Queue.create(name, new QueueStore(this.sql), this.now, 0.5));
    if (Object.keys(settings).length > 0) this.turn({ type: "configure", patch: settings });
  }

  turn(...commands: TurnCommand[]): TurnOutcome {
    const outcome = this.sql.transaction(() => this.queue.turn(commands, this.now, 0.5));
    const writers = [...outcome.deliveries.values(), ...outcome.received.values()];
    const packets = writers.map((writer) => writer.take());
    this.delivered = packets.flatMap(readDeliveries);
    this.told = packets.flatMap(readWords);
    return outcome;
  }

  /** Lets time pass and runs what is due. */
  pass(ms: number): TurnOutcome {
    this.now += ms;
    return this.turn();
  }

  publish(...drafts: Draft[]): (Published | Refusal)[] {
    const result = this.turn({ type: "publish", records: records(...drafts) }).results[0]!;
    if (result.type !== "published") throw new Error(`a publish was answered ${result.type}`);
    return result.messages;
  }

  attach(
    ref: number,
    credit: number,
    options: { leaseMs?: number; resend?: boolean; gateway?: string; filter?: string; client?: string } = {},
  ): Delivered[] {
    const { leaseMs, resend = false, gateway = "gateway-0", filter = "", client = `client-${ref}` } = options;
    const consumer = { ref, gateway, client, filter, credit, leaseMs, generation: 1, resend };
    this.turn({ type: "attach", consumer });
    return this.delivered;
  }

  settle(
    delivery: Handle,
    outcome: Outcome,
    options: { delayMs?: number; reason?: string; by?: number } = {},
  ): boolean {
    const { delayMs, reason = "", by = 0 } = options;
    const { position, lease } = delivery;
    const settlements = [{ position, lease, outcome, delayMs, reason }];
    const result = this.turn({ type: "settle", settlements, by }).results[0]!;
    if (result.type !== "settled") throw new Error(`a settle was answered ${result.type}`);
    return result.settled[0]!;
  }

  /** The queue as it would be after its object was evicted: made anew from its store. */
  reopen(): void {
    this.queue = Queue.open(this.name, new QueueStore(this.sql), this.now);
  }

  /** Everything the books hold, as bytes: two machines with the same books behave the same. */
  books(): string {
    return Buffer.from(saveLedger(this.queue.ledger, { turn: 0, rowsWritten: 0 })).toString("base64");
  }
}

function readDeliveries(packet: Uint8Array): Delivered[] {
  const found: Delivered[] = [];
  for (const view = new DeliveryView(packet); view.valid; view.next()) {
    if (view.kind !== "message") continue;
    const { ref, position, lease, attempt, redelivered } = view;
    const { seq, messageId, body, group, deaths } = view.message.decode();
    found.push({
      ref,
      position,
      lease,
      attempt,
      redelivered,
      seq,
      messageId,
      body: String(body),
      group,
      deaths,
    });
  }
  return found;
}

function readWords(packet: Uint8Array): string[] {
  const found: string[] = [];
  for (const view = new DeliveryView(packet); view.valid; view.next()) {
    const about = view.kind === "settled" ? ` ${view.position}.${view.lease}` : "";
    if (view.kind !== "message") found.push(`${view.ref} ${view.kind}${about}`);
  }
  return found;
}
