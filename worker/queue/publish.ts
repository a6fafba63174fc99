// What happens when messages arrive: duplicates are recognised, limits are kept, delays set aside, the rest goes to the log.
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import type { Condition } from "../link/condition.ts";
import type { Published } from "../link/results.ts";
import { RecordView } from "../message/record.ts";
import { elect } from "./active.ts";
import { checkCondition } from "./conditions.ts";
import { dispatch } from "./dispatch.ts";
import type { Entry } from "./entry.ts";
import { deadLetter, expire } from "./failures.ts";
import { headExpiry, takeNext } from "./head.ts";
import { sendReceipt } from "./receipts.ts";
import type { Turn } from "./turn.ts";

/** Stores the records of a packet; one outcome for each, in their order. Writes seq and times into the records. */
export function publish(
  turn: Turn,
  records: Uint8Array,
  condition: Condition | undefined,
): (Published | Refusal)[] {
  const outcomes: (Published | Refusal)[] = [];
  for (const view = new RecordView(records); view.valid; view.next()) {
    outcomes.push(publishOne(turn, view, condition));
  }
  return outcomes;
}

/** Stores one record, unless its id is known or something stands against it. */
export function publishOne(
  turn: Turn,
  view: RecordView,
  condition: Condition | undefined,
): Published | Refusal {
  const { ledger, now } = turn;
  const { dedupWindowMs } = ledger.settings;
  const sequence = condition?.producer;
  const known = sequence && ledger.producers.check(sequence, now, dedupWindowMs);
  if (isRefusal(known)) return known;
  if (known !== undefined) return { seq: known.seq, duplicate: true, epoch: ledger.epoch };
  const duplicate = findDuplicate(turn, view);
  if (duplicate !== undefined) {
    // What came before by another way takes the place that it has in the producer's sequence now.
    if (sequence !== undefined) ledger.producers.add(sequence, duplicate.seq, now);
    return duplicate;
  }
  const unmet = condition === undefined ? undefined : checkCondition(turn, condition);
  if (unmet !== undefined) return unmet;
  const later = view.dueAt > now;
  if (!later) {
    const refusal = makeRoom(turn, view.size);
    if (refusal !== undefined) return refusal;
  }
  const messageId = view.publisherId && dedupWindowMs > 0 ? view.messageId : undefined;
  const seq = store(turn, view, messageId);
  if (sequence !== undefined) ledger.producers.add(sequence, seq, now);
  return { seq, duplicate: false, epoch: ledger.epoch };
}

/** Stores a record under the next seq; `messageId` when it counts for the dedup window. */
export function store(turn: Turn, view: RecordView, messageId: string | undefined): number {
  const seq = turn.nextSeq++;
  const { ttlMs } = turn.ledger.settings;
  view.setSeq(seq);
  if (ttlMs !== null) {
    const latest = turn.now + ttlMs;
    if (view.expiresAt === 0 || view.expiresAt > latest) view.setExpiresAt(latest);
  }
  if (view.dueAt > turn.now) {
    turn.delay(view.dueAt, view.record);
    turn.ledger.defer(1, view.size);
    if (messageId !== undefined) turn.rememberId(seq, messageId);
  } else {
    turn.accept(view.record, seq, messageId);
  }
  return seq;
}

/**
 * Takes another object's messages, unless this transfer was taken before. They are beyond this queue's limits: one that found no
 * room would be lost.
 *
 * @param published whether they were published there to this queue, so that its dedup window counts: dead letters and what topics
 * hand on are moved
 * @returns what became of published ones, nothing of a transfer taken before
 */
export function takeTransfer(
  turn: Turn,
  { source, id, records, published }: { source: string; id: number; records: Uint8Array; published: boolean },
): Published[] {
  const { ledger, now } = turn;
  if (id <= (ledger.sources.get(source) ?? 0)) return [];
  ledger.heardFrom(source, id);
  const outcomes: Published[] = [];
  // The caller's bytes are its own: seq and times are written into a copy.
  for (const view = new RecordView(records.slice()); view.valid; view.next()) {
    view.setTime(now);
    const known = published ? findDuplicate(turn, view) : undefined;
    const messageId = published && ledger.settings.dedupWindowMs > 0 ? view.messageId : undefined;
    outcomes.push(known ?? { seq: store(turn, view, messageId), duplicate: false, epoch: ledger.epoch });
  }
  return published ? outcomes : [];
}

/** The message that was stored under the same publisher-chosen id, or is prepared under it (its seq is 0). */
export function findDuplicate({ ledger, dedup, now }: Turn, view: RecordView): Published | undefined {
  if (!view.publisherId) return undefined;
  const { messageId } = view;
  const { dedupWindowMs } = ledger.settings;
  const seq = ledger.prepared.get(messageId) ? 0 : dedup.find(messageId, now, dedupWindowMs);
  return seq === undefined ? undefined : { seq, duplicate: true, epoch: ledger.epoch };
}

/** Why some messages cannot all be stored now, if they cannot. Changes nothing but what is dispatched anyway. */
export function checkRoom(turn: Turn, views: RecordView[]): Refusal | undefined {
  const { maxMessages, maxBytes, overflow } = turn.ledger.settings;
  if (maxMessages === null && maxBytes === null) return undefined;
  const fresh = views.filter((view) => view.dueAt <= turn.now && findDuplicate(turn, view) === undefined);
  for (const { size } of fresh) if (maxBytes !== null && size > maxBytes) return tooLarge(size, maxBytes);
  const bytes = fresh.reduce((sum, { size }) => sum + size, 0);
  if (overflow !== "reject" || fits(turn, fresh.length, bytes)) return undefined;
  makeWay(turn);
  return fits(turn, fresh.length, bytes) ? undefined : full(turn);
}

/** Keeps the queue within its limits before a message of `bytes` is stored; the refusal, when that cannot be. */
function makeRoom(turn: Turn, bytes: number): Refusal | undefined {
  const { maxMessages, maxBytes, overflow } = turn.ledger.settings;
  if (maxMessages === null && maxBytes === null) return undefined;
  if (maxBytes !== null && bytes > maxBytes) return tooLarge(bytes, maxBytes);
  if (fits(turn, 1, bytes)) return undefined;
  makeWay(turn);
  while (!fits(turn, 1, bytes)) {
    const oldest = overflow === "reject" ? undefined : oldestReady(turn);
    if (oldest === undefined) return full(turn);
    if (overflow === "dead-letter") deadLetter(turn, oldest, "overflow", "", false);
    else {
      sendReceipt(turn, oldest, "expired", "overflow");
      turn.ledger.finish(oldest, "expired", false);
    }
  }
  return undefined;
}

function fits(turn: Turn, count: number, bytes: number): boolean {
  const { counts, settings } = turn.ledger;
  const { maxMessages, maxBytes } = settings;
  const { unsealed } = turn;
  if (maxMessages !== null && counts.ready + unsealed.count + count > maxMessages) return false;
  return maxBytes === null || counts.readyBytes + unsealed.bytes + bytes <= maxBytes;
}

/** Messages that consumers wait for are not in the way. */
function makeWay(turn: Turn): void {
  elect(turn);
  if (!turn.ledger.consumers.waiting) return;
  turn.seal();
  dispatch(turn);
}

function full({ ledger: { counts, settings } }: Turn): Refusal {
  const { maxMessages, maxBytes } = settings;
  const limit = maxMessages !== null ? `${maxMessages} messages` : `${maxBytes} bytes`;
  return refuse("queue-full", `the queue holds ${counts.ready} ready messages, at most ${limit}`);
}

function tooLarge(bytes: number, maxBytes: number): Refusal {
  return refuse("message-too-large", `the message has ${bytes} bytes, the queue holds at most ${maxBytes}`);
}

/** The ready message that goes when there is no room: of those with the lowest priority, the oldest. */
function oldestReady(turn: Turn): Entry | undefined {
  const { ledger } = turn;
  let oldest = ledger.ready.firstOf(0);
  for (const [position] of ledger.parked > 0 ? ledger.groups.values() : []) {
    if (position !== undefined && position < (oldest?.position ?? Number.POSITIVE_INFINITY)) {
      oldest = ledger.entries.get(position);
    }
  }
  if (oldest !== undefined) return oldest;
  if (ledger.untaken === 0) turn.seal();
  return takeNext(turn) ?? ledger.ready.lowestAbove0();
}

/** Ends the ready messages at the head of the log whose time to live is over. */
export function expireHead(turn: Turn): void {
  while (headExpiry(turn) <= turn.now) expire(turn, takeNext(turn)!);
}
