// The books of a queue: every message before the cursor that is not done, who holds it, and the counts. Each method is one fact;
// it changes the books and records the fact, and replaying the recorded facts rebuilds the same books. Decides nothing.
import { MAX_SOURCES } from "../limits.ts";

import { Aborts } from "./aborts.ts";

import { Active } from "./active.ts";

import { Ahead } from "./ahead.ts";
import { Books } from "./book.ts";
import { type Consumer, type ConsumerFacts, Consumers } from "./consumers.ts";
import type { Counts, End, Entry, Taken } from "./entry.ts";
import type { EventWriter } from "./events.ts";
import { EVERYONE, Everyone } from "./everyone.ts";
import { Groups } from "./groups.ts";
import { Heap } from "./heap.ts";
import { Holds } from "./holds.ts";
import { Outcomes } from "./outcomes.ts";
import { Prepared } from "./prepared.ts";
import { Producers } from "./producers.ts";
import { PushTarget } from "./push-target.ts";
import { Ready } from "./ready.ts";
import { Receipts } from "./receipts.ts";
import { Redrive } from "./redrive.ts";
import { Schedules } from "./schedules.ts";
import { type Segments, segmentKey } from "./segments.ts";
import { DEFAULT_SETTINGS, type QueueSettings } from "./settings.ts";
import { pruneTimers } from "./timers.ts";

/** No queue sends more than this in a millisecond of its life. */
const OUTBOX_IDS_PER_MS = 1_000;

/** The books. Only this file's methods change them. */
export class Ledger {
  epoch = 0;
  nextSeq = 1;
  newestLease = 0;
  /** Who got the newest lease. */
  lastServed = 0;
  /** Everything at or after this position was never looked at, but for what `ahead` knows. */
  cursor = 0;
  nextOutboxId = 1;
  settings: QueueSettings = DEFAULT_SETTINGS;
  readonly counts: Counts = {
    accepted: 0,
    ready: 0,
    delayed: 0,
    leased: 0,
    settled: 0,
    expired: 0,
    deadLettered: 0,
    readyBytes: 0,
    bytes: 0,
  };
  /** By position: in the order they were taken, which is that of the log but for priorities. */
  readonly entries = new Map<number, Entry>();
  readonly groups = new Groups();
  readonly consumers = new Consumers();
  readonly ready = new Ready(this.entries);
  /** Times at which something happens to an entry; may be stale. */
  readonly timers = new Heap();
  /** Last transfer taken from each source. */
  readonly sources = new Map<string, number>();
  parked = 0;
  /** Messages at or after the cursor that were not taken. */
  untaken = 0;
  outcomes = new Outcomes();
  readonly segments: Segments;
  readonly ahead = new Ahead(this.entries, (position, level, message) => {
    this.ready.push(this.#enter(position, level, message));
    this.#pass(this.cursor);
  });
  readonly producers = new Producers();
  readonly redrive = new Redrive();
  readonly schedules = new Schedules();
  readonly receipts = new Receipts();
  readonly push = new PushTarget();
  readonly active = new Active();
  readonly everyone = new Everyone(this.consumers, this.entries);
  readonly aborts = new Aborts();
  readonly holds = new Holds();
  readonly prepared = new Prepared();
  /** Parts of the books with facts of their own. */
  readonly books = new Books([
    ...[this.producers, this.redrive, this.schedules, this.receipts, this.push],
    ...[this.ahead, this.active, this.everyone, this.aborts, this.holds, this.prepared],
  ]);
  #journal: EventWriter | undefined;

  constructor(segments: Segments) {
    this.segments = segments;
  }

  /** From now on facts are recorded to this writer (undefined while old facts are replayed). */
  record(journal: EventWriter | undefined): void {
    this.#journal = journal;
    this.books.record(journal);
  }

  /** The first lease gets the number after `lease`: a random start keeps handles of different queues apart. */
  create(epoch: number, lease: number): void {
    this.#journal?.created(epoch, lease);
    this.epoch = epoch;
    this.newestLease = lease;
    // Receivers remember the last id they took: a queue made anew under the same name goes on above its predecessor's.
    this.nextOutboxId = epoch * OUTBOX_IDS_PER_MS;
  }

  configure(settings: QueueSettings): void {
    this.#journal?.configured(settings);
    this.settings = settings;
  }

  /** New messages at the end of the log, in the row of a turn. */
  accept(turn: number, count: number, bytes: number): void {
    this.#journal?.accepted(turn, count, bytes);
    this.counts.accepted += count;
    this.counts.ready += count;
    this.counts.readyBytes += bytes;
    this.counts.bytes += bytes;
    this.nextSeq += count;
    this.untaken += count;
    this.segments.add(turn, count);
  }

  /** New messages that are not due yet. */
  defer(count: number, bytes: number): void {
    this.#journal?.deferred(count, bytes);
    this.counts.accepted += count;
    this.counts.delayed += count;
    this.counts.bytes += bytes;
    this.nextSeq += count;
  }

  /** Delayed messages came to the end of the log. */
  mature(turn: number, count: number, bytes: number): void {
    this.#journal?.matured(turn, count, bytes);
    this.counts.delayed -= count;
    this.counts.ready += count;
    this.counts.readyBytes += bytes;
    this.untaken += count;
    this.segments.add(turn, count);
  }

  /** The cursor passes a message; behind another of its group it is parked. */
  take(position: number, message: Taken): Entry {
    this.#journal?.taken(position, message);
    const entry = this.#enter(position, 0, message);
    if (entry.group !== "" && this.groups.join(entry)) {
      entry.state = "parked";
      this.parked++;
    } else {
      // It is mostly leased at once, and then leaves the heap as a stale one; what is looked past must be found again.
      this.ready.push(entry);
    }
    this.#pass(position + 1);
    return entry;
  }

  /** A ready message goes to a consumer. */
  lease(entry: Entry, ref: number, deadline: number): void {
    this.#journal?.leased(entry.position, ref, deadline);
    entry.state = "leased";
    entry.lease = ++this.newestLease;
    entry.ref = ref;
    entry.deadline = deadline;
    entry.attempts++;
    this.outcomes.begin(entry.lease);
    this.counts.ready--;
    this.counts.leased++;
    this.counts.readyBytes -= entry.size;
    this.#setTimer(deadline, entry.position);
    this.lastServed = ref;
    const consumer = this.consumers.get(ref);
    if (consumer !== undefined) consumer.used++;
    if (ref === EVERYONE) this.everyone.begin(entry);
  }

  extend(entry: Entry, deadline: number): void {
    this.#journal?.extended(entry.position, deadline);
    entry.deadline = deadline;
    this.#setTimer(deadline, entry.position);
  }

  /** A message comes to its end; `byHandle` when a settle of its lease did it. The next of its group may go. */
  finish(entry: Entry, end: End, byHandle: boolean): void {
    this.#journal?.finished(entry.position, end, byHandle);
    this.#leave(entry, byHandle);
    if (end === "settled") this.counts.settled++;
    else if (end === "expired") this.counts.expired++;
    else this.counts.deadLettered++;
    this.counts.bytes -= entry.size;
    this.#remove(entry);
  }

  /** A lease ends without an end for the message: ready again, or waiting until `dueAt`. */
  giveBack(entry: Entry, failed: boolean, byHandle: boolean, dueAt: number): void {
    this.#journal?.givenBack(entry.position, failed, byHandle, dueAt);
    this.#leave(entry, byHandle);
    if (failed) entry.failures++;
    if (dueAt > 0) {
      entry.state = "waiting";
      entry.deadline = dueAt;
      this.counts.delayed++;
      this.timers.push(dueAt, entry.position);
      this.#watchExpiry(entry);
    } else {
      this.#makeReady(entry);
    }
  }

  /** A failed message without a group leaves the log and waits among the delayed ones. */
  moveToDelayed(entry: Entry, byHandle: boolean): void {
    this.#journal?.moved(entry.position, byHandle);
    this.#leave(entry, byHandle);
    this.counts.delayed++;
    this.#remove(entry);
  }

  /** The back-off of a message in the log is over. */
  wake(entry: Entry): void {
    this.#journal?.woken(entry.position);
    this.counts.delayed--;
    this.#makeReady(entry);
  }

  attach(consumer: ConsumerFacts): void {
    this.#journal?.attached(consumer);
    const known = this.consumers.get(consumer.ref);
    if (known === undefined) {
      this.consumers.add({ ...consumer, used: this.#heldBy(consumer.ref), paused: false, inLine: false });
      return;
    }
    this.consumers.change(known, consumer);
  }

  addCredit(consumer: Consumer, add: number): void {
    this.#journal?.credited(consumer.ref, add);
    consumer.credit += add;
    this.consumers.lineUp(consumer);
  }

  pause(consumer: Consumer): void {
    this.#journal?.paused(consumer.ref);
    consumer.paused = true;
  }

  /** A consumer is gone; whoever calls this gives back what it held. */
  detach(consumer: Consumer): void {
    this.#journal?.detached(consumer.ref);
    this.consumers.remove(consumer.ref);
    this.everyone.forget(consumer.ref);
  }

  /** Every ready message is dropped: the cursor goes to the end of the log. */
  purge(end: number): void {
    this.#journal?.purged(end);
    for (const entry of [...this.entries.values()]) {
      if (entry.state === "parked") this.parked--;
      if (entry.state === "ready" || entry.state === "parked") {
        this.entries.delete(entry.position);
        this.counts.readyBytes -= entry.size;
        this.counts.bytes -= entry.size;
        this.counts.ready--;
        this.counts.expired++;
      }
    }
    // What is left of ready was never looked at.
    this.counts.expired += this.counts.ready;
    this.counts.bytes -= this.counts.readyBytes;
    this.counts.ready = 0;
    this.counts.readyBytes = 0;
    this.untaken = 0;
    this.#pass(Math.max(this.cursor, end));
    this.groups.rebuild(this.entries.values());
    this.receipts.keep(this.entries);
    this.segments.reset([...this.entries.keys()].map(segmentKey));
  }

  /** A transfer of another object was taken. */
  heardFrom(source: string, id: number): void {
    this.#journal?.heard(source, id);
    this.sources.delete(source);
    this.sources.set(source, id);
    if (this.sources.size > MAX_SOURCES) this.sources.delete(this.sources.keys().next().value!);
  }

  /** Records for another object were put into the outbox. */
  sendTo(id: number): void {
    this.#journal?.sent(id);
    this.nextOutboxId = id + 1;
  }

  /** Rebuilds what is derived from the entries after they were loaded. */
  rebuildDerived(): void {
    this.groups.rebuild(this.entries.values());
    this.untaken = this.counts.ready;
    for (const entry of this.entries.values()) {
      if (entry.state === "ready" || entry.state === "parked") this.untaken--;
      if (entry.state === "ready") this.ready.push(entry);
      if (entry.state === "parked") this.parked++;
      if (entry.deadline > 0) this.timers.push(entry.deadline, entry.position);
      if (entry.expiresAt > 0) this.timers.push(entry.expiresAt, entry.position);
    }
  }

  #enter(position: number, level: number, message: Taken): Entry {
    const { seq, size, time, expiresAt, group, attempts, failures } = message;
    // Written out: this runs for every message, and spreading would take as long as all the rest.
    const entry: Entry = {
      position,
      seq,
      size,
      time,
      expiresAt,
      group,
      level,
      state: "ready",
      attempts,
      failures,
      lease: 0,
      ref: 0,
      deadline: 0,
    };
    this.entries.set(position, entry);
    this.untaken--;
    this.#watchExpiry(entry);
    return entry;
  }

  /** The cursor goes to a position, and on over what was taken if nothing else is left. */
  #pass(position: number): void {
    this.cursor = this.ahead.size === 0 ? position : this.ahead.pass(position, this.untaken);
  }

  #makeReady(entry: Entry): void {
    entry.state = "ready";
    entry.deadline = 0;
    this.counts.ready++;
    this.counts.readyBytes += entry.size;
    this.ready.push(entry);
    this.#watchExpiry(entry);
  }

  /** Sets the timer of a message that is not out: it may have come up, and been dropped, while it was. */
  #watchExpiry(entry: Entry): void {
    if (entry.expiresAt > 0) this.timers.push(entry.expiresAt, entry.position);
  }

  /** Takes an entry out of the count of its state. */
  #leave(entry: Entry, byHandle: boolean): void {
    if (entry.state === "leased") {
      this.counts.leased--;
      if (byHandle) this.outcomes.settle(entry.lease);
      const consumer = this.consumers.get(entry.ref);
      if (consumer !== undefined) {
        consumer.used--;
        this.consumers.lineUp(consumer);
      }
      if (entry.ref === EVERYONE) this.everyone.end(entry);
    } else if (entry.state === "waiting") {
      this.counts.delayed--;
    } else {
      // A parked message counts as ready.
      if (entry.state === "parked") this.parked--;
      this.counts.ready--;
      this.counts.readyBytes -= entry.size;
    }
    entry.ref = 0;
    entry.deadline = 0;
  }

  #remove(entry: Entry): void {
    this.entries.delete(entry.position);
    this.segments.add(segmentKey(entry.position), -1);
    if (entry.group === "") return;
    const next = this.groups.leave(entry);
    if (next === undefined) return;
    const head = this.entries.get(next)!;
    head.state = "ready";
    this.parked--;
    this.ready.push(head);
  }

  #setTimer(time: number, position: number): void {
    pruneTimers(this.timers, this.entries, position);
    this.timers.push(time, position);
  }

  #heldBy(ref: number): number {
    let held = 0;
    for (const entry of this.entries.values()) if (entry.state === "leased" && entry.ref === ref) held++;
    return held;
  }
}
