// The way of messages to one address: each gets its id, its request, and a place in the outbox if there is room.
import type { Engine } from "./engine.ts";
import { DunlinError } from "./errors.ts";
import { BatchOutcome, type Outgoing, Publish, publishText, type SendResult } from "./publish.ts";

/** Publishes to one address. */
export class Publisher {
  readonly to: string;
  readonly engine: Engine;
  readonly #newMessageId: () => string;

  constructor(engine: Engine, to: string, newMessageId: () => string) {
    this.engine = engine;
    this.to = to;
    this.#newMessageId = newMessageId;
  }

  /**
   * Publishes messages together, in their order.
   *
   * @returns once all are answered, a receipt for each
   * @throws DunlinError the first refusal
   */
  async publish(messages: readonly Outgoing[]): Promise<SendResult[]> {
    const outcome = new BatchOutcome(messages.length);
    let bytes = 0;
    const entries = messages.map((message, index) => {
      const id = this.engine.nextId();
      const text = publishText(id, this.to, message, this.#newMessageId());
      bytes += text.length;
      return new Publish(id, text, outcome.at(index));
    });
    this.#claim(messages.length, bytes);
    for (const entry of entries) this.engine.post(entry);
    return outcome.promise;
  }

  /** Publishes one message. */
  async publishOne(message: Outgoing): Promise<SendResult> {
    const [result] = await this.publish([message]);
    return result!;
  }

  #claim(messages: number, bytes: number): void {
    if (this.engine.ended) throw this.engine.ended;
    if (this.engine.outbox.hasRoom(messages, bytes)) return;
    throw new DunlinError("The outbox is full: too many messages are not confirmed yet", {
      kind: "outbox-full",
      retry: "after",
      afterMs: 100,
    });
  }
}
