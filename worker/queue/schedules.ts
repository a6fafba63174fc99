// Recurring messages: what a queue sends by the clock, to itself or to another address, each run once.
import { parseAddress } from "../address.ts";
import type { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { MAX_SCHEDULES, MAX_SCHEDULES_BYTES } from "../limits.ts";
import { RecordView, writeMessage } from "../message/record.ts";
import { Book } from "./book.ts";
import { nextRun } from "./cron.ts";
import { moveTarget } from "./destination.ts";
import { publish } from "./publish.ts";
import type { Timed } from "./timers.ts";
import type { Turn } from "./turn.ts";

/** What becomes of runs at which the queue could not be there: nothing, or one for all of them. */
export type Missed = "skip" | "once";

/** A recurring message as it is asked for. */
export interface ScheduleSpec {
  /** See cron.ts. */
  cron: string;
  /** An IANA name. */
  timeZone: string;
  missed: Missed;
  /** `queue:NAME` or `topic:NAME`; "": the queue that keeps the schedule. */
  to: string;
  /** Time to live of each message, ms; 0: none. */
  ttlMs: number;
}

/** A recurring message as it stands. */
export interface Schedule extends ScheduleSpec {
  id: string;
  /** Its next run, ms since the epoch; null when there is none any more. */
  nextAt: number | null;
  /** Its last run, null before the first. */
  lastAt: number | null;
  /** Messages sent so far. */
  runs: number;
  /** Why the last run stored nothing, if it did not. */
  lastError?: string;
}

/** A schedule with its message. */
interface Kept extends Schedule {
  /** One record (message/record.ts). */
  record: Uint8Array;
}

/** A run is missed when the queue comes to it this late. */
const MISSED_AFTER_MS = 60_000;
const NEVER = Number.POSITIVE_INFINITY;

/* PERSISTED. A fact: u8 kind, text16 id, then 1 set: text32 the schedule as JSON, u32 length, its record; 2 ran: text32 the schedule as
 * JSON; 3 removed: nothing. In a checkpoint: u32 × a fact of kind 1 without its kind.
 */
const SET = 1;
const RAN = 2;
const REMOVED = 3;

/** The recurring messages of one queue. */
export class Schedules extends Book {
  readonly number = 3;
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;
  #nextAt = NEVER;

  /** When the next of them is due, Infinity when none is. */
  get nextAt(): number {
    return this.#nextAt;
  }

  /** In the order of their ids. */
  list(): Schedule[] {
    return [...this.#kept.values()].sort((a, b) => (a.id < b.id ? -1 : 1)).map(withoutRecord);
  }

  get(id: string): Schedule | undefined {
    const kept = this.#kept.get(id);
    return kept && withoutRecord(kept);
  }

  /** Those whose run is due. */
  due(now: number): Kept[] {
    return [...this.#kept.values()].filter(({ nextAt }) => nextAt !== null && nextAt <= now);
  }

  /** Why there is no room for one more, or for a larger one under a known id. */
  room(id: string, bytes: number): Refusal | undefined {
    const known = this.#kept.get(id);
    if (known === undefined && this.#kept.size >= MAX_SCHEDULES) {
      return refuse("too-many", `a queue has at most ${MAX_SCHEDULES} schedules, got one more`);
    }
    const total = this.#bytes + bytes - (known?.record.length ?? 0);
    if (total <= MAX_SCHEDULES_BYTES) return undefined;
    return refuse(
      "too-many",
      `the messages of a queue's schedules have at most ${MAX_SCHEDULES_BYTES} bytes, got ${total}`,
    );
  }

  set(kept: Kept): void {
    this.note((to) => {
      to.u8(SET);
      writeKept(to, kept);
    });
    this.#put(kept);
  }

  /** A run was sent, or skipped. */
  ran(schedule: Schedule): void {
    this.note((to) => {
      to.u8(RAN);
      to.text16(schedule.id);
      to.text32(JSON.stringify(schedule));
    });
    this.#put({ ...schedule, record: this.#kept.get(schedule.id)!.record });
  }

  remove(id: string): void {
    this.note((to) => {
      to.u8(REMOVED);
      to.text16(id);
    });
    this.#bytes -= this.#kept.get(id)?.record.length ?? 0;
    this.#kept.delete(id);
    this.#findNext();
  }

  replay(fact: Reader): void {
    const kind = fact.u8();
    if (kind === SET) this.set(readKept(fact));
    else if (kind === REMOVED) this.remove(fact.text16());
    else {
      fact.text16();
      this.ran(JSON.parse(fact.text32()) as Schedule);
    }
  }

  save(to: Writer): void {
    to.u32(this.#kept.size);
    for (const kept of this.#kept.values()) writeKept(to, kept);
  }

  load(from: Reader): void {
    for (let left = from.u32(); left > 0; left--) this.#put(readKept(from));
  }

  #put(kept: Kept): void {
    this.#bytes += kept.record.length - (this.#kept.get(kept.id)?.record.length ?? 0);
    this.#kept.set(kept.id, kept);
    this.#findNext();
  }

  #findNext(): void {
    this.#nextAt = NEVER;
    for (const { nextAt } of this.#kept.values()) this.#nextAt = Math.min(this.#nextAt, nextAt ?? NEVER);
  }
}

/** Sets a schedule, new or known by its id: its runs are those from now on. */
export function setSchedule(
  turn: Turn,
  id: string,
  spec: ScheduleSpec,
  record: Uint8Array,
): Refusal | undefined {
  const { schedules } = turn.ledger;
  const full = schedules.room(id, record.length);
  if (full !== undefined) return full;
  const nextAt = nextRun(spec.cron, spec.timeZone, turn.now);
  if (nextAt === NEVER) return refuse("bad-field", `cron never comes true: ${JSON.stringify(spec.cron)}`);
  const known = schedules.get(id);
  const { lastAt = null, runs = 0 } = known ?? {};
  schedules.set({ ...spec, id, nextAt, lastAt, runs, record: record.slice() });
  return undefined;
}

/** Ends a schedule. */
export function removeSchedule(turn: Turn, id: string): Refusal | undefined {
  if (turn.ledger.schedules.get(id) === undefined) {
    return refuse("not-found", `the queue has no schedule ${JSON.stringify(id.slice(0, 80))}`);
  }
  turn.ledger.schedules.remove(id);
  return undefined;
}

/** The schedules as a part of the books that time moves. */
export const schedulesOverTime: Timed = {
  deadline: ({ schedules }) => schedules.nextAt,
  run(turn) {
    for (const kept of turn.ledger.schedules.due(turn.now)) runSchedule(turn, kept);
  },
};

function runSchedule(turn: Turn, { record, ...schedule }: Kept): void {
  const { cron, timeZone, missed } = schedule;
  let at = schedule.nextAt!;
  let { runs, lastAt } = schedule;
  let lastError: string | undefined;
  const send = (time: number) => {
    lastError = sendRun(turn, schedule, record, time);
    if (lastError === undefined) runs++;
    lastAt = time;
  };
  let late: number | undefined;
  for (; at <= turn.now; at = nextRun(cron, timeZone, at)) {
    if (turn.now - at > MISSED_AFTER_MS) {
      late = at;
      // Runs far back need not be counted one by one.
      at = Math.max(at, turn.now - MISSED_AFTER_MS - 1);
      continue;
    }
    if (late !== undefined && missed === "once") send(late);
    late = undefined;
    send(at);
  }
  if (late !== undefined && missed === "once") send(late);
  const { lastError: _, ...rest } = schedule;
  const nextAt = at === NEVER ? null : at;
  turn.ledger.schedules.ran({
    ...{ ...rest, nextAt, lastAt, runs },
    ...(lastError === undefined ? {} : { lastError }),
  });
}

/** Sends one run's message. @returns why it was not stored, if so */
function sendRun(
  turn: Turn,
  { id, to, ttlMs }: Schedule,
  record: Uint8Array,
  time: number,
): string | undefined {
  const message = new RecordView(record).decode();
  const run = {
    ...message,
    messageId: `${id}@${new Date(time).toISOString()}`,
    // Its id keeps the runs of one schedule apart; whoever consumes can tell a repetition by it.
    publisherId: true,
    time: turn.now,
    expiresAt: ttlMs > 0 ? turn.now + ttlMs : 0,
  };
  const address = to === "" ? undefined : parseAddress(to);
  if (address !== undefined && !isRefusal(address)) {
    turn.sendTo(moveTarget(address), { ...run, topic: address.kind === "topic" ? address.name : "" });
    return undefined;
  }
  const bytes = new Writer(record.length + 64);
  writeMessage(bytes, run);
  const [outcome] = publish(turn, bytes.take(), undefined);
  return isRefusal(outcome) ? `${outcome.kind}: ${outcome.message}` : undefined;
}

function withoutRecord({ record: _, ...schedule }: Kept): Schedule {
  return schedule;
}

function writeKept(to: Writer, kept: Kept): void {
  to.text16(kept.id);
  to.text32(JSON.stringify(withoutRecord(kept)));
  to.u32(kept.record.length);
  to.raw(kept.record);
}

function readKept(from: Reader): Kept {
  from.text16();
  const schedule = JSON.parse(from.text32()) as Schedule;
  return { ...schedule, record: from.raw(from.u32()).slice() };
}
