// What a queue offers to the rest of the broker. The Queue object implements it; callers know nothing else of it.
import type { Refusal } from "../errors.ts";
import type { Published } from "../link/results.ts";
import type { PushFigures } from "../push/pusher.ts";
import type { PushSpec } from "../push/spec.ts";
import type { RedriveOptions, RedriveTask } from "./redrive.ts";
import type { Schedule, ScheduleSpec } from "./schedules.ts";
import type { QueueSettings, QueueSettingsPatch } from "./settings.ts";

/** Counts of one queue. accepted = ready + delayed + leased + settled + expired + deadLettered, always. */
export interface QueueStats {
  ready: number;
  delayed: number;
  leased: number;
  deadLettered: number;
  accepted: number;
  settled: number;
  expired: number;
  /** Bytes of the messages that are ready, delayed or leased. */
  bytes: number;
  /** Age of the oldest ready message, 0 when none is ready. */
  oldestReadyMs: number;
  consumers: number;
  /** Rows this queue wrote since it was created: the platform's bill. */
  rowsWritten: number;
}

/** A queue as `GET /v1/queues/{name}` shows it. */
export interface QueueDescription {
  name: string;
  epoch: number;
  settings: Omit<QueueSettings, "deadLetterTo"> & { deadLetterTo: string | null };
  stats: QueueStats;
  /** Prepared messages: those that wait for their publisher's decision, and those rolled back because nobody decided. */
  prepared: { waiting: number; abandoned: number };
}

/** Where a queue pushes its messages, and what came of it since its object woke. Neither the secret nor the values of headers are shown. */
export type PushDescription = Omit<PushSpec, "secret"> & PushFigures & { signed: boolean; created?: boolean };

/** States that a peek can look at. */
export type PeekState = "ready" | "delayed" | "leased";

/** What a call that takes messages wants. */
export interface ReceiveOptions {
  /** At most so many. */
  max: number;
  /** How long it waits for the first, ms. */
  waitMs: number;
  /** undefined: the queue's setting. */
  leaseMs: number | undefined;
  /** A selector that they must match, "" for all. */
  filter: string;
}

/** One of those who consume from a queue. */
export interface ConsumerDescription {
  /** A subscription, or an HTTP call that waits. */
  kind: "subscription" | "receive";
  /** Client id; absent for an HTTP call. */
  client?: string;
  /** Most messages it may hold, and how many it holds. */
  credit: number;
  unsettled: number;
  /** A selector that its messages match; absent: it takes all. */
  filter?: string;
  /** Its own lease time; absent: the queue's. */
  leaseMs?: number;
  /** Its connection is lost: it keeps what it holds and gets nothing more. */
  paused: boolean;
  /** With singleActiveConsumer: whether it is the one that gets messages. */
  active?: boolean;
}

/** Some of a queue's consumers. */
export interface ConsumerPage {
  consumers: ConsumerDescription[];
  /** The `after` of the following page; absent on the last. */
  next?: number;
}

/** What a packet of commands is answered. */
export interface Applied {
  /** link/results.ts */
  results: Uint8Array;
  /** Deliveries (link/deliveries.ts) for the gateway that called, when the turn had some: they ride on the answer. */
  deliveries?: Uint8Array;
}

/** A page of prepared messages. */
export interface PreparedPage {
  prepared: {
    messageId: string;
    /** Address of the queue that gets the questions. */
    checkTo: string;
    /** Questions so far, and at most. */
    asked: number;
    checks: number;
    /** When it is asked for next, or rolled back. */
    checkAt: number;
    bytes: number;
  }[];
  /** `after` of the next page, when there is one. */
  next?: number;
}

/** Calls on a queue's object. Refusals are values; a rejected promise means that the object could not be reached. */
export interface QueueRpc {
  /** Applies a packet of commands (link/commands.ts) and answers once it is durable. A gateway that calls gives its name. */
  apply(commands: Uint8Array, gateway?: string): Promise<Applied>;
  /** Leases messages, waiting for the first if asked to; answers with deliveries (link/deliveries.ts). */
  receive(options: ReceiveOptions): Promise<Uint8Array | Refusal>;
  /** Creates the queue or changes its settings. */
  declare(patch: QueueSettingsPatch): Promise<(QueueDescription & { created: boolean }) | Refusal>;
  /** Who consumes, in the order they attached; `after` is the `next` of the page before, 0 for the first. */
  consumers(after: number, limit: number): Promise<ConsumerPage | Refusal>;
  describe(): Promise<QueueDescription | Refusal>;
  /** Deletes the queue with all it holds. */
  remove(): Promise<Refusal | undefined>;
  /** Deletes the queue unless it has consumers; whether it is gone. */
  removeUnused(): Promise<boolean>;
  /** Drops every ready message. */
  purge(): Promise<{ purged: number } | Refusal>;
  /**
   * Moves dead letters back to where they died, or elsewhere. Without a rate it is finished when this resolves; `conflict` while
   * another task is under way.
   */
  redrive(options: RedriveOptions): Promise<RedriveTask | Refusal>;
  /** Sets a recurring message by its id: a new one, or another in place of the one with this id. `record`: message/record.ts. */
  setSchedule(
    id: string,
    spec: ScheduleSpec,
    record: Uint8Array,
  ): Promise<(Schedule & { created: boolean }) | Refusal>;
  removeSchedule(id: string): Promise<Refusal | undefined>;
  /** Recurring messages in the order of their ids. */
  schedules(): Promise<Schedule[] | Refusal>;
  /** Begins, changes or (undefined) ends pushing; undefined when there is none. */
  setPush(spec: PushSpec | undefined): Promise<PushDescription | undefined | Refusal>;
  describePush(): Promise<PushDescription | undefined | Refusal>;
  /** Ends the task under way. */
  endRedrive(): Promise<RedriveTask | undefined | Refusal>;
  /** The task under way, or else the last one. */
  redriveTask(): Promise<RedriveTask | undefined | Refusal>;
  setPaused(paused: boolean): Promise<QueueDescription | Refusal>;
  /** Up to `limit` records (message/record.ts) in a state, without changing anything. */
  peek(state: PeekState, limit: number): Promise<Uint8Array | Refusal>;
  /**
   * Takes messages from another object exactly once: `id` rises with every transfer of one source.
   *
   * @param published they were published there to this queue, whose dedup window counts
   * @returns what became of published ones, nothing of a transfer taken before; or why it must be sent again later
   */
  transfer(
    source: string,
    id: number,
    records: Uint8Array,
    published?: boolean,
  ): Promise<(Published | Refusal)[] | Refusal>;
  /**
   * What became of messages that this queue put on their way, by the rows of its outbox: waits up to `waitMs` for their arrival.
   *
   * @returns what the other objects answered to each row, null for one that has not arrived or is not remembered any more
   */
  arrivals(rows: number[], waitMs: number): Promise<(Published[] | null)[]>;
  /** Messages that wait for their decision, oldest first; `after` is the key of the last one of the page before. */
  listPrepared(after: number, limit: number): Promise<PreparedPage | Refusal>;
}
