// Which messages of a compacted topic are superseded by a later one of the same group, and which rows hold no other any more.
import { MAX_COMPACTED_GROUPS } from "../limits.ts";
import { RecordView } from "../message/record.ts";

interface Latest {
  seq: number;
  row: number;
}

interface Row {
  live: number;
  bytes: number;
}

/** The books of one compacted topic, in memory: read from its rows when the topic is opened. */
export class Compaction {
  /** The last message of each group. Groups beyond the limit are not here: all of theirs count as the last. */
  readonly #latest = new Map<string, Latest>();
  readonly #rows = new Map<number, Row>();
  readonly #dead: number[] = [];
  #lastSeq = 0;
  /** The last seq that is superseded or whose row is gone. */
  holes = 0;
  /** Messages that are not superseded. */
  live = 0;
  /** Bytes of the rows that are left. */
  bytes = 0;

  /** Takes in a row that was there before. */
  load(seq: number, last: number, data: Uint8Array): void {
    if (this.#lastSeq > 0 && seq > this.#lastSeq + 1) this.holes = seq - 1;
    this.add(seq, last, data);
  }

  /** Takes in the newest row. */
  add(seq: number, last: number, data: Uint8Array): void {
    const row = { live: 0, bytes: data.length };
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

  /** Rows of which nothing is left; the newest stays in any case. */
  takeDead(newest: number): number[] {
    const dead = this.#dead.splice(0).filter((seq) => this.#rows.has(seq));
    if (dead.includes(newest)) this.#dead.push(newest);
    const gone = dead.filter((seq) => seq !== newest);
    for (const seq of gone) this.#strike(seq);
    return gone;
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
        if (--old.live === 0) this.#dead.push(before.row);
      }
    }
    this.#latest.set(group, { seq, row });
  }
}
