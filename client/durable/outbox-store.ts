// What a durable outbox keeps in IndexedDB. Each method is one transaction that is on disk when it resolves, so that a page may be gone
// between any two of them; and each looks at what is there, so that a tab that slept and wakes up with old news changes nothing.
//
//   waiting    place → { place, to, text, bytes?, messageId, size, tab, storedAtMs }   in the order of sending
//   numbers    place → { place, to, producer, inDoubt }           what was sent, or is about to be
//   addresses  to → { to, id, epoch, next }                       how what goes there is numbered
//   refused    place → a waiting message with { error, refusedAtMs }
//   results    place → { place, result }                          what another tab waits to be told
//   state      "totals" → { waiting, refused, bytes }, "producer" → { id, epoch }, "lease" → { owner, untilMs }
import { type DBSchema, type IDBPDatabase, type IDBPTransaction, openDB } from "idb";
import type { SendResult } from "../index.ts";
import type { ProducerPlace } from "../publish.ts";
import { type Judgement, type Refusal, unknownOutcome } from "./judge.ts";
import { inTransaction, STRICT } from "./transaction.ts";

/** A message as it is handed in. */
export interface Draft {
  to: string;
  /** Its options, and its body where that is JSON, as JSON text. */
  text: string;
  /** Its body where that is bytes. */
  bytes?: Uint8Array;
  messageId: string;
  /** What it counts against the limit. */
  size: number;
  /** Which tab is to be told. */
  tab: string;
  storedAtMs: number;
}

/** A message that is stored. */
export interface Stored extends Draft {
  place: number;
}

/** A message that the broker refused. */
export interface StoredRefusal extends Stored {
  error: Refusal;
  refusedAtMs: number;
}

/** A message with its number, to be sent. */
export interface Claimed extends Stored {
  producer: ProducerPlace;
  wasInDoubt: boolean;
}

/** What is in the outbox. */
export interface Totals {
  waiting: number;
  refused: number;
  bytes: number;
}

/** How a message ended: with the broker's receipt or its refusal. */
export type End = SendResult | Refusal;

/** A message that waits no more. */
export interface Ended {
  place: number;
  to: string;
  messageId: string;
  end: End;
}

const LONG_GONE: SendResult = { messageId: "", seq: 0, epoch: 0, duplicate: true };

interface Numbered {
  place: number;
  to: string;
  producer: ProducerPlace;
  inDoubt: boolean;
}

interface Address {
  to: string;
  id: string;
  epoch: number;
  next: number;
}

interface Schema extends DBSchema {
  waiting: { key: number; value: Stored };
  numbers: { key: number; value: Numbered; indexes: { to: string } };
  addresses: { key: string; value: Address };
  refused: { key: number; value: StoredRefusal };
  results: { key: number; value: { place: number; result: SendResult } };
  state: { key: string; value: unknown };
}

type Name = "waiting" | "numbers" | "addresses" | "refused" | "results" | "state";
const ALL: Name[] = ["waiting", "numbers", "addresses", "refused", "results", "state"];
type Writing = IDBPTransaction<Schema, Name[], "readwrite">;

const VERSION = 1;
/** What bounds the rows beside the messages. */
export const BOUNDS = {
  /** Results that tabs have not fetched; the oldest are those of tabs that are gone. */
  results: 1_000,
  /** Addresses whose numbers are remembered; beyond it those with nothing under way are numbered in a new epoch when they come again. */
  addresses: 10_000,
};

/** The database of one outbox. */
export class OutboxStore {
  readonly #database: IDBPDatabase<Schema>;
  readonly #bounds: typeof BOUNDS;

  private constructor(database: IDBPDatabase<Schema>, bounds: typeof BOUNDS) {
    this.#database = database;
    this.#bounds = bounds;
  }

  /** @throws DOMException when IndexedDB cannot be opened */
  static async open(name: string, bounds = BOUNDS): Promise<OutboxStore> {
    const database = await openDB<Schema>(`dunlin-outbox:${name}`, VERSION, {
      upgrade(made) {
        made.createObjectStore("waiting", { keyPath: "place", autoIncrement: true });
        made.createObjectStore("numbers", { keyPath: "place" }).createIndex("to", "to");
        made.createObjectStore("addresses", { keyPath: "to" });
        for (const store of ["refused", "results"] as const)
          made.createObjectStore(store, { keyPath: "place" });
        made.createObjectStore("state");
      },
      blocking: (_current, _blocked, event) => (event.target as IDBDatabase).close(),
    });
    return new OutboxStore(database, bounds);
  }

  /** Stores messages behind those that are there. @returns the place of each; undefined where the limits leave no room for it */
  put(
    drafts: readonly Draft[],
    limits: { maxMessages: number; maxBytes: number },
  ): Promise<{ places: (number | undefined)[]; totals: Totals }> {
    return this.#write(async (tx) => {
      const totals = await totalsOf(tx);
      const places: (number | undefined)[] = [];
      for (const draft of drafts) {
        const hasRoom =
          totals.waiting + totals.refused < limits.maxMessages &&
          totals.bytes + draft.size <= limits.maxBytes;
        places.push(hasRoom ? await addTo(tx, draft, totals) : undefined);
      }
      return { places, totals: await finish(tx, totals) };
    });
  }

  /**
   * Numbers the first messages that wait, and marks them as in doubt: they may be sent once this has resolved.
   *
   * @param isBlocked whether nothing is to be sent to an address now
   * @param freshId for the producer, if there is none yet
   */
  claim(
    limits: { messages: number; bytes: number },
    isBlocked: (to: string) => boolean,
    freshId: string,
  ): Promise<Claimed[]> {
    return this.#write(async (tx) => {
      const claimed: Claimed[] = [];
      let bytes = 0;
      let cursor = await tx.objectStore("waiting").openCursor();
      while (cursor && claimed.length < limits.messages) {
        const message = cursor.value;
        if (!isBlocked(message.to)) {
          bytes += message.size;
          if (claimed.length > 0 && bytes > limits.bytes) break;
          claimed.push({ ...message, ...(await numberOf(tx, message, freshId, this.#bounds.addresses)) });
        }
        cursor = await cursor.continue();
      }
      return claimed;
    });
  }

  /**
   * Makes judgements come true, one for each address.
   *
   * @param freshId for where a new producer is needed
   * @param ownTab whose messages need no stored result
   * @returns what waits no more
   */
  settle(
    judgements: readonly Judgement[],
    { freshId, ownTab, nowMs }: { freshId: string; ownTab: string; nowMs: number },
  ): Promise<{ ended: Ended[]; totals: Totals }> {
    return this.#write(async (tx) => {
      const totals = await totalsOf(tx);
      const ended: Ended[] = [];
      for (const judgement of judgements)
        await settleOne(tx, judgement, { freshId, ownTab, nowMs, totals, ended });
      const results = tx.objectStore("results");
      const excess = (await results.count()) - this.#bounds.results;
      const oldest = excess > 0 ? await results.getAllKeys(null, excess) : [];
      for (const place of oldest) await results.delete(place);
      return { ended, totals: await finish(tx, totals) };
    });
  }

  /** What became of messages; those that still wait are left out. Forgets the results that it tells. */
  fates(places: readonly number[]): Promise<{ ended: { place: number; end: End }[]; totals: Totals }> {
    return this.#write(async (tx) => {
      const waiting = new Set(await tx.objectStore("waiting").getAllKeys());
      const ends = new Map<number, End>();
      for (const { place, error } of await tx.objectStore("refused").getAll()) ends.set(place, error);
      for (const { place, result } of await tx.objectStore("results").getAll()) ends.set(place, result);
      const ended: { place: number; end: End }[] = [];
      for (const place of places) {
        if (waiting.has(place)) continue;
        // Of what went so long ago that its result is forgotten, no more is known.
        ended.push({ place, end: ends.get(place) ?? LONG_GONE });
        await tx.objectStore("results").delete(place);
      }
      return { ended, totals: await finish(tx, await totalsOf(tx)) };
    });
  }

  async totals(): Promise<Totals> {
    return readTotals(await this.#database.get("state", "totals"));
  }

  refused(): Promise<StoredRefusal[]> {
    return this.#database.getAll("refused");
  }

  /** Takes a refused message out; with `again`, it waits once more, behind all others. @returns whether it was there */
  takeRefused(place: number, again: boolean): Promise<{ place: number | undefined; totals: Totals }> {
    return this.#write(async (tx) => {
      const totals = await totalsOf(tx);
      const message = await tx.objectStore("refused").get(place);
      let now: number | undefined;
      if (message) {
        await tx.objectStore("refused").delete(place);
        totals.refused -= 1;
        totals.bytes -= message.size;
        const { place: _place, error: _error, refusedAtMs: _refusedAtMs, ...draft } = message;
        now = again ? await addTo(tx, draft, totals) : place;
      }
      return { place: now, totals: await finish(tx, totals) };
    });
  }

  /** Takes the lead, or keeps it, until a time; to end it, until 0. @returns whether the owner has it */
  lease(owner: string, nowMs: number, untilMs: number): Promise<boolean> {
    return this.#write(async (tx) => {
      const held = (await tx.objectStore("state").get("lease")) as
        | { owner: string; untilMs: number }
        | undefined;
      const isFree = !held || held.owner === owner || held.untilMs <= nowMs;
      if (isFree) await tx.objectStore("state").put({ owner, untilMs }, "lease");
      return isFree;
    });
  }

  close(): void {
    this.#database.close();
  }

  #write<Result>(work: (tx: Writing) => Promise<Result>): Promise<Result> {
    return inTransaction(this.#database.transaction(ALL, "readwrite", STRICT), work);
  }
}

async function totalsOf(tx: Writing): Promise<Totals> {
  return readTotals(await tx.objectStore("state").get("totals"));
}

function readTotals(stored: unknown): Totals {
  return { waiting: 0, refused: 0, bytes: 0, ...(stored as Totals | undefined) };
}

async function finish(tx: Writing, totals: Totals): Promise<Totals> {
  await tx.objectStore("state").put(totals, "totals");
  return totals;
}

async function addTo(tx: Writing, draft: Draft, totals: Totals): Promise<number> {
  totals.waiting += 1;
  totals.bytes += draft.size;
  // The database chooses the place.
  return tx.objectStore("waiting").add(draft as Stored);
}

/** The number of a message: the one it has, or else the next one of its address. */
async function numberOf(
  tx: Writing,
  { place, to }: Stored,
  freshId: string,
  maxAddresses: number,
): Promise<{ producer: ProducerPlace; wasInDoubt: boolean }> {
  const numbers = tx.objectStore("numbers");
  const known = await numbers.get(place);
  if (known) {
    if (!known.inDoubt) await numbers.put({ ...known, inDoubt: true });
    return { producer: known.producer, wasInDoubt: known.inDoubt };
  }
  const address =
    (await tx.objectStore("addresses").get(to)) ?? (await newAddress(tx, to, freshId, maxAddresses));
  const producer = { id: address.id, epoch: address.epoch, seq: address.next };
  await tx.objectStore("addresses").put({ ...address, next: address.next + 1 });
  await numbers.put({ place, to, producer, inDoubt: true });
  return { producer, wasInDoubt: false };
}

async function newAddress(tx: Writing, to: string, freshId: string, maxAddresses: number): Promise<Address> {
  const state = tx.objectStore("state");
  const addresses = tx.objectStore("addresses");
  const stored = (await state.get("producer")) as { id: string; epoch: number } | undefined;
  const producer = stored ?? { id: freshId, epoch: 1 };
  if ((await addresses.count()) >= maxAddresses) {
    for (const old of await addresses.getAll()) {
      if ((await tx.objectStore("numbers").index("to").count(old.to)) > 0) continue;
      await addresses.delete(old.to);
      // Should it come again, it counts from 1: in an epoch that it never had.
      producer.epoch = Math.max(producer.epoch, old.epoch + 1);
    }
  }
  await state.put(producer, "producer");
  return { to, ...producer, next: 1 };
}

interface Settling {
  freshId: string;
  ownTab: string;
  nowMs: number;
  totals: Totals;
  ended: Ended[];
}

async function settleOne(tx: Writing, judgement: Judgement, settling: Settling): Promise<void> {
  const { of, verdicts, renumber, isDoubtful } = judgement;
  const numbers = tx.objectStore("numbers");
  let to: string | undefined;
  for (const verdict of verdicts) {
    const known = await numbers.get(verdict.place);
    if (!known || known.producer.id !== of.id || known.producer.epoch !== of.epoch) continue;
    to = known.to;
    if (verdict.is === "kept") await numbers.put({ ...known, inDoubt: verdict.inDoubt });
    else
      await takeOut(tx, verdict.place, verdict.is === "confirmed" ? verdict.result : verdict.error, settling);
  }
  if (!renumber || to === undefined) return;
  for (const { place, inDoubt } of await numbers.index("to").getAll(to)) {
    if (inDoubt && isDoubtful) await takeOut(tx, place, unknownOutcome(), settling);
    else await numbers.delete(place);
  }
  const addresses = tx.objectStore("addresses");
  const { id, epoch } = (await addresses.get(to))!;
  const next = renumber === "new" ? { id: settling.freshId, epoch: 1 } : { id, epoch: epoch + 1 };
  await addresses.put({ to, ...next, next: 1 });
}

/** A message waits no more. */
async function takeOut(
  tx: Writing,
  place: number,
  end: End,
  { ownTab, nowMs, totals, ended }: Settling,
): Promise<void> {
  const message = (await tx.objectStore("waiting").get(place))!;
  ended.push({ place, to: message.to, messageId: message.messageId, end });
  await tx.objectStore("waiting").delete(place);
  await tx.objectStore("numbers").delete(place);
  totals.waiting -= 1;
  if ("kind" in end) {
    totals.refused += 1;
    await tx.objectStore("refused").put({ ...message, error: end, refusedAtMs: nowMs });
  } else {
    totals.bytes -= message.size;
    if (message.tab !== ownTab) await tx.objectStore("results").put({ place, result: end });
  }
}
