// The rows of a backlog: facts and records, in tables that are dropped whole. A position numbers a record in the whole log.

import type { Sql } from "../../log/sql.ts";
import { RecordView } from "../../message/record.ts";
import type { RecordTable } from "./records.ts";

/* PERSISTED. One table per segment, named after its first key:
 *
 *   backlog_<first key> ( key INTEGER PRIMARY KEY | count | facts BLOB | records BLOB )
 *   owed_checkpoint ( part INTEGER PRIMARY KEY | data BLOB )
 *
 * `records` holds `count` records (message/record.ts) one after the other; their positions are consecutive, and go on in the next
 * row that has records. A key is the position of the row's first record (of the next one that will come, where the row has none)
 * × 4,096 + a number that tells apart the rows between two records.
 */
const KEYS = 4_096;
const PART_BYTES = 1_500_000;
/** Bytes of rows kept in memory, for records that are read soon after they were written or read. */
const CACHE_BYTES = 4_000_000;

/** When a segment is full. */
export interface SegmentSizes {
  segmentRows: number;
  segmentBytes: number;
}

/** One row. */
export interface BacklogRow {
  key: number;
  count: number;
  facts: Uint8Array;
}

interface CachedRow {
  records: Uint8Array;
  offsets: Uint32Array;
}

/** The position of the first record of a row, or that the next record will have. */
export function positionOfKey(key: number): number {
  return Math.floor(key / KEYS);
}

/**
 * The tables of one backlog. Made at the first write.
 *
 * @example const rotated = rows.append(facts, count, records); rows.record(position);
 */
export class BacklogRows {
  readonly #sql: Sql;
  readonly #table: RecordTable;
  readonly #sizes: SegmentSizes;
  /** First keys of the segments, rising. */
  readonly segments: number[];
  /** The key that the next row gets. */
  nextKey = KEYS;
  readonly #cache = new Map<number, CachedRow>();
  #cachedBytes = 0;
  #segmentRows = 0;
  #segmentBytes = 0;

  constructor(sql: Sql, table: RecordTable, sizes: SegmentSizes) {
    this.#sql = sql;
    this.#table = table;
    this.#sizes = sizes;
    this.segments = sql
      .all("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'backlog_[0-9]*'")
      .map((row) => Number(String(row.name).slice(8)))
      .sort((a, b) => a - b);
    // The last segment's size is not known after a wake; it then merely grows a little larger than others.
  }

  /** The position that the next record gets. */
  get nextPosition(): number {
    return positionOfKey(this.nextKey);
  }

  /** Writes a row; whether it is the first of a segment and there are older ones. */
  append(facts: Uint8Array, count: number, records: Uint8Array | null): boolean {
    const key = this.nextKey;
    const begins =
      this.segments.length === 0 ||
      this.#segmentRows >= this.#sizes.segmentRows ||
      this.#segmentBytes >= this.#sizes.segmentBytes;
    if (begins) this.#beginSegment(key);
    const segment = this.segments.at(-1);
    this.#sql.all(`INSERT INTO backlog_${segment} VALUES (?, ?, ?, ?)`, key, count, facts, records);
    this.#segmentRows++;
    this.#segmentBytes += records?.length ?? 0;
    if (records !== null) this.#remember(positionOfKey(key), indexRow(records, count));
    this.after({ key, count });
    return begins && this.segments.length > 1;
  }

  /** Makes the next row the first of a segment. */
  rotate(): void {
    this.#segmentRows = Number.POSITIVE_INFINITY;
  }

  /** A row is there: the next one gets a key behind it. */
  after({ key, count }: Pick<BacklogRow, "key" | "count">): void {
    // Without records between them, 4,096 rows use up the keys of a position; then no record gets it.
    this.nextKey = count > 0 ? (positionOfKey(key) + count) * KEYS : key + 1;
  }

  /** The record at a position, or undefined when it is not in the log. */
  record(position: number): RecordView | undefined {
    if (this.#table.size(position) === 0) return undefined;
    const place = this.#table.place(position);
    const first = position - place;
    const row = this.#cache.get(first) ?? this.#load(first);
    const offset = row?.offsets[place];
    return row === undefined || offset === undefined ? undefined : new RecordView(row.records, offset);
  }

  /** Rows from a key on, in order, without their records. */
  *rowsFrom(key: number): Generator<BacklogRow> {
    for (const [at, segment] of this.segments.entries()) {
      if ((this.segments[at + 1] ?? Number.POSITIVE_INFINITY) <= key) continue;
      let from = key;
      for (;;) {
        const rows = this.#sql.all(
          `SELECT key, count, facts FROM backlog_${segment} WHERE key >= ? ORDER BY key LIMIT 500`,
          from,
        );
        for (const row of rows) {
          yield { key: row.key as number, count: row.count as number, facts: row.facts as Uint8Array };
        }
        if (rows.length < 500) break;
        from = (rows.at(-1)!.key as number) + 1;
      }
    }
  }

  /** Drops the segments whose positions nobody needs; the last one stays. Their facts must be in a checkpoint. */
  dropSegments(needed: (from: number) => boolean): void {
    for (let at = this.segments.length - 2; at >= 0; at--) {
      const segment = this.segments[at]!;
      const from = positionOfKey(segment);
      const to = positionOfKey(this.segments[at + 1]!);
      // A segment of facts alone holds no positions.
      if (from < to && needed(from)) continue;
      this.#sql.all(`DROP TABLE backlog_${segment}`);
      this.segments.splice(at, 1);
      this.#table.drop(from, to);
    }
  }

  /** Replaces the checkpoint; one row for each 1.5 MB. */
  writeCheckpoint(data: Uint8Array): void {
    this.#sql.all(
      "CREATE TABLE IF NOT EXISTS owed_checkpoint (part INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    );
    let part = 0;
    for (let at = 0; at < data.length; at += PART_BYTES) {
      const slice = data.slice(at, at + PART_BYTES);
      this.#sql.all("INSERT OR REPLACE INTO owed_checkpoint VALUES (?, ?)", part++, slice);
    }
    this.#sql.all("DELETE FROM owed_checkpoint WHERE part >= ?", part);
  }

  /** The checkpoint, or undefined before the first. */
  readCheckpoint(): Uint8Array | undefined {
    if (this.#sql.all("SELECT 1 FROM sqlite_master WHERE name = 'owed_checkpoint'").length === 0)
      return undefined;
    const parts = this.#sql
      .all("SELECT data FROM owed_checkpoint ORDER BY part")
      .map((row) => row.data as Uint8Array);
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  #beginSegment(key: number): void {
    this.#sql.all(
      `CREATE TABLE backlog_${key} (key INTEGER PRIMARY KEY, count INTEGER NOT NULL, facts BLOB NOT NULL, records BLOB)`,
    );
    this.segments.push(key);
    this.#segmentRows = 0;
    this.#segmentBytes = 0;
  }

  #load(first: number): CachedRow | undefined {
    const end = (first + 1) * KEYS;
    const segment = this.segments.findLast((key) => key < end);
    if (segment === undefined) return undefined;
    const row = this.#sql.all(
      `SELECT count, records FROM backlog_${segment} WHERE key >= ? AND key < ? AND count > 0`,
      first * KEYS,
      end,
    )[0];
    if (row === undefined) return undefined;
    return this.#remember(first, indexRow(row.records as Uint8Array, row.count as number));
  }

  #remember(first: number, row: CachedRow): CachedRow {
    this.#cache.set(first, row);
    this.#cachedBytes += row.records.length;
    for (const [oldest, { records }] of this.#cache) {
      if (this.#cachedBytes <= CACHE_BYTES || oldest === first) break;
      this.#cache.delete(oldest);
      this.#cachedBytes -= records.length;
    }
    return row;
  }
}

function indexRow(records: Uint8Array, count: number): CachedRow {
  const offsets = new Uint32Array(count);
  const view = new RecordView(records);
  for (let i = 0; i < count; i++, view.next()) offsets[i] = view.at;
  return { records, offsets };
}
