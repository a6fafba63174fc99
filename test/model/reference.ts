// What a queue may and must do, written as plainly as possible: one object per message, every rule checked by looking at all of them.
// The machine under test decides; this model watches each delivery and each answer, and says what was wrong.
import type { Delivered } from "../support/machine.ts";

type State = "ready" | "delayed" | "leased" | "done";

/** A message as the model knows it. */
export interface ModelMessage {
  seq: number;
  messageId: string;
  group: string;
  colour: string;
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
  /** It takes messages of this colour, "" of any. */
  colour: string;
}

/** Settings the model needs to know. */
export interface ModelSettings {
  leaseMs: number;
  maxFailures: number;
  dedupWindowMs: number;
  /** Levels of priority. */
  priorities: number;
  singleActiveConsumer?: boolean;
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
  /** The active consumer, if there may be only one. */
  active: number | undefined;

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
    draft: {
      messageId: string;
      group: string;
      colour: string;
      priority: number;
      expiresAt: number;
      dueAt: number;
    },
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
      colour: draft.colour,
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
    this.#elect();
    const lastFresh = new Map<string, number>();
    for (const delivery of deliveries) {
      const message = this.messages.get(delivery.seq);
      expect(message !== undefined, `[SUB] seq ${delivery.seq} was never accepted`);
      const consumer = this.consumers.get(delivery.ref);
      expect(
        consumer !== undefined && !consumer.paused,
        `[SUB] seq ${delivery.seq} goes to ${delivery.ref}, who is not there`,
      );
      expect(
        this.held(delivery.ref) < consumer.credit,
        `[SUB] consumer ${delivery.ref} gets more than its credit`,
      );
      expect(this.active === undefined || this.active === delivery.ref, `[SAC] ${delivery.ref} stands by`);
      expect(takes(consumer, message), `[QSL] seq ${message.seq} does not match ${consumer.colour}`);
      this.checkMayGo(message, now, consumer);
      if (message.group === "" && message.attempts === 0 && !message.moved) {
        // Consumers with selectors have an order each.
        const line = `${message.level} ${consumer.colour === "" ? "" : delivery.ref}`;
        const before = lastFresh.get(line) ?? 0;
        expect(message.seq > before, `[GRP] seq ${message.seq} comes after ${before}`);
        lastFresh.set(line, message.seq);
      }
      this.begin(message, delivery.lease, delivery.ref, now);
      expect(
        delivery.attempt === message.attempts,
        `[LEA] seq ${message.seq}: attempt ${delivery.attempt}, not ${message.attempts}`,
      );
      expect(
        delivery.redelivered === message.attempts > 1,
        `[LEA] seq ${message.seq}: redelivered ${delivery.redelivered}`,
      );
    }
  }

  /** A message goes out. */
  begin(message: ModelMessage, lease: number, holder: number, now: number): void {
    expect(lease > this.newestLease, `[LEA] lease ${lease} is not newer than ${this.newestLease}`);
    this.newestLease = lease;
    message.attempts++;
    Object.assign(message, { state: "leased", holder, lease, until: now + this.settings.leaseMs });
  }

  /** A message that goes out must be ready, in time, at the head of its group, and no other may have a higher priority. */
  checkMayGo(message: ModelMessage, now: number, consumer?: ModelConsumer): void {
    expect(message.state === "ready", `[LEA] seq ${message.seq} is delivered while ${message.state}`);
    expect(
      message.expiresAt === 0 || message.expiresAt > now,
      `[TTL] seq ${message.seq} is delivered after its time`,
    );
    this.#checkGroup(message);
    this.#checkPriority(message, now, consumer);
  }

  /** Who is told of a settle. */
  toldOf(_handle: { seq: number; lease: number }, _by: number): number[] {
    return [];
  }

  /** No consumer may be left waiting while a message could go. */
  checkBusy(now: number): void {
    for (const [ref, consumer] of this.consumers) {
      if (consumer.paused || this.held(ref) >= consumer.credit) continue;
      if (this.active !== undefined && this.active !== ref) continue;
      const idle = this.goable(now, consumer);
      expect(idle === undefined, `[SUB] seq ${idle?.seq} is ready and consumer ${ref} waits`);
    }
  }

  /** A message that nothing keeps from going, to this consumer. */
  goable(now: number, consumer?: ModelConsumer): ModelMessage | undefined {
    for (const message of this.messages.values()) {
      if (message.state !== "ready" || (message.expiresAt > 0 && message.expiresAt <= now)) continue;
      if (consumer !== undefined && !takes(consumer, message)) continue;
      const behind =
        message.group !== "" &&
        [...this.messages.values()].some((other) => other !== message && this.#blocks(other, message));
      if (!behind) return message;
    }
    return undefined;
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

  /** The active one stays until it is gone, or is paused and holds nothing. */
  #elect(): void {
    if (this.settings.singleActiveConsumer !== true) return;
    const current = this.active === undefined ? undefined : this.consumers.get(this.active);
    if (current !== undefined && (!current.paused || this.held(this.active!) > 0)) return;
    const [next] = [...this.consumers].find(([, { paused }]) => !paused) ?? [];
    this.active = next ?? (current === undefined ? [...this.consumers.keys()][0] : this.active);
  }

  #checkPriority(message: ModelMessage, now: number, consumer?: ModelConsumer): void {
    for (const other of this.messages.values()) {
      if (consumer !== undefined && !takes(consumer, other)) continue;
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

function takes({ colour }: ModelConsumer, message: ModelMessage): boolean {
  return colour === "" || colour === message.colour;
}

/** Throws an Error that names the broken rule. */
export function expect(holds: boolean, rule: string): asserts holds {
  if (!holds) throw new Error(rule);
}
