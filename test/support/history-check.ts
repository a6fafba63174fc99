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
  | "answer-changed"
  | "ended-twice"
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
  /** The highest seq of an earlier part of the run, whose messages are all settled: none of them may come again. */
  settledUpTo?: number;
}

/** A step of the clock is recorded about when it is made. */
const STEP_SLACK_MS = 1_000;

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
  /** It was settled by rejecting the message: a dead letter is what must come of it. */
  isRejected?: boolean;
  returned?: RecordedAt;
  /** The instant from which the session's end sets the lease free. */
  freed?: RecordedAt & { fromMs: number };
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
  confirmed: { call: number; index: number; seq: number | undefined; duplicate: boolean }[];
  /** A call failed, so that a later message may have been stored before this one. */
  isOutOfOrder: boolean;
}

interface Facts {
  publishes: Map<string, Publishes>;
  /** By handle, in the order of delivery. */
  deliveries: Map<string, Delivery>;
  /** By seq, in the order of attempts. */
  bySeq: Map<number, Delivery[]>;
  /** Seqs of messages of an earlier part of the run, by id. */
  carried: Map<string, number>;
  deadLettered: Map<string, number>;
  steps: ClockStep[];
  found: Violation[];
}

/** The broker's clock went forward. */
interface ClockStep {
  atMs: number;
  byMs: number;
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
  for (const deliveries of facts.bySeq.values()) checkLeases(deliveries, options, facts);
  checkGroups(facts, options);
  checkEnds(facts, options);
  if (options.drained) checkNothingMissing(facts, options);
  return facts.found;
}

function gather(events: RecordedEvent[]): Facts {
  const facts: Facts = { publishes: new Map(), deliveries: new Map(), bySeq: new Map(), ...nothingElse() };
  const held = new Map<string, Delivery[]>();
  events.forEach((event, index) => {
    const at = { index, atMs: event.atMs };
    switch (event.kind) {
      case "publish-invoked":
      case "publish-confirmed":
      case "publish-failed":
        gatherPublish(event, index, facts);
        break;
      case "delivered":
        gatherDelivery(event, at, facts, held);
        break;
      case "consumer-ended":
        for (const delivery of held.get(event.consumer) ?? []) {
          delivery.freed ??= { index, fromMs: event.atMs, atMs: event.atMs + event.keepMs };
        }
        held.delete(event.consumer);
        break;
      case "carried":
        facts.carried.set(event.messageId, event.seq);
        break;
      case "dead-lettered":
        facts.deadLettered.set(event.messageId, (facts.deadLettered.get(event.messageId) ?? 0) + 1);
        break;
      case "clock-stepped":
        facts.steps.push({ atMs: event.atMs, byMs: event.byMs });
        break;
      default: {
        const delivery = facts.deliveries.get(event.delivery);
        if (!delivery) throw new Error(`the history settles ${event.delivery}, which it never saw delivered`);
        if (event.kind === "ack-invoked") {
          delivery.ackInvoked ??= at;
          if (event.isRejection) delivery.isRejected = true;
          break;
        }
        if (event.kind === "return-invoked") delivery.returned ??= at;
        else if (event.lost) delivery.lost ??= at;
        else delivery.settled ??= at;
      }
    }
  });
  for (const deliveries of facts.bySeq.values()) deliveries.sort((a, b) => a.attempt - b.attempt);
  return facts;
}

function nothingElse(): Pick<Facts, "carried" | "deadLettered" | "steps" | "found"> {
  return { carried: new Map(), deadLettered: new Map(), steps: [], found: [] };
}

function gatherPublish(
  event: Extract<RecordedEvent, { kind: "publish-invoked" | "publish-confirmed" | "publish-failed" }>,
  index: number,
  facts: Facts,
): void {
  if (event.kind === "publish-failed") {
    const failed = facts.publishes.get(event.messageId);
    if (failed) failed.isOutOfOrder = true;
    return;
  }
  const { producer, messageId, call } = event;
  const known: Publishes = facts.publishes.get(messageId) ?? {
    producer,
    messageId,
    invoked: new Map(),
    confirmed: [],
    isOutOfOrder: false,
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
    } else if (known.settled) {
      facts.found.push({
        kind: "acked-delivered-again",
        what: `${name(known)} was settled, and came again under the same handle`,
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
  for (const [messageId, seq] of facts.carried) see(messageId, seq, "was stored earlier as");
  for (const { messageId, confirmed } of facts.publishes.values()) {
    for (const { seq } of confirmed) if (seq !== undefined) see(messageId, seq, "was confirmed as");
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
  for (const { messageId, invoked, confirmed: all } of facts.publishes.values()) {
    const confirmed = all.filter(({ seq }) => seq !== undefined);
    const wrong = (what: string) =>
      facts.found.push({ kind: "duplicate-flag", what: `${messageId} ${what}` });
    if (facts.carried.has(messageId)) {
      if (confirmed.some(({ duplicate }) => !duplicate)) wrong("was stored earlier, and confirmed as new");
      continue;
    }
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
  for (const { producer, messageId, confirmed, isOutOfOrder } of facts.publishes.values()) {
    const seq = confirmed[0]?.seq ?? seqOf.get(messageId);
    if (seq === undefined || isOutOfOrder || facts.carried.has(messageId)) continue;
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
function checkLeases(deliveries: Delivery[], options: CheckOptions, { found, steps }: Facts): void {
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
    if (delivery.lost && delivery.settled) {
      found.push({ kind: "answer-changed", what: `${name(delivery)} was answered as lost, and as settled` });
    }
    if (next && next.atMs + options.slackMs < leaseEndMs(delivery, steps)) {
      found.push({
        kind: "leased-twice",
        what: `${name(next)} came ${Math.round(next.atMs - delivery.atMs)} ms after ${name(delivery)}, whose lease of ${delivery.leaseMs} ms nobody had ended`,
      });
    }
    checkRevoked(delivery, next, options, { found, steps });
  });
}

/** A consumer whose lease still ran on a connection that still stood was told that it had lost it. */
function checkRevoked(
  delivery: Delivery,
  next: Delivery | undefined,
  options: CheckOptions,
  { found, steps }: Pick<Facts, "found" | "steps">,
): void {
  const { lost, ackInvoked, freed, returned } = delivery;
  if (!lost || !ackInvoked || returned || next) return;
  if (freed && freed.index < lost.index) return;
  if (lost.atMs + options.slackMs < earliest(delivery.atMs, delivery.leaseMs, steps)) {
    found.push({ kind: "lease-revoked", what: `${name(delivery)} was refused as lost within its lease` });
  }
}

/** The time before which nobody else may get the message: the lease's end unless the consumer ended it sooner. */
function leaseEndMs(delivery: Delivery, steps: ClockStep[]): number {
  return Math.min(
    earliest(delivery.atMs, delivery.leaseMs, steps),
    delivery.returned?.atMs ?? Infinity,
    delivery.freed
      ? earliest(delivery.freed.fromMs, delivery.freed.atMs - delivery.freed.fromMs, steps)
      : Infinity,
  );
}

/** When so much time has passed by a clock that was stepped meanwhile; a step back is as if it had not been. */
function earliest(fromMs: number, forMs: number, steps: ClockStep[]): number {
  let end = fromMs + forMs;
  for (const { atMs, byMs } of steps)
    if (byMs > 0 && atMs >= fromMs - STEP_SLACK_MS && atMs <= end) end -= byMs;
  return end;
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
  for (const [group, members] of groups) checkGroup(group, members, options, facts);
}

function checkGroup(group: string, members: Delivery[], options: CheckOptions, facts: Facts): void {
  const { found, steps, deadLettered } = facts;
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
    const mayBeDead = members.some(({ seq, messageId }) => seq === previous && deadLettered.has(messageId));
    if (previous !== undefined && !mayBeDead && !((acked.get(previous) ?? Infinity) < member.index)) {
      wrong("group-order", `came before seq ${previous} was acked`);
    }
    if (furthest && furthest.seq > member.seq) wrong("group-order", `came after ${name(furthest)}`);
    const other = furthest && furthest.seq !== member.seq ? furthest : latest.get(previous ?? -1);
    const otherIsOut = other && !(other.ackInvoked && other.ackInvoked.index < member.index);
    if (otherIsOut && member.atMs + options.slackMs < leaseEndMs(other, steps)) {
      wrong("group-overlap", `came while ${name(other)} was out`);
    }
    latest.set(member.seq, member);
    if (!furthest || member.seq > furthest.seq) furthest = member;
  }
}

/** One end for each message: settled by one handle, or one dead letter; and none comes back from an earlier part of the run. */
function checkEnds(facts: Facts, { settledUpTo = 0 }: CheckOptions): void {
  const wrong = (kind: ViolationKind, what: string) => facts.found.push({ kind, what });
  for (const [messageId, times] of facts.deadLettered) {
    if (times > 1) wrong("ended-twice", `${messageId} was dead-lettered ${times} times`);
  }
  for (const deliveries of facts.bySeq.values()) {
    const [first] = deliveries;
    const settled = deliveries.find((delivery) => delivery.settled);
    if (settled && facts.deadLettered.has(settled.messageId) && !settled.isRejected) {
      wrong("ended-twice", `${name(settled)} was settled, and dead-lettered as well`);
    }
    if (first && (first.seq <= settledUpTo || facts.carried.has(first.messageId))) {
      wrong("acked-delivered-again", `${name(first)} was delivered, though settled before`);
    }
  }
}

/** At the end of a drained run every confirmed message was acked by somebody, and the seqs have no holes. */
function checkNothingMissing(facts: Facts, { settledUpTo }: CheckOptions): void {
  const seqs = new Set<number>(facts.bySeq.keys());
  if (settledUpTo !== undefined) seqs.add(settledUpTo);
  const byId = new Map<string, Delivery[]>();
  for (const delivery of facts.deliveries.values()) {
    const known = byId.get(delivery.messageId);
    if (known) known.push(delivery);
    else byId.set(delivery.messageId, [delivery]);
  }
  for (const { messageId, confirmed } of facts.publishes.values()) {
    if (confirmed.length === 0 || facts.carried.has(messageId)) continue;
    const seq = confirmed.find((confirm) => confirm.seq !== undefined)?.seq;
    if (seq !== undefined) seqs.add(seq);
    const deliveries = byId.get(messageId) ?? [];
    // An ack without an answer may have been executed; one that was answered as lost was not.
    if (deliveries.some((delivery) => delivery.settled || (delivery.ackInvoked && !delivery.lost))) continue;
    if (facts.deadLettered.has(messageId)) continue;
    facts.found.push({
      kind: "lost",
      what: `${messageId} (seq ${seq ?? "unknown"}) was confirmed and ${deliveries.length ? "delivered, but nobody acked it" : "never delivered"}`,
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
