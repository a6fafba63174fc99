// The way of messages to one address: each gets its id, its request, and a place in the outbox if there is room.
import { type DunlinError, errorOf } from "./errors.ts";
import type { Entry } from "./outbox.ts";
import { frameText, type Outgoing, publishFields, type SendResult } from "./publish.ts";
import type { OkFrame, Reply, ReplyFrame } from "./wire.ts";

/** What publishing needs of the client around it. */
export interface Sender {
  nextId(): number;
  newMessageId(): string;
  /**
   * Checks that there is room for so many more messages, of so many characters together.
   *
   * @throws DunlinError `outbox-full`, or what the client ended with
   */
  claim(messages: number, chars: number): void;
  /** Sends with this turn's frame. */
  post(entry: Entry): void;
}

/** A request that counts as a message. Kept over lost sockets: the message ids in it make a repetition harmless. */
export class Publish implements Entry {
  readonly kept = true;
  readonly counted = 1;
  readonly id: number;
  readonly text: string;
  /** Settles with the broker's answer. */
  readonly answer: Promise<OkFrame | ReplyFrame>;
  sentAtMs?: number;
  #resolve!: (frame: OkFrame | ReplyFrame) => void;
  #reject!: (error: DunlinError) => void;

  /** @throws DunlinError `bad-body` or `frame-too-large` */
  constructor(id: number, fields: object) {
    this.id = id;
    this.text = frameText({ ...fields, id });
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  reply(frame: Reply): void {
    if (frame.op === "error") this.#reject(errorOf(frame));
    else this.#resolve(frame);
  }

  abandon(error: DunlinError): void {
    this.#reject(error);
  }
}

/**
 * Publishes messages together, in their order.
 *
 * @returns once all are answered, a receipt for each
 * @throws DunlinError the first refusal
 */
export async function publishAll(
  sender: Sender,
  to: string,
  messages: readonly Outgoing[],
): Promise<SendResult[]> {
  let chars = 0;
  const entries = messages.map((message) => {
    const fields = publishFields(to, message, sender.newMessageId());
    const entry = new Publish(sender.nextId(), { op: "publish", ...fields });
    chars += entry.text.length;
    return entry;
  });
  sender.claim(entries.length, chars);
  for (const entry of entries) sender.post(entry);
  const answers = entries.map(({ answer }) => answer);
  await Promise.allSettled(answers);
  return (await Promise.all(answers)).map(receiptOf);
}

/** Publishes one message. */
export async function publish(sender: Sender, to: string, message: Outgoing): Promise<SendResult> {
  const [receipt] = await publishAll(sender, to, [message]);
  return receipt!;
}

function receiptOf({ messageId, seq, epoch, duplicate }: OkFrame | ReplyFrame): SendResult {
  return { messageId: messageId!, seq: seq!, epoch: epoch!, duplicate: duplicate! };
}
