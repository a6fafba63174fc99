// What an application says to a durable outbox and hears of it. Types only.
import type { DunlinError, PublishOptions, SendOptions, SendResult } from "../index.ts";

/**
 * Bounds and name of an outbox. All are optional.
 *
 * @example
 * const outbox = await openOutbox(dunlin, { name: `orders of ${user.id}`, maxMessages: 500 });
 */
export interface OutboxOptions {
  /** Outboxes of one name are one, in all tabs of the site: `default` by default. Give each user of a shared browser another one. */
  name?: string;
  /** At most so many messages are kept, those that were refused included: 10,000 by default. */
  maxMessages?: number;
  /** And so many bytes of bodies and options: 50 MiB by default. */
  maxBytes?: number;
  /** Told what becomes of the messages that this tab has stored and of those that it sends. */
  onProgress?: (progress: OutboxProgress) => void;
}

/**
 * What became of a message.
 *
 * @example
 * const onProgress = ({ is, to, pending }: OutboxProgress) => console.log(`${to}: ${is}, ${pending} to go`);
 */
export interface OutboxProgress {
  /** It is safely in the outbox; or at the broker; or refused by it, and kept among the refused. */
  is: "stored" | "confirmed" | "refused";
  to: string;
  messageId: string;
  /** Messages that wait now. */
  pending: number;
  /** Why, if it was refused. */
  error?: DunlinError;
}

/**
 * The outbox's own receipt.
 *
 * @example
 * const { messageId, confirmed } = await outbox.queue("orders").send(order);
 * confirmed.then(({ seq }) => console.log(`${messageId} is order ${seq}`));
 */
export interface OutboxReceipt {
  messageId: string;
  /**
   * The broker's receipt, once there is one. Rejects with the broker's refusal, which {@link DurableOutbox.refused} has as well, or with
   * `closed` when the outbox is closed before. It need not be handled.
   */
  confirmed: Promise<SendResult>;
}

/**
 * A message that the broker refused for good.
 *
 * @example
 * for (const message of await outbox.refused()) console.warn(message.to, message.body, message.error.message);
 */
export interface RefusedMessage {
  /** Names it for {@link DurableOutbox.retry} and {@link DurableOutbox.discard}. */
  place: number;
  to: string;
  messageId: string;
  body: unknown;
  options: PublishOptions & SendOptions;
  /**
   * Why. With kind `outcome-unknown` it may be stored all the same: the broker has forgotten this outbox, or refuses now what may have
   * arrived at a first attempt.
   */
  error: DunlinError;
  /** When, in milliseconds since 1970. */
  refusedAtMs: number;
}
