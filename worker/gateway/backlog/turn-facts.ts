// What one turn changed, until it is written as a row: many sessions with the same news share one fact.
import { FactWriter } from "./facts.ts";
import type { OptionTable } from "./options.ts";
import type { Outgoing } from "./outgoing.ts";
import { sortRanges } from "./ranges.ts";

/** Changes that may wait for a row, before they get one of their own. */
const MAX_LAZY_CHANGES = 50_000;

/** Sessions that are owed the same stretch of the log in the same way. */
interface Group {
  position: number;
  count: number;
  options: number;
  sessions: number[];
}

/** The news since the last row. */
export class TurnFacts {
  /** Whether a row must be written before frames leave. */
  urgent = false;
  readonly begun = new Set<Outgoing>();
  readonly forgotten: number[] = [];
  readonly dirty = new Set<Outgoing>();
  /** Transfers taken: the newest id of each source. */
  readonly taken = new Map<string, number>();
  readonly inbound: { outgoing: Outgoing; packetId: number; present: boolean }[] = [];
  #changes = 0;

  /** Whether there is anything to write. */
  get any(): boolean {
    return this.urgent || this.dirty.size > 0;
  }

  changed(outgoing: Outgoing, urgent: boolean): void {
    this.dirty.add(outgoing);
    this.urgent ||= urgent || ++this.#changes > MAX_LAZY_CHANGES;
  }

  /** A session is no more: what was to be told of it is not. */
  forget(outgoing: Outgoing): void {
    this.dirty.delete(outgoing);
    if (outgoing.number === 0 || this.begun.delete(outgoing)) return;
    this.forgotten.push(outgoing.number);
    this.urgent = true;
  }

  /** The news as bytes, in pieces that fit rows; then there is none. `alive` tells sessions that were not forgotten. */
  take(options: OptionTable, alive: (outgoing: Outgoing) => boolean): Uint8Array[] {
    const facts = new FactWriter();
    // A session may begin anew under the id of one that ended.
    facts.forgotten(this.forgotten);
    for (const { number, durable, session } of this.begun) facts.begun(number, durable, session);
    for (const [source, id] of this.taken) facts.taken(source, id);
    for (const { outgoing, packetId, present } of this.inbound) {
      if (alive(outgoing)) facts.inbound(outgoing.number, packetId, present);
    }
    const dirty = [...this.dirty];
    writeOwed(facts, dirty, options);
    writeProgress(facts, dirty);
    for (const outgoing of dirty) outgoing.told();
    this.#clear();
    return facts.take();
  }

  #clear(): void {
    this.urgent = false;
    this.begun.clear();
    this.forgotten.length = 0;
    this.dirty.clear();
    this.taken.clear();
    this.inbound.length = 0;
    this.#changes = 0;
  }
}

/** Who is owed what: the first stretch of every session, then the second of those that have one, and so on: each session's order. */
function writeOwed(facts: FactWriter, dirty: readonly Outgoing[], options: OptionTable): void {
  let left = dirty.filter(({ pending }) => pending.owed.size > 0);
  for (let number = 0; left.length > 0; number++) {
    const groups = new Map<number, Group[]>();
    for (const outgoing of left) {
      const [index, position, count, option] = outgoing.pending.owed.run(number);
      // Other sessions number messages that are not kept as well.
      if (!outgoing.durable) facts.indexed(outgoing.number, index);
      addToGroup(groups, position, count, option, outgoing.number);
    }
    for (const { position, count, options: option, sessions } of [...groups.values()].flat()) {
      facts.owed(
        position,
        count,
        options.get(option),
        sessions.sort((a, b) => a - b),
      );
    }
    left = left.filter(({ pending }) => pending.owed.runs > number + 1);
  }
}

function addToGroup(
  groups: Map<number, Group[]>,
  position: number,
  count: number,
  options: number,
  session: number,
): void {
  const here = groups.get(position);
  const group = here?.find((other) => other.count === count && other.options === options);
  if (group !== undefined) group.sessions.push(session);
  else if (here !== undefined) here.push({ position, count, options, sessions: [session] });
  else groups.set(position, [{ position, count, options, sessions: [session] }]);
}

/** What became of what durable sessions are owed: finished first, then sent, then released, as the books replay it. */
function writeProgress(facts: FactWriter, dirty: readonly Outgoing[]): void {
  const idle: number[] = [];
  const sentAll: number[] = [];
  const working: Outgoing[] = [];
  for (const outgoing of dirty) {
    if (!outgoing.durable) continue;
    if (outgoing.flights.size === 0 && outgoing.queue.size === 0) {
      idle.push(outgoing.number);
      continue;
    }
    working.push(outgoing);
    const { pending, number, queue } = outgoing;
    facts.done(number, sortRanges(pending.finished));
    if (!pending.sent) continue;
    if (queue.size === 0) sentAll.push(number);
    else facts.sent(number, outgoing.sentIndex);
  }
  facts.idle(idle);
  facts.sentAll(sentAll);
  for (const { number, pending } of working) facts.released(number, sortRanges(pending.released));
}
