// The machine of a queue: commands and the time go in, results and deliveries come out, everything in between is one transaction.
// Plain and synchronous; its shell is queue-object.ts.
import { type Refusal, refuse } from "../errors.ts";
import type { QueueCommand } from "../link/commands.ts";
import type { DeliveryWriter } from "../link/deliveries.ts";
import type { QueueResult } from "../link/results.ts";
import { positionOf } from "../log/log.ts";
import type { QueueStore } from "../log/store.ts";
import { loadLedger, saveLedger } from "./checkpoint.ts";
import { DedupWindow } from "./dedup.ts";
import { dispatch } from "./dispatch.ts";
import { replay } from "./events.ts";
import { Ledger } from "./ledger.ts";
import { nextTimer, runOverdue } from "./overdue.ts";
import { headExpiry, publish, takeTransfer } from "./publish.ts";
import { Segments } from "./segments.ts";
import { applySettings, type QueueSettings, type QueueSettingsPatch } from "./settings.ts";
import { attach, detach, extend, pause, receive, settle } from "./settle.ts";
import { Turn } from "./turn.ts";

/** A command of a turn: those of the link, and those of the object itself. */
export type TurnCommand =
  | QueueCommand
  | { type: "receive"; ref: number; max: number; leaseMs: number | undefined; wait: boolean }
  | { type: "withdraw"; ref: number }
  | { type: "transfer"; source: string; id: number; records: Uint8Array }
  | { type: "configure"; patch: QueueSettingsPatch & { paused?: boolean } }
  | { type: "purge" }
  | { type: "confirmed"; outboxId: number };

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
    const results = commands.map((command) => this.#run(turn, command));
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

  #run(turn: Turn, command: TurnCommand): QueueResult {
    const { ledger } = this;
    switch (command.type) {
      case "publish":
        return { type: "published", messages: publish(turn, command.records) };
      case "settle":
        // A settle may be of a message published in this very turn only if it was delivered before: nothing to seal.
        return {
          type: "settled",
          settled: command.settlements.map((settlement) => settle(turn, settlement)),
        };
      case "extend":
        return {
          type: "settled",
          settled: command.handles.map((handle) => extend(turn, handle, command.leaseMs)),
        };
      case "attach":
        return this.#done(attach(turn, command.consumer));
      case "credit": {
        const consumer = ledger.consumers.get(command.ref);
        if (consumer === undefined)
          return this.#done(refuse("no-subscription", "the subscription has ended"));
        ledger.addCredit(consumer, command.add);
        return this.#done();
      }
      case "pause":
        pause(turn, command.refs);
        return this.#done();
      case "detach":
        detach(turn, command.refs);
        return this.#done();
      case "receive":
        receive(turn, command.ref, command.max, command.leaseMs);
        return this.#done();
      case "withdraw":
        ledger.consumers.remove(command.ref);
        return this.#done();
      case "transfer":
        takeTransfer(turn, command.source, command.id, command.records);
        return this.#done();
      case "configure":
        ledger.configure(this.#changed(command.patch));
        return this.#done();
      case "purge":
        turn.seal();
        if (ledger.counts.ready > 0) ledger.purge(positionOf(turn.row, 0));
        return this.#done();
      case "confirmed":
        this.store.removeOutbox(command.outboxId);
        return this.#done();
    }
  }

  #changed(patch: QueueSettingsPatch & { paused?: boolean }): QueueSettings {
    const { paused, ...rest } = patch;
    const settings = applySettings(this.settings, rest);
    return paused === undefined ? settings : { ...settings, paused };
  }

  #done(refusal?: Refusal): QueueResult {
    return refusal === undefined
      ? { type: "done", seq: this.ledger.nextSeq - 1 }
      : { type: "refused", refusal };
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
