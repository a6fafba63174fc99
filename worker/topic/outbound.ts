// The calls of one topic object to gateways and queues: lanes by target, and what becomes of the calls.
import { queueObjectName, splitObjectName } from "../address.ts";
import type { Env } from "../env.ts";
import { isRefusal } from "../errors.ts";
import type { GatewayRpc } from "../gateway/rpc.ts";
import { TopicPacketWriter } from "../link/topic-packet.ts";
import type { QueueRpc } from "../queue/rpc.ts";
import type { Parcel } from "./fan.ts";
import { isQueue, queueOf } from "./interest.ts";
import { Lane, type Shipment } from "./lane.ts";

/** What the object does with the answers. */
export interface OutboundHooks {
  /** The records of an outbox row that are for a target. */
  records(id: number, target: string): Uint8Array | undefined;
  /** A target has these rows. */
  confirmed(target: string, ids: number[]): void;
  /** A gateway wants no more of these topics; `number` is that of the packet it was asked with. */
  unwanted(target: string, topics: string[], number: number): void;
  /** A call failed, and must be tried again at `retryAt`. */
  failed(): void;
}

/** Sends parcels in order. */
export class Outbound {
  readonly #env: Env;
  readonly #objectName: string;
  readonly #hooks: OutboundHooks;
  /** Marks the packets of this life of the object. */
  readonly #stream = Date.now();
  readonly #lanes = new Map<string, Lane>();
  /** The newest call to each target. */
  readonly #running = new Map<string, Promise<void>>();
  readonly #gateways = new Map<string, GatewayRpc>();
  readonly #queues = new Map<string, QueueRpc>();

  constructor(env: Env, objectName: string, hooks: OutboundHooks) {
    this.#env = env;
    this.#objectName = objectName;
    this.#hooks = hooks;
  }

  /** When a target that did not answer is tried again, ms since the epoch. */
  get retryAt(): number {
    let retryAt = Number.POSITIVE_INFINITY;
    for (const lane of this.#lanes.values()) retryAt = Math.min(retryAt, lane.retryAt);
    return retryAt;
  }

  /** Number of the last packet made for a gateway. */
  lastNumber(gateway: string): number {
    return this.#lanes.get(gateway)?.number ?? 0;
  }

  /** Takes up what an earlier life of the object left unconfirmed. */
  restore(pending: ReadonlyMap<string, Iterable<number>>): void {
    for (const [target, ids] of pending) this.#lane(target).restore(ids);
    this.retry();
  }

  /** Sends a turn's parcels; returns the packet for the gateway that called, when it may ride on the answer. */
  send(parcels: Parcel[], gateways: ReadonlySet<string>): Map<string, Uint8Array> {
    const riding = new Map<string, Uint8Array>();
    const last = new Map(parcels.map((parcel) => [parcel.target, parcel]));
    for (const parcel of parcels) {
      const { target } = parcel;
      const lane = this.#lane(target);
      // An answer has room for one packet.
      const ride = lane.add(parcel, gateways.has(target) && last.get(target) === parcel);
      if (ride !== undefined) riding.set(target, this.#packet(ride, ride.packet!));
      else this.#pump(target, lane);
    }
    return riding;
  }

  /** The packet of a read. Its number is that of the gateway's last packet before it. */
  placed(gateway: string, packet: TopicPacketWriter): Uint8Array {
    return packet.take({ stream: this.#stream, number: this.#lane(gateway).mark(), id: 0 });
  }

  /**
   * Waits until a target has everything that was sent to it.
   *
   * @throws Error when it does not answer
   */
  async drained(target: string): Promise<void> {
    const lane = this.#lane(target);
    if (lane.retryAt < Number.POSITIVE_INFINITY) lane.retryAt = 0;
    this.#pump(target, lane);
    while (!lane.idle) {
      await this.#running.get(target);
      if (lane.retryAt < Number.POSITIVE_INFINITY) throw new Error(`${target} does not answer`);
    }
  }

  /** Tries again what is due. */
  retry(): void {
    for (const [target, lane] of this.#lanes) this.#pump(target, lane);
  }

  #pump(target: string, lane: Lane): void {
    const now = Date.now();
    for (let next = lane.take(now); next !== undefined; next = lane.take(now)) {
      this.#running.set(target, this.#call(target, lane, next));
    }
  }

  async #call(target: string, lane: Lane, shipment: Shipment): Promise<void> {
    const { ids, number } = shipment;
    try {
      const packet = shipment.packet ?? this.#fromOutbox(target, ids);
      if (isQueue(target)) await this.#transfer(queueOf(target), ids, packet);
      else await this.#deliver(target, number, this.#packet(shipment, packet));
      lane.done(shipment);
      if (ids.length > 0) this.#hooks.confirmed(target, ids);
    } catch {
      this.#gateways.delete(target);
      this.#queues.delete(target);
      lane.failed(shipment, Date.now());
      if (ids.length > 0) this.#hooks.failed();
    }
    this.#pump(target, lane);
  }

  async #deliver(gateway: string, number: number, packet: Uint8Array): Promise<void> {
    let stub = this.#gateways.get(gateway);
    if (stub === undefined) {
      stub = this.#env.GATEWAY.getByName(gateway);
      this.#gateways.set(gateway, stub);
    }
    const { unwanted } = await stub.topicDeliver(this.#objectName, packet);
    if (unwanted.length > 0) this.#hooks.unwanted(gateway, unwanted, number);
  }

  async #transfer(queue: string, ids: number[], packet: TopicPacketWriter): Promise<void> {
    const { namespace } = splitObjectName(this.#objectName);
    let stub = this.#queues.get(queue);
    if (stub === undefined) {
      stub = this.#env.QUEUE.getByName(queueObjectName(namespace, queue));
      this.#queues.set(queue, stub);
    }
    const outcome = await stub.transfer(this.#objectName, ids.at(-1)!, packet.records());
    if (isRefusal(outcome)) throw new Error(outcome.message);
  }

  #fromOutbox(target: string, ids: number[]): TopicPacketWriter {
    const packet = new TopicPacketWriter();
    for (const id of ids) {
      const records = this.#hooks.records(id, target);
      if (records !== undefined) packet.add(records);
    }
    return packet;
  }

  #packet({ number, ids }: Shipment, packet: TopicPacketWriter): Uint8Array {
    return packet.take({ stream: this.#stream, number, id: ids.at(-1) ?? 0 });
  }

  #lane(target: string): Lane {
    let lane = this.#lanes.get(target);
    if (lane === undefined) {
      lane = new Lane();
      this.#lanes.set(target, lane);
    }
    return lane;
  }
}
