// The end of the log that nobody has looked at: its first message, and what of it is taken at once for its priority.

import { positionOf } from "../log/log.ts";
import type { QueueStore } from "../log/store.ts";
import { RecordView } from "../message/record.ts";
import type { Entry } from "./entry.ts";
import type { Ledger } from "./ledger.ts";
import { watchReceipt } from "./receipts.ts";
import { levelOf } from "./settings.ts";

/** The books of a queue and what they are about. */
interface Parts {
  readonly ledger: Ledger;
  readonly store: QueueStore;
}

/** Position of the first message that was not taken; undefined when there is none. */
export function headPosition({ ledger, store: { log } }: Parts): number | undefined {
  const { cursor, untaken, ahead } = ledger;
  if (untaken === 0) return undefined;
  const position = ahead.size === 0 ? log.next(cursor, untaken) : ahead.head(cursor, (at) => log.next(at));
  if (position === undefined)
    throw new Error(`${untaken} messages are counted after ${cursor}, and the log has none`);
  return position;
}

/** The cursor passes the next message of the log; undefined at its end. */
export function takeNext(parts: Parts): Entry | undefined {
  const position = headPosition(parts);
  if (position === undefined) return undefined;
  const view = parts.store.log.record(position)!;
  const entry = parts.ledger.take(position, view);
  watchReceipt(parts.ledger, position, view);
  return entry;
}

/** When the first message that was not taken expires, Infinity when there is none or it never does. */
export function headExpiry(parts: Parts): number {
  const position = headPosition(parts);
  const expiresAt = position === undefined ? 0 : parts.store.log.record(position)!.expiresAt;
  return expiresAt > 0 ? expiresAt : Number.POSITIVE_INFINITY;
}

/**
 * Takes the messages of a new row that have a priority. One in a group keeps its place there, and waits with the group.
 *
 * @param messages the row's records
 */
export function takeAhead(ledger: Ledger, turn: number, messages: Uint8Array): void {
  const { settings, ahead } = ledger;
  let index = 0;
  for (const view = new RecordView(messages); view.valid; view.next(), index++) {
    if (view.priority === 0) continue;
    const level = levelOf(settings, view.priority);
    if (level === 0 || view.group !== "" || !ahead.hasRoom) continue;
    const position = positionOf(turn, index);
    ahead.take(position, level, view);
    watchReceipt(ledger, position, view);
  }
}
