// What holds of a queue's books after every turn, whatever it was asked: counts, leases, groups, consumers, and that nobody waits for
// what could go.
import { expect } from "vitest";
import { Log } from "../../worker/log/log.ts";
import type { Message } from "../../worker/message/record.ts";
import { loadLedger, saveLedger } from "../../worker/queue/checkpoint.ts";
import type { Consumer } from "../../worker/queue/consumers.ts";
import type { Entry } from "../../worker/queue/entry.ts";
import { Ledger } from "../../worker/queue/ledger.ts";
import { peek } from "../../worker/queue/peek.ts";
import type { PeekState } from "../../worker/queue/rpc.ts";
import { Segments } from "../../worker/queue/segments.ts";
import { type Machine, messagesIn } from "./machine.ts";
import { NodeSql } from "./node-sql.ts";

const STATES: readonly PeekState[] = ["ready", "delayed", "leased"];

/** Checks everything; returns the messages that the queue holds. */
export function checkInvariants(machine: Machine): Message[] {
  const { ledger } = machine.queue;
  const entries = [...ledger.entries.values()];
  checkLeases(machine, entries);
  checkGroups(entries);
  const wanting = entries.filter(({ position }) => machine.queue.store.log.record(position)!.wantsReceipt);
  expect(
    wanting.every(({ position }) => ledger.receipts.wants(position)),
    "[RCP1] receipts",
  ).toBe(true);
  expect(ledger.receipts.size, "receipts that are wanted").toBe(wanting.length);
  for (const consumer of ledger.consumers.values()) {
    expect(consumer.used, `what ${consumer.ref} holds`).toBe(heldBy(ledger, entries, consumer));
  }
  checkSaved(machine);
  return checkCounts(machine);
}

function checkCounts({ queue }: Machine): Message[] {
  const { counts } = queue.ledger;
  const { ready, delayed, leased, settled, expired, deadLettered, accepted } = counts;
  expect(ready + delayed + leased + settled + expired + deadLettered, "[STA2]").toBe(accepted);
  let bytes = 0;
  const present = STATES.flatMap((state) => {
    const found = peek(queue, state, 1e6, 0);
    const messages = messagesIn(found);
    expect(messages.length, `messages that are ${state}`).toBe(counts[state]);
    if (state === "ready") expect(found.length, "bytes that are ready").toBe(counts.readyBytes);
    bytes += found.length;
    return messages;
  });
  expect(bytes, "bytes").toBe(counts.bytes);
  expect(new Set(present.map(({ seq }) => seq)).size, "no message is there twice").toBe(present.length);
  return present;
}

function checkLeases({ queue, now }: Machine, entries: Entry[]): void {
  const { ledger } = queue;
  const leases = entries.filter(({ state }) => state === "leased").map(({ lease }) => lease);
  expect(new Set(leases).size, "each lease is of one message").toBe(leases.length);
  for (const { position, state, ref, deadline } of entries) {
    if (state === "leased") expect(deadline, `the lease of ${position} runs`).toBeGreaterThan(now);
    else expect([ref, ledger.holds.has(position)], `nobody holds ${position}`).toEqual([0, false]);
  }
}

function checkGroups(entries: Entry[]): void {
  const heads = new Map<string, number>();
  for (const { group, state, position } of entries) {
    if (group === "") expect(state, "without a group nothing is parked").not.toBe("parked");
    else if (state !== "parked") {
      expect(heads.get(group), `${group} has one head, ${position} is a second`).toBe(undefined);
      heads.set(group, position);
    }
  }
  for (const { group } of entries)
    if (group !== "") expect(heads.has(group), `${group} has a head`).toBe(true);
}

/** The books from their facts, and from a checkpoint, are those in memory. */
function checkSaved(machine: Machine): void {
  const { ledger } = machine.queue;
  const books = machine.books();
  const loaded = new Ledger(new Segments(new Log(new NodeSql())));
  loadLedger(saveLedger(ledger, { turn: 0, rowsWritten: 0 }), loaded);
  const again = saveLedger(loaded, { turn: 0, rowsWritten: 0 });
  expect(Buffer.from(again).toString("base64"), "[EVC1] the books from a checkpoint").toBe(books);
  const { queue } = machine;
  const deadline = queue.nextDeadline;
  machine.reopen();
  const reopened = { books: machine.books(), deadline: machine.queue.nextDeadline };
  for (const { ref, used } of machine.queue.ledger.consumers.values()) {
    expect(ledger.consumers.get(ref)?.used, `what ${ref} holds over an eviction`).toBe(used);
  }
  machine.queue = queue;
  expect(reopened, "[EVC1] the books from facts").toEqual({ books, deadline });
}

/** What a consumer holds: its leases, and what is everyone's and it was sent. */
function heldBy({ everyone }: Ledger, entries: Entry[], consumer: Consumer): number {
  const own = entries.filter(({ state, ref }) => state === "leased" && ref === consumer.ref).length;
  return own + (consumer.ref > 0 ? [...everyone.of(consumer, false)].length : 0);
}

/** After a turn that was the last: whoever could get a message has got it. */
export function checkNobodyWaits({ queue, now }: Machine): void {
  const { ledger, store } = queue;
  const { settings, consumers, counts, parked, everyone, active } = ledger;
  if (
    settings.singleActiveConsumer &&
    [...consumers.values()].some(({ ref, paused }) => ref > 0 && !paused)
  ) {
    const current = consumers.get(active.ref);
    expect(current?.paused === false || (current?.used ?? 0) > 0, "somebody is active").toBe(true);
  }
  if (settings.paused) return;
  const ready = counts.ready - parked;
  if (settings.delivery === "all") {
    const takers = [...consumers.values()].filter(({ paused, credit }) => !paused && credit > 0);
    const credits = takers.filter(({ ref }) => ref > 0).map(({ credit }) => credit);
    if (credits.length > 0 && ready > 0) {
      expect(everyone.out.size, "[DEV6] what is out").toBeGreaterThanOrEqual(Math.min(...credits));
    }
    for (const consumer of takers) {
      const missing = [...everyone.of(consumer, true)].length;
      if (missing > 0) expect(consumer.used, "[DEV5]").toBeGreaterThanOrEqual(consumer.credit);
    }
    return;
  }
  for (const { ref, paused, used, credit, filter } of consumers.values()) {
    if (paused || used >= credit || (active.ref !== 0 && active.ref !== ref)) continue;
    if (filter === "") expect(ready, `messages that ${ref} could have`).toBe(0);
    for (const { position, state, expiresAt } of ledger.entries.values()) {
      if (state !== "ready" || (expiresAt > 0 && expiresAt <= now)) continue;
      const { headers } = store.log.record(position)!.decode();
      expect(headers.includes("odd"), `${position} matches what ${ref} waits for`).toBe(false);
    }
  }
}
