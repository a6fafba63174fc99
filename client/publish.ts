// A message on its way into a queue or topic: what a caller may say of it, and what it looks like as a frame.
import { toBase64 } from "./base64.ts";
import { DunlinError } from "./errors.ts";
import { MAX_FRAME_BYTES } from "./wire.ts";

/**
 * What a message carries beside its body. All are optional.
 *
 * @example
 * await jobs.send({ orderId: 7 }, { messageId: "order-7", group: "customer-3", delayMs: 60_000 });
 */
export interface SendOptions {
  /** For deduplication: the same id is taken once in the window of the queue or topic (5 minutes by default). By default a unique one. */
  messageId?: string;
  /** Text with the message, for its consumer. */
  headers?: Record<string, string>;
  /** Ordering key: messages of one group are handled one at a time, in order. */
  group?: string;
  /** 0 to 9, the highest first. */
  priority?: number;
  /** Deliver no sooner than this many milliseconds after the broker accepted it. */
  delayMs?: number;
  /** Deliver no sooner than this time, in milliseconds since 1970. Not together with `delayMs`. */
  deliverAt?: number;
  /** Expire this many milliseconds after the broker accepted it. */
  ttlMs?: number;
  /** Address for an answer. */
  replyTo?: string;
  /** What the answer belongs to. */
  correlationId?: string;
  /** Media type of the body; for a `Uint8Array`, `application/octet-stream` by default. */
  contentType?: string;
  /** Address that is told what becomes of the message. */
  receiptTo?: string;
  /** Take it only if the last `seq` of the queue or topic is this one; else it is refused. */
  expectSeq?: number;
  /** The place of the message in what one producer sends to this address, by which it is taken once however late it is repeated. */
  producer?: ProducerPlace;
}

/**
 * Where a message stands among those of its producer to one address: `seq` counts from 1 without a gap, and anew in each `epoch`.
 *
 * @example
 * await jobs.send({ n: 1 }, { producer: { id: "till-7", epoch: 1, seq: 1 } });
 */
export interface ProducerPlace {
  /** The producer's own id, for ever. */
  id: string;
  /** Its life; messages of an older one are refused as `fenced`. */
  epoch: number;
  seq: number;
}

/**
 * What a message to a topic carries beside its body. All are optional.
 *
 * @example
 * await dunlin.topic("lamps/hall").publish("on", { retain: true });
 */
export interface PublishOptions extends Omit<SendOptions, "delayMs" | "deliverAt"> {
  /** The topic keeps the message until the next retained one, for subscribers to come; an empty `Uint8Array` clears it. */
  retain?: boolean;
}

/**
 * One message of a batch for a queue.
 *
 * @example
 * const batch: BatchMessage[] = [{ body: 1 }, { body: 2, delayMs: 5_000 }];
 */
export interface BatchMessage extends SendOptions {
  /** Any JSON value, or bytes. */
  body: unknown;
}

/**
 * One message of a batch for a topic.
 *
 * @example
 * const batch: TopicBatchMessage[] = [{ body: "tick" }, { body: "tock", retain: true }];
 */
export interface TopicBatchMessage extends PublishOptions {
  /** Any JSON value, or bytes. */
  body: unknown;
}

/** A message with all that one to a queue or to a topic may carry. */
export type Outgoing = BatchMessage & TopicBatchMessage;

/**
 * The broker's receipt for a message that is safely on disk.
 *
 * @example
 * const { seq, duplicate } = await jobs.send({ n: 1 }, { messageId: "n-1" });
 */
export interface SendResult {
  /** The message's id, chosen by the caller or the client. */
  messageId: string;
  /** Its number in the queue or topic. */
  seq: number;
  /** Which life of the queue or topic `seq` counts in: another one after it was deleted and made anew. */
  epoch: number;
  /** Whether it was there before; the other fields are the first one's. */
  duplicate: boolean;
}

/**
 * The fields of a message's publish.
 *
 * @param messageId for when the options name none
 */
export function publishFields(to: string, message: Outgoing, messageId: string): object {
  const { body, contentType, ...fields } = message;
  return { messageId, ...fields, to, ...payloadOf(body, contentType) };
}

/**
 * Writes a frame now, so that later changes of a body by its owner do not matter.
 *
 * @throws DunlinError `bad-body` when a body cannot be written as JSON, `frame-too-large` when the broker would not take the frame
 */
export function frameText(frame: object): string {
  let text: string;
  try {
    text = JSON.stringify(frame);
  } catch (cause) {
    throw new DunlinError(`The body cannot be written as JSON: ${String(cause)}`, { kind: "bad-body" });
  }
  checkSize(text);
  return text;
}

function payloadOf(body: unknown, contentType: string | undefined): object {
  if (body instanceof Uint8Array) {
    return { base64: toBase64(body), contentType: contentType ?? "application/octet-stream" };
  }
  // JSON has no word for undefined; in a body's place it means null.
  return { body: body ?? null, contentType };
}

/**
 * Refuses what would cost the connection: a frame beyond the broker's limit closes it for good, and with it all other work.
 *
 * @throws DunlinError `frame-too-large`
 */
function checkSize(text: string): void {
  // A character is at most three bytes, so what is short enough need not be measured.
  if (text.length * 3 <= MAX_FRAME_BYTES) return;
  const bytes = new TextEncoder().encode(text).length;
  if (bytes <= MAX_FRAME_BYTES) return;
  const message = `The message has ${bytes} bytes as a frame; the limit is ${MAX_FRAME_BYTES}`;
  throw new DunlinError(message, { kind: "frame-too-large" });
}
