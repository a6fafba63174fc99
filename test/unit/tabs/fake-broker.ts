// As much of a broker as the tabs' connection touches: one queue, sessions that outlive their sockets, deduplication, leases that end
// with their subscription. Everything travels over the fake browser's lines.
import type { RealSocket } from "../../../client/tabs/platform.ts";
import type { FakeBrowser } from "./fake-platform.ts";

export interface Frame {
  op: string;
  id?: number;
  sub?: number;
  [field: string]: unknown;
}

interface Session {
  id: string;
  socket: FakeSocket | undefined;
  subs: Map<number, string>;
}

interface Stored {
  messageId: string;
  seq: number;
  /** The subscription that has it, and the handle. */
  lease: { sub: number; handle: string } | undefined;
  settled: boolean;
  attempts: number;
}

class FakeSocket extends EventTarget implements RealSocket {
  readyState = 0;
  readonly owner: number;
  readonly line: string;
  readonly #broker: FakeBroker;

  constructor(broker: FakeBroker, owner: number, number: number) {
    super();
    this.#broker = broker;
    this.owner = owner;
    this.line = `socket${number}`;
  }

  send(text: string): void {
    this.#broker.browser.later(`${this.line}>broker`, -1, () => this.#broker.receive(this, text));
  }

  close(code = 1000): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.#broker.browser.later(`${this.line}>broker`, -1, () => this.#broker.lost(this));
    this.#arrive(new Event("close"), { code, reason: "" });
  }

  /** The broker sends. */
  push(type: "open" | "message" | "close", fields: object = {}): void {
    this.#broker.browser.later(`${this.line}>${this.owner}`, this.owner, () => {
      if (type === "open") this.readyState = 1;
      if (type === "close") this.readyState = 3;
      this.dispatchEvent(Object.assign(new Event(type), fields));
    });
  }

  #arrive(event: Event, fields: object): void {
    this.#broker.browser.later(`${this.line}>${this.owner}`, this.owner, () => {
      this.dispatchEvent(Object.assign(event, fields));
    });
  }
}

export class FakeBroker {
  browser!: FakeBrowser;
  readonly messages: Stored[] = [];
  /** Frames that asked for what cannot be, and the like. */
  readonly complaints: string[] = [];
  readonly #sessions = new Map<string, Session>();
  readonly sockets: FakeSocket[] = [];
  #handles = 0;
  #sessionCount = 0;
  #turn = 0;

  /** Subscriptions of all sessions. */
  get subscriptions(): number[] {
    return [...this.#sessions.values()].flatMap(({ subs }) => [...subs.keys()]);
  }

  /** Sockets with a session. */
  get connected(): number {
    return [...this.#sessions.values()].filter(({ socket }) => socket).length;
  }

  connect(owner: number): RealSocket {
    const socket = new FakeSocket(this, owner, this.sockets.length);
    this.sockets.push(socket);
    this.browser.later(`${socket.line}>broker`, -1, () => socket.push("open"));
    return socket;
  }

  /** The browser noticed that a tab is gone. */
  tabDied(owner: number): void {
    for (const socket of this.sockets) {
      if (socket.owner === owner) this.browser.later(`${socket.line}>broker`, -1, () => this.lost(socket));
    }
  }

  /** The network loses all sockets. */
  cut(): void {
    for (const { socket } of [...this.#sessions.values()]) {
      if (!socket) continue;
      this.lost(socket);
      socket.push("close", { code: 1006, reason: "" });
    }
  }

  /** The time of sessions without a socket is over. */
  expire(): void {
    for (const [client, { socket, subs }] of [...this.#sessions]) {
      if (socket) continue;
      this.#sessions.delete(client);
      for (const sub of subs.keys()) this.#release(sub);
    }
    this.#deliver();
  }

  receive(socket: FakeSocket, text: string): void {
    if (text === "ping") return socket.push("message", { data: "pong" });
    const frame = JSON.parse(text) as Frame | Frame[];
    const session = [...this.#sessions.values()].find((each) => each.socket === socket);
    const frames = Array.isArray(frame) ? frame : [frame];
    if (frames[0]!.op === "hello") return this.#hello(socket, frames[0]!);
    // Of a socket that was taken over: the broker reads nothing of it.
    if (!session) return;
    const answers = frames.flatMap((each) => this.#answer(session, each));
    if (answers.length > 0) this.#send(socket, answers);
    this.#deliver();
  }

  lost(socket: FakeSocket): void {
    for (const session of this.#sessions.values()) if (session.socket === socket) session.socket = undefined;
  }

  #hello(socket: FakeSocket, { id, client }: Frame): void {
    const known = this.#sessions.get(client as string);
    if (known?.socket) {
      known.socket.push("close", { code: 4409, reason: "taken over" });
    }
    const session = known ?? { id: `s${++this.#sessionCount}`, socket, subs: new Map<number, string>() };
    session.socket = socket;
    this.#sessions.set(client as string, session);
    const resumed = known !== undefined;
    const rest = { client, session: session.id, namespace: "default", serverTime: 0, limits: {} };
    this.#send(socket, [{ op: "welcome", id: id!, resumed, ...rest }]);
    for (const message of this.messages) {
      if (message.lease && session.subs.has(message.lease.sub)) this.#push(session, message);
    }
    this.#deliver();
  }

  #answer(session: Session, frame: Frame): Frame[] {
    const { op, id, sub } = frame;
    if (op === "publish") return [this.#publish(frame)];
    if (op === "bye") return [];
    if (op === "subscribe") {
      session.subs.set(sub!, frame.to as string);
      return [{ op: "ok", id: id!, sub: sub!, epoch: 1, seq: 0, recovered: true }];
    }
    if (!session.subs.has(sub!)) {
      return [{ op: "error", id: id!, code: 410, kind: "no-subscription", message: `${sub}`, retry: "none" }];
    }
    if (op === "unsubscribe") {
      session.subs.delete(sub!);
      this.#release(sub!);
      return [{ op: "ok", id: id!, sub: sub! }];
    }
    if (op !== "settle") {
      this.complaints.push(JSON.stringify(frame));
      return [];
    }
    const lost = (frame.ack as string[]).filter((handle) => !this.#settle(sub!, handle));
    return [{ op: "ok", id: id!, settled: 1, lost }];
  }

  #publish({ id, messageId }: Frame): Frame {
    const known = this.messages.find((message) => message.messageId === messageId);
    const seq = known?.seq ?? this.messages.length + 1;
    if (!known) {
      this.messages.push({
        messageId: messageId as string,
        seq,
        lease: undefined,
        settled: false,
        attempts: 0,
      });
    }
    return {
      op: "ok",
      id: id!,
      messageId: messageId as string,
      seq,
      epoch: 1,
      duplicate: known !== undefined,
    };
  }

  readonly #settledHandles = new Set<string>();

  #settle(sub: number, handle: string): boolean {
    if (this.#settledHandles.has(handle)) return true;
    const message = this.messages.find(({ lease }) => lease?.handle === handle && lease.sub === sub);
    if (!message) return false;
    message.lease = undefined;
    message.settled = true;
    this.#settledHandles.add(handle);
    return true;
  }

  #release(sub: number): void {
    for (const message of this.messages) if (message.lease?.sub === sub) message.lease = undefined;
  }

  #deliver(): void {
    const takers = [...this.#sessions.values()].flatMap((session) =>
      session.socket ? [...session.subs.keys()].map((sub) => ({ session, sub })) : [],
    );
    if (takers.length === 0) return;
    for (const message of this.messages) {
      if (message.settled || message.lease) continue;
      const { session, sub } = takers[this.#turn++ % takers.length]!;
      message.attempts += 1;
      message.lease = { sub, handle: `h${++this.#handles}` };
      this.#push(session, message);
    }
  }

  #push({ socket }: Session, { lease, messageId, seq, attempts }: Stored): void {
    const place = { seq, epoch: 1, messageId, time: 0, to: "queue:jobs", body: messageId };
    const { sub, handle } = lease!;
    this.#send(socket!, [
      { op: "message", sub, delivery: handle, attempt: attempts, redelivered: false, ...place },
    ]);
  }

  /** What is written in one turn leaves as one frame. */
  #pending = new Map<FakeSocket, Frame[]>();
  #send(socket: FakeSocket, frames: Frame[]): void {
    const pending = this.#pending.get(socket);
    if (pending) {
      pending.push(...frames);
      return;
    }
    const batch = [...frames];
    this.#pending.set(socket, batch);
    queueMicrotask(() => {
      this.#pending.delete(socket);
      socket.push("message", { data: JSON.stringify(batch.length === 1 ? batch[0] : batch) });
    });
  }
}
