// The history of one topic: rows of messages by seq, what of them the limits let be seen, and what compaction has superseded.
import { Writer } from "../bytes/writer.ts";
import { MAX_ROW_BYTES } from "../limits.ts";
import { RecordView } from "../message/record.ts";
import { Compaction } from "./compaction.ts";
import type { TopicSettings } from "./settings.ts";
import type { TopicStore } from "./store.ts";

/** Rows that one turn drops at most: the rest follows in later turns, and is not seen meanwhile. */
const MAX_DROPS = 1_000;

/** A row without its records. */
interface Row {
  seq: number;
  last: number;
  time: number;
  bytes: number;
  total: number;
  /** 1 if publishers chose ids in it. */
  ids: number;
}

/** A row with them. */
interface FullRow extends Row {
  data: Uint8Array;
}

/** A row in the making. */
interface Pending {
  seq: number;
  last: number;
  time: number;
  ids: boolean;
  records: Writer;
}

/** A stretch of history. */
export interface Stretch {
  records: Uint8Array;
  count: number;
  /** The seq that the reader has come to; more follows after it unless it is the topic's last. */
  upTo: number;
}

/** One topic's history. Opened when it is needed; appends are written at the end of the turn, as one row. */
export class History {
  readonly #store: TopicStore;
  readonly #number: number;
  readonly #table: string;
  #oldest: Row | undefined;
  #newest: Row | undefined;
  #compaction: Compaction | undefined;
  /** The last seq that was ever here. */
  #last: number;
  readonly #pending: Pending[] = [];

  /**
   * @param number the topic's number in its object
   * @param seq the last one that is known to be given
   */
  constructor(store: TopicStore, number: number, seq: number) {
    this.#store = store;
    this.#number = number;
    this.#table = `history_${number}`;
    this.#oldest = this.#row("ORDER BY seq LIMIT 1");
    this.#newest = this.#row("ORDER BY seq DESC LIMIT 1");
    this.#last = Math.max(seq, this.#newest?.last ?? 0);
  }

  /** The last seq that was ever here. */
  get lastSeq(): number {
    return this.#last;
  }

  get dirty(): boolean {
    return this.#pending.length > 0;
  }

  /** Bytes of the rows. */
  get bytes(): number {
    if (this.#compaction !== undefined) return this.#compaction.bytes;
    return this.#oldest === undefined ? 0 : this.#newest!.total - this.#oldest.total + this.#oldest.bytes;
  }

  /** The last seq that compaction made disappear, 0 when none did. */
  get holes(): number {
    return this.#compaction?.holes ?? 0;
  }

  /** Begins or ends compaction, as the settings want. */
  configure({ compact }: TopicSettings): void {
    if (!compact) this.#compaction = undefined;
    else if (this.#compaction === undefined) {
      const compaction = new Compaction();
      for (const row of this.#rowsFrom(0)) compaction.load({ ...row, ids: row.ids > 0 });
      this.#compaction = compaction;
    }
  }

  /** Adds a message to the rows of this turn. */
  append(view: RecordView, time: number): void {
    const { seq, size } = view;
    let row = this.#pending.at(-1);
    if (row === undefined || row.records.length + size > MAX_ROW_BYTES) {
      // A clock that went back must not put times out of order: they are searched.
      const notBefore = row?.time ?? this.#newest?.time ?? 0;
      row = { seq, last: seq, time: Math.max(time, notBefore), ids: false, records: new Writer(size + 64) };
      this.#pending.push(row);
    }
    row.records.raw(view.record);
    row.last = seq;
    this.#last = seq;
    row.ids ||= view.publisherId;
  }

  /** Writes the rows of this turn. */
  flush(): void {
    for (const { seq, last, time, ids, records } of this.#pending) {
      const data = records.take();
      const total = (this.#newest?.total ?? 0) + data.length;
      const row = { seq, last, time, bytes: data.length, total, ids: ids ? 1 : 0 };
      this.#store.insertHistory(this.#number, seq, last, time, row.bytes, total, row.ids, data);
      this.#newest = row;
      this.#oldest ??= row;
      this.#compaction?.add({ seq, last, time, ids, data });
    }
    this.#pending.length = 0;
  }

  /**
   * Drops rows that nobody can see and whose publishers' ids are not needed: what compaction has emptied, and the oldest rows that are
   * beyond the limits as a whole.
   *
   * @param idsUntil publishers' ids that came at or before this time are not needed [TOP4]
   * @returns whether the last one went
   */
  trim({ retention }: TopicSettings, now: number, idsUntil: number): boolean {
    const { maxAgeMs, maxMessages, maxBytes } = retention;
    if (this.#oldest === undefined) return false;
    this.#dropDead(idsUntil);
    for (let drops = 0; drops < MAX_DROPS && this.#oldest !== undefined; drops++) {
      const { seq, last, time, bytes, ids } = this.#oldest;
      if (ids > 0 && time > idsUntil) return false;
      const beyond =
        (maxAgeMs !== null && time <= now - maxAgeMs) ||
        (maxMessages !== null && last <= this.#last - maxMessages) ||
        (maxBytes !== null && this.bytes - bytes >= maxBytes);
      if (!beyond) return false;
      this.#compaction?.forget(seq, this.#data(seq));
      this.#drop(seq);
      this.#oldest = this.#row("ORDER BY seq LIMIT 1");
    }
    if (this.#oldest !== undefined) return false;
    this.#newest = undefined;
    return true;
  }

  /** The first seq that may be seen; one more than the last when nothing may. */
  firstVisible({ retention }: TopicSettings, now: number): number {
    const newest = this.#newest;
    const oldest = this.#oldest;
    if (newest === undefined || oldest === undefined) return this.lastSeq + 1;
    let first = oldest.seq;
    const { maxAgeMs, maxMessages, maxBytes } = retention;
    if (maxMessages !== null) first = Math.max(first, this.#last - maxMessages + 1);
    if (maxAgeMs !== null) first = Math.max(first, this.#firstAfter(now - maxAgeMs, newest));
    if (maxBytes !== null && this.bytes > maxBytes) {
      first = Math.max(first, this.#firstWithin(maxBytes, oldest, newest));
    }
    return first;
  }

  /** When the message of a seq, or the first one after it, was published; undefined when there is none. */
  timeAt(seq: number): number | undefined {
    return this.#row("WHERE last >= ? ORDER BY seq LIMIT 1", seq)?.time;
  }

  /** The first seq published at or after a time; one more than the last when there is none. */
  firstSince(time: number): number {
    return this.#newest === undefined ? this.lastSeq + 1 : this.#firstAfter(time - 1, this.#newest);
  }

  /** Seqs of messages on disk. */
  get stored(): number {
    if (this.#compaction !== undefined) return this.#compaction.live;
    return this.#oldest === undefined ? 0 : this.#newest!.last - this.#oldest.seq + 1;
  }

  /**
   * Reads the messages from a seq on.
   *
   * @param limitBytes the stretch ends before it is passed
   * @param atLeastOne but not before its first message
   */
  read(from: number, limitBytes: number, limitCount: number, now: number, atLeastOne: boolean): Stretch {
    const to = new Writer(4096);
    let count = 0;
    let upTo = from - 1;
    for (const { data } of this.#liveFrom(from)) {
      for (const view = new RecordView(data); view.valid; view.next()) {
        const { seq, expiresAt } = view;
        if (seq < from) continue;
        const hidden =
          (expiresAt > 0 && expiresAt <= now) || this.#compaction?.superseded(view.group, seq) === true;
        if (!hidden) {
          const full = to.length + view.size > limitBytes && !(atLeastOne && count === 0);
          if (full || count >= limitCount) {
            return { records: to.take(), count, upTo };
          }
          to.raw(view.record);
          count++;
        }
        upTo = seq;
      }
    }
    return { records: to.take(), count, upTo: this.lastSeq };
  }

  /** Rows with publishers' ids that came after a time, oldest first. */
  *remembered(notBefore: number): Generator<Uint8Array> {
    const rows = this.#store.read(
      this.#table,
      `SELECT seq FROM ${this.#table} WHERE ids = 1 AND time > ? ORDER BY seq`,
      notBefore,
    );
    for (const row of rows) yield this.#data(row.seq as number);
  }

  /** Forgets everything, on disk too. */
  clear(): void {
    this.#store.drop(this.#table);
    this.#oldest = undefined;
    this.#newest = undefined;
    this.#pending.length = 0;
    this.#compaction = undefined;
  }

  /** Rows have rising times: the first seq of the first row after a time. */
  #firstAfter(time: number, newest: Row): number {
    return newest.time <= time ? newest.last + 1 : this.#firstRow(newest, (row) => row.time > time).seq;
  }

  /** The first seq from which on all is within a limit of bytes. */
  #firstWithin(maxBytes: number, oldest: Row, newest: Row): number {
    // The totals count what compaction has emptied.
    const compacted = this.#compaction !== undefined;
    const start = compacted ? oldest : this.#firstRow(newest, (row) => newest.total - row.total < maxBytes);
    let excess = (compacted ? this.bytes : newest.total - start.total + start.bytes) - maxBytes;
    for (const { data } of this.#liveFrom(start.seq)) {
      for (const view = new RecordView(data); view.valid; view.next()) {
        if (excess <= 0) return view.seq;
        excess -= view.size;
      }
    }
    return this.lastSeq + 1;
  }

  /** The first row of which something holds that holds of all rows after it too, and of the newest. */
  #firstRow(newest: Row, holds: (row: Row) => boolean): Row {
    let low = this.#oldest!;
    if (holds(low)) return low;
    let high = newest;
    // It does not hold of `low`, but of `high`.
    while (low.last + 1 < high.seq) {
      const middle = Math.floor((low.last + 1 + high.seq) / 2);
      const row = this.#row("WHERE seq <= ? ORDER BY seq DESC LIMIT 1", middle)!;
      if (holds(row)) high = row;
      else if (row.seq > low.seq) low = row;
      else {
        // Nothing begins between `low` and the middle: what follows it is the candidate.
        const next = this.#row("WHERE seq > ? ORDER BY seq LIMIT 1", middle)!;
        if (holds(next)) return next;
        low = next;
      }
    }
    return high;
  }

  /** The rows from that of a seq on, but for those that compaction has emptied. */
  *#liveFrom(seq: number): Generator<FullRow> {
    if (this.#compaction === undefined) yield* this.#rowsFrom(seq);
    else for (const start of this.#compaction.liveRows(seq)) yield this.#full("WHERE seq = ?", start)!;
  }

  *#rowsFrom(seq: number): Generator<FullRow> {
    let row = this.#full("WHERE last >= ? AND seq >= ? ORDER BY seq LIMIT 1", seq, this.#startOf(seq));
    while (row !== undefined) {
      yield row;
      row = this.#full("WHERE seq > ? ORDER BY seq LIMIT 1", row.seq);
    }
  }

  /** Where the row of a seq begins, so that the search needs not begin at the oldest. */
  #startOf(seq: number): number {
    return this.#row("WHERE seq <= ? ORDER BY seq DESC LIMIT 1", seq)?.seq ?? 0;
  }

  #row(where: string, ...bindings: number[]): Row | undefined {
    const query = `SELECT seq, last, time, bytes, total, ids FROM ${this.#table} ${where}`;
    return this.#store.read(this.#table, query, ...bindings)[0] as unknown as Row | undefined;
  }

  #full(where: string, ...bindings: number[]): FullRow | undefined {
    const query = `SELECT seq, last, time, bytes, total, ids, data FROM ${this.#table} ${where}`;
    return this.#store.read(this.#table, query, ...bindings)[0] as unknown as FullRow | undefined;
  }

  #data(seq: number): Uint8Array {
    return this.#full("WHERE seq = ?", seq)!.data;
  }

  #dropDead(idsUntil: number): void {
    if (this.#compaction === undefined) return;
    let oldestWent = false;
    for (let drops = 0; drops < MAX_DROPS; drops++) {
      const dead = this.#compaction.takeDead(idsUntil);
      if (dead === undefined) break;
      this.#drop(dead);
      oldestWent ||= dead === this.#oldest?.seq;
    }
    if (oldestWent) this.#oldest = this.#row("ORDER BY seq LIMIT 1");
  }

  #drop(seq: number): void {
    this.#store.remove(this.#table, `DELETE FROM ${this.#table} WHERE seq = ?`, seq);
  }
}
