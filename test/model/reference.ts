// What a queue may and must do, written as plainly as possible: one object per message, every rule checked by looking at all of them.
// The machine under test decides; this model watches each delivery and each answer, and says what was wrong.
import type { Delivered } from "../support/machine.ts";

type State = "ready" | "delayed" | "leased" | "done";

/** A message as the model knows it. */
export interface ModelMessage {
  seq: number;
  messageId: string;
  group: string;
  /** What its priority comes to; messages of a higher level go first. */
  level: number;
  expiresAt: number;
  state: State;
  /** While delayed: when it may go. While leased: when the lease ends. */
  until: number;
  attempts: number;
  failures: number;
  holder: number;
  lease: number;
  /** Whether it ever waited: it then has no place in its group's order any more unless it waits inside the group. */
  moved: boolean;
}

interface ModelConsumer {
  credit: number;
  paused: boolean;
}

/** Settings the model needs to know. */
export interface ModelSettings {
  leaseMs: number;
  maxFailures: number;
  dedupWindowMs: number;
  /** Levels of priority. */
  priorities: number;
}

/** The reference. Every method throws an Error that names the broken rule. */
export class Reference {
  readonly messages = new Map<number, ModelMessage>();
  readonly consumers = new Map<number, ModelConsumer>();
  readonly ids = new Map<string, { seq: number; time: number }>();
  readonly settledLeases = new Set<number>();
  readonly settings: ModelSettings;
  newestLease = 0;
  dead = 0;

  constructor(settings: ModelSettings) {
    this.settings = settings;
  }

  /** Time moved: leases end, delays end. The machine does the same at the start of its turn. */
  tick(now: number): void {
    for (const message of this.messages.values()) {
      if (message.until > now || message.state === "done" || message.state === "ready") continue;
      if (message.state === "leased") this.failed(message, now, undefined);
      else message.state = "ready";
    }
  }

  published(
    draft: { messageId: string; group: string; priority: number; expiresAt: number; dueAt: number },
    seq: number,
    duplicate: boolean,
    now: number,
  ): void {
    const known = draft.messageId === "" ? undefined : this.ids.get(draft.messageId);
    const within = known !== undefined && known.time > now - this.settings.dedupWindowMs;
    expect(duplicate === within, `[DED] ${draft.messageId}: duplicate ${duplicate}, in the window ${within}`);
    if (duplicate) {
      expect(seq === known!.seq, `[DED] the first one had seq ${known!.seq}, the answer says ${seq}`);
      return;
    }
    expect(seq === this.messages.size + 1, `[PUB] seq ${seq} after ${this.messages.size} messages`);
    if (draft.messageId !== "") this.ids.set(draft.messageId, { seq, time: now });
    const later = draft.dueAt > now;
    this.messages.set(seq, {
      seq,
      messageId: draft.messageId,
      group: draft.group,
      level: draft.group === "" ? Math.min(draft.priority, this.settings.priorities - 1) : 0,
      expiresAt: draft.expiresAt,
      state: later ? "delayed" : "ready",
      until: later ? draft.dueAt : 0,
      attempts: 0,
      failures: 0,
      holder: 0,
      lease: 0,
      moved: later,
    });
  }

  /** A settle was answered; returns nothing, changes the message it belongs to. */
  settled(
    handle: { seq: number; lease: number },
    outcome: "ack" | "release" | "fail" | "dead",
    delayMs: number | undefined,
    answer: boolean,
    now: number,
  ): void {
    const message = this.messages.get(handle.seq)!;
    const current = message.state === "leased" && message.lease === handle.lease;
    expect(
      answer === (current || this.settledLeases.has(handle.lease)),
      `[SET] seq ${handle.seq}: answered ${answer}, current ${current}`,
    );
    if (!current) return;
    this.settledLeases.add(handle.lease);
    if (outcome === "ack") message.state = "done";
    else if (outcome === "dead") this.die(message);
    else if (outcome === "release") message.state = "ready";
    else this.failed(message, now, delayMs);
  }

  extended(handle: { seq: number; lease: number }, leaseMs: number, answer: boolean, now: number): void {
    const message = this.messages.get(handle.seq)!;
    const current = message.state === "leased" && message.lease === handle.lease;
    expect(answer === current, `[LEA] seq ${handle.seq}: extend answered ${answer}, current ${current}`);
    if (current) message.until = now + leaseMs;
  }

  detached(ref: number): void {
    this.consumers.delete(ref);
    for (const message of this.messages.values()) {
      if (message.state === "leased" && message.holder === ref) message.state = "ready";
    }
  }

  /** Deliveries of a turn, in the order they were made. */
  delivered(deliveries: Delivered[], now: number): void {
    const lastFresh = new Map<number, number>();
    for (const delivery of deliveries) {
      const message = this.messages.get(delivery.seq);
      expect(message !== undefined, `[SUB] seq ${delivery.seq} was never accepted`);
      expect(message.state === "ready", `[LEA] seq ${delivery.seq} is delivered while ${message.state}`);
      expect(
        message.expiresAt === 0 || message.expiresAt > now,
        `[TTL] seq ${delivery.seq} is delivered after its time`,
      );
      const consumer = this.consumers.get(delivery.ref);
      expect(
        consumer !== undefined && !consumer.paused,
        `[SUB] seq ${delivery.seq} goes to ${delivery.ref}, who is not there`,
      );
      expect(
        this.held(delivery.ref) < consumer.credit,
        `[SUB] consumer ${delivery.ref} gets more than its credit`,
      );
      this.#checkGroup(message);
      if (message.group === "" && message.attempts === 0 && !message.moved) {
        const before = lastFresh.get(message.level) ?? 0;
        expect(message.seq > before, `[GRP] seq ${message.seq} comes after ${before}`);
        lastFresh.set(message.level, message.seq);
      }
      this.#checkPriority(message, now);
      message.attempts++;
      expect(
        delivery.attempt === message.attempts,
        `[LEA] seq ${message.seq}: attempt ${delivery.attempt}, not ${message.attempts}`,
      );
      expect(
        delivery.redelivered === message.attempts > 1,
        `[LEA] seq ${message.seq}: redelivered ${delivery.redelivered}`,
      );
      expect(
        delivery.lease > this.newestLease,
        `[LEA] lease ${delivery.lease} is not newer than ${this.newestLease}`,
      );
      this.newestLease = delivery.lease;
      Object.assign(message, {
        state: "leased",
        holder: delivery.ref,
        lease: delivery.lease,
        until: now + this.settings.leaseMs,
      });
    }
  }

  /** No consumer may be left waiting while a message could go. */
  checkBusy(now: number): void {
    const waiting = [...this.consumers].some(
      ([ref, { credit, paused }]) => !paused && this.held(ref) < credit,
    );
    if (!waiting) return;
    for (const message of this.messages.values()) {
      if (message.state !== "ready" || (message.expiresAt > 0 && message.expiresAt <= now)) continue;
      const behind =
        message.group !== "" &&
        [...this.messages.values()].some((other) => other !== message && this.#blocks(other, message));
      expect(behind, `[SUB] seq ${message.seq} is ready and a consumer waits`);
    }
  }

  held(ref: number): number {
    let held = 0;
    for (const message of this.messages.values())
      if (message.state === "leased" && message.holder === ref) held++;
    return held;
  }

  failed(message: ModelMessage, now: number, delayMs: number | undefined): void {
    message.failures++;
    if (message.failures >= this.settings.maxFailures) return this.die(message);
    message.state = delayMs ? "delayed" : "ready";
    message.until = now + (delayMs ?? 0);
    if (delayMs && message.group === "") message.moved = true;
  }

  die(message: ModelMessage): void {
    message.state = "done";
    this.dead++;
  }

  #checkPriority(message: ModelMessage, now: number): void {
    for (const other of this.messages.values()) {
      const ready = other.state === "ready" && (other.expiresAt === 0 || other.expiresAt > now);
      expect(
        !ready || other.level <= message.level,
        `[PRI] seq ${message.seq} goes before ${other.seq}, whose priority is higher`,
      );
    }
  }

  #checkGroup(message: ModelMessage): void {
    if (message.group === "") return;
    for (const other of this.messages.values()) {
      if (other === message || other.group !== message.group) continue;
      expect(other.state !== "leased", `[GRP] ${other.seq} and ${message.seq} of one group are out at once`);
      const earlier = other.seq < message.seq && !other.moved && !message.moved && other.state !== "done";
      const expired = other.expiresAt > 0;
      expect(!earlier || expired, `[GRP] seq ${message.seq} overtakes ${other.seq} of its group`);
    }
  }

  /** Whether `other` may keep `message` of the same group waiting: it is out, in back-off, or anywhere before it. */
  #blocks(other: ModelMessage, message: ModelMessage): boolean {
    if (other.group !== message.group || other.state === "done") return false;
    return other.state === "leased" || other.attempts > 0 || other.seq < message.seq || message.moved;
  }
}

function expect(holds: boolean, rule: string): asserts holds {
  if (!holds) throw new Error(rule);
}
