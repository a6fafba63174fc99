// What a gateway has taken over and must bring to a topic or queue: messages of QoS 2 and wills from its clients, and the word to a
// queue that one of its messages is a session's now. Kept in the gateway's log until it is there, so that none is lost and none comes twice.
import { splitObjectName } from "../address.ts";
import { Writer } from "../bytes/writer.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { MAX_OUTBOX_MESSAGES, MAX_SESSION_BACKLOG_BYTES } from "../limits.ts";
import { formatHandle, type Handle, parseHandle } from "../link/handle.ts";
import type { Published } from "../link/results.ts";
import { EMPTY_MESSAGE, type Message, RecordView, writeMessage } from "../message/record.ts";
import type { Backlog } from "./backlog/backlog.ts";
import type { Outgoing } from "./backlog/outgoing.ts";
import type { ObjectLink } from "./object-link.ts";
import type { Will } from "./session.ts";

/** The backlog's account of the outbox. No session has such an id. */
export const OUTBOX = "outbox";
/** Where a settle goes, in place of a topic's or queue's address. */
const SETTLE = "settle:";
const RETRY_MS = 1_000;
/** Refusals that may end by themselves. */
const PASSING = new Set<string>(["unavailable", "too-many", "queue-full", "internal"]);

/** What the outbox needs of its gateway. */
export interface OutboxOwner {
  /** The gateway's name. */
  gateway: string;
  backlog: Backlog;
  link: (namespace: string, address: string) => ObjectLink;
  flush: () => void;
}

interface Item {
  position: number;
  packetId: number;
}

/** The way to one address. */
interface Lane {
  /** Whether its messages may have left: one that followed in the next call would overtake them if this call failed. */
  departed: boolean;
  /** How many of them have no answer. */
  left: number;
  /** What waits for the answers. */
  behind: Item[];
}

/** The outbox of one gateway. */
export class Outbox {
  readonly #owner: OutboxOwner;
  /** What waits for the next attempt, as a publisher's messages keep their order; undefined while nothing was refused. */
  #waiting: Item[] | undefined;

  /** Messages of queues whose settle has not been answered. */
  readonly #settling = new Set<string>();
  /** What is under way, by namespace and address. */
  readonly #lanes = new Map<string, Lane>();

  constructor(owner: OutboxOwner) {
    this.#owner = owner;
  }

  /**
   * Takes a message over: durable with the event that does it. The record that is kept holds `NAMESPACE:ADDRESS` in place of its topic.
   *
   * @param address `topic:NAME` or `queue:NAME`
   * @returns why not, when there is no room
   */
  takeOver(namespace: string, address: string, message: Message): Refusal | undefined {
    const outgoing = this.#outgoing();
    if (outgoing.waiting >= MAX_OUTBOX_MESSAGES) {
      return refuse("too-many", `${MAX_OUTBOX_MESSAGES} messages wait at this gateway already`, RETRY_MS);
    }
    const record = new Writer(256);
    writeMessage(record, { ...message, topic: `${namespace}:${address}` });
    const bytes = record.take();
    // What a session is owed beyond these bytes is dropped, the oldest first: nothing that was taken over may be.
    if (outgoing.bytes + bytes.length > MAX_SESSION_BACKLOG_BYTES) {
      return refuse("too-many", `${outgoing.bytes} bytes wait at this gateway already`, RETRY_MS);
    }
    const position = this.#owner.backlog.keep(bytes);
    if (typeof position !== "number") return position;
    const packetId = outgoing.offer({ position, qos: 1, retain: false, subscriptionIds: [] });
    if (packetId !== undefined) this.#handOn(position, packetId);
    return undefined;
  }

  /**
   * Tells a queue that a session has taken one of its messages over: durable with the event that does it, as the queue would deliver it
   * again after a crash.
   */
  settle(namespace: string, queue: string, { position, lease }: Handle): Refusal | undefined {
    const handle = formatHandle(position, lease);
    const refusal = this.takeOver(namespace, SETTLE + queue, { ...EMPTY_MESSAGE, messageId: handle });
    if (refusal === undefined) this.#settling.add(settleKey(namespace, queue, position));
    return refusal;
  }

  /** Whether a queue's message was taken over, and its queue may not know it yet. */
  isSettling(namespace: string, queue: string, position: number): boolean {
    return this.#settling.has(settleKey(namespace, queue, position));
  }

  /** Takes over the will of a client; its time begins now. */
  takeOverWill(client: string, { namespace, address, record, ttlMs }: Will, now: number): void {
    const view = new RecordView(record.slice());
    view.setTime(now);
    view.setExpiresAt(ttlMs > 0 ? now + ttlMs : 0);
    const refusal = this.takeOver(namespace, address, view.decode());
    if (refusal !== undefined) console.error(`the will of ${client} is lost: ${refusal.message}`);
  }

  /** The gateway's object has woken: what it had not seen arrive goes on its way again. */
  resume(): void {
    const outgoing = this.#outgoing();
    outgoing.suspend();
    outgoing.setWindow(MAX_OUTBOX_MESSAGES);
    for (const item of outgoing.resume()) if ("position" in item) this.#handOn(item.position, item.packetId);
    this.#handOnWaiting();
  }

  /** What was handed on so far has left, or may have: an event has ended. */
  departed(): void {
    for (const lane of this.#lanes.values()) lane.departed = true;
  }

  #outgoing(): Outgoing {
    return this.#owner.backlog.outgoing(OUTBOX, true);
  }

  #handOnWaiting(): void {
    const outgoing = this.#outgoing();
    // Nothing expires here: its topic or queue sees to that.
    for (let next = outgoing.next(0); next !== undefined; next = outgoing.next(0)) {
      this.#handOn(next.position, next.packetId);
    }
  }

  #handOn(position: number, packetId: number): void {
    const { backlog, gateway, link } = this.#owner;
    if (this.#waiting !== undefined) {
      this.#waiting.push({ position, packetId });
      return;
    }
    const kept = backlog.record(position)?.decode();
    if (kept === undefined) {
      this.#outgoing().puback(packetId);
      return;
    }
    const { namespace, name: address } = splitObjectName(kept.topic);
    if (address.startsWith(SETTLE)) {
      const queue = address.slice(SETTLE.length);
      return this.#handOnSettle(namespace, queue, parseHandle(kept.messageId), { position, packetId });
    }
    const lane = this.#lanes.get(kept.topic) ?? { departed: false, left: 0, behind: [] };
    if (lane.departed) {
      lane.behind.push({ position, packetId });
      return;
    }
    this.#lanes.set(kept.topic, lane);
    lane.left++;
    const topic = address.startsWith("topic:") ? address.slice("topic:".length) : "";
    const message = { ...kept, topic, messageId: `${gateway}:${position}`, publisherId: true };
    link(namespace, address).publish(message, (outcome) => {
      this.#answered(outcome, address, { position, packetId });
      if (--lane.left > 0) return;
      if (this.#lanes.get(kept.topic) === lane) this.#lanes.delete(kept.topic);
      for (const next of lane.behind) this.#handOn(next.position, next.packetId);
    });
  }

  #answered(outcome: Published | Refusal, address: string, { position, packetId }: Item): void {
    if (isRefusal(outcome) && PASSING.has(outcome.kind)) return this.#wait(position, packetId);
    if (isRefusal(outcome)) console.error(`a message to ${address} was refused: ${outcome.message}`);
    this.#outgoing().puback(packetId);
    this.#handOnWaiting();
  }

  #handOnSettle(namespace: string, queue: string, handle: Handle, { position, packetId }: Item): void {
    const key = settleKey(namespace, queue, handle.position);
    this.#settling.add(key);
    const settlements = [{ ...handle, outcome: "ack" as const, delayMs: undefined, reason: "" }];
    this.#owner.link(namespace, `queue:${queue}`).command({ type: "settle", settlements }, (result) => {
      if (result.type === "refused" && PASSING.has(result.refusal.kind))
        return this.#wait(position, packetId);
      this.#settling.delete(key);
      this.#outgoing().puback(packetId);
      this.#handOnWaiting();
    });
  }

  /** It may be taken the next time; what comes after it waits as well. */
  #wait(position: number, packetId: number): void {
    if (this.#waiting === undefined) {
      this.#waiting = [];
      setTimeout(() => this.#tryAgain(), RETRY_MS);
    }
    this.#waiting.push({ position, packetId });
  }

  #tryAgain(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    waiting.sort((a, b) => a.position - b.position);
    for (const { position, packetId } of waiting) this.#handOn(position, packetId);
    this.#handOnWaiting();
    this.#owner.flush();
  }
}

function settleKey(namespace: string, queue: string, position: number): string {
  return `${namespace}:${position}:${queue}`;
}
