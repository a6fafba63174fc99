// Looks at a queue without changing anything: messages by state, and the counts.
import { Writer } from "../bytes/writer.ts";
import { RecordView } from "../message/record.ts";
import type { Consumer } from "./consumers.ts";
import type { EntryState } from "./entry.ts";
import { headPosition } from "./head.ts";
import type { Ledger } from "./ledger.ts";
import type { Queue } from "./queue.ts";

import type { ConsumerDescription, ConsumerPage, PeekState, PreparedPage, QueueDescription } from "./rpc.ts";

import { deadLetterQueue } from "./settings.ts";

/** Bytes that one peek returns at most. */
const MAX_PEEK_BYTES = 8_000_000;

const STATES: Record<PeekState, readonly EntryState[]> = {
  ready: ["ready", "parked"],
  delayed: ["waiting"],
  leased: ["leased"],
};

/**
 * Copies up to `limit` records that are in a state: oldest first, of ready ones those with a higher priority before others; delayed ones
 * as they will be due, after those in back-off.
 */
export function peek(queue: Queue, state: PeekState, limit: number, now: number): Uint8Array {
  const found = new Writer();
  let left = limit;
  for (const view of records(queue, state)) {
    if (left <= 0 || found.length + view.size > MAX_PEEK_BYTES) break;
    if (view.expiresAt > 0 && view.expiresAt <= now && state !== "leased") continue;
    found.raw(view.record);
    left--;
  }
  return found.take();
}

function* records(queue: Queue, state: PeekState): Generator<RecordView> {
  const { ledger, store } = queue;
  const entries = [...ledger.entries.values()].filter((entry) => STATES[state].includes(entry.state));
  for (const entry of entries.sort((a, b) => b.level - a.level || a.position - b.position)) {
    // The record keeps the counts of its last move; the books know the latest.
    const copy = new RecordView(store.log.record(entry.position)!.record.slice());
    copy.setCounts(entry.attempts, entry.failures);
    yield copy;
  }
  if (state === "ready") {
    for (let left = ledger.untaken, at = ledger.cursor; left > 0; at++) {
      at = store.log.next(at)!;
      if (ledger.ahead.has(at)) continue;
      left--;
      yield store.log.record(at)!;
    }
  }
  if (state === "delayed") {
    for (const rows of store.delayed()) {
      for (const view = new RecordView(rows); view.valid; view.next()) yield view;
    }
  }
}

/** The queue's settings and counts. */
export function describe(queue: Queue, now: number): QueueDescription {
  const { ledger, name } = queue;
  const { readyBytes: _, ...counts } = ledger.counts;
  return {
    name,
    epoch: ledger.epoch,
    settings: { ...ledger.settings, deadLetterTo: deadLetterQueue(name, ledger.settings) },
    stats: {
      ...counts,
      oldestReadyMs: Math.max(0, now - oldestReady(queue, now)),
      consumers: ledger.consumers.size,
      rowsWritten: queue.rowsWritten,
    },
    prepared: { waiting: ledger.prepared.size, abandoned: ledger.prepared.abandoned },
  };
}

/** A page of the prepared messages, oldest first. */
export function listPrepared({ ledger }: Queue, after: number, limit: number): PreparedPage {
  const left = [...ledger.prepared.values()].filter(({ key }) => key > after);
  const page = left.slice(0, limit);
  const prepared = page.map(({ messageId, checkTo, asked, checks, checkAt, bytes }) => ({
    ...{ messageId, checkTo: `queue:${checkTo}`, asked, checks, checkAt, bytes },
  }));
  return left.length > limit ? { prepared, next: page.at(-1)!.key } : { prepared };
}

/** Some of the queue's consumers, in the order they attached. Who comes or goes between two pages may move others over their border. */
export function listConsumers({ ledger }: Queue, after: number, limit: number): ConsumerPage {
  const all = [...ledger.consumers.values()];
  const consumers = all.slice(after, after + limit).map((consumer) => describeConsumer(ledger, consumer));
  return after + limit < all.length ? { consumers, next: after + limit } : { consumers };
}

function describeConsumer({ settings, active }: Ledger, consumer: Consumer): ConsumerDescription {
  const { ref, client, credit, used, filter, leaseMs, paused } = consumer;
  return {
    kind: ref > 0 ? "subscription" : "receive",
    ...(ref > 0 && { client }),
    ...{ credit, unsettled: used },
    ...(filter !== "" && { filter }),
    ...(leaseMs > 0 && { leaseMs }),
    paused,
    ...(settings.singleActiveConsumer && { active: ref === active.ref }),
  };
}

function oldestReady(queue: Queue, now: number): number {
  const { ledger, store } = queue;
  let oldest = now;
  for (const entry of ledger.entries.values()) {
    if (entry.state === "ready" || entry.state === "parked") oldest = Math.min(oldest, entry.time);
  }
  const head = headPosition(queue);
  return head === undefined ? oldest : Math.min(oldest, store.log.record(head)!.time);
}
