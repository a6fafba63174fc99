// Receipts: whoever asked for it is told how a message ended in this queue, and who settled it.
import { parseAddress } from "../address.ts";
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import { isRefusal } from "../errors.ts";
import { EMPTY_MESSAGE, JSON_BODY, type RecordView } from "../message/record.ts";
import { Book } from "./book.ts";
import { moveTarget } from "./destination.ts";
import type { Entry } from "./entry.ts";
import type { Ledger } from "./ledger.ts";
import type { Turn } from "./turn.ts";

/** How a message ended. */
export type ReceiptOutcome = "ack" | "dead" | "expired";

/** The body of a receipt. */
export interface Receipt {
  /** The message's own. */
  messageId: string;
  queue: string;
  epoch: number;
  seq: number;
  outcome: ReceiptOutcome;
  /** Client id of who settled it, "" when nobody did or it is not known. */
  client: string;
  attempt: number;
  /** ms since the epoch. */
  time: number;
  /** What a consumer said when it gave the message up. */
  reason?: string;
}

/* PERSISTED. A fact: u8 1 wanted | 0 done, f64 position. In a checkpoint: u32 × f64 position. */

/** Positions of the messages before the cursor of which somebody wants a receipt: no other record is read when it ends. */
export class Receipts extends Book {
  readonly number = 4;
  readonly #wanted = new Set<number>();

  /** Receipts that are wanted. */
  get size(): number {
    return this.#wanted.size;
  }

  wants(position: number): boolean {
    return this.#wanted.has(position);
  }

  want(position: number): void {
    this.#note(true, position);
    this.#wanted.add(position);
  }

  /** The message has ended, or moved. */
  done(position: number): void {
    this.#note(false, position);
    this.#wanted.delete(position);
  }

  /** The queue was purged: nobody is told of what is no longer in the books, which are a fact already. */
  keep(entries: ReadonlyMap<number, Entry>): void {
    for (const position of this.#wanted) if (!entries.has(position)) this.#wanted.delete(position);
  }

  replay(fact: Reader): void {
    if (fact.u8() === 1) this.want(fact.f64());
    else this.done(fact.f64());
  }

  save(to: Writer): void {
    to.u32(this.#wanted.size);
    for (const position of this.#wanted) to.f64(position);
  }

  load(from: Reader): void {
    for (let left = from.u32(); left > 0; left--) this.#wanted.add(from.f64());
  }

  #note(wanted: boolean, position: number): void {
    this.note((to) => {
      to.u8(wanted ? 1 : 0);
      to.f64(position);
    });
  }
}

/** The cursor has passed a message: its end must be told if its publisher asked for that. */
export function watchReceipt(ledger: Ledger, position: number, view: RecordView): void {
  if (view.wantsReceipt) ledger.receipts.want(position);
}

/**
 * Sends the receipt of a message that is about to end, if one is wanted.
 *
 * @param by ref of the consumer that settled it
 */
export function sendReceipt(
  turn: Turn,
  entry: Entry,
  outcome: ReceiptOutcome,
  reason = "",
  by = entry.ref,
): void {
  const { ledger, now, queue } = turn;
  const { position, seq, attempts: attempt } = entry;
  if (!ledger.receipts.wants(position)) return;
  ledger.receipts.done(position);
  const { receiptTo, messageId, correlationId } = turn.store.log.record(position)!.decode();
  const address = parseAddress(receiptTo);
  if (isRefusal(address)) return;
  const { epoch } = ledger;
  const client = ledger.consumers.get(by)?.client ?? "";
  const receipt: Receipt = { messageId, queue, epoch, seq, outcome, client, attempt, time: now };
  if (reason !== "") receipt.reason = reason;
  turn.sendTo(moveTarget(address), {
    ...EMPTY_MESSAGE,
    topic: address.kind === "topic" ? address.name : "",
    messageId: `receipt ${queue} ${epoch} ${seq}`,
    correlationId,
    bodyKind: JSON_BODY,
    body: JSON.stringify(receipt),
    qos: 2,
    time: now,
  });
}
