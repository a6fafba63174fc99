// Reading topics for a subscriber: retained messages first, then what history kept, and whether anything may be missing.
import { isExact } from "../filter/filter.ts";
import { TopicPacketWriter } from "../link/topic-packet.ts";
import { isPresence } from "../message/presence.ts";
import type { From, ReadRequest, TopicPosition } from "./rpc.ts";
import type { TopicState, TopicStates } from "./state.ts";

/** What new subscribers get first: retained messages, and the snapshots of rooms. */
export interface Kept {
  /** Topics that have one and that a filter matches, after `after`, by name. */
  matching(filter: string, after: string | undefined): string[];
  /** It as a record. */
  get(topic: string, now: number): Uint8Array | undefined;
}

/** What a read found: the answer of rpc.ts before its packet has a number. */
export interface ReadAnswer {
  packet: TopicPacketWriter;
  retained: number;
  moreRetained: string | undefined;
  topics: TopicPosition[];
}

/** Where reading begins. */
export interface Start {
  seq: number;
  recovered: boolean;
}

/** The answer that holds nothing. */
export function nothing(): ReadAnswer {
  return { packet: new TopicPacketWriter(), retained: 0, moreRetained: undefined, topics: [] };
}

/** Reads what a request asks for. */
export function read(
  { filter, from, retained: wants, limitBytes, retainedAfter }: ReadRequest,
  states: TopicStates,
  retained: Kept,
  now: number,
): ReadAnswer {
  const answer = nothing();
  const { packet } = answer;
  // A room keeps no history: who does not go on from its very end gets its snapshot. [PRS5]
  const rooms = isPresence(filter) && from !== "new";
  if (wants === "send" || rooms) {
    // The newest message of a topic with a history comes from there.
    const wanted = (topic: string) => {
      const state = states.get(topic, now);
      return rooms ? !start(state, from, now).recovered : from !== "last" || !hasHistory(state, now);
    };
    readRetained(answer, { filter, retained, after: retainedAfter, wanted }, limitBytes, now);
  }
  const names = isExact(filter) ? [filter] : states.matching(filter);
  for (const name of names) {
    const state = states.get(name, now);
    const { seq, recovered } = start(state, from, now);
    const position: TopicPosition = {
      ...{ topic: name, epoch: state.epoch, seq: state.seq },
      recovered: recovered || rooms,
    };
    answer.topics.push(position);
    if (seq > state.seq || state.history === undefined) continue;
    if (!packet.empty && packet.size >= limitBytes) {
      position.more = seq - 1;
      continue;
    }
    const left = Math.max(0, limitBytes - packet.size);
    const { records, upTo } = state.history.read(seq, left, Number.POSITIVE_INFINITY, now, packet.empty);
    packet.add(records);
    if (upTo < state.seq) position.more = upTo;
  }
  return answer;
}

/** Which retained messages are asked for. */
interface RetainedRequest {
  filter: string;
  retained: Kept;
  /** The last topic of the page before. */
  after: string | undefined;
  wanted: (topic: string) => boolean;
}

function hasHistory({ history, settings, seq }: TopicState, now: number): boolean {
  return history !== undefined && history.firstVisible(settings, now) <= seq;
}

/** [MQTT-3.3.1-8] says what retained messages are for; they come in the order of their topics. */
function readRetained(
  answer: ReadAnswer,
  { filter, retained, after, wanted }: RetainedRequest,
  limitBytes: number,
  now: number,
): void {
  let last = after;
  for (const topic of retained.matching(filter, after)) {
    const record = wanted(topic) ? retained.get(topic, now) : undefined;
    if (record === undefined) continue;
    if (answer.retained > 0 && answer.packet.size + record.length > limitBytes) {
      answer.moreRetained = last;
      return;
    }
    answer.packet.add(record);
    answer.retained++;
    last = topic;
  }
}

/** Where to begin, and whether everything asked for is still there. [REP3] */
export function start(state: TopicState, from: From, now: number): Start {
  const { seq: last, history } = state;
  if (from === "new") return { seq: last + 1, recovered: true };
  const first = history?.firstVisible(state.settings, now) ?? last + 1;
  const holes = Math.max(state.holes, history?.holes ?? 0);
  const whole = (seq: number): Start => ({
    seq: Math.max(seq, first),
    recovered: seq >= first && holes < seq,
  });
  if (from === "first") return whole(1);
  if (from === "last") return whole(Math.max(1, last));
  if ("last" in from) return whole(Math.max(1, last - from.last + 1));
  if ("time" in from) return sinceTime(state, from.time, first, holes);
  const { seq, epoch } = from;
  // Without history the epoch ends with the object's life: a seq alone may be one of an earlier epoch.
  const sameEpoch = epoch === undefined ? history !== undefined : epoch === state.epoch;
  if (!sameEpoch) return { seq: epoch === undefined ? Math.max(first, seq + 1) : first, recovered: false };
  return seq > last ? { seq: last + 1, recovered: false } : whole(seq + 1);
}

function sinceTime(state: TopicState, time: number, first: number, holes: number): Start {
  const { seq: last, history } = state;
  if (first > last || history === undefined) {
    return {
      seq: last + 1,
      recovered: last === 0 ? history !== undefined : state.time > 0 && state.time < time,
    };
  }
  const since = Math.max(first, history.firstSince(time));
  const complete = first === 1 || history.timeAt(first)! < time;
  return { seq: since, recovered: complete && holes < since };
}
