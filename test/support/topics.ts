// Drives the machine of a topic object in Node: publishes plain objects, carries parcels to gateways and queues that a test can cut
// off, reopens the object from its store.
import type { Refusal } from "../../worker/errors.ts";
import { isRefusal } from "../../worker/errors.ts";
import type { Published } from "../../worker/link/results.ts";
import { type Message, RecordView } from "../../worker/message/record.ts";
import { Lane, type Shipment } from "../../worker/topic/lane.ts";
import type { ReadAnswer } from "../../worker/topic/read.ts";
import type { From, ReadRequest } from "../../worker/topic/rpc.ts";
import type { TopicSettingsPatch } from "../../worker/topic/settings.ts";
import { TopicStore } from "../../worker/topic/store.ts";
import { Topics } from "../../worker/topic/topics.ts";
import { messagesIn, records } from "./machine.ts";
import { NodeSql } from "./node-sql.ts";

/** What a test says of a message; the rest is filled in. */
export type TopicDraft = Partial<Message> & { topic: string; body: string };

/** What a gateway or a queue got, with a memory for ids as the real ones have. */
export class Receiver {
  /** Whether calls reach it. */
  up = true;
  /** Whether its answers are lost. */
  answers = true;
  calls = 0;
  got: Message[] = [];
  #lastId = 0;

  /** @returns whether the caller got an answer */
  take(id: number, packet: Uint8Array): boolean {
    if (!this.up) return false;
    this.calls++;
    if (id === 0 || id > this.#lastId) {
      this.got.push(...messagesIn(packet));
      this.#lastId = Math.max(this.#lastId, id);
    }
    return this.answers;
  }

  /** The bodies that came since the last look. */
  bodies(): string[] {
    return this.got.splice(0).map(({ body }) => String(body));
  }
}

/** A topic object's machine on SQLite in memory, with a clock that only the test moves. */
export class TopicMachine {
  readonly sql = new NodeSql();
  topics: Topics;
  now = 1_000_000;
  lanes = new Map<string, Lane>();
  readonly receivers = new Map<string, Receiver>();

  constructor() {
    this.topics = new Topics(new TopicStore(this.sql), this.now);
  }

  /** A gateway or a queue. */
  at(target: string): Receiver {
    let receiver = this.receivers.get(target);
    if (receiver === undefined) {
      receiver = new Receiver();
      this.receivers.set(target, receiver);
    }
    return receiver;
  }

  /** Publishes in one turn, and lets everything travel that can. */
  publish(...drafts: TopicDraft[]): (Published | Refusal)[] {
    const before = this.sql.rowsWritten;
    const outcomes = this.topics.publish(records(...drafts), this.now);
    if (this.sql.rowsWritten !== before) throw new Error("publishing wrote before the flush");
    const { dirty } = this.topics;
    this.turn(() => undefined);
    if (!dirty && this.sql.rowsWritten !== before) throw new Error("a turn with nothing to write wrote");
    return outcomes;
  }

  /** Ends a turn that does this, and lets everything travel that can. */
  turn(run: () => void): void {
    const parcels = this.sql.transaction(() => {
      run();
      return this.topics.flush(this.now);
    });
    for (const parcel of parcels) this.#lane(parcel.target).add(parcel, false);
    this.travel();
  }

  subscribe(
    target: string,
    filter: string,
    options: { durable?: boolean; read?: Partial<ReadRequest> } = {},
  ): ReadAnswer {
    const { durable = false, read } = options;
    const request = read && {
      filter,
      from: "new" as const,
      retained: "none" as const,
      limitBytes: 1_000_000,
      ...read,
    };
    const since = this.#lane(target).number;
    const answer = this.call(() =>
      this.topics.subscribe({ target, filter, durable, ...(request && { read: request }) }, since, this.now),
    );
    if (isRefusal(answer)) throw new Error(answer.message);
    return answer;
  }

  unsubscribe(target: string, filter: string): void {
    this.call(() => this.topics.interests.remove(filter, target));
  }

  configure(topic: string, patch: TopicSettingsPatch): void {
    const refusal = this.call(() => this.topics.configure(topic, patch, this.now));
    if (isRefusal(refusal)) throw new Error(refusal.message);
  }

  /** The retained body of a topic. */
  retained(topic: string): string | undefined {
    const record = this.call(() => this.topics.retained(topic, this.now));
    return record && String(messagesIn(record)[0]!.body);
  }

  /** Bodies of a topic's history, and whether they are all that was asked for. */
  history(topic: string, from: From, limit = 1_000): { bodies: string[]; recovered: boolean } {
    const found = this.call(() => this.topics.history(topic, from, limit, this.now));
    if (isRefusal(found)) throw new Error(found.message);
    return {
      bodies: messagesIn(found.records).map(({ body }) => String(body)),
      recovered: found.recovered,
    };
  }

  /** Runs a call as a turn of its own. */
  call<T>(run: () => T): T {
    return this.sql.transaction(() => {
      const result = run();
      this.topics.flush(this.now);
      return result;
    });
  }

  /** Lets time pass, and tries again what is due. */
  pass(ms: number): void {
    this.now += ms;
    this.travel();
  }

  /** The object as it would be after an eviction: made anew from its store, a moment later. */
  reopen(): void {
    this.now++;
    this.topics = new Topics(new TopicStore(this.sql), this.now);
    this.lanes = new Map();
    for (const [target, ids] of this.topics.outbox.pending) this.#lane(target).restore(ids);
  }

  /** Carries what is on its way; where a receiver is cut off, it waits. */
  travel(): void {
    for (const [target, lane] of this.lanes) {
      for (let next = lane.take(this.now); next !== undefined; next = lane.take(this.now)) {
        this.#carry(target, lane, next);
      }
    }
  }

  #carry(target: string, lane: Lane, shipment: Shipment): void {
    const { ids, number } = shipment;
    const id = ids.at(-1) ?? 0;
    const parts = ids.map((each) => this.topics.outbox.records(each, target)!);
    const packet = shipment.packet?.records() ?? Buffer.concat(parts);
    for (const view = new RecordView(packet); view.valid; view.next()) {
      if (view.seq < 1 || number < 1) throw new Error("a record without a number");
    }
    if (!this.at(target).take(id, packet)) return lane.failed(shipment, this.now);
    lane.done(shipment);
    this.topics.outbox.confirm(target, ids);
  }

  #lane(target: string): Lane {
    let lane = this.lanes.get(target);
    if (lane === undefined) {
      lane = new Lane();
      this.lanes.set(target, lane);
    }
    return lane;
  }
}

/** The bodies of an answer's packet. */
export function bodiesOf({ packet }: ReadAnswer): string[] {
  return messagesIn(packet.records()).map(({ body }) => String(body));
}
