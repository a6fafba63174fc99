// The shell of a queue: the only code that touches its object's storage transaction, alarm and calls to other objects.
// Decisions are queue.ts's; what leaves for other rooms goes through outbound.ts.
import { DurableObject } from "cloudflare:workers";
import { COMMIT_QUEUE, checkName, splitObjectName } from "../address.ts";
import { directoryObject, type Env } from "../env.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { readCommands } from "../link/commands.ts";
import { DeliveryWriter } from "../link/deliveries.ts";
import { type Published, type QueueResult, writeResults } from "../link/results.ts";
import { DurableSql } from "../log/sql.ts";
import { QueueStore } from "../log/store.ts";
import type { TurnCommand } from "./carry-out.ts";
import { Outbound } from "./outbound.ts";
import { OutboxSender } from "./outbox-sender.ts";
import { describe, listPrepared, peek } from "./peek.ts";
import { Queue, type TurnOutcome } from "./queue.ts";
import { Receipts } from "./receipts.ts";
import type { Applied, PeekState, PreparedPage, QueueDescription, QueueRpc } from "./rpc.ts";
import type { QueueSettingsPatch } from "./settings.ts";

/** Commands that wait for the next turn, and who waits for their results. */
interface Pending {
  commands: TurnCommand[];
  /** The gateway that waits, if it is one. */
  gateway: string | undefined;
  resolve: (answer: Answer) => void;
  reject: (error: unknown) => void;
}

/** The results of commands, and what the gateway that sent them gets along. */
interface Answer {
  results: QueueResult[];
  deliveries: Uint8Array | undefined;
}

/** Commands at whose first arrival a queue comes into being. */
const CREATING = new Set<TurnCommand["type"]>([
  ...(["publish", "attach", "receive", "transfer", "configure", "commit", "prepare"] as const),
]);
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
  readonly #receipts = new Receipts();
  #store: QueueStore;
  #queue: Queue | undefined;
  #introduction: Promise<Refusal | undefined> | undefined;
  #inbox: Pending[] = [];
  #committing = false;
  #alarmAt = Number.POSITIVE_INFINITY;
  /** Refs of waiting calls count down from here: leases of calls in an earlier life of this object must not look like theirs. */
  #lastCall = -Date.now() * CALLS_PER_MS;
  readonly #waiting = new Map<number, (packet: Uint8Array) => void>();

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
    this.#sender = new OutboxSender(env, this.#objectName, {
      submit,
      arrived: (row, messages) => this.#receipts.arrived(row, messages),
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

  async receive(max: number, waitMs: number, leaseMs: number | undefined): Promise<Uint8Array | Refusal> {
    const ref = --this.#lastCall;
    const command: TurnCommand = { type: "receive", ref, max, leaseMs, wait: waitMs > 0 };
    const refusal = await this.#ready([command]);
    if (refusal !== undefined) return refusal;
    const packet = new Promise<Uint8Array>((resolve) => {
      this.#waiting.set(ref, resolve);
    });
    await this.#submit([command]).catch((error: unknown) => {
      this.#waiting.delete(ref);
      throw error;
    });
    const withdraw = () => this.#submit([{ type: "withdraw", ref }]).then(() => this.#nothing(ref));
    const timer = waitMs > 0 ? setTimeout(withdraw, waitMs) : null;
    if (timer === null) this.#nothing(ref);
    const received = await packet;
    clearTimeout(timer);
    return received;
  }

  async declare(patch: QueueSettingsPatch): Promise<(QueueDescription & { created: boolean }) | Refusal> {
    const wrong = this.#checkDeadLetterTo(patch.deadLetterTo);
    if (wrong !== undefined) return wrong;
    const created = this.#open() === undefined;
    const refusal = await this.#ready([{ type: "configure", patch }], true);
    if (refusal !== undefined) return refusal;
    await this.#submit([{ type: "configure", patch }]);
    return { ...this.#describe(), created };
  }

  async describe(): Promise<QueueDescription | Refusal> {
    return this.#open() === undefined ? this.#unknown() : this.#describe();
  }

  async remove(): Promise<Refusal | undefined> {
    const queue = this.#open();
    if (queue === undefined) return this.#unknown();
    // Dead letters on their way are another queue's already.
    if (!(await this.#sender.drained(this.#store))) {
      return refuse("unavailable", "dead letters of this queue could not be delivered yet; repeat the call");
    }
    await directoryObject(this.env, this.#namespace).removeQueue(this.#name);
    await this.#delete(queue);
    return undefined;
  }

  async removeUnused(): Promise<boolean> {
    const queue = this.#open();
    if (queue === undefined) return true;
    const isUsed = () => queue.ledger.consumers.size > 0;
    if (isUsed() || !(await this.#sender.drained(this.#store))) return false;
    const directory = directoryObject(this.env, this.#namespace);
    await directory.removeQueue(this.#name);
    if (isUsed()) {
      // A consumer has come meanwhile.
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

  async purge(): Promise<{ purged: number } | Refusal> {
    const queue = this.#open();
    if (queue === undefined) return this.#unknown();
    const before = queue.ledger.counts.expired;
    await this.#submit([{ type: "purge" }]);
    return { purged: queue.ledger.counts.expired - before };
  }

  async setPaused(paused: boolean): Promise<QueueDescription | Refusal> {
    if (this.#open() === undefined) return this.#unknown();
    await this.#submit([{ type: "configure", patch: { paused } }]);
    return this.#describe();
  }

  async peek(state: PeekState, limit: number): Promise<Uint8Array | Refusal> {
    const queue = this.#open();
    return queue === undefined ? this.#unknown() : peek(queue, state, limit, Date.now());
  }

  async listPrepared(after: number, limit: number): Promise<PreparedPage | Refusal> {
    const queue = this.#open();
    return queue === undefined ? this.#unknown() : listPrepared(queue, after, limit);
  }

  async transfer(
    source: string,
    id: number,
    records: Uint8Array,
    published = false,
  ): Promise<Published[] | Refusal> {
    const command: TurnCommand = { type: "transfer", source, id, records, published };
    // The queue that sends was allowed to be: so is the one that it names.
    const refusal = await this.#ready([command], true);
    if (refusal !== undefined) return refusal;
    const { results } = await this.#submit([command]);
    const [result] = results;
    return result?.type === "published"
      ? result.messages.filter((message): message is Published => !isRefusal(message))
      : [];
  }

  async receipts(rows: number[], waitMs: number): Promise<(Published[] | null)[]> {
    return new Promise((resolve) => {
      let timer: ReturnType<typeof setTimeout> | null = null;
      const isLeft = (row: number) => this.#store.hasOutboxRow(row);
      const giveUp = this.#receipts.wait(rows, isLeft, (receipts) => {
        clearTimeout(timer);
        resolve(receipts);
      });
      timer = setTimeout(giveUp, waitMs);
    });
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
    const inbox = this.#inbox;
    this.#inbox = [];
    const queue = this.#open();
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
    for (const [gateway, writer] of outcome.deliveries) this.#outbound.deliver(gateway, writer);
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
    return this.#queue;
  }

  /** Makes sure the queue exists before commands that create it; the refusal when it may not, or when they do not. */
  async #ready(commands: TurnCommand[], declared = false): Promise<Refusal | undefined> {
    if (this.#open() !== undefined) return undefined;
    if (!commands.some((command) => CREATING.has(command.type))) return this.#unknown();
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
    return undefined;
  }

  #describe(): QueueDescription {
    return describe(this.#open()!, Date.now());
  }

  #unknown(): Refusal {
    return refuse("not-found", `there is no queue ${JSON.stringify(this.#name)} in ${this.#namespace}`);
  }

  #checkDeadLetterTo(target: string | null | undefined): Refusal | undefined {
    if (typeof target !== "string") return undefined;
    if (target === this.#name) return refuse("bad-field", "deadLetterTo must be another queue");
    const wrong = checkName(target);
    return wrong === undefined ? undefined : refuse("bad-field", `deadLetterTo: ${wrong.message}`);
  }

  #answer(ref: number, packet: Uint8Array): void {
    this.#waiting.get(ref)?.(packet);
    this.#waiting.delete(ref);
  }

  #nothing(ref: number): void {
    this.#answer(ref, new DeliveryWriter(this.#queue?.ledger.epoch ?? 0).take());
  }
}

/** What a command is answered when the queue does not exist and it does not create it: no lease can be held there. */
function refusedResult(command: TurnCommand, refusal: Refusal): QueueResult {
  if (refusal.kind !== "not-found") return { type: "refused", refusal };
  if (command.type === "settle") return { type: "settled", settled: command.settlements.map(() => false) };
  if (command.type === "hold") return { type: "settled", settled: command.hold.settlements.map(() => false) };
  if (command.type === "decide") return { type: "refused", refusal };
  if (command.type === "extend") return { type: "settled", settled: command.handles.map(() => false) };
  return { type: "done", seq: 0 };
}
