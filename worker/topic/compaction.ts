// Which messages of a compacted topic are superseded by a later one of the same group, and which rows hold no other any more.
import { MAX_COMPACTED_GROUPS } from "../limits.ts";
import { RecordView } from "../message/record.ts";

interface Latest {
  seq: number;
  row: number;
}

interface Row {
  last: number;
  /** Messages of it that are not superseded. */
  live: number;
  bytes: number;
  /** When publishers' ids came with it, 0 for none. */
  idsAt: number;
}

/** A row as it was written. */
export interface NewRow {
  seq: number;
  last: number;
  time: number;
  /** Whether publishers chose ids in it. */
  ids: boolean;
  data: Uint8Array;
}

/** The books of one compacted topic, in memory: read from its rows when the topic is opened. */
export class Compaction {
  /** The last message of each group. Groups beyond the limit are not here: all of theirs count as the last. */
  readonly #latest = new Map<string, Latest>();
  /** All rows by their first seq, rising. */
  readonly #rows = new Map<number, Row>();
  /** Rows of which nothing is left, in the order in which that came about. */
  readonly #dead = new Set<number>();
  #lastSeq = 0;
  /** The last seq that is superseded or whose row is gone. */
  holes = 0;
  /** Messages that are not superseded. */
  live = 0;
  /** Bytes of the rows with such messages. */
  bytes = 0;

  /** Takes in a row that was there before. */
  load(row: NewRow): void {
    if (this.#lastSeq > 0 && row.seq > this.#lastSeq + 1) this.holes = row.seq - 1;
    this.add(row);
  }

  /** Takes in the newest row. */
  add({ seq, last, time, ids, data }: NewRow): void {
    const row = { last, live: 0, bytes: data.length, idsAt: ids ? time : 0 };
    this.#rows.set(seq, row);
    this.bytes += row.bytes;
    for (const view = new RecordView(data); view.valid; view.next()) {
      row.live++;
      this.live++;
      const { group } = view;
      // A message without a group is superseded by none.
      if (group !== "") this.#supersede(group, view.seq, seq);
    }
    this.#lastSeq = last;
  }

  /** Whether a later message of the group is there. */
  superseded(group: string, seq: number): boolean {
    const latest = group === "" ? undefined : this.#latest.get(group);
    return latest !== undefined && latest.seq > seq;
  }

  /** First seqs of the rows with something left that end at or after a seq, rising. */
  *liveRows(from: number): Generator<number> {
    for (const [seq, { last, live }] of this.#rows) if (last >= from && live > 0) yield seq;
  }

  /**
   * Takes out a row of which nothing is left.
   *
   * @param idsUntil publishers' ids that came at or before this time are not needed
   * @returns its first seq; undefined when there is none that may go
   */
  takeDead(idsUntil: number): number | undefined {
    for (const seq of this.#dead) {
      // Those behind it wait for it: they died later, so that it is not for long.
      if (this.#rows.get(seq)!.idsAt > idsUntil) return undefined;
      this.#strike(seq);
      return seq;
    }
    return undefined;
  }

  /** Takes out a row that the limits dropped. */
  forget(seq: number, data: Uint8Array): void {
    this.#strike(seq);
    for (const view = new RecordView(data); view.valid; view.next()) {
      if (this.#latest.get(view.group)?.seq === view.seq) this.#latest.delete(view.group);
    }
  }

  #strike(seq: number): void {
    const row = this.#rows.get(seq);
    if (row === undefined) return;
    this.#rows.delete(seq);
    if (this.#dead.delete(seq)) return;
    this.live -= row.live;
    this.bytes -= row.bytes;
  }

  #supersede(group: string, seq: number, row: number): void {
    const before = this.#latest.get(group);
    if (before === undefined && this.#latest.size >= MAX_COMPACTED_GROUPS) return;
    if (before !== undefined) {
      this.holes = Math.max(this.holes, before.seq);
      const old = this.#rows.get(before.row);
      if (old !== undefined) {
        this.live--;
        if (--old.live === 0) {
          this.#dead.add(before.row);
          this.bytes -= old.bytes;
        }
      }
    }
    this.#latest.set(group, { seq, row });
  }
}
