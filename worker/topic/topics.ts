// The machine of a topic object: publishes, subscriptions and the time go in; results, and parcels for gateways and queues, come out.
// Plain and synchronous; its shell is topic-object.ts.
import type { RegisteredFilter } from "../directory/rpc.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { MAX_PRESENCE_MEMBERS } from "../limits.ts";
import type { Condition } from "../link/condition.ts";
import type { Published } from "../link/results.ts";
import { isPresence, noConditions, roomRecord } from "../message/presence.ts";
import { RecordView } from "../message/record.ts";
import { checkCondition } from "./condition.ts";
import { TopicDedup } from "./dedup.ts";
import { Fan, type Parcel } from "./fan.ts";
import { Interests, isQueue } from "./interest.ts";
import { Outbox } from "./outbox.ts";
import { Presence } from "./presence.ts";
import { TopicProducers } from "./producers.ts";
import { type Kept, nothing, type ReadAnswer, read, start } from "./read.ts";
import { Retained } from "./retained.ts";
import type { From, ReadRequest, TopicDescription, TopicHistory, TopicSubscribe } from "./rpc.ts";
import type { TopicSettingsPatch } from "./settings.ts";
import { TopicSources } from "./sources.ts";
import { type TopicState, TopicStates } from "./state.ts";
import type { TopicStore } from "./store.ts";

/** How records are published. */
interface PublishOptions {
  /** Topics that may not come into being. */
  refused?: Map<string, Refusal>;
  /** What must hold for the one record to be published. */
  condition?: Condition | undefined;
  /** They come from another object, which keeps them until they are here. */
  transferred?: boolean;
}

/** Bytes of history in one answer. */
const MAX_HISTORY_BYTES = 4_000_000;

/**
 * The topics of one object. What must last is its store's: opened at any moment, it goes on as if it had never stopped.
 *
 * A turn is any number of calls, then `flush`. Publishing does not touch the store before `flush`, so that a turn without anything
 * to store (`dirty` is false) needs no transaction; every other call needs one.
 *
 * @example const topics = new Topics(store, now); topics.publish(records, now); const parcels = topics.flush(now);
 */
export class Topics {
  readonly interests: Interests;
  readonly outbox: Outbox;
  readonly #store: TopicStore;
  readonly #states: TopicStates;
  readonly #retained: Retained;
  readonly #presence: Presence;
  readonly #kept: Kept;
  readonly #sources: TopicSources;
  readonly #producers: TopicProducers;
  readonly #dedup = new TopicDedup();
  #fan = new Fan();

  /** @param maxMembers members of one room whom it names */
  constructor(store: TopicStore, now: number, maxMembers = MAX_PRESENCE_MEMBERS) {
    this.#store = store;
    this.#presence = new Presence({
      ...{ store, maxMembers },
      state: (name, at) => this.#states.get(name, at),
      tell: (state, body, client, at) => this.#tell(state, body, client, at),
    });
    this.#states = new TopicStates(store, this.#dedup, (name) => this.#presence.place(name));
    this.#retained = new Retained(store);
    this.#kept = {
      matching: (filter, after) => [
        ...this.#retained.matching(filter, after),
        ...this.#presence.matching(filter, after ?? ""),
      ],
      get: (topic, at) => this.retained(topic, at),
    };
    this.#sources = new TopicSources(store);
    this.#producers = new TopicProducers(store);
    this.interests = new Interests(store);
    this.outbox = new Outbox(store, now);
    this.#loadDedup(now);
  }

  /** Whether `flush` has something to write. */
  get dirty(): boolean {
    const books = [
      ...[this.#states, this.#retained, this.#presence, this.#sources, this.#producers],
      ...[this.interests, this.#fan],
    ];
    return books.some(({ dirty }) => dirty);
  }

  /** When `run` wants to be called, ms since the epoch; Infinity when never. */
  get nextDeadline(): number {
    return this.#presence.nextDeadline;
  }

  /** Does what time has made due. */
  run(now: number): void {
    this.#presence.run(now);
  }

  /** Which topics of a packet the Directory has not been told of. */
  strangers(records: Uint8Array, found: Set<string>): void {
    let last = "";
    for (const view = new RecordView(records); view.valid; view.next()) {
      const { topic } = view;
      if (topic !== last && this.#states.known(topic)?.entered !== true) found.add(topic);
      last = topic;
    }
  }

  /** The Directory knows these topics, and has told which filters concern this object. */
  entered(topics: Iterable<string>, filters: RegisteredFilter[] | undefined, now: number): void {
    for (const topic of topics) this.#states.get(topic, now).entered = true;
    this.interests.enter(filters);
  }

  /**
   * Publishes the records of a packet; one outcome for each, in their order. Writes seq, epoch and time into the records.
   */
  publish(
    records: Uint8Array,
    now: number,
    { refused, condition, transferred = false }: PublishOptions = {},
  ): (Published | Refusal)[] {
    const outcomes: (Published | Refusal)[] = [];
    this.run(now);
    let state: TopicState | undefined;
    for (const view = new RecordView(records); view.valid; view.next()) {
      const { topic } = view;
      const refusal = refused?.get(topic);
      if (refusal !== undefined) {
        outcomes.push(refusal);
        continue;
      }
      if (state?.name !== topic) state = this.#states.get(topic, now);
      outcomes.push(this.#publishOne(state, view, now, { condition, transferred }));
    }
    return outcomes;
  }

  /**
   * Publishes another object's messages, unless this transfer was taken before. They are beyond the limit on retained messages: one
   * that found no room would be lost.
   *
   * @returns one outcome for each; none for a transfer taken before; a refusal when it must be sent again later
   */
  transfer(source: string, id: number, records: Uint8Array, now: number): (Published | Refusal)[] | Refusal {
    if (this.outbox.full) return tooFarBehind();
    return this.#sources.take(source, id) ? this.publish(records, now, { transferred: true }) : [];
  }

  /** Ends a turn: stores what must be, and hands out what is to be sent. */
  flush(now: number): Parcel[] {
    const fan = this.#fan;
    this.#fan = new Fan();
    this.#dedup.trim(now - this.#states.longestWindowMs);
    this.#flushBooks(now);
    const parcels = fan.finish(this.outbox, now);
    if (parcels.some(({ id }) => id > 0)) this.sweep(now, false);
    for (const name of this.#states.shrink()) this.interests.forget(name);
    return parcels;
  }

  /**
   * Registers an interest and reads for it.
   *
   * @param since the number of the last packet made for the target
   */
  subscribe(
    { target, filter, durable, selector, read: request }: TopicSubscribe,
    since: number,
    now: number,
  ): ReadAnswer | Refusal {
    const refusal = this.interests.add(filter, target, durable, since, selector);
    if (refusal !== undefined) return refusal;
    if (isQueue(target)) return nothing();
    return this.read(request ?? { filter, from: "new", retained: "none", limitBytes: 0 }, now);
  }

  read(request: ReadRequest, now: number): ReadAnswer {
    this.#flushBooks(now);
    const answer = read(request, this.#states, this.#kept, now);
    this.#flushBooks(now);
    return answer;
  }

  /** The retained message of a topic as a record; of a room its snapshot, which stands where its last change does. */
  retained(topic: string, now: number): Uint8Array | undefined {
    if (!isPresence(topic)) return this.#retained.get(topic, now);
    const body = this.#presence.snapshot(topic);
    return roomRecord(this.#states.get(topic, now), { time: now, body, retain: true });
  }

  /** A stretch of a topic's history. */
  history(topic: string, from: From, limit: number, now: number): TopicHistory | Refusal {
    const state = this.#find(topic, now);
    if (state === undefined) return unknown(topic);
    this.#flushBooks(now);
    const { seq: first, recovered } = start(state, from, now);
    const { epoch, seq, history } = state;
    const records = history?.read(first, MAX_HISTORY_BYTES, limit, now, true).records ?? new Uint8Array(0);
    return { records, epoch, seq, recovered };
  }

  configure(
    topic: string,
    patch: TopicSettingsPatch,
    now: number,
  ): (TopicDescription & { created: boolean }) | Refusal {
    const created = this.#find(topic, now) === undefined;
    const refusal = this.#states.configure(topic, patch, now);
    return refusal ?? { ...this.#describe(this.#states.get(topic, now)), created };
  }

  describe(topic: string, now: number): TopicDescription | Refusal {
    const state = this.#find(topic, now);
    return state === undefined ? unknown(topic) : this.#describe(state);
  }

  /** Deletes a topic with all it holds. Who is interested in its name stays so. */
  remove(topic: string, now: number): Refusal | undefined {
    if (this.#find(topic, now) === undefined) return unknown(topic);
    const { epoch } = this.#states.get(topic, now);
    this.#states.remove(topic, now);
    // What waits in the outbox still holds its ids.
    this.#store.write("removed", "INSERT OR REPLACE INTO removed VALUES (?, ?)", topic, epoch);
    this.#retained.remove(topic);
    this.#dedup.forget(topic);
    this.#producers.forget(topic);
    return undefined;
  }

  counts(): { retained: number; topics: number } {
    return { retained: this.#retained.count, topics: this.#states.size };
  }

  /** Drops outbox tables that nothing needs. `idle`: nothing is going on. */
  sweep(now: number, idle: boolean): void {
    this.outbox.sweep(this.#dedup.notNeeded(now, this.#states.longestWindowMs), idle);
    if (!idle) return;
    this.#states.trim(now);
    this.#store.remove(
      "removed",
      "DELETE FROM removed WHERE epoch < ?",
      now - this.#states.longestWindowMs - 7 * 86_400_000,
    );
  }

  #publishOne(
    state: TopicState,
    view: RecordView,
    now: number,
    options: PublishOptions,
  ): Published | Refusal {
    const { name: topic, settings } = state;
    const { condition, transferred } = options;
    if (isPresence(topic)) return this.#publishPresence(state, view, now, options);
    const { dedupWindowMs } = settings;
    const sequence = condition?.producer;
    const known = sequence && this.#producers.check(topic, sequence, now, dedupWindowMs);
    if (isRefusal(known)) return known;
    if (known !== undefined) return { ...known, duplicate: true };
    const messageId = view.publisherId && dedupWindowMs > 0 ? view.messageId : undefined;
    if (messageId !== undefined) {
      const first = this.#dedup.find(topic, messageId, now, dedupWindowMs);
      if (first !== undefined) {
        // What came before by another way takes the place that it has in the producer's sequence now.
        if (sequence !== undefined) this.#producers.add(topic, sequence, first, now);
        return { seq: first.seq, epoch: first.epoch, duplicate: true };
      }
    }
    view.setTime(now);
    const targets = this.interests.targetsOf(topic, view);
    const refusal =
      (transferred ? undefined : this.#check(view, topic, targets, now)) ??
      (condition && checkCondition(condition, state.seq, targets.length));
    if (refusal !== undefined) return refusal;
    const seq = ++state.seq;
    state.time = now;
    view.setSeq(seq);
    view.setEpoch(state.epoch);
    if (sequence !== undefined) this.#producers.add(topic, sequence, { seq, epoch: state.epoch }, now);
    if (messageId !== undefined) {
      this.#dedup.add(topic, messageId, { epoch: state.epoch, seq, time: now });
    }
    if (view.retain) {
      if (view.bodyLength > 0) this.#retained.set(topic, view);
      else this.#retained.remove(topic);
    }
    if (state.history !== undefined) {
      state.history.append(view, now);
      this.#states.written(state);
    }
    if (targets.length > 0) this.#fan.add(view, targets);
    return { seq, epoch: state.epoch, duplicate: false };
  }

  /** Whatever is repeated is done again, which changes nothing: no id needs to be remembered. */
  #publishPresence(
    state: TopicState,
    view: RecordView,
    now: number,
    { condition, transferred }: PublishOptions,
  ): Published | Refusal {
    if (condition !== undefined) return noConditions();
    const targets = this.interests.targets(state.name);
    const refusal =
      (transferred ? undefined : this.#check(view, state.name, targets, now)) ??
      this.#presence.publish(state, view, now);
    return refusal ?? { seq: state.seq, epoch: state.epoch, duplicate: false };
  }

  /** What a room tells is a message of its topic like any other. */
  #tell(state: TopicState, body: string, publisher: string, now: number): void {
    state.seq++;
    state.time = now;
    const view = new RecordView(roomRecord(state, { publisher, time: now, body }));
    const targets = this.interests.targetsOf(state.name, view);
    if (targets.length > 0) this.#fan.add(view, targets);
  }

  #check(
    view: RecordView,
    topic: string,
    targets: readonly { queue: boolean; durable: boolean }[],
    now: number,
  ): Refusal | undefined {
    if (view.dueAt > now) return refuse("not-supported", "a topic does not delay messages; a queue does");
    if (view.retain && view.bodyLength > 0) {
      const refusal = this.#retained.check(topic);
      if (refusal !== undefined) return refusal;
    }
    if (!this.outbox.full) return undefined;
    const kept = targets.some(({ queue, durable }) => queue || (durable && view.qos > 0));
    return kept ? tooFarBehind() : undefined;
  }

  #flushBooks(now: number): void {
    this.#states.flush(now);
    this.#retained.flush();
    this.#presence.flush();
    this.#sources.flush();
    this.#producers.flush();
    this.interests.flush();
  }

  /** A topic that exists: in memory with messages, declared, or retained. */
  #find(topic: string, now: number): TopicState | undefined {
    const known = this.#states.known(topic);
    const exists =
      (known !== undefined && (known.seq > 0 || known.entered)) ||
      this.#states.isDeclared(topic) ||
      this.#retained.has(topic) ||
      this.#presence.has(topic);
    return exists ? this.#states.get(topic, now) : undefined;
  }

  #describe(state: TopicState): TopicDescription {
    const { name, epoch, settings, seq, history } = state;
    return {
      name,
      epoch,
      settings,
      stats: {
        seq,
        published: seq,
        retained: this.#retained.has(name),
        stored: history?.stored ?? 0,
        storedBytes: history?.bytes ?? 0,
        interested: this.interests.targets(name).length,
        rowsWritten: this.#store.rowsWritten,
      },
    };
  }

  /** Reads back the ids of the dedup window from wherever their messages were stored. */
  #loadDedup(now: number): void {
    const notBefore = now - this.#states.longestWindowMs;
    const rows = this.#store.read("removed", "SELECT name, epoch FROM removed");
    const removed = new Map(rows.map((row) => [row.name as string, row.epoch as number]));
    this.#dedup.load(this.#remembered(notBefore, now), notBefore, removed);
  }

  *#remembered(notBefore: number, now: number): Generator<Uint8Array> {
    yield* this.outbox.remembered(notBefore);
    yield* this.#retained.remembered(notBefore);
    for (const { history } of this.#states.withHistory(now)) yield* history!.remembered(notBefore);
  }
}

function tooFarBehind(): Refusal {
  return refuse("too-many", "subscribers that must get this message are too far behind; repeat later", 1_000);
}

function unknown(topic: string): Refusal {
  return refuse("not-found", `there is no topic ${JSON.stringify(topic)}`);
}
