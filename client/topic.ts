// A topic by name: what an application publishes to it, and hears from it or from all that a filter matches.
import { request } from "./ask.ts";
import type { Engine } from "./engine.ts";
import type { Received, TopicMessage } from "./message.ts";
import type { PublishOptions, SendResult, TopicBatchMessage } from "./publish.ts";
import { publish, publishAll } from "./publisher.ts";
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
  readonly #to: string;
  readonly #engine: Engine;

  /** @internal */
  constructor(name: string, engine: Engine) {
    this.name = name;
    this.#to = `topic:${name}`;
    this.#engine = engine;
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
    return publish(this.#engine, this.#to, { ...options, body });
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
    return publishAll(this.#engine, this.#to, messages);
  }

  /**
   * Publishes a message and waits for one reply to it: the first that a subscriber passes to `message.reply`.
   *
   * @param options.timeoutMs how long to wait: 30,000 ms by default
   * @throws DunlinError `no-responders` when nobody is subscribed, `timeout`, or as `publish`
   * @example
   * const { body } = await dunlin.topic("who-is-there").request<string>(null, { timeoutMs: 5_000 });
   */
  request<Answer = unknown>(
    body: Body | Uint8Array,
    { timeoutMs, ...options }: Omit<PublishOptions, "replyTo" | "retain"> & { timeoutMs?: number } = {},
  ): Promise<Received<Answer>> {
    return request(this.#engine, this.#to, { ...options, body }, timeoutMs);
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
    return new TopicSubscription<Body>(this.#engine, this.#to, options);
  }
}
