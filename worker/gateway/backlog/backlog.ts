// What a gateway owes its sessions: one log of records for all of them, a place in it for each, at most one row for each turn.
import { type Refusal, refuse } from "../../errors.ts";
import {
  MAX_BACKLOG_BYTES,
  MAX_BACKLOG_RECORDS,
  MAX_BACKLOG_RUNS,
  MAX_ROW_BYTES,
  MAX_SESSION_BACKLOG,
  MAX_SESSION_BACKLOG_BYTES,
} from "../../limits.ts";
import type { Sql } from "../../log/sql.ts";
import { RecordView } from "../../message/record.ts";
import { Books, type SessionSizes } from "./books.ts";
import { loadBooks, saveBooks } from "./checkpoint.ts";
import { replay } from "./facts.ts";
import type { Inbound } from "./inbound.ts";
import { NewRow } from "./new-rows.ts";
import type { Outgoing } from "./outgoing.ts";
import { BacklogRows, positionOfKey, type SegmentSizes } from "./rows.ts";
import { findUse } from "./use.ts";

/** What a row may hold beyond MAX_ROW_BYTES of records and stay under the platform's 2,000,000. */
const SPARE_ROW_BYTES = 150_000;
/** A topic whose transfer was refused tries again after this. */
const FULL_RETRY_MS = 5_000;
/** Expired messages are looked for at most this often; sending passes over them in any case. */
const SWEEP_MS = 10_000;

/** How large a backlog and its parts may grow; tests choose small ones. */
export interface BacklogSizes extends SegmentSizes, SessionSizes {
  bytes: number;
  records: number;
  runs: number;
  /** Bytes of facts after which a checkpoint is written. */
  checkpointBytes: number;
}

const SIZES: BacklogSizes = {
  segmentRows: 4_096,
  segmentBytes: 16_000_000,
  sessionMessages: MAX_SESSION_BACKLOG,
  sessionBytes: MAX_SESSION_BACKLOG_BYTES,
  bytes: MAX_BACKLOG_BYTES,
  records: MAX_BACKLOG_RECORDS,
  runs: MAX_BACKLOG_RUNS,
  checkpointBytes: 512_000,
};

/**
 * The backlog of a gateway. Everything between two `commit` is one turn.
 *
 * @example
 * if (!backlog.taken(source, id)) { backlog.take(source, id); const position = backlog.keep(record); outgoing.offer({ position, … }); }
 * backlog.commit(); // inside the gateway's transaction, before frames leave
 */
export class Backlog {
  readonly #books: Books;
  readonly #rows: BacklogRows;
  readonly #sizes: BacklogSizes;
  #newRows: NewRow[] = [];
  /** Positions of this turn's records by where their bytes are. */
  #kept = new Map<ArrayBufferLike, Map<number, number>>();
  #wantsRoom = false;
  #factBytes = 0;
  #checkpointSize = 0;
  #sweptAt = 0;

  private constructor(sql: Sql, sizes: BacklogSizes) {
    this.#sizes = sizes;
    this.#books = new Books(sizes);
    this.#rows = new BacklogRows(sql, this.#books.records, sizes);
  }

  /** Opens it from the gateway's storage: what is durable goes on as it was. Writes nothing. */
  static open(sql: Sql, now: number, sizes: Partial<BacklogSizes> = {}): Backlog {
    const backlog = new Backlog(sql, { ...SIZES, ...sizes });
    const books = backlog.#books;
    const rows = backlog.#rows;
    const saved = rows.readCheckpoint();
    if (saved !== undefined) {
      rows.nextKey = loadBooks(saved, books);
      backlog.#checkpointSize = saved.length;
    }
    for (const row of rows.rowsFrom(rows.nextKey)) {
      books.rowPosition = positionOfKey(row.key);
      replay(row.facts, books);
      rows.after(row);
      backlog.#factBytes += row.facts.length;
    }
    for (const { outgoing } of books.sessions.values()) {
      outgoing.recount();
      books.runs += outgoing.queue.runs;
    }
    backlog.expire(now);
    return backlog;
  }

  /**
   * The deliveries of a session, by session id; begins them if need be. Of a session with `durable` false, which ends with its
   * socket, the log holds only what waits. What a session began as, it stays until it is forgotten.
   */
  outgoing(session: string, durable: boolean): Outgoing {
    return this.#books.begin(session, durable).outgoing;
  }

  /** The QoS 2 ids of a session, by session id; throws a RangeError when `outgoing` was not called before. */
  inbound(session: string): Inbound {
    const booked = this.#books.sessions.get(session);
    if (booked === undefined) throw new RangeError("ids of a session that has not begun");
    return booked.inbound;
  }

  /** The session ended: it is owed nothing any more. Unknown ids are ignored. */
  forget(session: string): void {
    this.#books.forget(session);
  }

  /** Session ids in the log: after `open`, forget those whose session is no more (a socket lost with its object). */
  sessions(): string[] {
    return [...this.#books.sessions.values()]
      .filter(({ outgoing }) => outgoing.number > 0)
      .map(({ outgoing }) => outgoing.session);
  }

  /** Whether transfer `id` of a topic object was taken already. Ids of a source rise and never begin anew. */
  taken(source: string, id: number): boolean {
    return (this.#books.sources.get(source) ?? -1) >= id;
  }

  /** Notes that a transfer was taken: durable with this turn. */
  take(source: string, id: number): void {
    const { turn, sources } = this.#books;
    this.#books.take(source, id);
    turn.taken.set(source, sources.get(source)!);
    turn.urgent = true;
  }

  /** Whether so many more records can be kept: ask before taking a transfer, for all of its records, and refuse it as a whole. */
  room(records: number, bytes: number): Refusal | undefined {
    const { records: table } = this.#books;
    const sizes = this.#sizes;
    const full =
      table.bytes + bytes > sizes.bytes ||
      table.count + records > sizes.records ||
      this.#books.runs > sizes.runs;
    if (!full) return undefined;
    this.#wantsRoom ||= this.#reclaimable();
    return refuse("queue-full", `the gateway's backlog holds ${table.bytes} bytes`, FULL_RETRY_MS);
  }

  /**
   * Adds a record to this turn's row; the same bytes (same buffer and offset) are kept once in a turn, so they must not change
   * within it. They are copied.
   *
   * @returns its position, above 0; a refusal when the log is full
   */
  keep(record: Uint8Array): number | Refusal {
    const offsets = this.#kept.get(record.buffer) ?? new Map<number, number>();
    const known = offsets.get(record.byteOffset);
    if (known !== undefined) return known;
    const refusal = this.room(1, record.length);
    if (refusal !== undefined) return refusal;
    let row = this.#newRows.at(-1);
    if (row?.fits(record.length) !== true) {
      row = new NewRow(row?.end ?? this.#rows.nextPosition);
      this.#newRows.push(row);
    }
    const expiresAt = Math.max(0, Math.ceil(new RecordView(record).expiresAt));
    const position = row.end;
    this.#books.records.add(position, record.length, expiresAt, row.add(record, expiresAt));
    this.#kept.set(record.buffer, offsets.set(record.byteOffset, position));
    return position;
  }

  /** The record at a position, of this turn as well; undefined when it is gone. A view: read it before the next turn. */
  record(position: number): RecordView | undefined {
    const first = this.#newRows[0];
    if (first === undefined || position < first.position) return this.#rows.record(position);
    return this.#newRows.find(({ end }) => position < end)?.record(position);
  }

  /** Ends the turn: writes its row if something in it must be durable before frames leave. */
  commit(): void {
    const { turn, options } = this.#books;
    if (turn.urgent || this.#wantsRoom)
      this.#write(turn.take(options, (outgoing) => this.#books.alive(outgoing)));
    else if (this.#newRows.length > 0) this.#discard();
    this.#newRows = [];
    this.#kept.clear();
  }

  /** Ends the turn as `commit` does, and writes as well what was not urgent (PUBACK, PUBCOMP, how far QoS 1 was sent): when a socket is lost, and from a timer. */
  flushLazy(): void {
    const { turn } = this.#books;
    if (turn.any) turn.urgent = true;
    this.commit();
  }

  /** Whether `flushLazy` would write. */
  get lazy(): boolean {
    return this.#books.turn.any;
  }

  /** Drops waiting messages whose time has passed; what was sent is finished regardless. `next` never gives an expired one, so this only frees room. */
  expire(now: number): void {
    const { records, sessions } = this.#books;
    if (records.earliestExpiry > now) return;
    this.#sweptAt = now;
    const [from, to] = records.sweep(now);
    for (const { outgoing } of sessions.values()) outgoing.expire(now, from, to);
  }

  /** When `expire` is worth a call, ms since the epoch; Infinity when nothing expires. */
  get nextExpiry(): number {
    return Math.max(this.#books.records.earliestExpiry, this.#sweptAt + SWEEP_MS);
  }

  /** Bytes of the log's records. */
  get bytes(): number {
    return this.#books.records.bytes;
  }

  /** Writes the turn's records and facts: one row, unless they are too large for one. */
  #write(facts: Uint8Array[]): void {
    let rotated = false;
    const append = (rowFacts: Uint8Array, row?: NewRow) => {
      this.#factBytes += rowFacts.length;
      rotated = this.#rows.append(rowFacts, row?.count ?? 0, row?.records.take() ?? null) || rotated;
    };
    if (this.#wantsRoom) {
      this.#rows.rotate();
      if (facts.length === 0 && this.#newRows.length === 0) facts.push(new Uint8Array(0));
    }
    const last = this.#newRows.at(-1);
    for (const row of this.#newRows) {
      const kept = row.fact;
      const bytes = row.records.length + kept.length + (facts[0]?.length ?? 0);
      const together = row === last && facts.length === 1 && bytes <= MAX_ROW_BYTES + SPARE_ROW_BYTES;
      append(together ? joined(kept, facts.pop()!) : kept, row);
    }
    for (const piece of facts) append(piece);
    if (rotated || this.#factBytes > Math.max(this.#sizes.checkpointBytes, 2 * this.#checkpointSize)) {
      this.#checkpoint();
    }
  }

  /** Nobody is owed the turn's records: they are not written, and their positions are given again. */
  #discard(): void {
    this.#books.records.drop(this.#newRows[0]!.position, this.#newRows.at(-1)!.end);
  }

  /** Writes the checkpoint and drops the segments that nobody is owed anything of. */
  #checkpoint(): void {
    const books = this.#books;
    const rows = this.#rows;
    const use = findUse(books, rows.segments.map(positionOfKey));
    books.options.keepOnly(use.options);
    books.runs = use.runs;
    this.#wantsRoom = false;
    rows.dropSegments(use.needed);
    const saved = saveBooks(books, rows.nextKey);
    rows.writeCheckpoint(saved);
    this.#checkpointSize = saved.length;
    this.#factBytes = 0;
  }

  /** Whether a checkpoint now would free a segment. */
  #reclaimable(): boolean {
    const starts = this.#rows.segments.map(positionOfKey);
    const use = findUse(this.#books, starts);
    this.#books.runs = use.runs;
    return starts.some((start) => !use.needed(start));
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
}
