// The shell of a Topic object: the only code that touches its storage transaction and alarm. Decisions are topics.ts's; what leaves
// for other rooms goes through outbound.ts, what the Directory must know first through introductions.ts.
import { DurableObject } from "cloudflare:workers";
import { checkName, splitObjectName } from "../address.ts";
import { directoryObject, type Env, maxPresenceMembers } from "../env.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { checkFilter } from "../filter/filter.ts";
import { type QueueCommand, readCommands } from "../link/commands.ts";
import { type Published, type QueueResult, writeResults } from "../link/results.ts";
import { DurableSql } from "../log/sql.ts";
import { isPresence } from "../message/presence.ts";
import type { Applied } from "../queue/rpc.ts";
import { isQueue } from "./interest.ts";
import { Introductions } from "./introductions.ts";
import { Outbound } from "./outbound.ts";
import { nothing, type ReadAnswer } from "./read.ts";
import type {
  From,
  ReadRequest,
  TopicDescription,
  TopicHistory,
  TopicRpc,
  TopicSubscribe,
  TopicSubscribed,
} from "./rpc.ts";
import type { TopicSettingsPatch } from "./settings.ts";
import { TopicStore } from "./store.ts";
import { Topics } from "./topics.ts";

/** Records to publish, with their condition or as the transfer of another object. */
type Publish = Pick<Extract<QueueCommand, { type: "publish" }>, "records" | "condition"> & {
  transfer?: { source: string; id: number };
};

/** What became of publishes, and what the gateway that sent them gets along. */
interface TurnAnswer {
  results: QueueResult[];
  gateway: string;
  deliveries: Uint8Array | undefined;
}

/** Publishes that wait for the next turn. */
interface Pending {
  publishes: Publish[];
  refused: Map<string, Refusal>;
  /** The gateway that waits, "" if none does. */
  gateway: string;
  resolve: (answer: TurnAnswer) => void;
  reject: (error: unknown) => void;
}

/** Anything else: it is a turn of its own, so that it stands between the packets of what was published before and after it. */
interface Call {
  /** @returns what tells the caller, once what was written is sure to be kept */
  run: (topics: Topics, now: number) => () => void;
  reject: (error: unknown) => void;
}

/** While something waits for confirms, the object wakes this often, should it have died before they came. */
const WATCH_MS = 10_000;
const ALARM_RETRIES = 5;

/** The topics of one object. See rpc.ts for what each call does. */
export class TopicObject extends DurableObject<Env> implements TopicRpc {
  readonly #objectName: string;
  readonly #namespace: string;
  readonly #sql: DurableSql;
  readonly #outbound: Outbound;
  readonly #introductions: Introductions;
  #topics: Topics | undefined;
  #inbox: (Pending | Call)[] = [];
  #committing = false;
  #alarmAt = Number.POSITIVE_INFINITY;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#objectName = ctx.id.name!;
    this.#namespace = splitObjectName(this.#objectName).namespace;
    this.#sql = new DurableSql(ctx.storage.sql);
    this.#introductions = new Introductions(env, this.#objectName, () => this.#open());
    this.#outbound = new Outbound(env, this.#objectName, {
      records: (id, target) => this.#open().outbox.records(id, target),
      confirmed: (target, ids) => this.#open().outbox.confirm(target, ids),
      unwanted: (target, topics, number) => this.#unwanted(target, topics, number),
      failed: () => this.#arm(),
    });
  }

  async apply(packet: Uint8Array, gateway = ""): Promise<Applied> {
    const publishes: Publish[] = [];
    for (const command of readCommands(packet)) {
      if (command.type !== "publish") throw new RangeError(`a topic takes no ${command.type}`);
      publishes.push(command);
    }
    const refused = await this.#introductions.introduce(publishes.map(({ records }) => records));
    return new Promise<Applied>((resolve, reject) => {
      this.#submit({
        publishes,
        refused,
        gateway,
        resolve: ({ results, deliveries }) => {
          const written = writeResults(0, results);
          resolve(deliveries === undefined ? { results: written } : { results: written, deliveries });
        },
        reject,
      });
    });
  }

  async transfer(
    source: string,
    id: number,
    records: Uint8Array,
  ): Promise<(Published | Refusal)[] | Refusal> {
    // The caller's bytes are its own: seq and times are written into a copy.
    const publish = { records: records.slice(), transfer: { source, id } };
    await this.#introductions.introduceTransferred(records);
    const { results } = await new Promise<TurnAnswer>((resolve, reject) => {
      this.#submit({ publishes: [publish], refused: new Map(), gateway: "", resolve, reject });
    });
    const [result] = results;
    if (result?.type === "refused") return result.refusal;
    return result?.type === "published" ? result.messages : [];
  }

  async subscribe(request: TopicSubscribe): Promise<TopicSubscribed | Refusal> {
    const { filter, target } = request;
    const wrong = checkFilter(filter);
    if (wrong !== undefined) return wrong;
    return this.#run((topics, now) => {
      const found = topics.subscribe(request, this.#outbound.lastNumber(target), now);
      return isRefusal(found) ? found : this.#answer(target, found);
    });
  }

  async read(gateway: string, request: ReadRequest): Promise<TopicSubscribed> {
    const wrong = checkFilter(request.filter);
    return this.#run((topics, now) =>
      this.#answer(gateway, wrong === undefined ? topics.read(request, now) : nothing()),
    );
  }

  async unsubscribe(target: string, filters: string[]): Promise<void> {
    await this.#run((topics) => {
      for (const filter of filters) topics.interests.remove(filter, target);
    });
    if (!isQueue(target)) return;
    // The queue may be about to be deleted: nothing that comes later may bring it back.
    await this.#outbound.drained(target);
    await this.#run((topics, now) => topics.outbox.note(now));
  }

  async retained(topic: string): Promise<Uint8Array | undefined> {
    return this.#run((topics, now) => topics.retained(topic, now));
  }

  async history(topic: string, from: From, limit: number): Promise<TopicHistory | Refusal> {
    return this.#run((topics, now) => topics.history(topic, from, limit, now));
  }

  async declare(
    topic: string,
    patch: TopicSettingsPatch,
  ): Promise<(TopicDescription & { created: boolean }) | Refusal> {
    const wrong = checkName(topic) ?? checkNoRoom(topic);
    if (wrong !== undefined) return wrong;
    // The introduction makes the topic.
    const created = isRefusal(await this.describe(topic));
    const refusal = await this.#introductions.declare(topic);
    if (refusal !== undefined) return refusal;
    const declared = await this.#run((topics, now) => topics.configure(topic, patch, now));
    return isRefusal(declared) ? declared : { ...declared, created };
  }

  async describe(topic: string): Promise<TopicDescription | Refusal> {
    return this.#run((topics, now) => topics.describe(topic, now));
  }

  async remove(topic: string): Promise<Refusal | undefined> {
    const known = checkNoRoom(topic) ?? (await this.describe(topic));
    if (isRefusal(known)) return known;
    // The Directory first: whoever publishes after this object has forgotten the topic introduces it anew.
    await directoryObject(this.env, this.#namespace).removeTopic(topic, this.#objectName);
    return this.#run((topics, now) => topics.remove(topic, now));
  }

  async counts(): Promise<{ retained: number; topics: number }> {
    return this.#open().counts();
  }

  override async alarm(info?: AlarmInvocationInfo): Promise<void> {
    this.#alarmAt = Number.POSITIVE_INFINITY;
    try {
      this.#open();
      this.#outbound.retry();
      await this.#run((topics, now) => {
        topics.run(now);
        topics.sweep(now, true);
      });
    } catch (error) {
      // The platform gives an alarm up after six failures; what must arrive must not wait for the next publish then.
      if ((info?.retryCount ?? 0) < ALARM_RETRIES) throw error;
      await this.ctx.storage.setAlarm(Date.now() + WATCH_MS);
    }
  }

  /** Runs a call as a turn of its own. */
  #run<T>(call: (topics: Topics, now: number) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const run = (topics: Topics, now: number) => {
        const result = call(topics, now);
        return () => resolve(result);
      };
      this.#submit({ run, reject });
    });
  }

  #submit(pending: Pending | Call): void {
    this.#inbox.push(pending);
    if (!this.#committing) this.#work();
  }

  /** Turns, until something must become durable or nothing waits. While it does, everything that arrives shares the next turn. */
  #work(): void {
    while (!this.#committing && this.#inbox.length > 0) {
      const calls = this.#inbox.findIndex((pending) => "run" in pending);
      const before = this.#sql.rowsWritten;
      if (calls === 0) this.#call(this.#inbox.shift() as Call);
      else this.#turn(this.#inbox.splice(0, calls < 0 ? this.#inbox.length : calls) as Pending[]);
      this.#arm();
      if (this.#sql.rowsWritten === before) continue;
      this.#committing = true;
      const committed = () => {
        this.#committing = false;
        this.#work();
      };
      // A commit that fails resets the object; until then nothing may wait for ever.
      this.ctx.storage.sync().then(committed, committed);
    }
  }

  /** Publishes. No await in here: the output gate holds every answer and packet until what was written is durable. */
  #turn(inbox: Pending[]): void {
    const now = Date.now();
    try {
      const topics = this.#open();
      const results = inbox.map(({ publishes, refused }) =>
        publishes.map(({ records, condition, transfer }): QueueResult => {
          const outcome =
            transfer === undefined
              ? topics.publish(records, now, { refused, condition })
              : topics.transfer(transfer.source, transfer.id, records, now);
          return isRefusal(outcome)
            ? { type: "refused", refusal: outcome }
            : { type: "published", messages: outcome };
        }),
      );
      const flush = () => topics.flush(now);
      const parcels = topics.dirty ? this.ctx.storage.transactionSync(flush) : flush();
      const riding = this.#outbound.send(parcels, new Set(inbox.map(({ gateway }) => gateway)));
      for (const [at, { gateway, resolve }] of inbox.entries()) {
        resolve({ results: results[at]!, gateway, deliveries: riding.get(gateway) });
        riding.delete(gateway);
      }
    } catch (error) {
      this.#fail(inbox, error);
    }
  }

  #call(call: Call): void {
    const now = Date.now();
    try {
      const topics = this.#open();
      const { tell, parcels } = this.ctx.storage.transactionSync(() => {
        const done = call.run(topics, now);
        return { tell: done, parcels: topics.flush(now) };
      });
      this.#outbound.send(parcels, new Set());
      tell();
    } catch (error) {
      this.#fail([call], error);
    }
  }

  /** The rows are as before the turn and the books may not be: they are read anew. */
  #fail(inbox: (Pending | Call)[], error: unknown): void {
    console.error(`topics ${this.#objectName}: a turn failed`, error);
    this.#topics = undefined;
    for (const { reject } of inbox) reject(error);
  }

  #open(): Topics {
    if (this.#topics !== undefined) return this.#topics;
    this.#topics = new Topics(new TopicStore(this.#sql), Date.now(), maxPresenceMembers(this.env));
    this.#outbound.restore(this.#topics.outbox.pending);
    return this.#topics;
  }

  /** An alarm is a billed row: it is set only when none is due before. */
  #arm(): void {
    const never = Number.POSITIVE_INFINITY;
    const watch = this.#topics?.outbox.waiting === true ? Date.now() + WATCH_MS : never;
    const wanted = Math.min(watch, this.#outbound.retryAt, this.#topics?.nextDeadline ?? never);
    if (wanted >= this.#alarmAt) return;
    this.#alarmAt = wanted;
    this.ctx.storage.setAlarm(wanted);
    this.#sql.rowsWritten++;
  }

  #unwanted(target: string, names: string[], number: number): void {
    const gone = this.#run((topics) => {
      for (const name of names) topics.interests.unwanted(name, target, number);
    });
    gone.catch(() => undefined);
  }

  #answer(target: string, { packet, retained, moreRetained, topics }: ReadAnswer): TopicSubscribed {
    const taken = isQueue(target)
      ? packet.take({ stream: 0, number: 0, id: 0 })
      : this.#outbound.placed(target, packet);
    const answer = { packet: taken, retained, topics };
    return moreRetained === undefined ? answer : { ...answer, moreRetained };
  }
}

function checkNoRoom(topic: string): Refusal | undefined {
  if (!isPresence(topic)) return undefined;
  return refuse("not-supported", "a room has no settings, and ends when its last member leaves");
}
