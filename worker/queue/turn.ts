// One turn of a queue in the making: the rows it will write and the deliveries it will send. One turn is one transaction.
import { Writer } from "../bytes/writer.ts";
import { MAX_ROW_BYTES } from "../limits.ts";
import { type DeliveryKind, DeliveryWriter } from "../link/deliveries.ts";
import { MAX_ROW_RECORDS } from "../log/log.ts";
import type { QueueStore } from "../log/store.ts";
import { type Message, writeMessage } from "../message/record.ts";
import type { Consumer } from "./consumers.ts";
import { addId, beginIds, type DedupWindow } from "./dedup.ts";
import type { Entry } from "./entry.ts";
import { EventWriter } from "./events.ts";
import { takeAhead } from "./head.ts";
import type { Ledger } from "./ledger.ts";

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

/** A row of the outbox being filled. */
interface Outgoing {
  row: number;
  count: number;
  records: Writer;
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
  /** The last row, which waits for facts that fit into it. */
  #sealed: { turn: number; row: PendingRow; messages: Uint8Array | null } | undefined;
  readonly #events = new EventWriter((events) => this.#write(events));
  #eventBytes = 0;
  readonly #outgoing = new Map<string, Outgoing>();
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
    this.#fit(record.length + idBytes(messageId));
    const row = this.#pending;
    row.messages.raw(record);
    row.count++;
    row.accepted.count++;
    row.accepted.bytes += record.length;
    if (messageId !== undefined) this.#addId(seq, messageId);
  }

  /** Stores the id of a message that does not go to the log yet. */
  rememberId(seq: number, messageId: string): void {
    this.#fit(idBytes(messageId));
    this.#addId(seq, messageId);
  }

  #addId(seq: number, messageId: string): void {
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

  /** Puts a message on its way to another queue: it leaves once this turn is durable. */
  sendTo(target: string, message: Message): void {
    const record = new Writer();
    writeMessage(record, message);
    this.sendRecord(target, record.take());
  }

  /** As `sendTo`, for a record; returns the row of the outbox that it goes into, and its place there. */
  sendRecord(target: string, record: Uint8Array): { row: number; at: number } {
    let outgoing = this.#outgoing.get(target);
    if (outgoing !== undefined && outgoing.records.length + record.length > MAX_ROW_BYTES) {
      this.store.addOutbox({ id: outgoing.row, target, data: outgoing.records.take() });
      outgoing = undefined;
    }
    if (outgoing === undefined) {
      outgoing = { row: this.#nextRow(), count: 0, records: new Writer(record.length + 64) };
      this.#outgoing.set(target, outgoing);
    }
    outgoing.records.raw(record);
    return { row: outgoing.row, at: outgoing.count++ };
  }

  /** Puts a row of its own into the outbox; it can be read back at once. */
  sendRow(target: string, data: Uint8Array): void {
    this.store.addOutbox({ id: this.#nextRow(), target, data });
  }

  #nextRow(): number {
    const id = this.ledger.nextOutboxId;
    this.ledger.sendTo(id);
    return id;
  }

  /** Shows the messages appended so far to the log's readers and to the ledger. */
  seal(): void {
    const row = this.#pending;
    if (row.count === 0) return;
    this.#appendSealed(null);
    const messages = row.messages.take();
    this.#sealed = { turn: this.row, row, messages };
    const turn = this.row++;
    this.store.log.stage(turn, messages, row.count);
    this.#pending = new PendingRow();
    if (row.accepted.count > 0) this.ledger.accept(turn, row.accepted.count, row.accepted.bytes);
    if (row.matured.count > 0) this.ledger.mature(turn, row.matured.count, row.matured.bytes);
    takeAhead(this.ledger, turn, messages);
  }

  /** Sends a leased message to the consumer that holds its lease. */
  deliver(entry: Entry, consumer: Consumer, redelivered: boolean): void {
    const { record } = this.store.log.record(entry.position)!;
    const { ref, generation } = consumer;
    const { position, lease, attempts: attempt } = entry;
    this.#writer(consumer).add({ ref, generation, position, lease, attempt, redelivered }, record);
    this.deliveredBytes += record.length;
  }

  /** Sends a consumer a word, after what it was sent before: about an entry that it holds, if it is `settled`. */
  tell(consumer: Consumer, word: Exclude<DeliveryKind, "message">, entry?: Entry): void {
    const { ref, generation } = consumer;
    const { position = 0, lease = 0 } = entry ?? {};
    this.#writer(consumer).tell({ ref, generation, position, lease, attempt: 0, redelivered: false }, word);
  }

  #writer({ ref, gateway }: Consumer): DeliveryWriter {
    let writer = ref < 0 ? this.received.get(ref) : this.deliveries.get(gateway);
    if (writer === undefined) {
      writer = new DeliveryWriter(this.ledger.epoch);
      if (ref < 0) this.received.set(ref, writer);
      else this.deliveries.set(gateway, writer);
    }
    return writer;
  }

  /** Whether this turn has sent as much as a turn may. */
  get full(): boolean {
    return this.deliveredBytes >= MAX_DELIVERY_BYTES;
  }

  /** Writes what is left; returns the bytes of facts written by the turn. */
  finish(): number {
    for (const [dueAt, { count, records }] of this.#delayed)
      this.store.addDelayed(dueAt, count, records.take());
    for (const [target, { row, records }] of this.#outgoing) {
      this.store.addOutbox({ id: row, target, data: records.take() });
    }
    this.seal();
    if (this.#pending.ids !== undefined) this.#sealIds();
    this.ledger.record(undefined);
    const events = this.#events.take();
    if (events === null) this.#appendSealed(null);
    else this.#write(events);
    return this.#eventBytes;
  }

  /** Begins a new row when the one being filled has no room for so many bytes more. */
  #fit(bytes: number): void {
    const row = this.#pending;
    const idBytes = row.ids?.length ?? 0;
    if (row.messages.length + idBytes + bytes <= MAX_ROW_BYTES && row.count < MAX_ROW_RECORDS) return;
    if (row.count > 0) this.seal();
    else if (idBytes > 0) this.#sealIds();
  }

  #appendSealed(events: Uint8Array | null): void {
    if (this.#sealed === undefined) return;
    const { turn, row, messages } = this.#sealed;
    this.#sealed = undefined;
    this.store.log.append({ turn, count: row.count, events, ids: row.ids?.take() ?? null, messages });
  }

  /** Ids when no message goes to the log beside them: of delayed messages, and of commits. */
  #sealIds(): void {
    this.#appendSealed(null);
    this.#sealed = { turn: this.row++, row: this.#pending, messages: null };
    this.#pending = new PendingRow();
  }

  /** Writes facts into the last row if they fit into it, else into a row of their own. */
  #write(events: Uint8Array): void {
    this.#eventBytes += events.length;
    const sealed = this.#sealed;
    if (sealed !== undefined) {
      const bytes = (sealed.messages?.length ?? 0) + (sealed.row.ids?.length ?? 0) + events.length;
      if (bytes <= MAX_ROW_BYTES + SPARE_ROW_BYTES) return this.#appendSealed(events);
      this.#appendSealed(null);
    }
    this.store.log.append({ turn: this.row++, count: 0, events, ids: null, messages: null });
  }
}

/** Most bytes that an id takes in a row: its text as UTF-8, its seq and its length. */
function idBytes(messageId: string | undefined): number {
  return messageId === undefined ? 0 : messageId.length * 3 + 10;
}
