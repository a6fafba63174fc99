// The shell of a queue: the only code that touches its object's storage transaction, alarm and calls to other objects.
// Decisions are queue.ts's; what leaves for other rooms goes through outbound.ts.
import { DurableObject } from "cloudflare:workers";

import { COMMIT_QUEUE, splitObjectName } from "../address.ts";
import { directoryObject, type Env, handlerOf } from "../env.ts";
import { type Refusal, refuse } from "../errors.ts";
import { hash } from "../hash.ts";

import { readCommands } from "../link/commands.ts";
import { DeliveryWriter } from "../link/deliveries.ts";
import { writeResults } from "../link/results.ts";
import { DurableSql } from "../log/sql.ts";
import { QueueStore } from "../log/store.ts";
import { Pusher } from "../push/pusher.ts";
import type { PushSpec } from "../push/spec.ts";

import { CREATING, refusedResult, type TurnCommand } from "./carry-out.ts";

import { Management } from "./management.ts";
import { Outbound } from "./outbound.ts";
import { OutboxSender } from "./outbox-sender.ts";
import { describe } from "./peek.ts";
import type { Answer, Pending } from "./pending.ts";
import { PUSH_GATEWAY, PUSH_REF } from "./push-target.ts";
import { Queue, type TurnOutcome } from "./queue.ts";
import type { RedriveOptions } from "./redrive.ts";
import type { Applied, PeekState, QueueDescription, QueueRpc, ReceiveOptions } from "./rpc.ts";
import type { ScheduleSpec } from "./schedules.ts";
import { checkPatch, DEFAULT_SETTINGS, type QueueSettingsPatch } from "./settings.ts";

/** No object gets more calls in a millisecond. */
const CALLS_PER_MS = 1_000;
/** While something is on its way to other objects, this one wakes so often. */
const WATCH_MS = 10_000;
const ALARM_RETRIES = 5;
const ALARM_RETRY_MS = 5_000;

/** One queue. See rpc.ts for what each call does. */
export class QueueObject extends DurableObject<Env> implements QueueRpc {
  readonly #objectName: string;
  readonly #namespace: string;
  readonly #name: string;
  readonly #sql: DurableSql;
  readonly #outbound: Outbound;
  readonly #sender: OutboxSender;
  #store: QueueStore;
  #queue: Queue | undefined;
  #introduction: Promise<Refusal | undefined> | undefined;
  #inbox: Pending[] = [];
  #committing = false;
  #alarmAt = Number.POSITIVE_INFINITY;
  /** Refs of waiting calls count down from here: leases of calls in an earlier life of this object must not look like theirs. */
  #lastCall = -Date.now() * CALLS_PER_MS;
  readonly #waiting = new Map<number, (packet: Uint8Array) => void>();
  readonly #management: Management;
  readonly #pusher: Pusher;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#objectName = ctx.id.name!;
    const { namespace, name } = splitObjectName(this.#objectName);
    this.#namespace = namespace;
    this.#name = name;
    this.#sql = new DurableSql(ctx.storage.sql);
    this.#store = new QueueStore(this.#sql);
    const submit = (commands: TurnCommand[]) => this.#submit(commands);
    this.#outbound = new Outbound(env, this.#objectName, submit);
    this.#sender = new OutboxSender(env, this.#objectName, submit);
    this.#pusher = new Pusher({
      queue: name,
      mark: hash(this.#objectName).toString(36),
      hosts: env.DUNLIN_PUSH_HOSTS,
      service: (binding) => handlerOf(env, binding),
      settle: (settlements) => {
        this.#submit([{ type: "settle", settlements, by: PUSH_REF }]).catch(() => undefined);
      },
    });
    this.#management = new Management({
      open: () => this.#open(),
      unknown: () => this.#unknown(),
      ready: (command) => this.#ready([command]),
      carryOut: async (command) => {
        const [result] = (await this.#submit([command])).results;
        return result?.type === "refused" ? result.refusal : undefined;
      },
      figures: () => this.#pusher.figures,
    });
  }

  async apply(packet: Uint8Array, gateway?: string): Promise<Applied> {
    const commands = readCommands(packet);
    // What decides commits to topics is the broker's own queue: nobody declares it.
    const refusal = await this.#ready(commands, this.#name === COMMIT_QUEUE);
    if (refusal !== undefined) {
      return {
        results: writeResults(
          0,
          commands.map((command) => refusedResult(command, refusal)),
        ),
      };
    }
    const { results, deliveries } = await this.#submit(commands, gateway);
    const written = writeResults(this.#queue?.ledger.epoch ?? 0, results);
    return deliveries === undefined ? { results: written } : { results: written, deliveries };
  }

  async receive({ max, waitMs, leaseMs, filter }: ReceiveOptions): Promise<Uint8Array | Refusal> {
    const ref = --this.#lastCall;
    const command: TurnCommand = { type: "receive", ref, max, leaseMs, filter, wait: waitMs > 0 };
    const refusal = await this.#ready([command]);
    if (refusal !== undefined) return refusal;
    const packet = new Promise<Uint8Array>((resolve) => {
      this.#waiting.set(ref, resolve);
    });
    const { results } = await this.#submit([command]).catch((error: unknown) => {
      this.#waiting.delete(ref);
      throw error;
    });
    if (results[0]?.type === "refused") {
      this.#waiting.delete(ref);
      return results[0].refusal;
    }
    const withdraw = () => this.#submit([{ type: "withdraw", ref }]).then(() => this.#nothing(ref));
    const timer = waitMs > 0 ? setTimeout(withdraw, waitMs) : null;
    if (timer === null) this.#nothing(ref);
    const received = await packet;
    clearTimeout(timer);
    return received;
  }

  async declare(patch: QueueSettingsPatch): Promise<(QueueDescription & { created: boolean }) | Refusal> {
    const open = this.#open();
    const wrong = checkPatch(this.#name, open?.settings ?? DEFAULT_SETTINGS, patch);
    if (wrong !== undefined) return wrong;
    const created = open === undefined;
    const refusal = await this.#ready([{ type: "configure", patch }], true);
    if (refusal !== undefined) return refusal;
    const { results } = await this.#submit([{ type: "configure", patch }]);
    return results[0]?.type === "refused" ? results[0].refusal : { ...this.#describe(), created };
  }

  async describe(): Promise<QueueDescription | Refusal> {
    return this.#open() === undefined ? this.#unknown() : this.#describe();
  }

  consumers(after: number, limit: number) {
    return this.#management.consumers(after, limit);
  }

  async remove(): Promise<Refusal | undefined> {
    const queue = this.#open();
    if (queue === undefined) return this.#unknown();
    if (await this.#removeUnless(queue, () => false)) return undefined;
    return refuse(
      "unavailable",
      "messages of this queue to others could not be delivered yet; repeat the call",
    );
  }

  async removeUnused(): Promise<boolean> {
    const queue = this.#open();
    return queue === undefined || this.#removeUnless(queue, () => queue.ledger.consumers.size > 0);
  }

  /** Removes the queue once nothing of it is on its way: that is another queue's already. */
  async #removeUnless(queue: Queue, isUsed: () => boolean): Promise<boolean> {
    if (isUsed() || !(await this.#sender.drained(this.#store))) return false;
    const directory = directoryObject(this.env, this.#namespace);
    await directory.removeQueue(this.#name);
    if (isUsed() || this.#store.nextOutbox() !== undefined) {
      // A consumer has come meanwhile, or a message has left.
      await directory.addQueue(this.#name, Date.now(), true);
      return false;
    }
    await this.#delete(queue);
    return true;
  }

  async #delete(queue: Queue): Promise<void> {
    this.#outbound.tellDeleted([...queue.ledger.consumers.values()]);
    for (const ref of this.#waiting.keys()) this.#nothing(ref);
    this.#queue = undefined;
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
    this.#alarmAt = Number.POSITIVE_INFINITY;
    this.#store = new QueueStore(this.#sql);
  }

  purge() {
    return this.#management.purge();
  }

  peek(state: PeekState, limit: number) {
    return this.#management.peek(state, limit);
  }

  listPrepared(after: number, limit: number) {
    return this.#management.listPrepared(after, limit);
  }

  redrive(options: RedriveOptions) {
    return this.#management.redrive(options);
  }

  endRedrive() {
    return this.#management.endRedrive();
  }

  redriveTask() {
    return this.#management.redriveTask();
  }

  setSchedule(id: string, spec: ScheduleSpec, record: Uint8Array) {
    return this.#management.setSchedule(id, spec, record);
  }

  removeSchedule(id: string) {
    return this.#management.removeSchedule(id);
  }

  schedules() {
    return this.#management.schedules();
  }

  setPush(spec: PushSpec | undefined) {
    return this.#management.setPush(spec);
  }

  describePush() {
    return this.#management.describePush();
  }

  async setPaused(paused: boolean): Promise<QueueDescription | Refusal> {
    if (this.#open() === undefined) return this.#unknown();
    await this.#submit([{ type: "configure", patch: { paused } }]);
    return this.#describe();
  }

  async transfer(source: string, id: number, records: Uint8Array, published = false) {
    const command: TurnCommand = { type: "transfer", source, id, records, published };
    // The queue that sends was allowed to be: so is the one that it names.
    const refusal = await this.#ready([command], true);
    if (refusal !== undefined) return refusal;
    const [result] = (await this.#submit([command])).results;
    return result?.type === "published" ? result.messages : [];
  }

  async arrivals(rows: number[], waitMs: number) {
    return this.#sender.arrivals(this.#store, rows, waitMs);
  }

  override async alarm(info?: AlarmInvocationInfo): Promise<void> {
    this.#alarmAt = Number.POSITIVE_INFINITY;
    const queue = this.#open();
    if (queue === undefined) return;
    try {
      await this.#submit([]);
      this.#sender.send(this.#store, queue.ledger.nextOutboxId);
    } catch (error) {
      // The platform gives an alarm up after six failures; a queue must not sleep through its deadlines for that.
      if ((info?.retryCount ?? 0) < ALARM_RETRIES) throw error;
      await this.ctx.storage.setAlarm(Date.now() + ALARM_RETRY_MS);
    }
  }

  /** Adds commands to the next turn. While a turn is being made durable, everything that arrives shares the next one. */
  #submit(commands: TurnCommand[], gateway?: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#inbox.push({ commands, gateway, resolve, reject });
      if (!this.#committing) this.#turn();
    });
  }

  #turn(): void {
    // Waking may add to the inbox.
    const queue = this.#open();
    const inbox = this.#inbox;
    this.#inbox = [];
    if (queue === undefined) {
      for (const { reject } of inbox) reject(new Error("the queue was deleted"));
      return;
    }
    let outcome: TurnOutcome;
    try {
      const commands = inbox.length === 1 ? inbox[0]!.commands : inbox.flatMap((pending) => pending.commands);
      outcome = this.ctx.storage.transactionSync(() => queue.turn(commands, Date.now(), Math.random()));
    } catch (error) {
      // The rows are as before the turn and the books may not be: they are read anew.
      console.error(`queue ${this.#objectName}: a turn failed`, error);
      this.#queue = undefined;
      for (const { reject } of inbox) reject(error);
      return;
    }
    // No await up to here and below: the output gate holds every answer and delivery until the turn is durable.
    this.#arm(queue);
    let at = 0;
    for (const { commands, gateway = "", resolve } of inbox) {
      const deliveries = this.#outbound.packet(gateway, outcome.deliveries.get(gateway));
      outcome.deliveries.delete(gateway);
      resolve({ results: outcome.results.slice(at, at + commands.length), deliveries });
      at += commands.length;
    }
    for (const [gateway, writer] of outcome.deliveries) {
      if (gateway === PUSH_GATEWAY) this.#push(queue, writer);
      else this.#outbound.deliver(gateway, writer);
    }
    for (const [ref, writer] of outcome.received) this.#answer(ref, writer.take());
    this.#sender.send(this.#store, queue.ledger.nextOutboxId);
    this.#committing = true;
    const committed = () => {
      this.#committing = false;
      if (this.#inbox.length > 0 || outcome.more) this.#turn();
    };
    // A commit that fails resets the object; until then nothing may wait for ever.
    this.ctx.storage.sync().then(committed, committed);
  }

  /** Pushes wait for the turn to be durable by themselves: the output gate holds what leaves the object. */
  #push({ ledger }: Queue, writer: DeliveryWriter): void {
    const { spec } = ledger.push;
    if (spec !== undefined) this.#pusher.take(spec, writer.take(), ledger.settings.backoff.baseMs > 0);
  }

  /** An alarm is a billed row, and moving it earlier is a trip to the scheduler: one that rings too early costs less. */
  #arm({ nextDeadline: deadline, ledger: { nextOutboxId: next } }: Queue): void {
    // What is on its way must arrive even if this object dies meanwhile, and nobody calls it again.
    const watch = this.#sender.busy(next) ? Date.now() + WATCH_MS : Number.POSITIVE_INFINITY;
    const wanted = Math.min(deadline, this.#sender.retryAt, watch);
    if (wanted >= this.#alarmAt) return;
    this.#alarmAt = wanted;
    this.ctx.storage.setAlarm(wanted);
    this.#sql.rowsWritten++;
  }

  #open(): Queue | undefined {
    if (this.#queue !== undefined) return this.#queue;
    this.#store = new QueueStore(this.#sql);
    if (!this.#store.exists()) return undefined;
    this.#queue = Queue.open(this.#name, this.#store, Date.now());
    // Connections may have ended while this object was away: their gateways are asked.
    this.#outbound.probe([...this.#queue.ledger.consumers.values()]);
    this.#sender.send(this.#store, this.#queue.ledger.nextOutboxId);
    if (this.#queue.ledger.push.spec !== undefined) this.#resumePush();
    return this.#queue;
  }

  /** Before all else: what the first turn pushes must not look like what was under way before. */
  #resumePush(): void {
    const ignore = () => undefined;
    const commands: TurnCommand[] = [{ type: "resume-push" }];
    this.#inbox.unshift({ commands, gateway: undefined, resolve: ignore, reject: ignore });
    queueMicrotask(() => {
      if (!this.#committing && this.#inbox.length > 0) this.#turn();
    });
  }

  /** Makes sure the queue exists before commands that create it; the refusal when it may not, or when they do not. */
  async #ready(commands: TurnCommand[], declared = false): Promise<Refusal | undefined> {
    if (this.#open() !== undefined) return undefined;
    if (!commands.some(({ type }) => CREATING.has(type))) return this.#unknown();
    this.#introduction ??= this.#introduce(declared).finally(() => {
      this.#introduction = undefined;
    });
    return this.#introduction;
  }

  async #introduce(declared: boolean): Promise<Refusal | undefined> {
    const now = Date.now();
    const refusal = await directoryObject(this.env, this.#namespace).addQueue(this.#name, now, declared);
    if (refusal !== undefined || this.#open() !== undefined) return refusal;
    this.#queue = this.ctx.storage.transactionSync(() =>
      Queue.create(this.#name, this.#store, now, Math.random()),
    );
    // There is nothing to send: known so, the next turn sets no alarm for it.
    this.#sender.send(this.#store, this.#queue.ledger.nextOutboxId);
    return undefined;
  }

  #describe(): QueueDescription {
    return describe(this.#open()!, Date.now());
  }

  #unknown(): Refusal {
    return refuse("not-found", `there is no queue ${JSON.stringify(this.#name)} in ${this.#namespace}`);
  }

  #answer(ref: number, packet: Uint8Array): void {
    this.#waiting.get(ref)?.(packet);
    this.#waiting.delete(ref);
  }

  #nothing(ref: number): void {
    this.#answer(ref, new DeliveryWriter(this.#queue?.ledger.epoch ?? 0).take());
  }
}
