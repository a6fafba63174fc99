// A client of the JSON framing inside the runtime: a real WebSocket through the Worker's router, and every frame it got.
import { exports } from "cloudflare:workers";

const ORIGIN = "http://127.0.0.1";
const WAIT_MS = 20_000;

/** A frame of either direction. */
export interface Frame {
  op: string;
  id?: number;
  [field: string]: unknown;
}

interface Worker {
  default: { fetch(url: string, init?: RequestInit): Promise<Response> };
}

/** A request to the Worker's HTTP surface. */
export function call(path: string, init?: RequestInit): Promise<Response> {
  return (exports as unknown as Worker).default.fetch(`${ORIGIN}${path}`, init);
}

/** The figures of a queue. */
export async function stats(queue: string): Promise<Record<string, number>> {
  const response = await call(`/v1/queues/${encodeURIComponent(queue)}`);
  const body = await response.json<{ stats: Record<string, number> }>();
  if (!response.ok)
    throw new Error(`stats of ${queue} were answered ${response.status}: ${JSON.stringify(body)}`);
  return body.stats;
}

/**
 * Repeats a look until it returns something.
 *
 * @throws Error with what was seen last when that takes too long
 */
export async function eventually<T>(
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`${what} did not come within ${WAIT_MS} ms`);
    await new Promise((again) => setTimeout(again, 5));
  }
}

/** A connection. */
export class Wire {
  readonly socket: WebSocket;
  /** Frames that were not taken yet, in the order they came. */
  frames: Frame[] = [];
  closed: { code: number; reason: string } | undefined;
  #lastId = 0;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.addEventListener("message", ({ data }) => {
      const frame = JSON.parse(String(data)) as Frame | Frame[];
      this.frames.push(...(Array.isArray(frame) ? frame : [frame]));
    });
    socket.addEventListener("close", ({ code, reason }) => {
      this.closed = { code, reason };
    });
    socket.accept();
  }

  /** Opens a connection; says hello unless `hello` is false. */
  static async connect(hello: Record<string, unknown> | false = {}): Promise<Wire> {
    const response = await call("/ws", {
      headers: { upgrade: "websocket", "sec-websocket-protocol": "dunlin.v1.json" },
    });
    if (response.webSocket === null) throw new Error(`the handshake was answered ${response.status}`);
    const wire = new Wire(response.webSocket);
    if (hello !== false) await wire.ask({ op: "hello", ...hello });
    return wire;
  }

  send(...frames: Frame[]): void {
    this.socket.send(JSON.stringify(frames.length === 1 ? frames[0] : frames));
  }

  /** Sends frames with fresh ids, and returns their answers in order. */
  async askAll(...frames: Frame[]): Promise<Frame[]> {
    const ids = frames.map(() => ++this.#lastId);
    this.send(...frames.map((frame, i) => ({ ...frame, id: ids[i]! })));
    return eventually(`the answers to ${JSON.stringify(frames).slice(0, 300)}`, () => {
      const answers = ids.map((id) => this.frames.find((frame) => frame.id === id));
      if (answers.some((answer) => answer === undefined)) return undefined;
      this.frames = this.frames.filter((frame) => frame.id === undefined || !ids.includes(frame.id));
      return answers as Frame[];
    });
  }

  async ask(frame: Frame): Promise<Frame> {
    const [answer] = await this.askAll(frame);
    if (answer!.op === "error")
      throw new Error(`${JSON.stringify(frame)} was answered ${JSON.stringify(answer)}`);
    return answer!;
  }

  /** Takes the next `count` frames that are no answers. */
  async take(count: number): Promise<Frame[]> {
    let seen = 0;
    try {
      return await eventually(`${count} frames`, () => {
        seen = this.frames.length;
        return seen >= count ? this.frames.splice(0, count) : undefined;
      });
    } catch (error) {
      throw new Error(`${String(error)}; ${seen} came: ${JSON.stringify(this.frames).slice(0, 500)}`);
    }
  }

  close(): void {
    this.socket.close(1000, "done");
  }
}
