// What a topic object knows of each of its topics: epoch, seq, settings, history. Topics without history are only in memory.
import { type Refusal, refuse } from "../errors.ts";
import { matches } from "../filter/filter.ts";
import { MAX_DECLARED_TOPICS, MAX_TOPICS } from "../limits.ts";
import type { TopicDedup } from "./dedup.ts";
import { History } from "./history.ts";
import {
  applyTopicSettings,
  DEFAULT_TOPIC_SETTINGS,
  keepsHistory,
  type TopicSettings,
  type TopicSettingsPatch,
} from "./settings.ts";
import type { TopicStore } from "./store.ts";

/** What is written down of a topic with settings of its own. */
interface Declared {
  number: number;
  /** Epoch and seq count only for a topic with history: any other begins anew with each life of the object. */
  epoch: number;
  seq: number;
  /** The last seq that compaction made disappear before it was switched off. */
  holes: number;
  settings: TopicSettings;
}

/** One topic. */
export interface TopicState {
  readonly name: string;
  epoch: number;
  /** The last one given. */
  seq: number;
  /** When that was, 0 when this life of the object does not know. */
  time: number;
  settings: TopicSettings;
  history: History | undefined;
  /** The last seq that compaction made disappear before it was switched off. */
  holes: number;
  /** Whether the Directory knows of it, in this life of the object. */
  entered: boolean;
}

/** The topics of one object, those used last at the end. */
export class TopicStates {
  readonly #store: TopicStore;
  readonly #dedup: TopicDedup;
  readonly #placeOf: (name: string) => { epoch: number; seq: number } | undefined;
  readonly #states = new Map<string, TopicState>();
  readonly #declared = new Map<string, Declared>();
  readonly #changed = new Set<string>();
  /** Histories with messages of this turn. */
  readonly #written = new Set<TopicState>();
  #nextNumber = 1;
  /** No topic that was forgotten or deleted had a higher epoch. */
  #lastEpoch = 0;
  /** The longest dedup window of any topic, ms. */
  longestWindowMs = DEFAULT_TOPIC_SETTINGS.dedupWindowMs;

  /** @param placeOf where a topic stood that something else than its history keeps */
  constructor(
    store: TopicStore,
    dedup: TopicDedup,
    placeOf: (name: string) => { epoch: number; seq: number } | undefined,
  ) {
    this.#store = store;
    this.#dedup = dedup;
    this.#placeOf = placeOf;
    const [removed] = store.read("removed", "SELECT max(epoch) AS epoch FROM removed");
    this.#lastEpoch = (removed?.epoch as number | null | undefined) ?? 0;
    const rows = store.read("topic", "SELECT name, number, epoch, seq, holes, settings FROM topic");
    for (const { name, settings, ...row } of rows) {
      const parsed = JSON.parse(settings as string) as TopicSettings;
      const declared = { ...(row as Omit<Declared, "settings">), settings: parsed };
      this.#declared.set(name as string, declared);
      this.#nextNumber = Math.max(this.#nextNumber, declared.number + 1);
      this.longestWindowMs = Math.max(this.longestWindowMs, parsed.dedupWindowMs);
    }
  }

  get size(): number {
    return this.#states.size;
  }

  get dirty(): boolean {
    return this.#changed.size > 0 || this.#written.size > 0;
  }

  /** A topic that is in memory. */
  known(name: string): TopicState | undefined {
    return this.#states.get(name);
  }

  isDeclared(name: string): boolean {
    return this.#declared.has(name);
  }

  /** A topic, which comes into being with this. */
  get(name: string, now: number): TopicState {
    const known = this.#states.get(name);
    if (known === undefined) return this.#begin(name, now);
    // Only a nearly full map needs to know who was used last.
    if (this.#states.size * 2 > MAX_TOPICS) {
      this.#states.delete(name);
      this.#states.set(name, known);
    }
    return known;
  }

  /** Names of the topics that a filter matches, in memory or declared. */
  matching(filter: string): string[] {
    const found = new Set<string>();
    for (const name of this.#declared.keys()) if (matches(filter, name)) found.add(name);
    for (const name of this.#states.keys()) if (matches(filter, name)) found.add(name);
    return [...found].sort();
  }

  /** Topics with a history. */
  *withHistory(now: number): Generator<TopicState> {
    for (const [name, { settings }] of this.#declared) if (keepsHistory(settings)) yield this.get(name, now);
  }

  /** The history of a topic is about to get a message. */
  written(state: TopicState): void {
    this.#written.add(state);
  }

  /** Sets what was said of a topic. */
  configure(name: string, patch: TopicSettingsPatch, now: number): Refusal | undefined {
    const state = this.get(name, now);
    if (!this.#declared.has(name) && this.#declared.size >= MAX_DECLARED_TOPICS) {
      return refuse("too-many", `${MAX_DECLARED_TOPICS} topics are declared here, which is the limit`);
    }
    const declared = this.#declared.get(name) ?? { number: this.#nextNumber++ };
    this.#written.delete(state);
    state.history?.flush();
    state.settings = applyTopicSettings(state.settings, patch);
    this.longestWindowMs = Math.max(this.longestWindowMs, state.settings.dedupWindowMs);
    if (!keepsHistory(state.settings)) {
      state.history?.clear();
      state.history = undefined;
      state.holes = 0;
    } else {
      state.history ??= new History(this.#store, declared.number, state.seq);
      state.holes = Math.max(state.holes, state.history.holes);
      state.history.configure(state.settings);
      this.#trim(state, now);
    }
    const { epoch, seq, holes, settings } = state;
    this.#declared.set(name, { number: declared.number, epoch, seq, holes, settings });
    this.#changed.add(name);
    return undefined;
  }

  /** Forgets a topic, on disk too. The caller writes its epoch to `removed`. */
  remove(name: string, now: number): void {
    const state = this.get(name, now);
    state.history?.clear();
    this.#written.delete(state);
    if (this.#declared.delete(name)) this.#changed.add(name);
    this.#forget(state);
  }

  /** Writes what the turn changed, and drops what retention lets go. */
  flush(now: number): void {
    for (const state of this.#written) {
      state.history!.flush();
      this.#trim(state, now);
    }
    this.#written.clear();
    for (const name of this.#changed) this.#write(name);
    this.#changed.clear();
  }

  /** Drops what retention lets go of the topics in memory. */
  trim(now: number): void {
    for (const state of this.#states.values()) this.#trim(state, now);
    this.flush(now);
  }

  /** Forgets topics beyond the limit: those used longest ago. Returns them. */
  shrink(): string[] {
    const gone: string[] = [];
    for (const state of this.#states.values()) {
      if (this.#states.size <= MAX_TOPICS) break;
      this.#forget(state);
      gone.push(state.name);
    }
    return gone;
  }

  #begin(name: string, now: number): TopicState {
    const declared = this.#declared.get(name);
    const settings = declared?.settings ?? DEFAULT_TOPIC_SETTINGS;
    const place = this.#placeOf(name);
    const state: TopicState = {
      name,
      epoch: Math.max(now, this.#lastEpoch + 1),
      seq: 0,
      time: 0,
      settings,
      history: undefined,
      holes: 0,
      entered: false,
      ...(place && { epoch: place.epoch, seq: place.seq }),
    };
    if (declared !== undefined && keepsHistory(settings)) {
      state.history = new History(this.#store, declared.number, declared.seq);
      state.history.configure(settings);
      state.epoch = declared.epoch;
      state.seq = state.history.lastSeq;
      state.holes = declared.holes;
    }
    this.#states.set(name, state);
    return state;
  }

  #forget(state: TopicState): void {
    this.#states.delete(state.name);
    this.#lastEpoch = Math.max(this.#lastEpoch, state.epoch);
  }

  #trim({ name, seq, history, settings }: TopicState, now: number): void {
    if (!history?.trim(settings, now, this.#dedup.notNeeded(now, settings.dedupWindowMs))) return;
    // The rows that held the last seq are gone: it is kept with the settings.
    this.#declared.get(name)!.seq = seq;
    this.#changed.add(name);
  }

  #write(name: string): void {
    const declared = this.#declared.get(name);
    if (declared === undefined) {
      this.#store.remove("topic", "DELETE FROM topic WHERE name = ?", name);
      return;
    }
    const { number, epoch, seq, holes, settings } = declared;
    const query = "INSERT OR REPLACE INTO topic VALUES (?, ?, ?, ?, ?, ?)";
    this.#store.write("topic", query, name, number, epoch, seq, holes, JSON.stringify(settings));
  }
}
