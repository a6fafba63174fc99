// The records of the turn being made, as the rows they will be written in.
import { Writer } from "../../bytes/writer.ts";
import { MAX_BACKLOG_ROW_RECORDS, MAX_ROW_BYTES } from "../../limits.ts";
import { RecordView } from "../../message/record.ts";
import { keptFact } from "./facts.ts";

/** A row in the making. */
export class NewRow {
  /** Position of its first record. */
  readonly position: number;
  readonly records = new Writer(4096);
  readonly #offsets: number[] = [];
  readonly #kept: { size: number; expiresAt: number }[] = [];

  constructor(position: number) {
    this.position = position;
  }

  get count(): number {
    return this.#offsets.length;
  }

  /** Position of the record after its last. */
  get end(): number {
    return this.position + this.count;
  }

  /** Whether a record of this size still fits. */
  fits(bytes: number): boolean {
    return this.records.length + bytes <= MAX_ROW_BYTES && this.count < MAX_BACKLOG_ROW_RECORDS;
  }

  /** Adds a record; returns its index in the row. */
  add(record: Uint8Array, expiresAt: number): number {
    this.#offsets.push(this.records.length);
    this.records.raw(record);
    return this.#kept.push({ size: record.length, expiresAt }) - 1;
  }

  record(position: number): RecordView {
    return new RecordView(this.records.bytes, this.#offsets[position - this.position]);
  }

  /** The fact that tells of its records. */
  get fact(): Uint8Array {
    return keptFact(this.#kept);
  }
}
