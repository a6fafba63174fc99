// One session's QoS 1 and 2 deliveries: the window of what was sent, and what waits behind it.
import { MAX_IN_FLIGHT } from "../../limits.ts";
import { beginFlight, type Flight, LentIds, packetIdOf } from "./flight.ts";
import type { OptionTable } from "./options.ts";
import type { Owed, ToRelease, ToSend } from "./owed.ts";
import { addToRanges } from "./ranges.ts";
import type { RecordTable } from "./records.ts";
import { type Entry, RunList } from "./runs.ts";
import { restoreWindow, saveWindow } from "./window-text.ts";

/** What an Outgoing needs of the backlog it belongs to. */
export interface Surroundings {
  readonly options: OptionTable;
  readonly records: RecordTable;
  readonly sessionMessages: number;
  readonly sessionBytes: number;
  /** Runs of waiting messages in all sessions, at most. */
  runs: number;
  /** Something changed that the log must learn: `urgent` before frames leave, else with the next row. */
  changed(outgoing: Outgoing, urgent: boolean): void;
}

/** What the log does not know yet of a session. */
export interface Pending {
  /** New messages that are kept. */
  owed: RunList;
  /** Indexes of messages that are finished, as ranges. */
  finished: number[];
  /** Indexes of messages that PUBREC came for, as ranges. */
  released: number[];
  /** Messages were sent. */
  sent: boolean;
}

/**
 * What one session is owed. Found with `Backlog.outgoing`; lives until `Backlog.forget`.
 *
 * A message gets the session's next number when it is offered, and keeps it: the packet id follows from it. All messages below
 * `sent` were sent (or dropped before), all others wait; so which were sent is one number, and DUP is exact [MQTT-3.3.1-1].
 * That number is durable with the row that brings a message when it is sent at once, before frames leave for QoS 2, and with the
 * next row for QoS 1: a crash in between can only send a QoS 1 message a second time without DUP.
 *
 * @example
 * const id = outgoing.offer({ position, qos: 1, retain: false, subscriptionIds: [] });
 * if (id !== undefined) send(PUBLISH, id);
 * // on each acknowledgement: outgoing.puback(id), then for (let m = outgoing.next(now); m; m = outgoing.next(now)) send(m)
 */
export class Outgoing {
  /** The session's id. */
  readonly session: string;
  /** Whether the session outlives its socket; of others the log holds only what waits. */
  readonly durable: boolean;
  /** The session's number in the log; 0 while the log does not know it. */
  number = 0;
  /** Sent and unfinished, by packet id, in the order of their index. */
  readonly flights = new Map<number, Flight>();
  readonly queue = new RunList();
  readonly lent = new LentIds();
  readonly pending: Pending = { owed: new RunList(), finished: [], released: [], sent: false };
  /** Index of the next message that is offered. */
  nextIndex = 0;
  /** All below this were sent. */
  sentIndex = 0;
  window = 0;
  /** Packet ids to send again when the window has room, in original order: an acknowledgement takes its own out. */
  readonly again = new Set<number>();
  #counting = 0;
  #bytes = 0;
  #dropped = 0;
  readonly #around: Surroundings;

  /** Made by `Backlog.outgoing`. */
  constructor(session: string, durable: boolean, around: Surroundings) {
    this.session = session;
    this.durable = durable;
    this.#around = around;
  }

  /** A connection began: how many PUBLISH of QoS 1 and 2 its client takes unfinished (also bounded by MAX_IN_FLIGHT). 0: no connection, everything waits. Starts as 0. */
  setWindow(receiveMaximum: number): void {
    this.window = Math.min(receiveMaximum, MAX_IN_FLIGHT);
  }

  /** The connection was lost: window 0, what was sent must be sent again by `resume`, ids of `take` are free again. */
  suspend(): void {
    this.window = 0;
    this.again.clear();
    this.#counting = 0;
    this.lent.load([]);
    for (const flight of this.flights.values()) {
      flight.onWire = false;
      flight.counts = false;
    }
  }

  /** Whether one more may be sent now: `offer` would return an id. Ask before: what is not kept (position 0) may be offered only then. */
  get open(): boolean {
    const free = !this.flights.has(packetIdOf(this.nextIndex));
    return this.#roomy && this.queue.size === 0 && this.again.size === 0 && free;
  }

  // [MQTT-3.3.4-9] [MQTT-4.9.0-2]
  get #roomy(): boolean {
    return this.#counting + this.lent.size < this.window;
  }

  /**
   * Something is owed, after everything offered before.
   *
   * @returns the packet id to send it with now, undefined when it waits
   * @throws RangeError when it must wait, or outlive its socket, and has no position: a bug
   */
  offer(owed: Owed): number | undefined {
    const { open } = this;
    const { position } = owed;
    if (position === 0 && (this.durable || !open)) throw new RangeError("a message that waits must be kept");
    const index = this.nextIndex++;
    if (open && !this.durable) return this.#send({ index, position: 0, options: 0 }, owed.qos).packetId;
    const options = this.#around.options.number(owed);
    this.pending.owed.push(index, position, options);
    this.#bytes += this.#around.records.size(position);
    this.#around.changed(this, true);
    if (open) return this.#send({ index, position, options }, owed.qos).packetId;
    if (this.queue.push(index, position, options)) this.#around.runs++;
    this.#dropOldest();
    return undefined;
  }

  /** The next message that the window admits, marked as sent: first what `resume` had no room for (dup), then what waits. Messages that expired while they waited are passed over. */
  next(now: number): ToSend | undefined {
    if (!this.#roomy) return undefined;
    const [again] = this.again;
    if (again !== undefined) return this.#sendAgain(this.flights.get(again)!);
    while (this.queue.size > 0) {
      // [MQTT-2.2.1-4]: an id is used again only when the message that had it is finished.
      if (this.flights.has(packetIdOf(this.queue.firstIndex))) return undefined;
      const entry = this.queue.shift()!;
      // [MQTT-3.3.2-5]
      if (this.#around.records.expired(entry.position, now)) {
        this.sentIndex = entry.index + 1;
        this.finish(entry);
        continue;
      }
      const options = this.#around.options.get(entry.options);
      const { packetId } = this.#send(entry, options.qos);
      return { ...options, position: entry.position, packetId, dup: false };
    }
    return undefined;
  }

  /** PUBACK, of whatever reason code. False: no QoS 1 message was sent with this id (also for ids of `take`). */
  puback(packetId: number): boolean {
    const flight = this.flights.get(packetId);
    if (flight?.qos !== 1) return false;
    this.#land(flight, false);
    return true;
  }

  /** PUBREC; `failed` for reason codes of 0x80 and above. "release": answer with PUBREL; "unknown": PUBREL with 0x92. */
  pubrec(packetId: number, failed: boolean): "release" | "done" | "unknown" {
    const flight = this.flights.get(packetId);
    if (flight?.qos !== 2) return "unknown";
    if (failed) {
      this.#land(flight, true);
      return "done";
    }
    if (!flight.released) {
      flight.released = true;
      this.again.delete(packetId);
      if (this.durable) {
        // [MQTT-4.3.3-6]: after PUBREL, PUBLISH is never sent again; so PUBREC is written down before PUBREL leaves.
        addToRanges(this.pending.released, flight.index);
        this.#around.changed(this, true);
      }
    }
    return "release";
  }

  /** PUBCOMP. False: nothing was released with this id. */
  pubcomp(packetId: number): boolean {
    const flight = this.flights.get(packetId);
    if (flight?.released !== true) return false;
    this.#land(flight, false);
    return true;
  }

  /** After `setWindow` of a new connection: what was sent before and is unfinished, in original order with original ids, as far as the window admits; `next` gives the rest. */
  resume(): (ToSend | ToRelease)[] {
    const { window } = this;
    this.suspend();
    this.window = window;
    const sends: (ToSend | ToRelease)[] = [];
    // [MQTT-4.4.0-1]
    for (const flight of this.flights.values()) {
      if (flight.released) {
        flight.onWire = true;
        sends.push({ packetId: flight.packetId, release: true });
      } else if (this.#roomy) sends.push(this.#sendAgain(flight));
      else this.again.add(flight.packetId);
    }
    return sends;
  }

  /** A packet id (32,768 to 65,535) for a QoS 1 PUBLISH that is not in the log: a queue's message. It counts against the window; undefined when that is full. */
  take(): number | undefined {
    return this.#roomy ? this.lent.take() : undefined;
  }

  /** An id of `take` was acknowledged; false when it was not taken. */
  giveBack(packetId: number): boolean {
    return this.lent.giveBack(packetId);
  }

  /** Messages that wait to be sent for the first time. */
  get waiting(): number {
    return this.queue.size;
  }

  /** Messages sent and unfinished, those of `take` included. */
  get inFlight(): number {
    return this.flights.size + this.lent.size;
  }

  /** Bytes of kept records that wait or may have to be sent again. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Messages dropped because MAX_SESSION_BACKLOG or MAX_SESSION_BACKLOG_BYTES was reached (the oldest waiting first), since the object woke. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The window as text, for the socket's attachment: everything that an eviction would lose. "" when there is nothing to tell. */
  save(): string {
    return saveWindow(this);
  }

  /** After `Backlog.open`, for a socket that survived: the connection goes on as `save` left it. */
  restore(saved: string): void {
    if (saved !== "") restoreWindow(this, saved);
  }

  /** Drops waiting messages that have expired; only those in this stretch of the log are looked at. */
  expire(now: number, from: number, to: number): void {
    if (this.queue.size === 0) return;
    const { records } = this.#around;
    this.queue.remove(
      (entry) => {
        const expired = records.expired(entry.position, now);
        if (expired) this.finish(entry);
        return expired;
      },
      from,
      to,
    );
  }

  /** Nothing more is owed for an entry, which is in no list any more. The log learns it with the next row. */
  finish({ index, position }: Entry, urgent = false): void {
    if (position > 0) this.#bytes -= this.#around.records.size(position);
    if (!this.durable) return;
    addToRanges(this.pending.finished, index);
    this.#around.changed(this, urgent);
  }

  /** Puts an entry that the log or an attachment knows to have been sent among those in flight. */
  wasSent(entry: Entry): Flight {
    const flight = beginFlight(entry, this.#around.options.get(entry.options).qos, false);
    this.flights.set(flight.packetId, flight);
    return flight;
  }

  /** The log learns how far was sent: `urgent` before frames leave, else with the next row. */
  tellSent(urgent = false): void {
    this.pending.sent = true;
    this.#around.changed(this, urgent);
  }

  /** The log has been told what was pending. */
  told(): void {
    const { pending } = this;
    pending.owed.clear();
    pending.finished.length = 0;
    pending.released.length = 0;
    pending.sent = false;
  }

  /** Counts anew what follows from the lists: after they were filled from the log or an attachment. */
  recount(): void {
    const { records } = this.#around;
    this.#bytes = 0;
    this.#counting = 0;
    for (const flight of this.flights.values()) {
      if (flight.counts) this.#counting++;
      this.#bytes += records.size(flight.position);
    }
    for (const [, position, count] of this.queue.list()) {
      for (let at = 0; at < count; at++) this.#bytes += records.size(position + at);
    }
  }

  #send(entry: Entry, qos: 1 | 2): Flight {
    // A session that ends with its socket never sends again, so its record is not needed any more.
    if (!this.durable && entry.position > 0) this.#bytes -= this.#around.records.size(entry.position);
    const flight = beginFlight(this.durable ? entry : { ...entry, position: 0 }, qos, true);
    this.flights.set(flight.packetId, flight);
    this.sentIndex = entry.index + 1;
    this.#counting++;
    if (this.durable) this.tellSent(qos === 2);
    return flight;
  }

  #sendAgain(flight: Flight): ToSend {
    this.again.delete(flight.packetId);
    flight.onWire = true;
    flight.counts = true;
    this.#counting++;
    const { position, packetId } = flight;
    return { ...this.#around.options.get(flight.options), position, packetId, dup: true };
  }

  #land(flight: Flight, urgent: boolean): void {
    this.flights.delete(flight.packetId);
    this.again.delete(flight.packetId);
    if (flight.counts) this.#counting--;
    this.finish(flight, urgent);
  }

  #dropOldest(): void {
    const { sessionMessages, sessionBytes } = this.#around;
    while (this.queue.size > 1 && (this.queue.size > sessionMessages || this.#bytes > sessionBytes)) {
      const entry = this.queue.shift()!;
      this.sentIndex = entry.index + 1;
      this.finish(entry);
      this.#dropped++;
    }
  }
}
