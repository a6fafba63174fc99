// Several settlements and publishes that the broker makes all or none of.
import { DunlinError } from "./errors.ts";
import { type FailOptions, type Holder, Message } from "./message.ts";
import { type Outgoing, publishFields, type SendResult } from "./publish.ts";
import { Publish, type Sender } from "./publisher.ts";
import { type Lease, type Outcome, type OutcomeDetail, SettleBatch } from "./settle.ts";

/**
 * A message of a commit, with its address.
 *
 * @example
 * const done: CommitMessage = { to: "queue:done", body: { id: 7 } };
 */
export type CommitMessage = Outgoing & {
  /** Such as `queue:done` or `topic:news/sports`. */
  to: string;
};

/**
 * What a commit does, all of it or nothing. The messages may come from several queues.
 *
 * @example
 * await dunlin.commit({ ack: [message], publish: [{ to: "queue:done", body: result }] });
 */
export interface CommitOptions {
  /** Done. */
  ack?: readonly Message[];
  /** Given back unharmed. */
  release?: readonly Message[];
  /** Failed this time. */
  fail?: readonly (FailOptions & { message: Message })[];
  /** Moved to the dead-letter queue. */
  dead?: readonly { message: Message; reason?: string }[];
  /** New messages, in this order for each address. */
  publish?: readonly CommitMessage[];
}

/**
 * What became of a published message of a commit: its place, or word that the commit is decided and the place not known yet.
 *
 * @example
 * const [receipt] = await dunlin.commit({ publish: [{ to: "queue:done", body: 1 }] });
 * if ("seq" in receipt) console.log(receipt.seq);
 */
export type CommitReceipt = SendResult | { messageId: string; pending: true };

/**
 * Commits.
 *
 * @returns a receipt for each published message
 * @throws DunlinError `lease-lost` when a message is settled or its lease is not held, or why the broker refused all of it; the
 * leases are then as they were
 */
export async function commit(sender: Sender, options: CommitOptions): Promise<CommitReceipt[]> {
  const { ack = [], release = [], fail = [], dead = [], publish = [] } = options;
  const batches = new Map<number, SettleBatch>();
  const lent: { lease: Lease; holder: Holder }[] = [];
  const add = (message: Message, outcome: Outcome, detail?: OutcomeDetail) => {
    const { lease, holder } = Message.hold(message);
    if (!holder.lend(lease)) {
      const what = `Message ${message.messageId} is settled already, or its lease was lost`;
      throw new DunlinError(what, { kind: "lease-lost" });
    }
    lent.push({ lease, holder });
    const batch = batches.get(holder.sub) ?? new SettleBatch(() => {});
    batches.set(holder.sub, batch);
    batch.add(lease, outcome, detail);
  };
  let settled = false;
  try {
    for (const message of ack) add(message, "ack");
    for (const message of release) add(message, "release");
    for (const { message, ...detail } of fail) add(message, "fail", detail);
    for (const { message, ...detail } of dead) add(message, "dead", detail);
    const entry = new Publish(sender.nextId(), {
      op: "commit",
      settle: [...batches].map(([sub, batch]) => batch.fields(sub)),
      publish: publish.map((message) => publishFields(message.to, message, sender.newMessageId())),
    });
    sender.claim(1, entry.text.length);
    sender.post(entry);
    const { published } = await entry.answer;
    settled = true;
    return published as CommitReceipt[];
  } finally {
    for (const { lease, holder } of lent) holder.giveBack(lease, settled);
  }
}
