// A topic by name: what an application publishes to it, and hears from it or from all that a filter matches.
import type { TopicMessage } from "./message.ts";
import type { PublishOptions, SendResult, TopicBatchMessage } from "./publish.ts";
import type { Publisher } from "./publisher.ts";
import { type SubscribeOptions, TopicSubscription } from "./topic-subscription.ts";

/**
 * A topic of the namespace, or a filter for several. It comes into being on first use; making this object does nothing yet.
 *
 * @example
 * const lamp = dunlin.topic<"on" | "off">("lamps/hall");
 * await lamp.publish("on", { retain: true });
 * for await (const message of dunlin.topic("lamps/+").subscribe()) console.log(message.topic, message.body);
 */
export class Topic<Body = unknown> {
  /** The topic's name, or the filter. */
  readonly name: string;
  readonly #publisher: Publisher;

  /** @internal */
  constructor(name: string, publisher: Publisher) {
    this.name = name;
    this.#publisher = publisher;
  }

  /**
   * Publishes a message, and resolves once the broker has taken it: whatever had to be stored, for retention or for subscribers that
   * are away, is safely on disk. It is sent again after a lost connection, and still taken once. What is published in one turn travels
   * in one frame, in its order.
   *
   * @param body any JSON value, or bytes as a `Uint8Array`
   * @throws DunlinError when the broker refuses it, or with kind `outbox-full`, `outcome-unknown`, `bad-body` or `closed`
   * @example
   * const { seq } = await dunlin.topic("news/sports").publish({ headline: "Dunlins cross ocean" });
   */
  publish(body: Body | Uint8Array, options: PublishOptions = {}): Promise<SendResult> {
    return this.#publisher.publishOne({ ...options, body });
  }

  /**
   * Publishes messages together, in their order.
   *
   * @returns a receipt for each, in the same order
   * @throws DunlinError the first refusal, once all are answered
   * @example
   * await dunlin.topic("clock").publishBatch([{ body: "tick" }, { body: "tock" }]);
   */
  publishBatch(messages: readonly TopicBatchMessage[]): Promise<SendResult[]> {
    return this.#publisher.publish(messages);
  }

  /**
   * Hears what is published, by topic in the order of publication and each message once, also over lost connections: the client goes
   * on after the last message it got. Where the broker cannot promise that nothing is missing, it tells `onGap`. Each
   * subscription gets its own copy of every message. Leaving the loop ends the subscription.
   *
   * @throws DunlinError out of the loop, when the broker refuses the subscription, the topic is deleted (`gone`) or the connection
   * is closed for good; what had arrived before is handed out first
   * @example
   * for await (const { topic, body } of dunlin.topic("news/#").subscribe({ from: "first" })) console.log(topic, body);
   */
  subscribe(options: SubscribeOptions = {}): AsyncIterableIterator<TopicMessage<Body>, undefined> {
    return new TopicSubscription<Body>(this.#publisher.engine, this.#publisher.to, options);
  }
}
