// A WebSocket that does what a test says, for what only the client decides: which frames leave when, in which order, and when it
// gives a socket up. Whatever depends on the broker is tested against the real one.
import { type ConnectOptions, connect, type Dunlin } from "../../../client/index.ts";

/** A frame of either direction. */
export interface Frame {
  op: string;
  id?: number;
  [field: string]: unknown;
}

/** Patience of the waits here: generous, as they end as soon as what they wait for is there. */
const WAIT_MS = 10_000;

/** One socket that the client opened. */
export class ScriptedSocket extends EventTarget {
  readyState = 0;
  binaryType = "blob";
  readonly url: string;
  readonly protocols: string;
  /** Every text the client sent, in order. */
  readonly sent: string[] = [];
  closedWith: number | undefined;
  #taken = 0;

  constructor(url: string, protocols: string) {
    super();
    this.url = url;
    this.protocols = protocols;
  }

  send(text: string): void {
    this.sent.push(text);
  }

  close(code = 1005): void {
    this.readyState = 3;
    this.closedWith = code;
  }

  /** Finishes the handshake. */
  open(): void {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }

  /** The broker sends a frame or a batch. */
  receive(frames: Frame | Frame[] | "pong"): void {
    const data = frames === "pong" ? frames : JSON.stringify(frames);
    this.dispatchEvent(new MessageEvent("message", { data }));
  }

  /** The socket is closed from the other side, or lost. */
  drop(code = 1006, reason = ""): void {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
  }

  /** Answers hello. */
  welcome(resumed = false): void {
    const hello = this.frames().find((frame) => frame.op === "hello")!;
    const session = {
      client: hello.client,
      session: "s",
      resumed,
      namespace: "default",
      serverTime: 0,
      limits: {},
    };
    this.receive({ op: "welcome", id: hello.id!, ...session });
  }

  /** All frames the client sent, batches taken apart. */
  frames(): Frame[] {
    return this.sent.filter((text) => text !== "ping").flatMap((text) => JSON.parse(text) as Frame | Frame[]);
  }

  /** The texts that left since the last call, once there are any. */
  async nextTexts(): Promise<string[]> {
    await until(
      () => this.sent.length > this.#taken,
      () => `nothing more was sent than ${this.sent.join(" ")}`,
    );
    const texts = this.sent.slice(this.#taken);
    this.#taken = this.sent.length;
    return texts;
  }

  /** As `nextTexts`, as frames with batches taken apart. */
  async next(): Promise<Frame[]> {
    return (await this.nextTexts()).flatMap((text) => JSON.parse(text) as Frame | Frame[]);
  }

  /** Confirms publishes with made-up places in the log, subscribes at the log's beginning, and the rest with what was asked. */
  confirm(frames: Frame[]): void {
    const asked = frames.filter((frame) => frame.id !== undefined);
    this.receive(
      asked.map((frame) => {
        const place = { sub: frame.sub, epoch: 1, seq: 0, recovered: true };
        if (frame.op === "subscribe") return { op: "ok", id: frame.id!, ...place };
        if (frame.op !== "publish") return { op: "ok", id: frame.id!, lost: [] };
        return {
          op: "ok",
          id: frame.id!,
          messageId: frame.messageId,
          seq: frame.id!,
          epoch: 1,
          duplicate: false,
        };
      }),
    );
  }
}

/** A client on scripted sockets. */
export interface Scripted {
  dunlin: Dunlin;
  /** The client's newest socket, once it has opened as many as this one is. */
  socket(number?: number): Promise<ScriptedSocket>;
  /** As `socket`, with its handshake and hello done; the texts so far are taken. */
  opened(number?: number, resumed?: boolean): Promise<ScriptedSocket>;
}

/** Connects a client to scripted sockets. */
export function scripted(options: ConnectOptions = {}): Scripted {
  const sockets: ScriptedSocket[] = [];
  class Socket extends ScriptedSocket {
    constructor(url: string, protocols: string) {
      super(url, protocols);
      sockets.push(this);
    }
  }
  const dunlin = connect("http://broker.test", { WebSocket: Socket, ...options });
  const socket = async (number = 1) => {
    await until(
      () => sockets.length >= number,
      () => `only ${sockets.length} sockets were opened`,
    );
    return sockets[number - 1]!;
  };
  return {
    dunlin,
    socket,
    async opened(number = 1, resumed = false) {
      const opened = await socket(number);
      opened.open();
      await opened.nextTexts();
      opened.welcome(resumed);
      return opened;
    },
  };
}

/** A delivery as the broker sends it. */
export function delivery(sub: number, handle: string, fields: Record<string, unknown> = {}): Frame {
  const place = {
    seq: 1,
    epoch: 1,
    messageId: `m-${handle}`,
    time: 0,
    to: "queue:jobs",
    attempt: 1,
    redelivered: false,
  };
  return { op: "message", sub, delivery: handle, body: handle, ...place, ...fields };
}

/** A message of a topic as the broker sends it. */
export function news(sub: number, seq: number, fields: Record<string, unknown> = {}): Frame {
  const place = { seq, epoch: 1, messageId: `m-${seq}`, time: 0, to: "topic:news" };
  return { op: "message", sub, body: `news ${seq}`, ...place, ...fields };
}

/** Polls until a condition holds. */
export async function until(holds: () => boolean, diagnosis: () => string): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`not within ${WAIT_MS} ms: ${diagnosis()}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
