// The log of a queue: one row per turn, in tables that are dropped whole. A message's position tells its row and its place in it.
// Knows nothing of leases or consumers; what the rows' events mean is queue/events.ts.
import { RecordView } from "../message/record.ts";
import type { Sql } from "./sql.ts";

/* PERSISTED. One table per segment, named after its first turn, so that a finished segment is dropped (which costs no rows):
 *
 *   log_<first turn> ( turn INTEGER PRIMARY KEY | count | events BLOB | ids BLOB | messages BLOB )
 *
 * `messages` holds `count` records (message/record.ts) one after the other. events and ids come first, so that reading them
 * does not read the messages. A position is turn × 65,536 + the record's index in its row.
 */
const PLACES = 65_536;
/** Turns and bytes of messages after which the next segment begins. */
const SEGMENT_TURNS = 4_096;
const SEGMENT_BYTES = 16_000_000;
/** Bytes of rows kept in memory, for messages that are read soon after they were written or read. */
const CACHE_BYTES = 4_000_000;

/** Most records of one row. */
export const MAX_ROW_RECORDS = 60_000;

/** The position of a record: its row's turn and its index there. */
export function positionOf(turn: number, index: number): number {
  return turn * PLACES + index;
}

/** The turn of the row that a position points into. */
export function turnOf(position: number): number {
  return Math.floor(position / PLACES);
}

/** A row of messages with the offset of each record. */
interface CachedRow {
  messages: Uint8Array;
  offsets: Uint32Array;
}

/** One row to write. */
export interface Row {
  turn: number;
  count: number;
  events: Uint8Array | null;
  ids: Uint8Array | null;
  messages: Uint8Array | null;
}

/**
 * The log on its SQL. `open()` finds the segments there are; nothing is read into memory beyond their names.
 *
 * @example log.append({ turn: 8, count: 1, events, ids: null, messages }); log.record(positionOf(8, 0));
 */
export class Log {
  readonly #sql: Sql;
  /** First turns of the segments, rising. */
  readonly segments: number[];
  readonly #cache = new Map<number, CachedRow>();
  #staged: { turn: number; row: CachedRow } | undefined;
  #cachedBytes = 0;
  #segmentBytes = 0;

  constructor(sql: Sql) {
    this.#sql = sql;
    this.segments = sql
      .all("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'log_*'")
      .map((row) => Number(String(row.name).slice(4)))
      .sort((a, b) => a - b);
    // The last segment's size is not known after a wake; it then merely grows a little larger than others.
  }

  /** Whether the next turn should begin a segment. */
  wantsSegment(turn: number): boolean {
    const last = this.segments.at(-1);
    return last === undefined || turn - last >= SEGMENT_TURNS || this.#segmentBytes >= SEGMENT_BYTES;
  }

  /** Begins a segment whose first row will be `turn`. */
  beginSegment(turn: number): void {
    this.#sql.all(
      `CREATE TABLE log_${turn} (turn INTEGER PRIMARY KEY, count INTEGER NOT NULL, events BLOB, ids BLOB, messages BLOB)`,
    );
    this.segments.push(turn);
    this.#segmentBytes = 0;
  }

  /** The first turn of the segment that holds a turn. */
  segmentOf(turn: number): number {
    const { segments } = this;
    let low = 0;
    let high = segments.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (segments[middle]! <= turn) low = middle;
      else high = middle - 1;
    }
    return segments[low] ?? 0;
  }

  /** Shows a row's messages to `record` and `next` before it is written: at most one row, the newest. */
  stage(turn: number, messages: Uint8Array, count: number): void {
    this.#staged = { turn, row: indexRow(messages, count) };
  }

  /** Writes a row into the last segment. */
  append(row: Row): void {
    if (this.#staged?.turn === row.turn) {
      this.#remember(row.turn, this.#staged.row);
      this.#staged = undefined;
    }
    this.#sql.all(
      `INSERT INTO log_${this.segments.at(-1)} VALUES (?, ?, ?, ?, ?)`,
      row.turn,
      row.count,
      row.events,
      row.ids,
      row.messages,
    );
    this.#segmentBytes += row.messages?.length ?? 0;
  }

  /** Drops the segments of which `finished` says so; the last one stays. */
  dropSegments(finished: (firstTurn: number, nextSegment: number) => boolean): void {
    for (let at = this.segments.length - 2; at >= 0; at--) {
      const segment = this.segments[at]!;
      if (!finished(segment, this.segments[at + 1]!)) continue;
      this.#sql.all(`DROP TABLE log_${segment}`);
      this.segments.splice(at, 1);
    }
  }

  /** The record at a position, or undefined when its row is gone. A view into a cached row: copy it before it is kept. */
  record(position: number): RecordView | undefined {
    const turn = turnOf(position);
    const row = this.#row(turn);
    const offset = row?.offsets[position - turn * PLACES];
    return row === undefined || offset === undefined ? undefined : new RecordView(row.messages, offset);
  }

  /**
   * The first position at or after `position` that holds a message, or undefined at the end of the log.
   *
   * @param left how many messages there are from `position` on, if known: when all of them are in the newest row, no other is read
   */
  next(position: number, left?: number): number | undefined {
    const turn = turnOf(position);
    const staged = this.#staged;
    if (staged !== undefined && turn < staged.turn && left === staged.row.offsets.length) {
      return positionOf(staged.turn, 0);
    }
    const row = this.#row(turn);
    if (row !== undefined && position - turn * PLACES < row.offsets.length) return position;
    const following = this.#nextTurn(turn + 1);
    return following === undefined ? undefined : positionOf(following, 0);
  }

  /** Events written after a turn, in order: what a checkpoint of that turn does not know yet. */
  *eventsAfter(turn: number): Generator<{ turn: number; events: Uint8Array }> {
    const from = this.segmentOf(turn + 1);
    for (const segment of this.segments.filter((first) => first >= from)) {
      let after = turn;
      for (;;) {
        const rows = this.#sql.all(
          `SELECT turn, events FROM log_${segment} WHERE turn > ? AND events IS NOT NULL ORDER BY turn LIMIT 500`,
          after,
        );
        for (const row of rows) yield { turn: row.turn as number, events: row.events as Uint8Array };
        if (rows.length < 500) break;
        after = rows.at(-1)!.turn as number;
      }
    }
  }

  /** Message ids as they were written, newest row first. */
  *idsBackwards(): Generator<{ turn: number; ids: Uint8Array }> {
    for (const segment of this.segments.toReversed()) {
      let before = Number.MAX_SAFE_INTEGER;
      for (;;) {
        const rows = this.#sql.all(
          `SELECT turn, ids FROM log_${segment} WHERE turn < ? AND ids IS NOT NULL ORDER BY turn DESC LIMIT 500`,
          before,
        );
        for (const row of rows) yield { turn: row.turn as number, ids: row.ids as Uint8Array };
        if (rows.length < 500) break;
        before = rows.at(-1)!.turn as number;
      }
    }
  }

  #nextTurn(turn: number): number | undefined {
    const { segments } = this;
    for (let at = Math.max(0, segments.indexOf(this.segmentOf(turn))); at < segments.length; at++) {
      const row = this.#sql.all(
        `SELECT turn FROM log_${segments[at]} WHERE turn >= ? AND count > 0 ORDER BY turn LIMIT 1`,
        turn,
      )[0];
      if (row !== undefined) return row.turn as number;
    }
    return this.#staged !== undefined && this.#staged.turn >= turn ? this.#staged.turn : undefined;
  }

  #row(turn: number): CachedRow | undefined {
    if (this.#staged?.turn === turn) return this.#staged.row;
    return this.#cache.get(turn) ?? this.#load(turn);
  }

  #load(turn: number): CachedRow | undefined {
    if (this.segments.length === 0) return undefined;
    const row = this.#sql.all(
      `SELECT count, messages FROM log_${this.segmentOf(turn)} WHERE turn = ? AND count > 0`,
      turn,
    )[0];
    if (row === undefined) return undefined;
    return this.#remember(turn, indexRow(row.messages as Uint8Array, row.count as number));
  }

  #remember(turn: number, row: CachedRow): CachedRow {
    this.#cache.set(turn, row);
    this.#cachedBytes += row.messages.length;
    for (const [oldest, { messages }] of this.#cache) {
      if (this.#cachedBytes <= CACHE_BYTES || oldest === turn) break;
      this.#cache.delete(oldest);
      this.#cachedBytes -= messages.length;
    }
    return row;
  }
}

function indexRow(messages: Uint8Array, count: number): CachedRow {
  const offsets = new Uint32Array(count);
  const view = new RecordView(messages);
  for (let i = 0; i < count; i++, view.next()) offsets[i] = view.at;
  return { messages, offsets };
}
