// A queue by name: what an application sends to it and takes from it.
import { type ConsumeOptions, Consumer } from "./consumer.ts";
import type { Engine } from "./engine.ts";
import { DunlinError } from "./errors.ts";
import type { Message } from "./message.ts";
import {
  type BatchMessage,
  BatchOutcome,
  Publish,
  publishText,
  type SendOptions,
  type SendResult,
} from "./publish.ts";

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
  readonly #engine: Engine;
  readonly #newMessageId: () => string;
  readonly #to: string;

  /** @internal */
  constructor(engine: Engine, name: string, newMessageId: () => string) {
    this.name = name;
    this.#engine = engine;
    this.#newMessageId = newMessageId;
    this.#to = `queue:${name}`;
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
  async send(body: Body | Uint8Array, options: SendOptions = {}): Promise<SendResult> {
    const id = this.#engine.nextId();
    const text = publishText(id, this.#to, { ...options, body }, this.#newMessageId());
    this.#claim(1, text.length);
    return new Promise((confirmed, failed) => {
      this.#engine.post(new Publish(id, text, { confirmed, failed }));
    });
  }

  /**
   * Sends messages together, in their order.
   *
   * @returns a receipt for each, in the same order
   * @throws DunlinError the first refusal, once all are answered: the others may be stored, and each message's id tells it again
   * @example
   * await jobs.sendBatch([{ body: { n: 1 } }, { body: { n: 2 }, messageId: "two" }]);
   */
  async sendBatch(messages: readonly BatchMessage[]): Promise<SendResult[]> {
    const outcome = new BatchOutcome(messages.length);
    let bytes = 0;
    const entries = messages.map((message, index) => {
      const id = this.#engine.nextId();
      const text = publishText(id, this.#to, message, this.#newMessageId());
      bytes += text.length;
      return new Publish(id, text, outcome.at(index));
    });
    this.#claim(messages.length, bytes);
    for (const entry of entries) this.#engine.post(entry);
    return outcome.promise;
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
    return new Consumer<Body>(this.#engine, this.#engine.nextSub(), this.#to, options);
  }

  #claim(messages: number, bytes: number): void {
    if (this.#engine.ended) throw this.#engine.ended;
    if (this.#engine.outbox.hasRoom(messages, bytes)) return;
    throw new DunlinError("The outbox is full: too many messages are not confirmed yet", {
      kind: "outbox-full",
      retry: "after",
      afterMs: 100,
    });
  }
}
