// The machine of a queue: commands and the time go in, results and deliveries come out, everything in between is one transaction.
// Plain and synchronous; its shell is queue-object.ts.
import type { DeliveryWriter } from "../link/deliveries.ts";
import type { QueueResult } from "../link/results.ts";
import type { QueueStore } from "../log/store.ts";
import { carryOut, type TurnCommand } from "./carry-out.ts";
import { loadLedger, saveLedger } from "./checkpoint.ts";
import { DedupWindow } from "./dedup.ts";
import { dispatch } from "./dispatch.ts";
import { replay } from "./events.ts";
import { headExpiry } from "./head.ts";
import { Ledger } from "./ledger.ts";
import { nextTimed, nextTimer, runOverdue } from "./overdue.ts";
import { Segments } from "./segments.ts";
import type { QueueSettings } from "./settings.ts";
import { Turn } from "./turn.ts";

/** What a turn has to tell. */
export interface TurnOutcome {
  /** One result for each command. */
  results: QueueResult[];
  /** Deliveries by gateway, to send once the turn is durable. */
  deliveries: Map<string, DeliveryWriter>;
  /** Deliveries by the ref of a waiting call. */
  received: Map<number, DeliveryWriter>;
  /** Whether another turn should follow at once. */
  more: boolean;
}

/** Bytes of facts after which a checkpoint is written, so that opening a queue replays little. */
const CHECKPOINT_BYTES = 512_000;

/**
 * A queue. Its state is its store's: opened at any moment, it goes on as if it had never stopped.
 *
 * @example const queue = Queue.open("orders", store, now); queue.turn([{ type: "publish", records }], now, seed);
 */
export class Queue {
  readonly name: string;
  readonly store: QueueStore;
  readonly ledger: Ledger;
  readonly #dedup = new DedupWindow();
  #nextRow = 1;
  #checkpointTurn = 0;
  #checkpointSize = 0;
  #eventBytes = 0;
  /** Rows written before this object woke: those of the last checkpoint, and one for each turn after it. */
  #rowsBefore = 0;
  #head = { cursor: -1, untaken: -1, expiresAt: Number.POSITIVE_INFINITY };

  private constructor(name: string, store: QueueStore) {
    this.name = name;
    this.store = store;
    this.ledger = new Ledger(new Segments(store.log));
  }

  /** Creates a queue in an empty store. `random` (0 up to 1) keeps its handles apart from other queues'. */
  static create(name: string, store: QueueStore, now: number, random: number): Queue {
    store.create();
    const queue = new Queue(name, store);
    const turn = queue.#begin(now, 0);
    queue.ledger.create(now, Math.floor(random * 2 ** 40));
    queue.#end(turn, now);
    return queue;
  }

  /** Opens a queue from its store. */
  static open(name: string, store: QueueStore, now: number): Queue {
    const queue = new Queue(name, store);
    const saved = store.readCheckpoint();
    if (saved !== undefined) {
      const head = loadLedger(saved, queue.ledger);
      queue.#checkpointTurn = head.turn;
      queue.#rowsBefore = head.rowsWritten;
      queue.#checkpointSize = saved.length;
    }
    let last = Math.max(queue.#checkpointTurn, store.log.segments.at(-1) ?? 0);
    for (const { turn, events } of store.log.eventsAfter(queue.#checkpointTurn)) {
      replay(events, queue.ledger);
      queue.#eventBytes += events.length;
      queue.#rowsBefore++;
      last = Math.max(last, turn);
    }
    queue.#nextRow = last + 1;
    queue.ledger.consumers.beginAfter(queue.ledger.lastServed);
    queue.#dedup.load(store.log.idsBackwards(), now - queue.ledger.settings.dedupWindowMs);
    return queue;
  }

  get settings(): QueueSettings {
    return this.ledger.settings;
  }

  /** Applies commands in their order, then does what is due and hands out messages. Runs inside one transaction. */
  turn(commands: TurnCommand[], now: number, seed: number): TurnOutcome {
    const turn = this.#begin(now, seed);
    runOverdue(turn);
    const results = commands.map((command) => carryOut(turn, command));
    turn.seal();
    dispatch(turn);
    this.#dismiss(turn, commands);
    this.#end(turn, now);
    return { results, deliveries: turn.deliveries, received: turn.received, more: turn.more };
  }

  /** Rows that the queue wrote since it was created: the platform's bill. */
  get rowsWritten(): number {
    return this.#rowsBefore + this.store.rowsWritten;
  }

  /** When time will next change something by itself, ms since the epoch; Infinity when never. */
  get nextDeadline(): number {
    return Math.min(
      nextTimer(this.ledger),
      nextTimed(this.ledger),
      this.store.nextDelayed() ?? Number.POSITIVE_INFINITY,
      this.#headExpiry(),
    );
  }

  #begin(now: number, seed: number): Turn {
    const { name: queue, ledger, store } = this;
    return new Turn(
      { queue, ledger, store, dedup: this.#dedup, now, random: randomFrom(seed) },
      this.#nextRow,
    );
  }

  /** Calls that got messages, or did not want to wait, are consumers no longer. */
  #dismiss(turn: Turn, commands: TurnCommand[]): void {
    for (const ref of turn.received.keys()) this.ledger.consumers.remove(ref);
    for (const command of commands) {
      if (command.type === "receive" && !command.wait) this.ledger.consumers.remove(command.ref);
    }
  }

  #end(turn: Turn, now: number): void {
    const rotated = this.store.log.segments.at(-1) === this.#nextRow;
    this.#eventBytes += turn.finish();
    this.#nextRow = turn.row;
    if (rotated || this.#eventBytes > Math.max(CHECKPOINT_BYTES, 2 * this.#checkpointSize))
      this.#checkpoint(now);
  }

  /** Writes the checkpoint and drops the segments that nothing needs any more: no message, no fact, no id. */
  #checkpoint(now: number): void {
    const { store, ledger } = this;
    const turn = this.#nextRow - 1;
    const saved = saveLedger(ledger, { turn, rowsWritten: this.rowsWritten });
    store.writeCheckpoint(saved);
    this.#checkpointTurn = turn;
    this.#checkpointSize = saved.length;
    this.#eventBytes = 0;
    const oldestId = this.#dedup.trim(now, ledger.settings.dedupWindowMs);
    store.log.dropSegments(
      (first, next) => ledger.segments.live(first) === 0 && next <= turn && next <= oldestId,
    );
  }

  #headExpiry(): number {
    const { cursor, untaken } = this.ledger;
    // The head is the same for as long as the cursor stands still and something is behind it.
    if (this.#head.cursor !== cursor || (this.#head.untaken === 0) !== (untaken === 0)) {
      this.#head = { cursor, untaken, expiresAt: headExpiry(this) };
    }
    return this.#head.expiresAt;
  }
}

/** A small generator: the same seed gives the same numbers, so a turn can be repeated. */
function randomFrom(seed: number): () => number {
  let state = Math.floor(seed * 2 ** 32) >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
