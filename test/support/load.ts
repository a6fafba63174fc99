// Producers and consumers of one queue that go on over kills and cuts, and write everything they do into a history.
// They repeat, give back, hold too long and vanish on purpose; what is wrong with the answers only history-check.ts says.
import type { History } from "./history.ts";
import type { Random } from "./random.ts";
import { WireClient, type WireFrame } from "./wire-client.ts";

const RECONNECT_MS = 50;
const REFILL_MS = 20;
const RETRY_MS = 100;
const LONGEST_DELAY_MS = 2_000;
const SUB = 1;

/** How often a consumer does something else with a message than acking it, from 0 to 1 each. */
export interface Fates {
  /** Vanishes with all that it holds. */
  vanish: number;
  /** Acks after the lease has run out. */
  overdue: number;
  release: number;
  fail: number;
  /** Rejects it: it becomes a dead letter. */
  reject: number;
}

const FATES: Fates = { vanish: 0.001, overdue: 0.001, release: 0.028, fail: 0.02, reject: 0 };

/** What a load may be told besides the necessary. */
export interface LoadOptions {
  /** The URL of `/ws` for a client; `wsUrl` unless said. */
  urlOf?: (client: string) => string;
  /** New messages of one producer per second; as many as go unless said. */
  perSecond?: number;
  /** How many of the messages without a group are delayed, from 0 to 1. */
  delayed?: number;
  fates?: Partial<Fates>;
  /** How often a settle is sent a second time, from 0 to 1. */
  settledAgain?: number;
  /** The message id that a delivery stands for; its own unless said. */
  identify?: (frame: WireFrame) => string;
  /** The broker may end connections without `expectEnd`. */
  closesUnasked?: boolean;
  /** Hears of each publish that was confirmed. */
  onConfirmed?: (messageId: string, seq: number) => void;
}

/** What the producers and consumers of one run share. */
export interface Load extends LoadOptions {
  wsUrl: string;
  queue: string;
  history: History;
  random: Random;
  leaseMs: number;
  /** Producers pause while more messages than this wait for their ack. */
  maxBacklog: number;
  /** Messages confirmed as new, and messages whose ack was confirmed. */
  published: number;
  acked: number;
  /** Messages whose lease a consumer let run out: the next one holds them too, so that a stale ack meets a lease. */
  overdue: Set<string>;
  /** What no correct broker would have done to a client: error replies, sockets closed without a cause. */
  problems: string[];
}

/** Creates what a run shares. */
export function createLoad(
  options: LoadOptions & Pick<Load, "wsUrl" | "queue" | "history" | "random" | "leaseMs" | "maxBacklog">,
): Load {
  return { ...options, published: 0, acked: 0, overdue: new Set(), problems: [] };
}

/**
 * Connects as soon as the broker is there; undefined when `wanted` says no before. The URL names the client as well: with
 * several gateways a session is found again only so.
 */
async function connectWhenUp(
  load: Load,
  hello: { client: string; session?: { expirySeconds: number } },
  onFrame: (frame: WireFrame) => boolean,
  wanted: () => boolean,
): Promise<WireClient | undefined> {
  while (wanted()) {
    try {
      const url = load.urlOf?.(hello.client) ?? load.wsUrl;
      return await WireClient.connect(`${url}?client=${hello.client}`, { hello, onFrame });
    } catch {
      await new Promise((retry) => setTimeout(retry, RECONNECT_MS));
    }
  }
  return undefined;
}

interface Unconfirmed {
  messageId: string;
  group: string | undefined;
  delayMs: number | undefined;
}

/** Publishes in a closed loop, and repeats what was not confirmed, in the first order, under the same ids. */
export class LoadProducer {
  private readonly name: string;
  private readonly load: Load;
  private readonly window: number;
  private readonly groups: readonly string[];
  private readonly unconfirmed = new Map<string, Unconfirmed>();
  private readonly calls = new Map<number, Unconfirmed>();
  private readonly finished: Promise<void>;
  private wire: WireClient | undefined;
  private created = 0;
  private lastCall = 1_000;
  private finishing = false;
  private abandoned = false;
  /** How many messages the rate allows by now, and when that was reckoned. */
  private allowed = 0;
  private reckonedMs = performance.now();

  /**
   * @param window publishes it leaves unconfirmed at a time
   * @param groups groups of its own; half of its messages go into one of them
   */
  constructor(name: string, load: Load, window: number, groups: readonly string[]) {
    this.name = name;
    this.load = load;
    this.window = window;
    this.groups = groups;
    this.finished = this.run();
  }

  /** Gives up what is not confirmed yet. */
  abandon(): void {
    this.finishing = true;
    this.abandoned = true;
    this.wire?.cut();
  }

  /** Creates no more messages, and waits until all are confirmed. */
  async finish(): Promise<void> {
    this.finishing = true;
    await this.finished;
  }

  private async run(): Promise<void> {
    const refill = setInterval(() => this.fill(), REFILL_MS);
    while (!this.abandoned && (!this.finishing || this.unconfirmed.size > 0)) {
      const wire = await connectWhenUp(
        this.load,
        { client: this.name },
        (frame) => this.receive(frame),
        () => !this.abandoned,
      );
      if (!wire) break;
      this.calls.clear();
      this.publish([...this.unconfirmed.values()], wire);
      this.wire = wire;
      await wire.closed;
      this.wire = undefined;
    }
    clearInterval(refill);
  }

  private fill(): void {
    if (!this.wire) return;
    if (this.finishing && this.unconfirmed.size === 0) {
      this.wire.socket.close(1000);
      return;
    }
    const { random, published, acked, maxBacklog, delayed = 0 } = this.load;
    if (this.finishing || published - acked > maxBacklog) return;
    const fresh: Unconfirmed[] = [];
    this.reckon();
    while (this.unconfirmed.size < this.window && this.allowed >= 1) {
      this.allowed -= 1;
      this.created += 1;
      const group = random.chance(0.5) ? random.pick(this.groups) : undefined;
      const isDelayed = group === undefined && delayed > 0 && random.chance(delayed);
      const delayMs = isDelayed ? random.integer(1, LONGEST_DELAY_MS) : undefined;
      const message = { messageId: `${this.name}-${this.created}`, group, delayMs };
      this.unconfirmed.set(message.messageId, message);
      fresh.push(message);
    }
    this.publish(fresh, this.wire);
  }

  private reckon(): void {
    const { perSecond = Number.POSITIVE_INFINITY } = this.load;
    const nowMs = performance.now();
    const earned = perSecond === Infinity ? Infinity : (perSecond * (nowMs - this.reckonedMs)) / 1_000;
    this.allowed = Math.min(this.window, this.allowed + earned);
    this.reckonedMs = nowMs;
  }

  private publish(messages: Unconfirmed[], wire: WireClient): void {
    const { queue, history } = this.load;
    const frames = messages.map((message): WireFrame => {
      const { messageId, group, delayMs } = message;
      this.lastCall += 1;
      this.calls.set(this.lastCall, message);
      history.record({ kind: "publish-invoked", producer: this.name, messageId, call: this.lastCall });
      const body = { messageId, group: group ?? null };
      return {
        op: "publish",
        id: this.lastCall,
        to: `queue:${queue}`,
        messageId,
        body,
        ...(group ? { group } : {}),
        ...(delayMs ? { delayMs } : {}),
      };
    });
    if (frames.length > 0) wire.send(frames);
  }

  private receive(frame: WireFrame): boolean {
    const message = this.calls.get(frame.id ?? 0);
    if (!message) {
      if (frame.op !== "welcome") this.load.problems.push(`${this.name} got ${JSON.stringify(frame)}`);
      return false;
    }
    const { messageId } = message;
    this.calls.delete(frame.id!);
    if (mayBeRepeated(frame)) {
      this.load.history.record({ kind: "publish-failed", messageId, call: frame.id! });
      const { wire } = this;
      setTimeout(
        () => wire === this.wire && wire?.socket.readyState === 1 && this.publish([message], wire),
        RETRY_MS,
      );
      return true;
    }
    this.unconfirmed.delete(messageId);
    if (frame.op !== "ok" || frame.messageId !== messageId) {
      this.load.problems.push(`${this.name} published ${messageId} and got ${JSON.stringify(frame)}`);
      return true;
    }
    const duplicate = frame.duplicate === true;
    this.load.history.record({
      kind: "publish-confirmed",
      producer: this.name,
      messageId,
      call: frame.id!,
      seq: frame.seq!,
      duplicate,
    });
    if (!duplicate) this.load.published += 1;
    this.load.onConfirmed?.(messageId, frame.seq!);
    // A publisher that never saw its confirm asks again: here also one that did.
    if (!this.finishing && this.load.random.chance(0.03)) {
      this.unconfirmed.set(messageId, message);
      if (this.wire) this.publish([message], this.wire);
    }
    if (this.unconfirmed.size <= this.window / 2) this.fill();
    return true;
  }
}

/** Handles by what is to become of their messages. */
interface Settle {
  ack: string[];
  release: string[];
  fail: { delivery: string }[];
  dead: { delivery: string }[];
}

const nothing = (): Settle => ({ ack: [], release: [], fail: [], dead: [] });

/** A refusal of which the broker says that the same call may succeed later. */
function mayBeRepeated(frame: WireFrame): boolean {
  return frame.op === "error" && frame.retry !== "none";
}

interface Connection {
  /** The session that holds the leases; another one after a hello that did not resume. */
  session: string;
  wire: WireClient | undefined;
  /** True from the instant at which this side, or a kill, has ended it: what still comes is not seen. */
  over: boolean;
  waiting: Settle;
  asked: Map<number, Settle>;
  /** Handles of deliveries that it has not said anything of. */
  held: Set<string>;
  /** Until then a lease that is seen for the first time may have begun on an earlier connection. */
  freshAtMs: number;
}

/** Consumes with a small window; most messages it acks, some it gives back, holds too long, or leaves by vanishing. */
export class LoadConsumer {
  /** How often it vanished with messages in hand. */
  drops = 0;
  private readonly name: string;
  private readonly load: Load;
  private readonly credit: number;
  private readonly expirySeconds: number;
  private readonly finished: Promise<void>;
  private connection: Connection | undefined;
  /** By handle, what it says of it, until that was confirmed. */
  private readonly decided = new Map<string, keyof Settle>();
  /** Handles whose settle was confirmed. */
  private readonly done = new Set<string>();
  private sessions = 0;
  private session = "";
  private lastId = 1_000;
  private finishing = false;

  /** @param expirySeconds of its session: 0 gives its messages back when it vanishes, more keeps them */
  constructor(name: string, load: Load, credit: number, expirySeconds: number) {
    this.name = name;
    this.load = load;
    this.credit = credit;
    this.expirySeconds = expirySeconds;
    this.finished = this.run();
  }

  /** To be called in the same turn as, and before, whatever ends its connection. */
  expectEnd(): void {
    const connection = this.connection;
    if (!connection || connection.over) return;
    connection.over = true;
    this.load.history.record({
      kind: "consumer-ended",
      consumer: connection.session,
      keepMs: this.expirySeconds * 1000,
    });
  }

  /** Closes its connection and stops. */
  async finish(): Promise<void> {
    this.finishing = true;
    this.expectEnd();
    this.connection?.wire?.cut();
    await this.finished;
  }

  private async run(): Promise<void> {
    while (!this.finishing) {
      const connection: Connection = {
        session: this.session,
        wire: undefined,
        over: false,
        waiting: nothing(),
        asked: new Map(),
        held: new Set(),
        freshAtMs: 0,
      };
      const left = this.connection?.held ?? [];
      this.connection = connection;
      const { expirySeconds } = this;
      // A session that ends with its socket is nothing to come back to.
      const client = expirySeconds > 0 ? this.name : `${this.name}-${this.sessions}`;
      const hello = { client, session: { expirySeconds } };
      const onFrame = (frame: WireFrame) => this.receive(frame, connection);
      const wire = await connectWhenUp(this.load, hello, onFrame, () => !this.finishing && !connection.over);
      connection.wire = wire;
      if (!wire) continue;
      if (connection.over) wire.cut();
      else if (!wire.welcome?.resumed) await this.subscribe(wire, connection);
      // The handles of the lost connection: good if the session was resumed, stale if it was not.
      for (const delivery of left) {
        const decided = this.decided.get(delivery) ?? "ack";
        this.decided.set(delivery, decided);
        this.later(connection, 0, () => put(connection.waiting, decided, delivery));
      }
      const closed = await wire.closed;
      if (connection.over) continue;
      this.expectEnd();
      if (this.load.closesUnasked && closed.code === 1006) continue;
      this.load.problems.push(`${this.name}'s socket closed with ${closed.code} ${closed.reason}`);
    }
  }

  private async subscribe(wire: WireClient, connection: Connection): Promise<void> {
    const { queue, leaseMs, problems } = this.load;
    const subscribe = { op: "subscribe", sub: SUB, to: `queue:${queue}`, credit: this.credit, leaseMs };
    for (;;) {
      const answer = await wire.request(subscribe).catch((error: Error) => error);
      if (connection.over || wire.socket.readyState !== 1) return;
      if (answer instanceof Error) problems.push(`${this.name} could not subscribe: ${answer.message}`);
      else if (mayBeRepeated(answer)) {
        await new Promise((retry) => setTimeout(retry, RETRY_MS));
        continue;
      } else if (answer.op === "error")
        problems.push(`${this.name} could not subscribe: ${JSON.stringify(answer)}`);
      return;
    }
  }

  private receive(frame: WireFrame, connection: Connection): boolean {
    if (connection.over) return true;
    if (frame.op === "welcome" && !frame.resumed) {
      this.sessions += 1;
      this.session = `${this.name}#${this.sessions}`;
      connection.session = this.session;
    } else if (frame.op === "welcome") {
      connection.freshAtMs = performance.now() + this.load.leaseMs;
    } else if (frame.op === "message") {
      this.deliver(frame, connection);
      return true;
    } else if (frame.id !== undefined && connection.asked.has(frame.id)) {
      this.settled(frame, connection.asked.get(frame.id)!, connection);
      connection.asked.delete(frame.id);
      return true;
    } else if (frame.op !== "welcome" && frame.op !== "ok" && !mayBeRepeated(frame)) {
      this.load.problems.push(`${this.name} got ${JSON.stringify(frame)}`);
    }
    return false;
  }

  private deliver(frame: WireFrame, connection: Connection): void {
    const { history, leaseMs, problems } = this.load;
    const { seq, delivery, attempt, redelivered } = frame as Required<WireFrame>;
    const messageId = this.load.identify?.(frame) ?? frame.messageId!;
    const body = frame.body as { messageId: string; group: string | null };
    const group = frame.group as string | undefined;
    const contradicts =
      !this.load.identify && (body.messageId !== messageId || body.group !== (group ?? null));
    if (contradicts || (attempt > 1 && !redelivered)) {
      problems.push(`${this.name} got a message that contradicts itself: ${JSON.stringify(frame)}`);
    }
    const consumer = connection.session;
    const knownMs = performance.now() < connection.freshAtMs ? 0 : leaseMs;
    history.record({
      kind: "delivered",
      consumer,
      messageId,
      seq,
      delivery,
      attempt,
      leaseMs: knownMs,
      group,
    });
    // What the broker has confirmed and shows again is the checker's business, not a message to decide on.
    if (this.done.has(delivery) || connection.held.has(delivery)) return;
    connection.held.add(delivery);
    this.decide(connection, messageId, delivery);
  }

  /** Says what becomes of a delivery: of one handle always the same, as no client says two different things of it. */
  private decide(connection: Connection, messageId: string, delivery: string): void {
    const { random, leaseMs, overdue } = this.load;
    const { vanish, overdue: late, release, fail, reject } = { ...FATES, ...this.load.fates };
    const say = (outcome: keyof Settle, delayMs = 0) => {
      const decided = this.decided.get(delivery) ?? outcome;
      this.decided.set(delivery, decided);
      this.later(connection, delayMs, () => put(connection.waiting, decided, delivery));
    };
    let fate = random.next();
    const isFate = (chance: number) => {
      const is = fate >= 0 && fate < chance;
      fate -= chance;
      return is;
    };
    if (overdue.delete(messageId)) say("ack", leaseMs / 2);
    else if (isFate(vanish)) {
      this.drops += 1;
      this.expectEnd();
      connection.wire?.cut();
    } else if (isFate(late)) {
      overdue.add(messageId);
      say("ack", leaseMs + leaseMs / 4);
    } else if (isFate(release)) say("release");
    else if (isFate(fail)) say("fail");
    else if (isFate(reject)) say("dead");
    else say("ack", isFate(0.15) ? random.integer(1, 30) : 0);
  }

  /** Collects what comes due in the same turn, so that it travels in one frame. */
  private later(connection: Connection, delayMs: number, collect: () => void): void {
    const collectAndFlush = () => {
      if (sizeOf(connection.waiting) === 0) setImmediate(() => this.flush(connection));
      collect();
    };
    if (delayMs === 0) collectAndFlush();
    else setTimeout(collectAndFlush, delayMs);
  }

  private flush(connection: Connection): void {
    const { wire, waiting } = connection;
    if (connection.over || !wire) return;
    connection.waiting = nothing();
    const { history, random, settledAgain = 0 } = this.load;
    const dead = waiting.dead.map(({ delivery }) => delivery);
    const returned = [...waiting.release, ...waiting.fail.map(({ delivery }) => delivery)];
    for (const delivery of waiting.ack) history.record({ kind: "ack-invoked", delivery });
    for (const delivery of dead) history.record({ kind: "ack-invoked", delivery, isRejection: true });
    for (const delivery of returned) history.record({ kind: "return-invoked", delivery });
    for (const delivery of [...waiting.ack, ...dead, ...returned]) connection.held.delete(delivery);
    const times = settledAgain > 0 && random.chance(settledAgain) ? 2 : 1;
    for (let time = 0; time < times; time += 1) {
      this.lastId += 1;
      connection.asked.set(this.lastId, waiting);
      wire.send({ op: "settle", id: this.lastId, sub: SUB, ...waiting });
    }
  }

  private settled(frame: WireFrame, asked: Settle, connection: Connection): void {
    if (mayBeRepeated(frame)) {
      this.later(connection, RETRY_MS, () => {
        for (const outcome of ["ack", "release"] as const)
          connection.waiting[outcome].push(...asked[outcome]);
        for (const outcome of ["fail", "dead"] as const) connection.waiting[outcome].push(...asked[outcome]);
      });
      return;
    }
    if (frame.op !== "ok") {
      this.load.problems.push(`${this.name} settled and got ${JSON.stringify(frame)}`);
      return;
    }
    const refused = new Set(frame.lost);
    const both = [...asked.fail, ...asked.dead].map(({ delivery }) => delivery);
    for (const delivery of [...both, ...asked.ack, ...asked.release]) {
      this.decided.delete(delivery);
      this.done.add(delivery);
    }
    for (const delivery of [...asked.ack, ...asked.dead.map((entry) => entry.delivery)]) {
      const lost = refused.has(delivery);
      this.load.history.record({ kind: "ack-confirmed", delivery, lost });
      if (!lost) this.load.acked += 1;
    }
  }
}

function put(waiting: Settle, outcome: keyof Settle, delivery: string): void {
  if (outcome === "ack" || outcome === "release") waiting[outcome].push(delivery);
  else waiting[outcome].push({ delivery });
}

function sizeOf({ ack, release, fail, dead }: Settle): number {
  return ack.length + release.length + fail.length + dead.length;
}
