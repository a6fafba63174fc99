// What every end-to-end test stands on: one real broker per file, a namespace per test, sockets and HTTP calls into it.
// Leaves starting processes and raw frames to test/support.
import { test as base, beforeAll, expect, vi } from "vitest";
import { type Broker, type BrokerOptions, startBroker } from "../support/broker.ts";
import { WireClient, type WireFrame, type WireOptions } from "../support/wire-client.ts";

const START_TIMEOUT_MS = 120_000;
const TEST_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
/** How long an ended conversation may keep its connection. */
const CLOSING_MS = 2_000;

/** An HTTP answer with its body parsed when it is JSON. */
export interface Answer {
  status: number;
  headers: Headers;
  /** Parsed JSON, or the text, or undefined for an empty body. */
  body: unknown;
}

/** A message as HTTP and peek show it, and a `message` frame without its envelope. */
export interface Message {
  seq: number;
  epoch: number;
  messageId: string;
  time: number;
  body?: unknown;
  base64?: string;
  contentType?: string;
  headers?: Record<string, string>;
  group?: string;
  delivery: string;
  attempt: number;
  redelivered: boolean;
  deaths?: Death[];
  [field: string]: unknown;
}

/** One entry of a dead letter's history. */
export interface Death {
  queue: string;
  reason: string;
  count: number;
  firstTime: number;
  lastTime: number;
  detail?: string;
}

/** The figures of a queue. */
export interface Stats {
  ready: number;
  delayed: number;
  leased: number;
  deadLettered: number;
  accepted: number;
  settled: number;
  expired: number;
  bytes: number;
  oldestReadyMs: number;
  consumers: number;
  rowsWritten: number;
}

/** A namespace of its own, with what a test does in it. */
export class World {
  readonly ns: string;
  readonly broker: Broker;
  private readonly wires: WireClient[] = [];

  constructor(ns: string, broker: Broker) {
    this.ns = ns;
    this.broker = broker;
  }

  /** Opens a socket into the namespace (or another one) and says hello; it is cut when the test ends. */
  async connect(
    hello: WireOptions["hello"] = {},
    ns = this.ns,
    options: WireOptions = {},
  ): Promise<WireClient> {
    const url = `${this.broker.wsUrl}?ns=${encodeURIComponent(ns)}`;
    const wire = await WireClient.connect(url, { ...options, hello });
    this.wires.push(wire);
    return wire;
  }

  /** Calls HTTP in the namespace. A `body` that is neither text nor bytes is sent as JSON. */
  async call(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
    ns = this.ns,
  ): Promise<Answer> {
    const url = new URL(path, this.broker.url);
    if (ns !== "") url.searchParams.set("ns", ns);
    return http(method, url, body, headers);
  }

  /** Publishes JSON over HTTP and returns the receipt; throws unless it was 201. */
  async publish(queue: string, body: unknown, headers: Record<string, string> = {}): Promise<Receipt> {
    const answer = await this.call("POST", `${queuePath(queue)}/messages`, JSON.stringify(body), {
      "content-type": "application/json",
      ...headers,
    });
    expect(answer, `publish to ${queue}`).toMatchObject({ status: 201 });
    return answer.body as Receipt;
  }

  /** Receives over HTTP. */
  async receive(queue: string, options: Record<string, unknown> = {}): Promise<Message[]> {
    const answer = await this.call("POST", `${queuePath(queue)}/receive`, options);
    expect(answer, `receive from ${queue}`).toMatchObject({ status: 200 });
    return (answer.body as { messages: Message[] }).messages;
  }

  /** Settles over HTTP. */
  async settle(queue: string, lists: Record<string, unknown>): Promise<{ settled: number; lost: string[] }> {
    const answer = await this.call("POST", `${queuePath(queue)}/settle`, lists);
    expect(answer, `settle in ${queue}`).toMatchObject({ status: 200 });
    return answer.body as { settled: number; lost: string[] };
  }

  /** Declares a queue with settings. */
  async declare(queue: string, settings: Record<string, unknown> = {}): Promise<Answer> {
    const answer = await this.call("PUT", queuePath(queue), settings);
    expect([200, 201], `declare ${queue}: ${JSON.stringify(answer.body)}`).toContain(answer.status);
    return answer;
  }

  /** The figures of a queue that exists. */
  async stats(queue: string): Promise<Stats> {
    const answer = await this.call("GET", queuePath(queue));
    expect(answer, `stats of ${queue}`).toMatchObject({ status: 200 });
    return (answer.body as { stats: Stats }).stats;
  }

  /** The messages of a state, without touching them. */
  async peek(queue: string, state = "ready", limit = 100): Promise<Message[]> {
    const answer = await this.call("GET", `${queuePath(queue)}/messages?state=${state}&limit=${limit}`);
    expect(answer, `peek ${queue}`).toMatchObject({ status: 200 });
    return (answer.body as { messages: Message[] }).messages;
  }

  /** Cuts every socket. */
  end(): void {
    for (const wire of this.wires) wire.cut();
  }
}

/** The answer to a publish. */
export interface Receipt {
  messageId: string;
  seq: number;
  epoch: number;
  duplicate: boolean;
}

/** The path of a queue's calls. */
export function queuePath(queue: string): string {
  return `/v1/queues/${encodeURIComponent(queue)}`;
}

/** One HTTP exchange, whatever its outcome. */
export async function http(
  method: string,
  url: URL,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const sent = body === undefined || typeof body === "string" || body instanceof Uint8Array;
  const response = await fetch(url, {
    method,
    headers: sent ? headers : { "content-type": "application/json", ...headers },
    ...(body === undefined ? {} : { body: (sent ? body : JSON.stringify(body)) as BodyInit }),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  return {
    status: response.status,
    headers: response.headers,
    body: text === "" ? undefined : isJson ? (JSON.parse(text) as unknown) : text,
  };
}

let worlds = 0;

/**
 * Starts a broker before the file's tests and ends it after them; each test gets a `world` of its own.
 *
 * @example
 * const it = withBroker();
 * it("[PUB2] numbers messages", async ({ world }) => { … });
 */
export function withBroker(options: BrokerOptions = {}) {
  vi.setConfig({ testTimeout: TEST_TIMEOUT_MS, hookTimeout: START_TIMEOUT_MS });
  let broker: Broker | undefined;
  beforeAll(async () => {
    broker = await startBroker(options);
    return () => broker?.stop();
  }, START_TIMEOUT_MS);
  return base.extend<{ world: World }>({
    world: async ({ task }, use) => {
      worlds += 1;
      const world = new World(`w${worlds}-${process.pid}`, broker!);
      await use(world);
      world.end();
      if (task.result?.state !== "fail") await expectBalance(world);
    },
  });
}

/** Asserts that the figures of every queue of the namespace add up (rule STA2). */
export async function expectBalance(world: World): Promise<void> {
  const answer = await world.call("GET", "/v1/queues?limit=1000");
  // Tests of authentication have their own callers.
  if (answer.status === 401) return;
  for (const { name } of (answer.body as { queues: { name: string }[] }).queues) {
    const read = await world.call("GET", queuePath(name));
    if (read.status !== 200) continue;
    const { stats } = read.body as { stats: Stats };
    const { ready, delayed, leased, settled, expired, deadLettered } = stats;
    expect(
      ready + delayed + leased + settled + expired + deadLettered,
      `${name}: ${JSON.stringify(stats)}`,
    ).toBe(stats.accepted);
  }
}

/**
 * Polls until `check` stops throwing, for at most `timeoutMs`.
 *
 * @throws what `check` threw last
 */
export async function eventually<T>(check: () => T | Promise<T>, timeoutMs = 20_000): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await pass(POLL_MS);
    }
  }
}

/** Lets time pass: for rules about time itself, never to wait for a state. */
export function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Takes `count` messages of a subscription. */
export async function take(wire: WireClient, count: number, sub?: number): Promise<Message[]> {
  const messages: Message[] = [];
  while (messages.length < count) messages.push(message(await wire.nextMessage(sub)));
  return messages;
}

/** A `message` frame as a message. */
export function message(frame: WireFrame): Message {
  return frame as unknown as Message;
}

/** Asserts that no message comes for a while. */
export async function noMessage(wire: WireClient, sub?: number, quietMs = 300): Promise<void> {
  await wire.none((frame) => frame.op === "message" && (sub === undefined || frame.sub === sub), quietMs);
}

/** Asserts that a frame is an error of the numbers `hundreds`xx, well formed. */
export function expectError(frame: unknown, hundreds: number, kind?: string): void {
  expect(frame).toMatchObject({
    op: "error",
    code: expect.any(Number),
    kind: kind ?? expect.any(String),
    message: expect.any(String),
    retry: expect.stringMatching(/^(none|now|after)$/),
  });
  expect(Math.floor((frame as { code: number }).code / 100), JSON.stringify(frame)).toBe(hundreds);
}

/** Asserts that an HTTP answer is a problem with this status, of the numbers `hundreds`xx. */
export function expectProblem(answer: Answer, status: number, hundreds: number, kind?: string): void {
  expect(answer, JSON.stringify(answer.body)).toMatchObject({
    status,
    body: { code: expect.any(Number), kind: kind ?? expect.any(String), status },
  });
  expect(answer.headers.get("content-type")).toContain("application/problem+json");
  expect(Math.floor((answer.body as { code: number }).code / 100), JSON.stringify(answer.body)).toBe(
    hundreds,
  );
}

/**
 * The code that the socket closes with. As browsers do, it ends the connection itself when the other side does not within a
 * while of its closing frame.
 *
 * @throws Error when no closing frame comes within `timeoutMs`
 */
export async function closeCode(wire: WireClient, timeoutMs = 20_000): Promise<number> {
  await eventually(() => {
    if (wire.socket.readyState === wire.socket.OPEN)
      throw new Error(`the socket is open after ${timeoutMs} ms`);
  }, timeoutMs);
  await Promise.race([wire.closed, pass(CLOSING_MS)]);
  wire.cut();
  return (await wire.closed).code;
}

/** Proves that a socket still works, and how the next frames of it go: publishes once and reads it back. */
export async function expectAlive(wire: WireClient, queue = "alive"): Promise<void> {
  await wire.ok({ op: "publish", to: `queue:${queue}`, body: "alive" });
}
