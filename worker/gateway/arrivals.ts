// What queues and topics send to a gateway: put in the order in which it was sent, then handed to whom it is for.
import { splitObjectName } from "../address.ts";
import type { Refusal } from "../errors.ts";
import { DeliveryView } from "../link/deliveries.ts";
import { countRecords, TopicPacketView } from "../link/topic-packet.ts";
import type { Backlog } from "./backlog/backlog.ts";
import { type DeliveryOrder, orderOf } from "./delivery-order.ts";
import type { Fanout } from "./fanout.ts";
import type { Queues } from "./queues.ts";

/** What this part needs of its gateway. */
export interface ArrivalsOwner {
  queues: Queues;
  backlog: Backlog;
  fanout: Fanout;
  /** Ends an event. */
  flush: () => void;
}

/** All that arrives at one gateway. */
export class Arrivals {
  readonly #owner: () => ArrivalsOwner;
  /** By the name of the object, queues and Topic objects apart. */
  readonly #queueOrders = new Map<string, DeliveryOrder<DeliveryView>>();
  readonly #topicOrders = new Map<string, DeliveryOrder<TopicPacketView>>();

  /** @param owner asked when something arrives: the gateway's parts need each other */
  constructor(owner: () => ArrivalsOwner) {
    this.#owner = owner;
  }

  /** Deliveries of a queue (link/deliveries.ts). */
  ofQueue(queueObject: string, packet: Uint8Array): void {
    const order = orderOf(this.#queueOrders, queueObject, () => this.#owner().flush());
    order.take(new DeliveryView(packet), (deliveries) => this.#hand(queueObject, deliveries));
  }

  /** Messages of topics (link/topic-packet.ts). `done` hears which topics nobody here wants, or why they are not taken. */
  ofTopics(topicObject: string, packet: Uint8Array, done: (outcome: string[] | Refusal) => void): void {
    const { backlog, fanout, flush } = this.#owner();
    const order = orderOf(this.#topicOrders, topicObject, flush);
    const { namespace } = splitObjectName(topicObject);
    order.take(new TopicPacketView(packet), ({ id, message }) => {
      // What comes a second time was lost on its way back: everything that had to be kept of it was.
      if (id > 0 && backlog.taken(topicObject, id)) return done([]);
      const refusal = id > 0 ? backlog.room(countRecords(packet, message.at), packet.length) : undefined;
      if (refusal !== undefined) return done(refusal);
      if (id > 0) backlog.take(topicObject, id);
      done(fanout.deliver(namespace, packet.subarray(message.at)));
    });
  }

  /** What a Topic object answered, after the live packets that it sent before. */
  afterTopics(topicObject: string, packet: Uint8Array, hand: (records: Uint8Array) => void): void {
    const order = orderOf(this.#topicOrders, topicObject, () => this.#owner().flush());
    const view = new TopicPacketView(packet);
    order.after(view, () => hand(packet.subarray(view.message.at)));
  }

  #hand(queueObject: string, deliveries: DeliveryView): void {
    const { queues } = this.#owner();
    const gone = new Set<number>();
    for (; deliveries.valid; deliveries.next()) {
      const subscription = queues.find(deliveries.ref);
      if (subscription === undefined) {
        gone.add(deliveries.ref);
        continue;
      }
      if (!queues.shows(subscription, deliveries)) continue;
      const { connection } = subscription.session;
      if (deliveries.kind === "message") connection?.protocol.deliver(connection, subscription, deliveries);
      else connection?.protocol.notice(connection, subscription, deliveries);
    }
    if (gone.size > 0) queues.disown(queueObject, [...gone]);
  }
}
