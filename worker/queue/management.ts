// The calls on a queue that manage it: each is a command for a turn, and shows what became of it.
import { isRefusal, type Refusal } from "../errors.ts";
import type { PushFigures } from "../push/pusher.ts";
import type { PushSpec } from "../push/spec.ts";
import type { TurnCommand } from "./carry-out.ts";
import { listConsumers, listPrepared, peek } from "./peek.ts";
import type { Queue } from "./queue.ts";
import type { RedriveOptions, RedriveTask } from "./redrive.ts";
import type { ConsumerPage, PeekState, PreparedPage, PushDescription } from "./rpc.ts";
import type { Schedule, ScheduleSpec } from "./schedules.ts";

/** What the calls need of their object. */
export interface QueueShell {
  /** The queue, if it exists. */
  open(): Queue | undefined;
  /** Why there is none. */
  unknown(): Refusal;
  /** Makes sure that the queue exists before a command that creates it. */
  ready(command: TurnCommand): Promise<Refusal | undefined>;
  /** Carries a command out in the next turn. @returns the refusal, if it was refused */
  carryOut(command: TurnCommand): Promise<Refusal | undefined>;
  figures(): PushFigures;
}

/** In the place of a header's value: what receivers are told, others need not know. */
const HIDDEN = "***";

/** The calls of one queue. See rpc.ts for what each does. */
export class Management {
  readonly #shell: QueueShell;

  constructor(shell: QueueShell) {
    this.#shell = shell;
  }

  async purge(): Promise<{ purged: number } | Refusal> {
    const queue = this.#shell.open();
    if (queue === undefined) return this.#shell.unknown();
    const before = queue.ledger.counts.expired;
    await this.#shell.carryOut({ type: "purge" });
    return { purged: queue.ledger.counts.expired - before };
  }

  async peek(state: PeekState, limit: number): Promise<Uint8Array | Refusal> {
    const queue = this.#shell.open();
    return queue === undefined ? this.#shell.unknown() : peek(queue, state, limit, Date.now());
  }

  async listPrepared(after: number, limit: number): Promise<PreparedPage | Refusal> {
    const queue = this.#shell.open();
    return queue === undefined ? this.#shell.unknown() : listPrepared(queue, after, limit);
  }

  async consumers(after: number, limit: number): Promise<ConsumerPage | Refusal> {
    const queue = this.#shell.open();
    return queue === undefined ? this.#shell.unknown() : listConsumers(queue, after, limit);
  }

  async redrive(options: RedriveOptions): Promise<RedriveTask | Refusal> {
    const queue = this.#shell.open();
    if (queue === undefined) return this.#shell.unknown();
    const refusal = await this.#shell.carryOut({ type: "redrive", options });
    if (refusal !== undefined) return refusal;
    const { redrive } = queue.ledger;
    // Nothing but turns moves it on. One that keeps to no rate is over when this is answered, any other has found its first letter.
    const unanswered = ({ running, moved }: RedriveTask) =>
      running && (options.perSecond === null || moved === 0);
    while (unanswered(redrive.task!) && this.#shell.open() === queue) {
      await this.#shell.carryOut({ type: "nothing" });
    }
    return redrive.task!;
  }

  async endRedrive(): Promise<RedriveTask | undefined | Refusal> {
    if (this.#shell.open() === undefined) return this.#shell.unknown();
    await this.#shell.carryOut({ type: "end-redrive" });
    return this.redriveTask();
  }

  async redriveTask(): Promise<RedriveTask | undefined | Refusal> {
    const queue = this.#shell.open();
    return queue === undefined ? this.#shell.unknown() : queue.ledger.redrive.task;
  }

  async setSchedule(
    id: string,
    spec: ScheduleSpec,
    record: Uint8Array,
  ): Promise<(Schedule & { created: boolean }) | Refusal> {
    const command: TurnCommand = { type: "schedule", id, spec, record };
    const unready = await this.#shell.ready(command);
    if (unready !== undefined) return unready;
    const { schedules } = this.#shell.open()!.ledger;
    const created = schedules.get(id) === undefined;
    return (await this.#shell.carryOut(command)) ?? { ...schedules.get(id)!, created };
  }

  async removeSchedule(id: string): Promise<Refusal | undefined> {
    if (this.#shell.open() === undefined) return this.#shell.unknown();
    return this.#shell.carryOut({ type: "unschedule", id });
  }

  async schedules(): Promise<Schedule[] | Refusal> {
    return this.#shell.open()?.ledger.schedules.list() ?? this.#shell.unknown();
  }

  async setPush(spec: PushSpec | undefined): Promise<PushDescription | undefined | Refusal> {
    const command: TurnCommand = { type: "push", spec };
    if (spec === undefined && this.#shell.open() === undefined) return this.#shell.unknown();
    const unready = await this.#shell.ready(command);
    if (unready !== undefined) return unready;
    const created = this.#shell.open()!.ledger.push.spec === undefined;
    const refusal = await this.#shell.carryOut(command);
    if (refusal !== undefined) return refusal;
    const described = await this.describePush();
    return described === undefined || isRefusal(described) ? described : { ...described, created };
  }

  async describePush(): Promise<PushDescription | undefined | Refusal> {
    const queue = this.#shell.open();
    if (queue === undefined) return this.#shell.unknown();
    const { spec } = queue.ledger.push;
    if (spec === undefined) return undefined;
    const { secret, headers, ...shown } = spec;
    const hidden = Object.fromEntries(Object.keys(headers).map((name) => [name, HIDDEN]));
    return { ...shown, headers: hidden, signed: secret !== "", ...this.#shell.figures() };
  }
}
