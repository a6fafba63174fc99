// Finds in a history what a correct broker could not have caused.
// What a slow socket or process could explain is no violation: a finding is a fault of the broker.
import type { RecordedEvent } from "./history.ts";

/** What the checker can find. */
export type ViolationKind =
  | "lost"
  | "stored-twice"
  | "seq-reused"
  | "seq-hole"
  | "leased-twice"
  | "lease-revoked"
  | "stale-handle-accepted"
  | "acked-delivered-again"
  | "settled-twice"
  | "handle-reused"
  | "group-overlap"
  | "group-order"
  | "publisher-order"
  | "duplicate-flag"
  | "invented";

export interface Violation {
  kind: ViolationKind;
  /** What happened, with the ids needed to find it. */
  what: string;
}

export interface CheckOptions {
  /** The queue was seen empty at the end, with every publish confirmed: nothing may be missing. */
  drained: boolean;
  /** How late this process may have seen a delivery or a lease's end, in milliseconds. */
  slackMs: number;
}

interface Delivery {
  index: number;
  atMs: number;
  seq: number;
  messageId: string;
  group: string | undefined;
  consumer: string;
  delivery: string;
  attempt: number;
  leaseMs: number;
  ackInvoked?: RecordedAt;
  settled?: RecordedAt;
  lost?: RecordedAt;
  returned?: RecordedAt;
  /** The instant from which the session's end sets the lease free. */
  freed?: RecordedAt;
}

interface RecordedAt {
  index: number;
  atMs: number;
}

interface Publishes {
  producer: string;
  messageId: string;
  /** By call, the index of the event. */
  invoked: Map<number, number>;
  confirmed: { call: number; index: number; seq: number; duplicate: boolean }[];
}

interface Facts {
  publishes: Map<string, Publishes>;
  /** By handle, in the order of delivery. */
  deliveries: Map<string, Delivery>;
  /** By seq, in the order of attempts. */
  bySeq: Map<number, Delivery[]>;
  found: Violation[];
}

/**
 * Finds every violation in a history. An empty array means that a correct broker may have caused it.
 *
 * @example
 * expect(checkHistory(history.events, { drained: true, slackMs: 1_000 })).toEqual([]);
 */
export function checkHistory(events: RecordedEvent[], options: CheckOptions): Violation[] {
  const facts = gather(events);
  checkIdentity(facts);
  checkDuplicateFlags(facts);
  checkPublisherOrder(facts);
  for (const deliveries of facts.bySeq.values()) checkLeases(deliveries, options, facts.found);
  checkGroups(facts, options);
  if (options.drained) checkNothingMissing(facts);
  return facts.found;
}

function gather(events: RecordedEvent[]): Facts {
  const facts: Facts = { publishes: new Map(), deliveries: new Map(), bySeq: new Map(), found: [] };
  const held = new Map<string, Delivery[]>();
  events.forEach((event, index) => {
    const at = { index, atMs: event.atMs };
    switch (event.kind) {
      case "publish-invoked":
      case "publish-confirmed":
        gatherPublish(event, index, facts);
        break;
      case "delivered":
        gatherDelivery(event, at, facts, held);
        break;
      case "consumer-ended":
        for (const delivery of held.get(event.consumer) ?? []) {
          delivery.freed ??= { index, atMs: event.atMs + event.keepMs };
        }
        held.delete(event.consumer);
        break;
      default: {
        const delivery = facts.deliveries.get(event.delivery);
        if (!delivery) throw new Error(`the history settles ${event.delivery}, which it never saw delivered`);
        if (event.kind === "ack-invoked") delivery.ackInvoked ??= at;
        else if (event.kind === "return-invoked") delivery.returned ??= at;
        else if (event.lost) delivery.lost ??= at;
        else delivery.settled ??= at;
      }
    }
  });
  for (const deliveries of facts.bySeq.values()) deliveries.sort((a, b) => a.attempt - b.attempt);
  return facts;
}

function gatherPublish(
  event: Extract<RecordedEvent, { kind: "publish-invoked" | "publish-confirmed" }>,
  index: number,
  facts: Facts,
): void {
  const { producer, messageId, call } = event;
  const known: Publishes = facts.publishes.get(messageId) ?? {
    producer,
    messageId,
    invoked: new Map(),
    confirmed: [],
  };
  facts.publishes.set(messageId, known);
  if (event.kind === "publish-invoked") known.invoked.set(call, index);
  else known.confirmed.push({ call, index, seq: event.seq, duplicate: event.duplicate });
}

function gatherDelivery(
  event: Extract<RecordedEvent, { kind: "delivered" }>,
  at: RecordedAt,
  facts: Facts,
  held: Map<string, Delivery[]>,
): void {
  const { kind: _, ...fields } = event;
  const known = facts.deliveries.get(event.delivery);
  if (known) {
    // A resumed session may be shown again what it still holds, under the same handle; then it is the same lease.
    if (known.seq !== event.seq || known.consumer !== event.consumer || known.attempt !== event.attempt) {
      facts.found.push({
        kind: "handle-reused",
        what: `${name(known)} was delivered to ${known.consumer}; its handle came again to ${event.consumer} for seq ${event.seq} attempt ${event.attempt}`,
      });
    }
    return;
  }
  const delivery: Delivery = { ...fields, group: event.group, index: at.index };
  facts.deliveries.set(event.delivery, delivery);
  const ofSeq = facts.bySeq.get(event.seq);
  if (ofSeq) ofSeq.push(delivery);
  else facts.bySeq.set(event.seq, [delivery]);
  const ofConsumer = held.get(event.consumer);
  if (ofConsumer) ofConsumer.push(delivery);
  else held.set(event.consumer, [delivery]);
}

/** One message id has one seq, one seq has one message id, and every message was published by somebody. */
function checkIdentity(facts: Facts): void {
  const seqOf = new Map<string, number>();
  const idOf = new Map<number, string>();
  const see = (messageId: string, seq: number, how: string) => {
    const seqBefore = seqOf.get(messageId);
    if (seqBefore === undefined) seqOf.set(messageId, seq);
    else if (seqBefore !== seq) {
      facts.found.push({
        kind: "stored-twice",
        what: `${messageId} has seq ${seqBefore}, and ${how} seq ${seq}`,
      });
    }
    const idBefore = idOf.get(seq);
    if (idBefore === undefined) idOf.set(seq, messageId);
    else if (idBefore !== messageId) {
      facts.found.push({ kind: "seq-reused", what: `seq ${seq} is ${idBefore}, and ${how} ${messageId}` });
    }
  };
  for (const { messageId, confirmed } of facts.publishes.values()) {
    for (const { seq } of confirmed) see(messageId, seq, "was confirmed as");
  }
  for (const { messageId, seq } of facts.deliveries.values()) {
    see(messageId, seq, "was delivered as");
    if (!facts.publishes.has(messageId)) {
      facts.found.push({
        kind: "invented",
        what: `${messageId} (seq ${seq}) was delivered but never published`,
      });
    }
  }
}

/** `duplicate` is false for the publish that stored the message, and true only if another one could have. */
function checkDuplicateFlags(facts: Facts): void {
  const delivered = new Map<string, number>();
  for (const { messageId, index } of facts.deliveries.values()) {
    if (!delivered.has(messageId)) delivered.set(messageId, index);
  }
  for (const { messageId, invoked, confirmed } of facts.publishes.values()) {
    const wrong = (what: string) =>
      facts.found.push({ kind: "duplicate-flag", what: `${messageId} ${what}` });
    if (confirmed.filter((confirm) => !confirm.duplicate).length > 1) wrong("was confirmed twice as new");
    const storedBy = Math.min(confirmed[0]?.index ?? Infinity, delivered.get(messageId) ?? Infinity);
    for (const { call, index, duplicate } of confirmed) {
      const invokedAt = invoked.get(call) ?? Infinity;
      const others = [...invoked].filter(([other, otherIndex]) => other !== call && otherIndex < index);
      if (duplicate && others.length === 0) wrong("was published once, and confirmed as a duplicate");
      if (!duplicate && storedBy < invokedAt) wrong("was stored before a publish that was confirmed as new");
    }
  }
}

/** What one producer published on one connection has ascending seqs. */
function checkPublisherOrder(facts: Facts): void {
  const last = new Map<string, { seq: number; messageId: string }>();
  const seqOf = new Map<string, number>();
  for (const { messageId, seq } of facts.deliveries.values()) seqOf.set(messageId, seq);
  // The map keeps the order of the first publish of each id.
  for (const { producer, messageId, confirmed } of facts.publishes.values()) {
    const seq = confirmed[0]?.seq ?? seqOf.get(messageId);
    if (seq === undefined) continue;
    const before = last.get(producer);
    if (before && before.seq > seq) {
      facts.found.push({
        kind: "publisher-order",
        what: `${producer} published ${before.messageId} (seq ${before.seq}) before ${messageId} (seq ${seq})`,
      });
    }
    last.set(producer, { seq, messageId });
  }
}

/** The deliveries of one message, in the order of attempts: one lease at a time, and none after a confirmed ack. */
function checkLeases(deliveries: Delivery[], options: CheckOptions, found: Violation[]): void {
  const settled = deliveries.filter((delivery) => delivery.settled);
  if (settled.length > 1) {
    found.push({ kind: "settled-twice", what: `${settled.map(name).join(" and ")} were both settled` });
  }
  deliveries.forEach((delivery, position) => {
    const next = deliveries[position + 1];
    if (next && next.attempt === delivery.attempt) {
      found.push({ kind: "handle-reused", what: `${name(delivery)} and ${name(next)} are the same attempt` });
    }
    if (next && delivery.settled) {
      const stale = delivery.ackInvoked === undefined || delivery.ackInvoked.index > next.index;
      found.push({
        kind: stale ? "stale-handle-accepted" : "acked-delivered-again",
        what: `${name(delivery)} was settled ${stale ? "after" : "and yet followed by"} the delivery of ${name(next)}`,
      });
    }
    if (next && next.atMs + options.slackMs < leaseEndMs(delivery)) {
      found.push({
        kind: "leased-twice",
        what: `${name(next)} came ${Math.round(next.atMs - delivery.atMs)} ms after ${name(delivery)}, whose lease of ${delivery.leaseMs} ms nobody had ended`,
      });
    }
    checkRevoked(delivery, next, options, found);
  });
}

/** A consumer whose lease still ran on a connection that still stood was told that it had lost it. */
function checkRevoked(
  delivery: Delivery,
  next: Delivery | undefined,
  options: CheckOptions,
  found: Violation[],
): void {
  const { lost, ackInvoked, freed, returned } = delivery;
  if (!lost || !ackInvoked || returned || next) return;
  if (freed && freed.index < lost.index) return;
  if (lost.atMs + options.slackMs < delivery.atMs + delivery.leaseMs) {
    found.push({ kind: "lease-revoked", what: `${name(delivery)} was refused as lost within its lease` });
  }
}

/** The time before which nobody else may get the message: the lease's end unless the consumer ended it sooner. */
function leaseEndMs(delivery: Delivery): number {
  return Math.min(
    delivery.atMs + delivery.leaseMs,
    delivery.returned?.atMs ?? Infinity,
    delivery.freed?.atMs ?? Infinity,
  );
}

/** Within a group: each message acked before the next comes out, and no step back. */
function checkGroups(facts: Facts, options: CheckOptions): void {
  const groups = new Map<string, Delivery[]>();
  for (const delivery of facts.deliveries.values()) {
    if (delivery.group === undefined) continue;
    const members = groups.get(delivery.group);
    if (members) members.push(delivery);
    else groups.set(delivery.group, [delivery]);
  }
  for (const [group, members] of groups) checkGroup(group, members, options, facts.found);
}

function checkGroup(group: string, members: Delivery[], options: CheckOptions, found: Violation[]): void {
  const seqs = [...new Set(members.map((member) => member.seq))].sort((a, b) => a - b);
  const before = new Map(seqs.map((seq, position) => [seq, seqs[position - 1]]));
  /** By seq, the delivery of the highest attempt so far. */
  const latest = new Map<number, Delivery>();
  const acked = new Map<number, number>();
  for (const { seq, ackInvoked } of members) {
    if (ackInvoked) acked.set(seq, Math.min(acked.get(seq) ?? Infinity, ackInvoked.index));
  }
  let furthest: Delivery | undefined;
  for (const member of members) {
    // A delivery that lay in a socket while its lease ran out and the message went elsewhere proves nothing.
    if ((latest.get(member.seq)?.attempt ?? 0) > member.attempt) continue;
    const previous = before.get(member.seq);
    const wrong = (kind: ViolationKind, what: string) =>
      found.push({ kind, what: `group ${group}: ${name(member)} ${what}` });
    if (previous !== undefined && !((acked.get(previous) ?? Infinity) < member.index)) {
      wrong("group-order", `came before seq ${previous} was acked`);
    }
    if (furthest && furthest.seq > member.seq) wrong("group-order", `came after ${name(furthest)}`);
    const other = furthest && furthest.seq !== member.seq ? furthest : latest.get(previous ?? -1);
    const otherIsOut = other && !(other.ackInvoked && other.ackInvoked.index < member.index);
    if (otherIsOut && member.atMs + options.slackMs < leaseEndMs(other)) {
      wrong("group-overlap", `came while ${name(other)} was out`);
    }
    latest.set(member.seq, member);
    if (!furthest || member.seq > furthest.seq) furthest = member;
  }
}

/** At the end of a drained run every confirmed message was acked by somebody, and the seqs have no holes. */
function checkNothingMissing(facts: Facts): void {
  const seqs = new Set<number>(facts.bySeq.keys());
  for (const { messageId, confirmed } of facts.publishes.values()) {
    const seq = confirmed[0]?.seq;
    if (seq === undefined) continue;
    seqs.add(seq);
    const deliveries = facts.bySeq.get(seq) ?? [];
    // An ack without an answer may have been executed; one that was answered as lost was not.
    if (deliveries.some((delivery) => delivery.settled || (delivery.ackInvoked && !delivery.lost))) continue;
    facts.found.push({
      kind: "lost",
      what: `${messageId} (seq ${seq}) was confirmed and ${deliveries.length ? "delivered, but nobody acked it" : "never delivered"}`,
    });
  }
  const sorted = [...seqs].sort((a, b) => a - b);
  sorted.forEach((seq, position) => {
    const before = sorted[position - 1];
    if (before !== undefined && seq !== before + 1) {
      facts.found.push({ kind: "seq-hole", what: `no message has a seq between ${before} and ${seq}` });
    }
  });
}

function name(delivery: Delivery): string {
  return `${delivery.messageId} (seq ${delivery.seq}, attempt ${delivery.attempt}, ${delivery.delivery}, ${delivery.consumer})`;
}
