// Who is owed what: all sessions of a gateway, as its log tells them. The facts of the log are replayed into it.
import { MAX_BACKLOG_SOURCES } from "../../limits.ts";
import type { FactReader } from "./facts.ts";
import { packetIdOf } from "./flight.ts";
import { Inbound, type InboundSurroundings } from "./inbound.ts";
import { OptionTable } from "./options.ts";
import { Outgoing, type Surroundings } from "./outgoing.ts";
import type { Options } from "./owed.ts";
import { inRanges } from "./ranges.ts";
import { RecordTable } from "./records.ts";
import { TurnFacts } from "./turn-facts.ts";

/** Both directions of a session. */
export interface BookedSession {
  outgoing: Outgoing;
  inbound: Inbound;
}

/** How much one session may be owed. */
export interface SessionSizes {
  sessionMessages: number;
  sessionBytes: number;
}

/** All sessions and transfers. */
export class Books implements Surroundings, InboundSurroundings, FactReader {
  readonly options = new OptionTable();
  readonly records = new RecordTable();
  readonly sessions = new Map<string, BookedSession>();
  /** The newest transfer of each source; the one heard longest ago comes first. */
  readonly sources = new Map<string, number>();
  readonly turn = new TurnFacts();
  readonly sessionMessages: number;
  readonly sessionBytes: number;
  /** The number that the next session gets in the log. */
  nextNumber = 1;
  runs = 0;
  /** Position of the first record of the row being replayed. */
  rowPosition = 0;
  readonly #byNumber = new Map<number, BookedSession>();

  constructor({ sessionMessages, sessionBytes }: SessionSizes) {
    this.sessionMessages = sessionMessages;
    this.sessionBytes = sessionBytes;
  }

  /** Finds or begins a session. */
  begin(session: string, durable: boolean): BookedSession {
    const known = this.sessions.get(session);
    if (known !== undefined) return known;
    const outgoing = new Outgoing(session, durable, this);
    const booked = { outgoing, inbound: new Inbound(outgoing, this) };
    this.sessions.set(session, booked);
    return booked;
  }

  /** Ends a session. */
  forget(session: string): void {
    const booked = this.sessions.get(session);
    if (booked === undefined) return;
    this.sessions.delete(session);
    this.#byNumber.delete(booked.outgoing.number);
    this.turn.forget(booked.outgoing);
  }

  /** Notes a transfer of a source. */
  take(source: string, id: number): void {
    const newest = Math.max(id, this.sources.get(source) ?? id);
    this.sources.delete(source);
    this.sources.set(source, newest);
    if (this.sources.size > MAX_BACKLOG_SOURCES) this.sources.delete(this.sources.keys().next().value!);
  }

  /** Whether a session has not been forgotten. */
  alive(outgoing: Outgoing): boolean {
    return this.sessions.get(outgoing.session)?.outgoing === outgoing;
  }

  changed(outgoing: Outgoing, urgent: boolean): void {
    if (!this.alive(outgoing)) return;
    this.#introduce(outgoing);
    this.turn.changed(outgoing, urgent);
  }

  inboundChanged({ outgoing }: Inbound, packetId: number, present: boolean): void {
    if (!this.alive(outgoing)) return;
    this.#introduce(outgoing);
    this.turn.inbound.push({ outgoing, packetId, present });
    this.turn.urgent = true;
  }

  begun(number: number, durable: boolean, session: string): void {
    const booked = this.begin(session, durable);
    booked.outgoing.number = number;
    this.#byNumber.set(number, booked);
    this.nextNumber = Math.max(this.nextNumber, number + 1);
  }

  forgotten(number: number): void {
    const { session } = this.#outgoing(number);
    this.sessions.delete(session);
    this.#byNumber.delete(number);
  }

  taken(source: string, id: number): void {
    this.take(source, id);
  }

  indexed(number: number, next: number): void {
    this.#outgoing(number).nextIndex = next;
  }

  owed(position: number, count: number, options: Options, numbers: readonly number[]): void {
    const option = this.options.number(options);
    for (const number of numbers) {
      const outgoing = this.#outgoing(number);
      outgoing.queue.push(outgoing.nextIndex, position, option, count);
      outgoing.nextIndex += count;
    }
  }

  done(number: number, ranges: readonly number[]): void {
    const { flights, queue } = this.#outgoing(number);
    const done = new Set(inRanges(ranges));
    for (const index of done) {
      const packetId = packetIdOf(index);
      if (flights.get(packetId)?.index !== index) continue;
      flights.delete(packetId);
      done.delete(index);
    }
    while (queue.size > 0 && done.delete(queue.firstIndex)) queue.shift();
    if (done.size > 0) queue.remove(({ index }) => done.has(index), 0, Number.POSITIVE_INFINITY);
  }

  sent(number: number, upTo: number | undefined): void {
    const outgoing = this.#outgoing(number);
    const { queue } = outgoing;
    const end = upTo ?? outgoing.nextIndex;
    while (queue.size > 0 && queue.firstIndex < end) outgoing.wasSent(queue.shift()!);
    outgoing.sentIndex = end;
  }

  idle(number: number): void {
    const outgoing = this.#outgoing(number);
    outgoing.flights.clear();
    outgoing.queue.clear();
    outgoing.sentIndex = outgoing.nextIndex;
  }

  released(number: number, ranges: readonly number[]): void {
    const { flights } = this.#outgoing(number);
    for (const index of inRanges(ranges)) {
      const flight = flights.get(packetIdOf(index));
      if (flight?.index === index) flight.released = true;
    }
  }

  inbound(number: number, packetId: number, present: boolean): void {
    const { ids } = this.#session(number).inbound;
    if (present) ids.add(packetId);
    else ids.delete(packetId);
  }

  kept(place: number, size: number, expiresAt: number): void {
    this.records.add(this.rowPosition + place, size, expiresAt, place);
  }

  /** Gives a session a number in the log, at the first thing that the log must know of it. */
  #introduce(outgoing: Outgoing): void {
    if (outgoing.number > 0) return;
    outgoing.number = this.nextNumber++;
    this.#byNumber.set(outgoing.number, this.sessions.get(outgoing.session)!);
    this.turn.begun.add(outgoing);
  }

  #outgoing(number: number): Outgoing {
    return this.#session(number).outgoing;
  }

  #session(number: number): BookedSession {
    const booked = this.#byNumber.get(number);
    if (booked === undefined) throw new RangeError("a fact about a session that is not in the books");
    return booked;
  }
}
