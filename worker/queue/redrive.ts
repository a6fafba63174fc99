// Dead letters on their way back: one task at a time moves those of this queue to where they came from, or elsewhere.
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import { type Refusal, refuse } from "../errors.ts";
import { MAX_OUTSTANDING, MAX_REDRIVE_PER_SECOND } from "../limits.ts";
import { positionOf } from "../log/log.ts";
import { object } from "../schema.ts";
import { RecordFields } from "../selector/record-fields.ts";
import { selectorOf } from "../selector/selector.ts";
import { Book } from "./book.ts";
import type { Entry } from "./entry.ts";
import type { Death } from "./failures.ts";
import { headPosition, takeNext } from "./head.ts";
import type { Timed } from "./timers.ts";
import type { Turn } from "./turn.ts";

/** What `POST …/redrive` takes. */
export const REDRIVE_FIELDS = object(
  {
    to: { type: "string", minLength: 1, maxLength: 512 },
    filter: { type: "any" },
    max: { type: "integer", minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
    perSecond: { type: "integer", minimum: 1, maximum: MAX_REDRIVE_PER_SECOND },
  },
  [],
);

/** Which dead letters go where. */
export interface RedriveOptions {
  /** The queue that takes them; "": each the queue that it died in. */
  to: string;
  /** Only those that died last in this queue; "": all. */
  origin: string;
  /** A selector; "": all. */
  filter: string;
  /** At most so many; null: all there are. */
  max: number | null;
  /** At most so many in a second; null: as fast as it goes. */
  perSecond: number | null;
}

/** A task of moving dead letters, under way or finished. */
export interface RedriveTask extends RedriveOptions {
  running: boolean;
  moved: number;
  /** ms since the epoch. */
  startedAt: number;
}

/** Messages that one turn moves or looks at. */
const TURN_MESSAGES = 1_000;
/** A task at a rate works this often at most. */
const STEP_MS = 100;

/** PERSISTED: in a fact and in a checkpoint, as JSON text (text32), "" for none. */
interface State extends RedriveTask {
  /** What came at or after this position was not there at the start. */
  end: number;
  /** Everything before this position was looked at. */
  from: number;
  /** When the next messages may go. */
  dueAt: number;
}

/** The task of one queue. */
export class Redrive extends Book {
  readonly number = 2;
  #state: State | undefined;

  /** The task under way, or else the last one. */
  get task(): RedriveTask | undefined {
    if (this.#state === undefined) return undefined;
    const { end: _, from: __, dueAt: ___, ...task } = this.#state;
    return task;
  }

  get state(): State | undefined {
    return this.#state;
  }

  set(state: State): void {
    this.note((to) => to.text32(JSON.stringify(state)));
    this.#state = state;
  }

  replay(fact: Reader): void {
    this.#state = JSON.parse(fact.text32()) as State;
  }

  save(to: Writer): void {
    to.text32(this.#state === undefined ? "" : JSON.stringify(this.#state));
  }

  load(from: Reader): void {
    const text = from.text32();
    if (text !== "") this.#state = JSON.parse(text) as State;
  }
}

/** Begins a task; refused with `conflict` while another is under way. */
export function beginRedrive(turn: Turn, options: RedriveOptions): Refusal | undefined {
  const { redrive } = turn.ledger;
  if (redrive.state?.running === true) {
    return refuse("conflict", `a redrive is under way: ${redrive.state.moved} messages were moved so far`);
  }
  turn.seal();
  const from = { end: positionOf(turn.row, 0), from: 0, dueAt: turn.now };
  redrive.set({ ...options, ...from, running: true, moved: 0, startedAt: turn.now });
  runRedrive(turn);
  return undefined;
}

/** Ends the task under way. */
export function endRedrive(turn: Turn): void {
  const { redrive } = turn.ledger;
  if (redrive.state?.running === true) redrive.set({ ...redrive.state, running: false });
}

/** Moves what may go now. */
function runRedrive(turn: Turn): void {
  const { redrive } = turn.ledger;
  const state = redrive.state!;
  const allowed = Math.min(
    state.perSecond === null ? TURN_MESSAGES : allowance(state, turn.now),
    state.max === null ? TURN_MESSAGES : state.max - state.moved,
    TURN_MESSAGES,
  );
  const moved = allowed > 0 ? moveSome(turn, state, allowed) : { count: 0, from: state.from, done: false };
  const total = state.moved + moved.count;
  const running = !moved.done && (state.max === null || total < state.max);
  // A rate is for what is moved: looking for it goes on at once.
  const rest = state.perSecond !== null && moved.count === allowed;
  const dueAt = rest ? nextStep({ ...state, moved: total }, turn.now) : turn.now;
  redrive.set({ ...state, running, moved: total, from: moved.from, dueAt });
  turn.more ||= running && dueAt <= turn.now;
}

/** How many may have gone by now, less those that have. */
function allowance({ perSecond, startedAt, moved }: State, now: number): number {
  return 1 + Math.floor(((now - startedAt) / 1_000) * perSecond!) - moved;
}

function nextStep({ perSecond, startedAt, moved }: State, now: number): number {
  return Math.max(now + STEP_MS, Math.ceil(startedAt + (moved / perSecond!) * 1_000));
}

function moveSome(turn: Turn, state: State, allowed: number): { count: number; from: number; done: boolean } {
  let count = 0;
  let looked = 0;
  let { from } = state;
  for (const entry of candidates(turn, state)) {
    if (count === allowed || looked === TURN_MESSAGES) return { count, from, done: false };
    looked++;
    from = entry.position + 1;
    if (entry.state === "ready" && move(turn, entry, state)) count++;
  }
  return { count, from, done: true };
}

/** Messages that were there at the start, in their order: those in the books, and between them what the cursor passes. */
function* candidates(turn: Turn, { from, end }: State): Generator<Entry> {
  const { ledger } = turn;
  const known = [...ledger.entries.values()]
    .filter(({ position }) => position >= from && position < end)
    .sort((a, b) => a.position - b.position);
  for (let at = 0; ; ) {
    // What is looked past stays in the books, which are limited.
    const head = ledger.entries.size < MAX_OUTSTANDING ? (headPosition(turn) ?? end) : end;
    while (at < known.length && known[at]!.position < head) yield known[at++]!;
    if (head >= end) return;
    yield takeNext(turn)!;
  }
}

/** Moves a message if it is a dead letter that the task is about. */
function move(turn: Turn, entry: Entry, { to, origin, filter }: State): boolean {
  const view = turn.store.log.record(entry.position)!;
  const message = view.decode();
  if (message.deaths === "") return false;
  const [death] = JSON.parse(message.deaths) as Death[];
  const home = death?.queue ?? "";
  const target = to || home;
  if (home === turn.queue || target === turn.queue || (origin !== "" && origin !== home)) return false;
  if (selectorOf(filter)?.matches(new RecordFields(view)) === false) return false;
  // A dead letter that expired here is over; its history stays with it wherever it goes.
  if (entry.expiresAt > 0 && entry.expiresAt <= turn.now) return false;
  turn.sendTo(target, { ...message, dueAt: 0, expiresAt: 0, attempts: 0, failures: 0 });
  if (turn.ledger.receipts.wants(entry.position)) turn.ledger.receipts.done(entry.position);
  turn.ledger.finish(entry, "settled", false);
  return true;
}

/** The task as a part of the books that time moves. */
export const redriveOverTime: Timed = {
  deadline: ({ redrive: { state } }) => (state?.running === true ? state.dueAt : Number.POSITIVE_INFINITY),
  run: runRedrive,
};
