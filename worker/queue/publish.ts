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

function publishOne(turn: Turn, view: RecordView, condition: Condition | undefined): Published | Refusal {
  const { ledger, now } = turn;
  const { dedupWindowMs } = ledger.settings;
  const sequence = condition?.producer;
  const known = sequence && ledger.producers.check(sequence, now, dedupWindowMs);
  if (isRefusal(known)) return known;
  if (known !== undefined) return { seq: known.seq, duplicate: true, epoch: ledger.epoch };
  const messageId = view.publisherId && dedupWindowMs > 0 ? view.messageId : undefined;
  if (messageId !== undefined) {
    const seq = turn.dedup.find(messageId, now, dedupWindowMs);
    if (seq !== undefined) {
      // What came before by another way takes the place that it has in the producer's sequence now.
      if (sequence !== undefined) ledger.producers.add(sequence, seq, now);
      return { seq, duplicate: true, epoch: ledger.epoch };
    }
  }
  const unmet = condition === undefined ? undefined : checkCondition(turn, condition);
  if (unmet !== undefined) return unmet;
  const later = view.dueAt > now;
  if (!later) {
    const refusal = makeRoom(turn, view.size);
    if (refusal !== undefined) return refusal;
  }
  const seq = store(turn, view, messageId);
  if (sequence !== undefined) ledger.producers.add(sequence, seq, now);
  return { seq, duplicate: false, epoch: ledger.epoch };
}

function store(turn: Turn, view: RecordView, messageId: string | undefined): number {
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
 * Takes another queue's messages, unless this transfer was taken before. They are beyond this queue's limits and dedup
 * window: a dead letter that found no room would be lost.
 */
export function takeTransfer(turn: Turn, source: string, id: number, records: Uint8Array): void {
  const { ledger } = turn;
  if (id <= (ledger.sources.get(source) ?? 0)) return;
  ledger.heardFrom(source, id);
  // The caller's bytes are its own: seq and times are written into a copy.
  for (const view = new RecordView(records.slice()); view.valid; view.next()) {
    view.setTime(turn.now);
    store(turn, view, undefined);
  }
}

/** Keeps the queue within its limits before a message of `bytes` is stored; the refusal, when that cannot be. */
function makeRoom(turn: Turn, bytes: number): Refusal | undefined {
  const { maxMessages, maxBytes, overflow } = turn.ledger.settings;
  if (maxMessages === null && maxBytes === null) return undefined;
  if (maxBytes !== null && bytes > maxBytes) {
    return refuse("message-too-large", `the message has ${bytes} bytes, the queue holds at most ${maxBytes}`);
  }
  if (fits(turn, bytes)) return undefined;
  // Messages that consumers wait for are not in the way.
  elect(turn);
  if (turn.ledger.consumers.waiting) {
    turn.seal();
    dispatch(turn);
  }
  while (!fits(turn, bytes)) {
    const oldest = overflow === "reject" ? undefined : oldestReady(turn);
    if (oldest === undefined) {
      const limit = maxMessages !== null ? `${maxMessages} messages` : `${maxBytes} bytes`;
      return refuse(
        "queue-full",
        `the queue holds ${turn.ledger.counts.ready} ready messages, at most ${limit}`,
      );
    }
    if (overflow === "dead-letter") deadLetter(turn, oldest, "overflow", "", false);
    else {
      sendReceipt(turn, oldest, "expired", "overflow");
      turn.ledger.finish(oldest, "expired", false);
    }
  }
  return undefined;
}

function fits(turn: Turn, bytes: number): boolean {
  const { counts, settings } = turn.ledger;
  const { count, bytes: unsealedBytes } = turn.unsealed;
  if (settings.maxMessages !== null && counts.ready + count + 1 > settings.maxMessages) return false;
  return settings.maxBytes === null || counts.readyBytes + unsealedBytes + bytes <= settings.maxBytes;
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
