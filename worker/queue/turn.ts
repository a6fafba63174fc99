// One turn of a queue in the making: the rows it will write and the deliveries it will send. One turn is one transaction.
import { Writer } from "../bytes/writer.ts";
import { MAX_ROW_BYTES } from "../limits.ts";
import { DeliveryWriter } from "../link/deliveries.ts";
import { MAX_ROW_RECORDS } from "../log/log.ts";
import type { QueueStore } from "../log/store.ts";
import { addId, beginIds, type DedupWindow } from "./dedup.ts";
import { EventWriter } from "./events.ts";
import type { Entry, Ledger } from "./ledger.ts";

/** Facts of one turn that may share a row with messages before they get a row of their own. */
const MAX_EVENT_BYTES = 1_000_000;
/** What a row may hold beyond MAX_ROW_BYTES of messages and stay under the platform's 2,000,000. */
const SPARE_ROW_BYTES = 150_000;
/** Deliveries of one turn, bytes; the rest follows in the next turn, so that one call stays far below 32 MiB. */
const MAX_DELIVERY_BYTES = 4_000_000;

/** What a turn works on. */
export interface TurnParts {
  queue: string;
  ledger: Ledger;
  store: QueueStore;
  dedup: DedupWindow;
  now: number;
  /** Random numbers from 0 up to 1, from a seed that came with the turn. */
  random: () => number;
}

/** The row being filled. */
class PendingRow {
  readonly messages = new Writer(4096);
  count = 0;
  accepted = { count: 0, bytes: 0 };
  matured = { count: 0, bytes: 0 };
  ids: Writer | undefined;
}

/** A turn: its parts, its rows, its effects. */
export class Turn {
  readonly queue: string;
  readonly ledger: Ledger;
  readonly store: QueueStore;
  readonly dedup: DedupWindow;
  readonly now: number;
  readonly random: () => number;
  /** Deliveries by gateway. */
  readonly deliveries = new Map<string, DeliveryWriter>();
  /** Deliveries by the ref of a waiting HTTP call. */
  readonly received = new Map<number, DeliveryWriter>();
  /** Whether messages could go that did not fit into this turn. */
  more = false;
  deliveredBytes = 0;
  nextSeq: number;
  /** The number of the row being filled. */
  row: number;
  #pending = new PendingRow();
  #sealed: { turn: number; row: PendingRow; messages: Uint8Array } | undefined;
  #events = new EventWriter();
  #eventBytes = 0;
  readonly #outgoing = new Map<string, Writer>();
  readonly #delayed = new Map<number, { count: number; records: Writer }>();

  constructor(parts: TurnParts, row: number) {
    this.queue = parts.queue;
    this.ledger = parts.ledger;
    this.store = parts.store;
    this.dedup = parts.dedup;
    this.now = parts.now;
    this.random = parts.random;
    this.nextSeq = parts.ledger.nextSeq;
    this.row = row;
    if (this.store.log.wantsSegment(row)) this.store.log.beginSegment(row);
    this.ledger.record(this.#events);
  }

  /** New messages that the ledger learns of when their row is sealed. */
  get unsealed(): { count: number; bytes: number } {
    return this.#pending.accepted;
  }

  /** Appends a new message's record to the log; `messageId` when it counts for the dedup window. */
  accept(record: Uint8Array, seq: number, messageId: string | undefined): void {
    this.#fit(record.length);
    const row = this.#pending;
    row.messages.raw(record);
    row.count++;
    row.accepted.count++;
    row.accepted.bytes += record.length;
    if (messageId === undefined) return;
    this.rememberId(seq, messageId);
  }

  /** Stores an id with the row being filled. */
  rememberId(seq: number, messageId: string): void {
    const row = this.#pending;
    if (row.ids === undefined) {
      row.ids = new Writer(256);
      beginIds(row.ids, this.now);
    }
    addId(row.ids, seq, messageId);
    this.dedup.add(messageId, seq, this.now, this.row);
  }

  /** Appends the record of a message whose delay is over. */
  mature(record: Uint8Array): void {
    this.#fit(record.length);
    const row = this.#pending;
    row.messages.raw(record);
    row.count++;
    row.matured.count++;
    row.matured.bytes += record.length;
  }

  /** Keeps a record until it is due. The ledger is told by the caller. */
  delay(dueAt: number, record: Uint8Array): void {
    let batch = this.#delayed.get(dueAt);
    if (batch !== undefined && batch.records.length + record.length > MAX_ROW_BYTES) {
      this.store.addDelayed(dueAt, batch.count, batch.records.take());
      batch = undefined;
    }
    if (batch === undefined) {
      batch = { count: 0, records: new Writer(record.length + 64) };
      this.#delayed.set(dueAt, batch);
    }
    batch.count++;
    batch.records.raw(record);
  }

  /** Puts the writer's next record on its way to another queue: it leaves once this turn is durable. */
  outgoing(target: string): Writer {
    let records = this.#outgoing.get(target);
    if (records !== undefined && records.length > MAX_ROW_BYTES / 2) {
      this.#send(target, records);
      records = undefined;
    }
    if (records === undefined) {
      records = new Writer();
      this.#outgoing.set(target, records);
    }
    return records;
  }

  /** Shows the messages appended so far to the log's readers and to the ledger. */
  seal(): void {
    const row = this.#pending;
    if (row.count === 0) return;
    this.#appendSealed(null);
    const messages = row.messages.take();
    this.#sealed = { turn: this.row, row, messages };
    this.store.log.stage(this.row, messages, row.count);
    if (row.accepted.count > 0) this.ledger.accept(this.row, row.accepted.count, row.accepted.bytes);
    if (row.matured.count > 0) this.ledger.mature(this.row, row.matured.count, row.matured.bytes);
    this.row++;
    this.#pending = new PendingRow();
  }

  /** Sends a leased message to whoever holds its lease. */
  deliver(entry: Entry, gateway: string, redelivered: boolean): void {
    const record = this.store.log.record(entry.position)!.record;
    const key = entry.ref;
    let writer = key < 0 ? this.received.get(key) : this.deliveries.get(gateway);
    if (writer === undefined) {
      writer = new DeliveryWriter(this.ledger.epoch);
      if (key < 0) this.received.set(key, writer);
      else this.deliveries.set(gateway, writer);
    }
    writer.add(key, entry.position, entry.lease, entry.attempts, redelivered, record);
    this.deliveredBytes += record.length;
    this.#spillEvents();
  }

  /** Whether this turn has sent as much as a turn may. */
  get full(): boolean {
    return this.deliveredBytes >= MAX_DELIVERY_BYTES;
  }

  /** Writes what is left; returns the bytes of facts written by the turn. */
  finish(): number {
    for (const [dueAt, { count, records }] of this.#delayed)
      this.store.addDelayed(dueAt, count, records.take());
    for (const [target, records] of this.#outgoing) this.#send(target, records);
    this.seal();
    this.ledger.record(undefined);
    if (this.#pending.ids !== undefined) this.#appendIdsOnly();
    const events = this.#takeEvents();
    this.#appendWith(events);
    return this.#eventBytes;
  }

  #send(target: string, records: Writer): void {
    const id = this.ledger.nextOutboxId;
    this.ledger.sendTo(id);
    this.store.addOutbox({ id, target, data: records.take() });
  }

  #fit(bytes: number): void {
    const row = this.#pending;
    const filled = row.messages.length + (row.ids?.length ?? 0);
    if (filled + bytes > MAX_ROW_BYTES || row.count >= MAX_ROW_RECORDS) this.seal();
  }

  #appendSealed(events: Uint8Array | null): void {
    if (this.#sealed === undefined) return;
    const { turn, row, messages } = this.#sealed;
    this.#sealed = undefined;
    this.store.log.append({ turn, count: row.count, events, ids: row.ids?.take() ?? null, messages });
  }

  #appendEvents(events: Uint8Array): void {
    this.store.log.append({ turn: this.row++, count: 0, events, ids: null, messages: null });
  }

  /** Ids of delayed messages when no message went to the log beside them. */
  #appendIdsOnly(): void {
    const ids = this.#pending.ids!.take();
    this.#appendSealed(null);
    this.store.log.append({ turn: this.row++, count: 0, events: this.#takeEvents(), ids, messages: null });
  }

  #takeEvents(): Uint8Array | null {
    if (this.#events.size === 0) return null;
    const events = this.#events.take();
    this.#eventBytes += events.length;
    this.#events = new EventWriter();
    return events;
  }

  /** Facts of a very large turn are written in between; rows are replayed in their order, so facts stay in theirs. */
  #spillEvents(): void {
    if (this.#events.size < MAX_EVENT_BYTES) return;
    const events = this.#takeEvents()!;
    this.ledger.record(this.#events);
    this.#appendWith(events);
  }

  /** Writes facts into the row of the sealed messages if both fit into it, else into a row of their own. */
  #appendWith(events: Uint8Array | null): void {
    const sealed = this.#sealed;
    if (sealed !== undefined) {
      const bytes = sealed.messages.length + (sealed.row.ids?.length ?? 0) + (events?.length ?? 0);
      const together = bytes <= MAX_ROW_BYTES + SPARE_ROW_BYTES;
      this.#appendSealed(together ? events : null);
      if (together) return;
    }
    if (events !== null) this.#appendEvents(events);
  }
}
