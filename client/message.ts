// Messages as the application sees them. What settling one means is the consumer's affair.
import { fromBase64 } from "./base64.ts";
import { DunlinError } from "./errors.ts";
import type { SendOptions, SendResult } from "./publish.ts";
import { publish, type Sender } from "./publisher.ts";
import type { Lease, Outcome, OutcomeDetail } from "./settle.ts";
import type { MessageFrame, TopicFrame } from "./wire.ts";

/** What a message needs of whoever delivered it. */
export interface Holder {
  readonly sub: number;
  settle(lease: Lease, outcome: Outcome, detail?: OutcomeDetail): Promise<boolean>;
  extend(lease: Lease, leaseMs: number): Promise<boolean>;
  /** Whether the lease is held and not settled; if so, a commit has it from now on. */
  lend(lease: Lease): boolean;
  /** The commit is answered: it settled the lease, or the lease is as it was. */
  giveBack(lease: Lease, settled: boolean): void;
}

/**
 * Says why a message failed, and when to try it again.
 *
 * @example
 * await message.fail({ reason: "the printer is out of paper", delayMs: 60_000 });
 */
export interface FailOptions {
  /** Kept with the message in the dead-letter queue: the first 1,024 characters. */
  reason?: string;
  /** Wait before the next delivery, in milliseconds, at most a year; by default the queue's back-off. */
  delayMs?: number;
}

/**
 * What every message carries, be it of a queue or of a topic.
 *
 * @example
 * const show = ({ to, seq, body }: Received) => console.log(`${to} ${seq}:`, body);
 */
export class Received<Body = unknown> {
  /** The body: the JSON value that was sent, or a `Uint8Array`. */
  readonly body: Body;
  /** Media type of the body, where its publisher named one or it is bytes. */
  readonly contentType: string | undefined;
  /** Address of its queue or topic, such as `queue:jobs`. */
  readonly to: string;
  /** Number in the queue or topic. */
  readonly seq: number;
  /** Which life of the queue or topic `seq` counts in. */
  readonly epoch: number;
  /** The publisher's id for it. */
  readonly messageId: string;
  /** When the broker accepted it, in milliseconds since 1970. */
  readonly time: number;
  /** Text sent with it. */
  readonly headers: Record<string, string>;
  /** Ordering key. */
  readonly group: string | undefined;
  /** Address for an answer. */
  readonly replyTo: string | undefined;
  /** What the answer belongs to. */
  readonly correlationId: string | undefined;
  readonly #sender: Sender;

  /** @internal */
  constructor(frame: TopicFrame, sender: Sender) {
    this.body = (frame.base64 === undefined ? frame.body : fromBase64(frame.base64)) as Body;
    this.contentType = frame.contentType;
    this.to = frame.to;
    this.seq = frame.seq;
    this.epoch = frame.epoch;
    this.messageId = frame.messageId;
    this.time = frame.time;
    this.headers = frame.headers ?? {};
    this.group = frame.group;
    this.replyTo = frame.replyTo;
    this.correlationId = frame.correlationId;
    this.#sender = sender;
  }

  /**
   * Answers it: publishes to its `replyTo`, with its `correlationId`.
   *
   * @throws DunlinError `no-reply-to` when it names no address for an answer; else as `send`
   * @example
   * for await (const message of dunlin.queue<number>("double").consume()) {
   *   await message.reply(message.body * 2);
   *   await message.ack();
   * }
   */
  async reply(body: unknown, options: SendOptions = {}): Promise<SendResult> {
    const { replyTo, correlationId } = this;
    if (!replyTo) throw new DunlinError("The message has no replyTo", { kind: "no-reply-to" });
    return publish(this.#sender, replyTo, { ...(correlationId && { correlationId }), ...options, body });
  }
}

/**
 * A message of a topic.
 *
 * @example
 * for await (const { topic, body } of dunlin.topic("sensors/+/temperature").subscribe()) console.log(topic, body);
 */
export class TopicMessage<Body = unknown> extends Received<Body> {
  /** The topic it was published to, which a filter does not tell. */
  readonly topic: string;
  /** Whether the topic had kept it, so that it is older than this subscription. */
  readonly retained: boolean;

  /** @internal */
  constructor(frame: TopicFrame, sender: Sender) {
    super(frame, sender);
    this.topic = frame.to.slice(6);
    this.retained = frame.retained === true;
  }
}

/**
 * A message leased to this consumer. Its lease is kept alive until it is settled by `ack`, `release`, `fail` or `dead`; the
 * first of these counts, and a further one returns the first one's promise. They never reject: `true` means that the broker
 * has settled it durably, `false` that the lease was no longer held, so that the message was or will be delivered again.
 *
 * @example
 * for await (const message of dunlin.queue<Job>("jobs").consume()) {
 *   try {
 *     await work(message.body);
 *     await message.ack();
 *   } catch (error) {
 *     await message.fail({ reason: String(error) });
 *   }
 * }
 */
export class Message<Body = unknown> extends Received<Body> {
  /** 1 at the first delivery, and one more each time it comes back. */
  readonly attempt: number;
  /** Whether it may have been handed out before. */
  readonly redelivered: boolean;
  readonly #lease: Lease;
  readonly #holder: Holder;

  /** @internal */
  static hold(message: Message): { lease: Lease; holder: Holder } {
    return { lease: message.#lease, holder: message.#holder };
  }

  /** @internal */
  constructor(frame: MessageFrame, lease: Lease, holder: Holder, sender: Sender) {
    super(frame, sender);
    this.attempt = frame.attempt;
    this.redelivered = frame.redelivered;
    this.#lease = lease;
    this.#holder = holder;
  }

  /**
   * Aborts when the message is this consumer's no longer: its lease was lost, or, in a queue that delivers to all of a user's devices,
   * another one has settled it.
   *
   * @example
   * message.signal.addEventListener("abort", () => notification.close());
   */
  get signal(): AbortSignal {
    return this.#lease.signal;
  }

  /** Done: it is never delivered again. */
  ack(): Promise<boolean> {
    return this.#holder.settle(this.#lease, "ack");
  }

  /** Gives it back at once, unharmed: no failure is counted. */
  release(): Promise<boolean> {
    return this.#holder.settle(this.#lease, "release");
  }

  /** It failed this time: it comes back after its back-off, until it has failed too often. */
  fail(options: FailOptions = {}): Promise<boolean> {
    return this.#holder.settle(this.#lease, "fail", options);
  }

  /** It will never succeed: moves it to the dead-letter queue. */
  dead(reason?: string): Promise<boolean> {
    return this.#holder.settle(this.#lease, "dead", { reason });
  }

  /**
   * Sets the lease to end `leaseMs` from now. Seldom needed: leases are kept alive by themselves.
   *
   * @returns whether the lease was still held
   */
  extend(leaseMs: number): Promise<boolean> {
    return this.#holder.extend(this.#lease, leaseMs);
  }
}
