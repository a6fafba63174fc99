// A run of records as selectors see it: each record's fields are read once, whatever number of selectors ask.
import { RecordView } from "../message/record.ts";
import { RecordFields } from "../selector/record-fields.ts";
import type { Selector } from "../selector/selector.ts";

/** Consecutive records that a selector lets through. */
export interface Stretch {
  start: number;
  end: number;
  count: number;
}

/** The records of one run. */
export class Selection {
  readonly #records: { fields: RecordFields; start: number; end: number }[] = [];

  constructor(bytes: Uint8Array, start: number, end: number) {
    for (let at = start; at < end; ) {
      const view = new RecordView(bytes, at);
      const next = at + view.size;
      this.#records.push({ fields: new RecordFields(view), start: at, end: next });
      at = next;
    }
  }

  /** What a selector lets through, in order; records that follow each other are one stretch. */
  stretches(selector: Selector): Stretch[] {
    const found: Stretch[] = [];
    for (const { fields, start, end } of this.#records) {
      if (!selector.matches(fields)) continue;
      const last = found.at(-1);
      if (last?.end === start) {
        last.end = end;
        last.count++;
      } else found.push({ start, end, count: 1 });
    }
    return found;
  }
}
