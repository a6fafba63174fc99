// From what a client wants settled and published as one act to what each queue is told: who decides, who holds, under which key.
import { type Address, COMMIT_QUEUE } from "../address.ts";
import { digest } from "../bytes/digest.ts";
import { Writer } from "../bytes/writer.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { MAX_BATCH, MAX_COMMIT_QUEUES } from "../limits.ts";
import { type Commit, type CommitPublish, transactionOf } from "../link/commit.ts";
import { type SETTLE_FIELDS, type Settlements, settlementsOf } from "../link/settle-fields.ts";
import { freshId, type PublishFields, toMessage, toTopic } from "../message/fields.ts";
import { isPresence } from "../message/presence.ts";
import { type Message, writeMessage } from "../message/record.ts";
import type { Infer } from "../schema.ts";

/** What is settled at one queue. */
export interface SettleWish {
  queue: string;
  lists: Infer<typeof SETTLE_FIELDS>;
}

/** What is published to one address. */
export interface PublishWish {
  address: Address;
  fields: PublishFields;
}

/** Who publishes, and when. */
export interface Origin {
  /** Client id, "" when not known. */
  client: string;
  now: number;
  maxMessageBytes: number;
}

/** The part of one queue, with the handles as they were given. */
export interface QueuePart extends Settlements {
  queue: string;
}

/** A commit that may be made. */
export interface Plan {
  /** The queue that decides. */
  decider: string;
  commit: Commit;
  /** Handles at the deciding queue. */
  deliveries: string[];
  /** Other queues that settle. */
  others: QueuePart[];
  /** Of the publishes, in their order. */
  messageIds: string[];
}

/**
 * Plans a commit, or refuses it as a whole.
 *
 * @example makePlan([{ queue: "in", lists: { ack: ["1.a"] } }], [{ address: { kind: "queue", name: "out" }, fields }], origin)
 */
export function makePlan(settles: SettleWish[], publishes: PublishWish[], origin: Origin): Plan | Refusal {
  const parts = partsOf(settles);
  if (isRefusal(parts)) return parts;
  if (parts.length === 0 && publishes.length === 0) {
    return refuse("bad-field", "a commit settles or publishes something");
  }
  const [own, ...others] = parts;
  const decider =
    own?.queue ?? publishes.find(({ address }) => address.kind === "queue")?.address.name ?? COMMIT_QUEUE;
  const messages = messagesOf(publishes, decider, origin);
  if (isRefusal(messages)) return messages;
  const key = keyOf(parts, publishes, messages);
  const named = messages.map((message, at) => ({ ...message, ...nameOf(message, own && `${key}/${at}`) }));
  return {
    decider,
    commit: {
      key,
      tx: transactionOf(key, freshId()),
      held: true,
      settlements: own?.settlements ?? [],
      participants: others.map(({ queue }) => queue),
      publishes: named.map((message, at) => toPublish(message, publishes[at]!, decider)),
    },
    deliveries: own?.deliveries ?? [],
    others,
    messageIds: named.map(({ messageId }) => messageId),
  };
}

/** The settles of each queue together. */
function partsOf(settles: SettleWish[]): QueuePart[] | Refusal {
  const parts: QueuePart[] = [];
  let count = 0;
  for (const { queue, lists } of settles) {
    const settled = settlementsOf(lists, count);
    if (isRefusal(settled)) return settled;
    count += settled.deliveries.length;
    if (settled.deliveries.length === 0) continue;
    const known = parts.find((part) => part.queue === queue);
    known?.deliveries.push(...settled.deliveries);
    known?.settlements.push(...settled.settlements);
    if (known === undefined) parts.push({ queue, ...settled });
  }
  if (parts.length > MAX_COMMIT_QUEUES) {
    return refuse("too-many", `a commit settles at up to ${MAX_COMMIT_QUEUES} queues, got ${parts.length}`);
  }
  for (const { deliveries } of parts) {
    const twice = deliveries.find((delivery, at) => deliveries.indexOf(delivery) !== at);
    if (twice !== undefined) {
      return refuse("bad-field", `delivery ${JSON.stringify(twice)} stands twice in the commit`);
    }
  }
  return parts;
}

function messagesOf(publishes: PublishWish[], decider: string, origin: Origin): Message[] | Refusal {
  if (publishes.length > MAX_BATCH) {
    return refuse("batch-too-large", `a commit publishes at most ${MAX_BATCH}, got ${publishes.length}`);
  }
  const messages: Message[] = [];
  for (const [at, { address, fields }] of publishes.entries()) {
    const given =
      notServed(fields, address, isOwn(address, decider)) ??
      toMessage(fields, origin.now, origin.maxMessageBytes);
    const message =
      isRefusal(given) || address.kind === "queue" ? given : toTopic(given, address.name, origin.client);
    if (isRefusal(message)) return refuse(message.kind, `publish[${at}]: ${message.message}`);
    messages.push(message);
  }
  return messages;
}

/** Fields whose promise a commit cannot keep at an address that does not decide. */
function notServed(
  { producer, prepare, expectSeq }: PublishFields,
  { kind, name }: Address,
  own: boolean,
): Refusal | undefined {
  if (kind === "topic" && isPresence(name)) {
    return refuse("not-supported", "who is present is told by presence itself, not by commits");
  }
  if (producer !== undefined || prepare !== undefined) {
    return refuse("not-supported", "a commit takes neither producer nor prepare");
  }
  if (expectSeq === undefined || own) return undefined;
  return refuse("not-supported", "expectSeq is checked only at the queue that decides the commit");
}

/** The same commit has the same key: it is known by what it settles, or else by what it publishes. */
function keyOf(parts: QueuePart[], publishes: PublishWish[], messages: Message[]): string {
  const handles = parts.map(({ queue, deliveries }) => [queue, ...deliveries]);
  if (parts.length > 0) return `${parts[0]!.deliveries[0]}-${digest(JSON.stringify(handles))}`;
  const ids = messages.map(({ messageId }, at) => [publishes[at]!.address, messageId]);
  return `${digest(messages[0]!.messageId)}-${digest(JSON.stringify(ids))}`;
}

/** All of them count for dedup windows; one that its publisher gave no id gets one by its place, so that a repeat has the same. */
function nameOf({ publisherId, messageId }: Message, name: string | undefined): Partial<Message> {
  return { publisherId: true, messageId: publisherId ? messageId : (name ?? messageId) };
}

function toPublish(message: Message, { address, fields }: PublishWish, decider: string): CommitPublish {
  const record = new Writer(256);
  writeMessage(record, message);
  const to = isOwn(address, decider) ? "" : `${address.kind}:${address.name}`;
  return { to, record: record.take(), expectSeq: fields.expectSeq };
}

function isOwn({ kind, name }: Address, decider: string): boolean {
  return kind === "queue" && name === decider;
}
