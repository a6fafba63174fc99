// Producers and consumers of one queue that go on over kills and cuts, and write everything they do into a history.
// They repeat, give back, hold too long and vanish on purpose; what is wrong with the answers only history-check.ts says.
import type { History } from "./history.ts";
import type { Random } from "./random.ts";
import { WireClient, type WireFrame } from "./wire-client.ts";

const RECONNECT_MS = 50;
const REFILL_MS = 20;
const SUB = 1;

/** What the producers and consumers of one run share. */
export interface Load {
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
  options: Pick<Load, "wsUrl" | "queue" | "history" | "random" | "leaseMs" | "maxBacklog">,
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
      return await WireClient.connect(`${load.wsUrl}?client=${hello.client}`, { hello, onFrame });
    } catch {
      await new Promise((retry) => setTimeout(retry, RECONNECT_MS));
    }
  }
  return undefined;
}

interface Unconfirmed {
  messageId: string;
  group: string | undefined;
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

  /** Creates no more messages, and waits until all are confirmed. */
  async finish(): Promise<void> {
    this.finishing = true;
    await this.finished;
  }

  private async run(): Promise<void> {
    const refill = setInterval(() => this.fill(), REFILL_MS);
    while (!this.finishing || this.unconfirmed.size > 0) {
      const wire = await connectWhenUp(
        this.load,
        { client: this.name },
        (frame) => this.receive(frame),
        () => true,
      );
      this.calls.clear();
      this.publish([...this.unconfirmed.values()], wire!);
      this.wire = wire;
      await wire!.closed;
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
    const { random, published, acked, maxBacklog } = this.load;
    if (this.finishing || published - acked > maxBacklog) return;
    const fresh: Unconfirmed[] = [];
    while (this.unconfirmed.size < this.window) {
      this.created += 1;
      const group = random.chance(0.5) ? random.pick(this.groups) : undefined;
      const message = { messageId: `${this.name}-${this.created}`, group };
      this.unconfirmed.set(message.messageId, message);
      fresh.push(message);
    }
    this.publish(fresh, this.wire);
  }

  private publish(messages: Unconfirmed[], wire: WireClient): void {
    const { queue, history } = this.load;
    const frames = messages.map((message): WireFrame => {
      const { messageId, group } = message;
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
    // A publisher that never saw its confirm asks again: here also one that did.
    if (!this.finishing && this.load.random.chance(0.03)) {
      this.unconfirmed.set(messageId, message);
      if (this.wire) this.publish([message], this.wire);
    }
    if (this.unconfirmed.size <= this.window / 2) this.fill();
    return true;
  }
}

interface Connection {
  /** The session that holds the leases; another one after a hello that did not resume. */
  session: string;
  wire: WireClient | undefined;
  /** True from the instant at which this side, or a kill, has ended it: what still comes is not seen. */
  over: boolean;
  ack: string[];
  release: string[];
  fail: { delivery: string }[];
  asked: Map<number, string[]>;
  /** Handles of deliveries that it has not said anything of. */
  held: Set<string>;
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
        ack: [],
        release: [],
        fail: [],
        asked: new Map(),
        held: new Set(),
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
      for (const delivery of left) this.later(connection, 0, () => connection.ack.push(delivery));
      const closed = await wire.closed;
      if (connection.over) continue;
      this.load.problems.push(`${this.name}'s socket closed with ${closed.code} ${closed.reason}`);
      this.expectEnd();
    }
  }

  private async subscribe(wire: WireClient, connection: Connection): Promise<void> {
    const { queue, leaseMs, problems } = this.load;
    const subscribe = { op: "subscribe", sub: SUB, to: `queue:${queue}`, credit: this.credit, leaseMs };
    await wire.ok(subscribe).catch((error: Error) => {
      if (!connection.over) problems.push(`${this.name} could not subscribe: ${error.message}`);
    });
  }

  private receive(frame: WireFrame, connection: Connection): boolean {
    if (connection.over) return true;
    if (frame.op === "welcome" && !frame.resumed) {
      this.sessions += 1;
      this.session = `${this.name}#${this.sessions}`;
      connection.session = this.session;
    } else if (frame.op === "message") {
      this.deliver(frame, connection);
      return true;
    } else if (frame.id !== undefined && connection.asked.has(frame.id)) {
      this.settled(frame, connection.asked.get(frame.id)!);
      connection.asked.delete(frame.id);
      return true;
    } else if (frame.op !== "welcome" && frame.op !== "ok") {
      this.load.problems.push(`${this.name} got ${JSON.stringify(frame)}`);
    }
    return false;
  }

  private deliver(frame: WireFrame, connection: Connection): void {
    const { history, random, leaseMs, overdue, problems } = this.load;
    const { messageId, seq, delivery, attempt, redelivered } = frame as Required<WireFrame>;
    const body = frame.body as { messageId: string; group: string | null };
    const group = frame.group as string | undefined;
    if (body.messageId !== messageId || body.group !== (group ?? null) || (attempt > 1 && !redelivered)) {
      problems.push(`${this.name} got a message that contradicts itself: ${JSON.stringify(frame)}`);
    }
    const consumer = connection.session;
    history.record({ kind: "delivered", consumer, messageId, seq, delivery, attempt, leaseMs, group });
    connection.held.add(delivery);

    const fate = random.next();
    if (overdue.delete(messageId)) {
      this.later(connection, leaseMs / 2, () => connection.ack.push(delivery));
    } else if (fate < 0.001) {
      this.drops += 1;
      this.expectEnd();
      connection.wire?.cut();
    } else if (fate < 0.002) {
      overdue.add(messageId);
      this.later(connection, leaseMs + leaseMs / 4, () => connection.ack.push(delivery));
    } else if (fate < 0.03) {
      this.later(connection, 0, () => connection.release.push(delivery));
    } else if (fate < 0.05) {
      this.later(connection, 0, () => connection.fail.push({ delivery }));
    } else {
      this.later(connection, fate < 0.2 ? random.integer(1, 30) : 0, () => connection.ack.push(delivery));
    }
  }

  /** Collects what comes due in the same turn, so that it travels in one frame. */
  private later(connection: Connection, delayMs: number, collect: () => void): void {
    const collectAndFlush = () => {
      if (connection.ack.length + connection.release.length + connection.fail.length === 0) {
        setImmediate(() => this.flush(connection));
      }
      collect();
    };
    if (delayMs === 0) collectAndFlush();
    else setTimeout(collectAndFlush, delayMs);
  }

  private flush(connection: Connection): void {
    const { wire, ack, release, fail } = connection;
    if (connection.over || !wire) return;
    const { history } = this.load;
    const returned = [...release, ...fail.map((entry) => entry.delivery)];
    for (const delivery of ack) history.record({ kind: "ack-invoked", delivery });
    for (const delivery of returned) history.record({ kind: "return-invoked", delivery });
    for (const delivery of [...ack, ...returned]) connection.held.delete(delivery);
    this.lastId += 1;
    connection.asked.set(this.lastId, ack);
    wire.send({ op: "settle", id: this.lastId, sub: SUB, ack, release, fail });
    Object.assign(connection, { ack: [], release: [], fail: [] });
  }

  private settled(frame: WireFrame, ack: string[]): void {
    if (frame.op !== "ok") {
      this.load.problems.push(`${this.name} settled and got ${JSON.stringify(frame)}`);
      return;
    }
    const refused = new Set(frame.lost);
    for (const delivery of ack) {
      const lost = refused.has(delivery);
      this.load.history.record({ kind: "ack-confirmed", delivery, lost });
      if (!lost) this.load.acked += 1;
    }
  }
}
