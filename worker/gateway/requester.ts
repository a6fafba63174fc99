// Requests: messages that are published with an address for their reply, which leads back to this gateway. The token in it, the timer and
// the packets of replies are here; who waits is replies.ts's.
import { replyTopic } from "../address.ts";
import { Writer } from "../bytes/writer.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { readCommands } from "../link/commands.ts";
import type { Condition } from "../link/condition.ts";
import { type Published, type QueueResult, writeResults } from "../link/results.ts";
import { toBase64 } from "../message/base64.ts";
import { freshId } from "../message/fields.ts";
import { type Message, RecordView, writeMessage } from "../message/record.ts";
import type { ObjectLink } from "./object-link.ts";
import { Replies, type ReplyDone } from "./replies.ts";
import type { RemoteRequest } from "./rpc.ts";

/** Random bytes in the address of a reply: who can name it was given it. */
const TOKEN_BYTES = 16;
/** A reply is the only message of its topic. */
const FIRST: Published = { seq: 1, epoch: 1, duplicate: false };

/** What is asked. */
export interface Request {
  namespace: string;
  /** The id of the connection that asks, or anything else that no connection is called. */
  owner: string;
  /** Who asks, over all its connections: only the same one may ask the same again. */
  asker: string;
  /** `queue:NAME` or `topic:NAME` */
  address: string;
  message: Message;
  /** What must hold for it to be stored, beside somebody's being there. */
  condition: Condition | undefined;
  timeoutMs: number;
}

/** What requests need of their gateway. */
export interface RequesterOwner {
  /** The gateway's name. */
  gateway: string;
  link: (namespace: string, address: string) => ObjectLink;
  flush: () => void;
}

/** Asks for the clients of one gateway. */
export class Requester {
  readonly #owner: RequesterOwner;
  readonly #replies = new Replies();
  // A pending timer keeps the object in memory, and with it those who wait: it ends with the last of them.
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  constructor(owner: RequesterOwner) {
    this.#owner = owner;
  }

  /**
   * Publishes a request. The same one again, of a messageId that the asker chose, is not published but waits on.
   *
   * @param told hears the reply, or why there is none, unless the connection is gone before
   */
  ask({ namespace, owner, asker, address, message, condition, timeoutMs }: Request, told: ReplyDone): void {
    const wrong = unfit(message);
    if (wrong !== undefined) return told(wrong);
    const { gateway, link } = this.#owner;
    const { messageId, publisherId, correlationId } = message;
    const waiting = {
      owner,
      key: publisherId ? JSON.stringify([namespace, address, asker, messageId]) : "",
      // The responder's correlation may be missing; the asker's own comes back in any case.
      done: (outcome: Message | Refusal) =>
        told(isRefusal(outcome) ? outcome : { ...outcome, correlationId }),
    };
    if (publisherId && this.#replies.goOn(waiting)) return this.#setTimer();
    const topic = replyTopic(gateway, randomToken());
    const deadline = Date.now() + timeoutMs;
    const refusal = this.#replies.open(topic, { ...waiting, namespace, deadline });
    if (refusal !== undefined) return told(refusal);
    this.#setTimer();
    const request: Message = {
      ...message,
      replyTo: `topic:${topic}`,
      correlationId: correlationId || freshId(),
      // Nobody shall work on what nobody waits for.
      expiresAt: message.expiresAt === 0 ? deadline : Math.min(message.expiresAt, deadline),
    };
    const published = (outcome: Published | Refusal) => {
      if (isRefusal(outcome)) this.#replies.fail(topic, outcome);
      else if (outcome.duplicate) this.#replies.fail(topic, alreadyAsked(messageId));
      this.#setTimer();
    };
    link(namespace, address).publish(request, published, { ...condition, responders: true });
  }

  /** As `ask`, in the name of the namespace: the message and its reply are records (message/record.ts). */
  askFor({ record, ...asked }: RemoteRequest): Promise<Uint8Array | Refusal> {
    const message = new RecordView(record).decode();
    return new Promise((resolve) => {
      this.ask({ ...asked, owner: `http ${asked.namespace}`, message }, (outcome) => {
        if (isRefusal(outcome)) return resolve(outcome);
        const reply = new Writer(256);
        writeMessage(reply, outcome);
        resolve(reply.take());
      });
    });
  }

  /** Takes a packet of replies (link/commands.ts) for requests in a namespace; the results are those of a publish (link/results.ts). */
  take(namespace: string, packet: Uint8Array): Uint8Array {
    const results = readCommands(packet).map((command): QueueResult => {
      if (command.type === "publish")
        return { type: "published", messages: this.#takeAll(namespace, command.records) };
      return {
        type: "refused",
        refusal: refuse("bad-state", "the address of a reply takes nothing but replies"),
      };
    });
    this.#setTimer();
    return writeResults(FIRST.epoch, results);
  }

  /** A connection is gone: what it asked ends, unless it may ask the same again. */
  leave(owner: string): void {
    this.#replies.leave(owner);
    this.#setTimer();
  }

  #takeAll(namespace: string, records: Uint8Array): (Published | Refusal)[] {
    const outcomes: (Published | Refusal)[] = [];
    for (const view = new RecordView(records); view.valid; view.next()) {
      outcomes.push(this.#replies.take(namespace, view.topic, view.size, () => view.decode()) ?? FIRST);
    }
    return outcomes;
  }

  #setTimer(): void {
    const { nextDeadline } = this.#replies;
    if (nextDeadline === this.#timerAt) return;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timerAt = nextDeadline;
    if (nextDeadline === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => this.#expire(), Math.max(0, nextDeadline - Date.now()));
  }

  #expire(): void {
    this.#timerAt = Number.POSITIVE_INFINITY;
    this.#replies.expire(Date.now());
    this.#setTimer();
    this.#owner.flush();
  }
}

/** Why a message is no request. */
function unfit({ replyTo, retain }: Message): Refusal | undefined {
  if (replyTo !== "")
    return refuse("bad-field", "replyTo is not the asker's to set: a request brings its own");
  return retain
    ? refuse("bad-field", "a request is not retained: nobody would wait for the later replies")
    : undefined;
}

function alreadyAsked(messageId: string): Refusal {
  const shown = JSON.stringify(messageId);
  return refuse(
    "conflict",
    `a request with the messageId ${shown} was sent before, and its reply is gone or another's`,
  );
}

function randomToken(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(TOKEN_BYTES));
  return toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
