// A message on its way into a queue or topic: what it looks like as a frame, and what its confirm or refusal tells the caller.
import { toBase64 } from "./base64.ts";
import { DunlinError, errorOf } from "./errors.ts";
import type { Entry } from "./outbox.ts";
import { MAX_FRAME_BYTES, type Reply } from "./wire.ts";

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

/** Whoever waits for a message's fate. */
export interface Waiter {
  confirmed(result: SendResult): void;
  failed(error: DunlinError): void;
}

/** The publish of one message. Kept over lost sockets: its message id makes a repetition harmless. */
export class Publish implements Entry {
  readonly kept = true;
  readonly counted = 1;
  readonly id: number;
  readonly text: string;
  sentAtMs?: number;
  readonly #waiter: Waiter;

  constructor(id: number, text: string, waiter: Waiter) {
    this.id = id;
    this.text = text;
    this.#waiter = waiter;
  }

  reply(frame: Reply): void {
    if (frame.op === "error") this.#waiter.failed(errorOf(frame));
    else {
      const { messageId, seq, epoch, duplicate } = frame;
      this.#waiter.confirmed({ messageId: messageId!, seq: seq!, epoch: epoch!, duplicate: duplicate! });
    }
  }

  abandon(error: DunlinError): void {
    this.#waiter.failed(error);
  }
}

/**
 * Writes the frame of a message now, so that later changes of the body by its owner do not matter.
 *
 * @param messageId for when the options name none
 * @throws DunlinError `bad-body` when the body cannot be written as JSON, `frame-too-large` when no frame could hold it
 */
export function publishText(id: number, to: string, message: Outgoing, messageId: string): string {
  const { headers, group, priority, delayMs, deliverAt, ttlMs, replyTo, correlationId, retain } = message;
  const fields = { headers, group, priority, delayMs, deliverAt, ttlMs, replyTo, correlationId, retain };
  const frame = { op: "publish", id, to, ...payloadOf(message), messageId: message.messageId ?? messageId };
  let text: string;
  try {
    text = JSON.stringify(Object.assign(frame, fields));
  } catch (cause) {
    throw new DunlinError(`The body cannot be written as JSON: ${String(cause)}`, { kind: "bad-body" });
  }
  checkSize(text);
  return text;
}

function payloadOf({ body, contentType }: Outgoing): object {
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

/** Gathers the fates of a batch into one promise. */
export class BatchOutcome {
  /** Resolves when all are confirmed; rejects, once all are answered, with the first refusal. */
  readonly promise: Promise<SendResult[]>;
  readonly #results: SendResult[] = [];
  #open: number;
  #error: DunlinError | undefined;
  #resolve!: (results: SendResult[]) => void;
  #reject!: (error: DunlinError) => void;

  constructor(size: number) {
    this.#open = size;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (size === 0) this.#resolve([]);
  }

  /** The waiter of the message at this place of the batch. */
  at(index: number): Waiter {
    return {
      confirmed: (result) => {
        this.#results[index] = result;
        this.#answered();
      },
      failed: (error) => {
        this.#error ??= error;
        this.#answered();
      },
    };
  }

  #answered(): void {
    this.#open -= 1;
    if (this.#open > 0) return;
    if (this.#error) this.#reject(this.#error);
    else this.#resolve(this.#results);
  }
}
