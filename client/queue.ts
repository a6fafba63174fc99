// A queue by name: what an application sends to it and takes from it.
import { request } from "./ask.ts";
import { type ConsumeOptions, Consumer } from "./consumer.ts";
import type { Engine } from "./engine.ts";
import type { Message, Received } from "./message.ts";
import type { BatchMessage, SendOptions, SendResult } from "./publish.ts";
import { publish, publishAll } from "./publisher.ts";

/**
 * A queue of the namespace. It comes into being on first use; making this object does nothing yet.
 *
 * @example
 * const jobs = dunlin.queue<{ n: number }>("jobs");
 * await jobs.send({ n: 1 });
 * for await (const message of jobs.consume()) {
 *   console.log(message.body.n);
 *   await message.ack();
 * }
 */
export class Queue<Body = unknown> {
  /** The queue's name. */
  readonly name: string;
  readonly #to: string;
  readonly #engine: Engine;

  /** @internal */
  constructor(name: string, engine: Engine) {
    this.name = name;
    this.#to = `queue:${name}`;
    this.#engine = engine;
  }

  /**
   * Sends a message, and resolves once it is safely on disk. It is sent again after a lost connection, and still stored once.
   * Sends of one turn travel in one frame, so there is no need to wait for one before the next. They are stored in their order,
   * except when the broker is in trouble and takes some of them only at the second try.
   *
   * @param body any JSON value, or bytes as a `Uint8Array`
   * @throws DunlinError when the broker refuses it, or with kind `outbox-full`, `outcome-unknown`, `bad-body` or `closed`
   * @example
   * const { seq } = await jobs.send({ n: 1 }, { group: "customer-3" });
   */
  send(body: Body | Uint8Array, options: SendOptions = {}): Promise<SendResult> {
    return publish(this.#engine, this.#to, { ...options, body });
  }

  /**
   * Sends messages together, in their order.
   *
   * @returns a receipt for each, in the same order
   * @throws DunlinError the first refusal, once all are answered: the others may be stored, and each message's id tells it again
   * @example
   * await jobs.sendBatch([{ body: { n: 1 } }, { body: { n: 2 }, messageId: "two" }]);
   */
  sendBatch(messages: readonly BatchMessage[]): Promise<SendResult[]> {
    return publishAll(this.#engine, this.#to, messages);
  }

  /**
   * Sends a message and waits for one reply to it: what its consumer passes to `message.reply`.
   *
   * @param options.timeoutMs how long to wait: 30,000 ms by default
   * @throws DunlinError `no-responders` when nobody consumes the queue, `timeout`, or as `send`
   * @example
   * const { body } = await dunlin.queue("double").request<number>(21, { timeoutMs: 5_000 });
   */
  request<Answer = unknown>(
    body: Body | Uint8Array,
    { timeoutMs, ...options }: Omit<SendOptions, "replyTo"> & { timeoutMs?: number } = {},
  ): Promise<Received<Answer>> {
    return request(this.#engine, this.#to, { ...options, body }, timeoutMs);
  }

  /**
   * Takes messages, each leased to this client until it is settled. Several loops and clients may consume one queue: each
   * message goes to one of them. Leaving the loop gives back whatever is not settled.
   *
   * @throws DunlinError out of the loop, when the broker refuses the subscription, the queue is deleted (`gone`) or the
   * connection is closed for good
   * @example
   * for await (const message of jobs.consume({ credit: 16 })) {
   *   await work(message.body);
   *   await message.ack();
   * }
   */
  consume(options: ConsumeOptions = {}): AsyncIterableIterator<Message<Body>, undefined> {
    return new Consumer<Body>(this.#engine, this.#to, options);
  }
}
