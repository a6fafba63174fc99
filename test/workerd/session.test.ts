// Whole sessions over real sockets, with the objects evicted between any two steps: nobody may notice.
import { afterEach, describe, expect, it } from "vitest";
import { CommandWriter } from "../../worker/link/commands.ts";
import type { QueueRpc } from "../../worker/queue/rpc.ts";
import { call, eventually, type Frame, stats, Wire } from "./support/client.ts";
import { evict, gatewayStub, queueStub } from "./support/objects.ts";

let runs = 0;
const open: Wire[] = [];

afterEach(() => {
  for (const wire of open.splice(0)) if (wire.closed === undefined) wire.close();
});

async function connect(hello: Record<string, unknown> = {}): Promise<Wire> {
  const wire = await Wire.connect(hello);
  open.push(wire);
  return wire;
}

/** Values that differ from run to run, by the order in which they appear. */
class Labels {
  readonly #known = new Map<unknown, string>();

  of(kind: string, value: unknown): unknown {
    if (value === undefined) return undefined;
    if (!this.#known.has(value)) this.#known.set(value, `${kind} ${this.#known.size}`);
    return this.#known.get(value);
  }

  plain(frame: Frame): Record<string, unknown> {
    const { time: _, serverTime: __, delivery, messageId, epoch, session, client, to, ...rest } = frame;
    const lost = (rest.lost as unknown[] | undefined)?.map((handle) => this.of("delivery", handle));
    return {
      ...rest,
      ...(lost === undefined ? {} : { lost }),
      delivery: this.of("delivery", delivery),
      messageId: this.of("message", messageId),
      epoch: this.of("epoch", epoch),
      session: this.of("session", session),
      client: this.of("client", client),
      to: this.of("queue", to),
    };
  }
}

/** What a script may do, and what it saw. */
class Script {
  // Names of one length: the bytes of a queue are compared as well.
  readonly queue = `session-${String(++runs).padStart(4, "0")}`;
  readonly client = `client-${this.queue}`;
  readonly seen: [step: number, Record<string, unknown>][] = [];
  readonly #between: (step: number) => Promise<void>;
  readonly #labels = new Labels();
  #step = 0;

  constructor(between: (script: Script, step: number) => Promise<void>) {
    this.#between = (step) => between(this, step);
  }

  get to(): string {
    return `queue:${this.queue}`;
  }

  get steps(): number {
    return this.#step;
  }

  /** One step: requests and their answers, then the frames that follow of themselves at another socket. */
  async step(wire: Wire, frames: Frame[], pushed: { at: Wire; count: number }): Promise<Frame[]> {
    await this.pause();
    const answers = frames.length === 0 ? [] : await wire.askAll(...frames);
    const pushes = await pushed.at.take(pushed.count);
    this.note(...answers, ...pushes);
    return pushes;
  }

  async pause(): Promise<void> {
    await this.#between(this.#step++);
  }

  note(...frames: Frame[]): void {
    for (const frame of frames) this.seen.push([this.#step, this.#labels.plain(frame)]);
  }

  async noteStats(queue: string): Promise<void> {
    const { rowsWritten: _, oldestReadyMs: __, ...figures } = await stats(queue);
    this.seen.push([this.#step, figures]);
  }
}

/** Publish, deliver, settle in every way, extend, lose the socket, resume, leave. */
async function wholeSession(script: Script): Promise<void> {
  const { to } = script;
  const hello = { client: script.client, session: { expirySeconds: 600 } };
  const producer = await connect();
  await script.pause();
  let consumer = await connect(hello);
  const none = { at: consumer, count: 0 };
  await script.step(consumer, [{ op: "subscribe", sub: 1, to, credit: 3 }], none);
  const publishes = [1, 2, 3, 4, 5].map((body) => ({ op: "publish", to, body, messageId: `m${body}` }));
  const [first, second, third] = await script.step(producer, publishes, { at: consumer, count: 3 });
  const one = { at: consumer, count: 1 };
  const settle = (lists: Record<string, unknown>) => [{ op: "settle", sub: 1, ...lists }];
  await script.step(consumer, settle({ ack: [first!.delivery] }), one);
  await script.step(
    consumer,
    [{ op: "extend", sub: 1, deliveries: [second!.delivery, "9.9"], leaseMs: 60_000 }],
    none,
  );
  const [failed] = await script.step(
    consumer,
    settle({ fail: [{ delivery: second!.delivery, reason: "no" }] }),
    one,
  );
  expect(failed).toMatchObject({ seq: 2, attempt: 2, redelivered: true });
  await script.step(consumer, settle({ dead: [{ delivery: third!.delivery, reason: "bad" }] }), one);
  await script.step(producer, [publishes[0]!], none);
  const [released] = await script.step(consumer, settle({ release: [failed!.delivery] }), one);
  await script.step(producer, [{ op: "publish", to, body: 6, group: "g" }], none);
  await script.pause();
  consumer.close();
  await eventually("the socket's end", () => consumer.closed);
  await script.pause();
  consumer = await connect(hello);
  const held = await script.step(producer, [], { at: consumer, count: 3 });
  expect(held.every(({ redelivered }) => redelivered === true)).toBe(true);
  const rest = { at: consumer, count: 0 };
  await script.step(consumer, settle({ ack: [first!.delivery, second!.delivery] }), rest);
  await script.step(consumer, settle({ ack: [released!.delivery] }), { at: consumer, count: 1 });
  await script.step(consumer, [{ op: "credit", sub: 1, add: 2 }], rest);
  await script.step(consumer, [{ op: "unsubscribe", sub: 1 }], rest);
  await script.step(consumer, [{ op: "settle", sub: 1, ack: [released!.delivery] }], rest);
  await script.pause();
  await script.noteStats(script.queue);
  await eventually("the dead letter", async () => {
    const dead = await call(`/v1/queues/${script.queue}.dead`);
    return dead.ok && (await stats(`${script.queue}.dead`)).accepted === 1 ? true : undefined;
  });
  await script.noteStats(`${script.queue}.dead`);
}

async function run(between: (script: Script, step: number) => Promise<void>): Promise<Script> {
  const script = new Script(between);
  await wholeSession(script);
  return script;
}

const EVICTIONS: Record<string, (script: Script) => Promise<unknown>> = {
  "the gateway": () => evict(gatewayStub()),
  "the queue": ({ queue }) => evict(queueStub(queue)),
  "the gateway, then the queue": async ({ queue }) => {
    await evict(gatewayStub());
    await evict(queueStub(queue));
  },
  "the queue, then the gateway": async ({ queue }) => {
    await evict(queueStub(queue));
    await evict(gatewayStub());
  },
};

describe("a session over a real socket", () => {
  it.each(Object.keys(EVICTIONS))(
    "[EVC1] [EVC3] [SES8] sees the same frames with %s evicted before every step",
    async (what) => {
      const quiet = await run(async () => undefined);
      const disturbed = await run((script) => EVICTIONS[what]!(script).then(() => undefined));
      expect(disturbed.seen).toEqual(quiet.seen);
    },
  );

  it("[EVC1] sees the same frames with both evicted before any one step", async () => {
    const quiet = await run(async () => undefined);
    expect(quiet.steps).toBeGreaterThan(15);
    for (let chosen = 0; chosen < quiet.steps; chosen += 1) {
      const disturbed = await run(async (script, step) => {
        if (step === chosen) await EVICTIONS["the gateway, then the queue"]!(script);
      });
      expect(disturbed.seen, `evicted before step ${chosen}`).toEqual(quiet.seen);
    }
  });

  it("[EVC3] hibernating sockets keep session, subscriptions and credit", async () => {
    const queue = `hibernate-${++runs}`;
    const consumer = await connect();
    const producer = await connect();
    await consumer.ask({ op: "subscribe", sub: 7, to: `queue:${queue}`, credit: 1 });
    await consumer.ask({ op: "credit", sub: 7, add: 1 });
    await evict(gatewayStub());
    const bodies = [1, 2, 3].map((body) => ({ op: "publish", to: `queue:${queue}`, body }));
    await producer.askAll(...bodies);
    const [first, second] = await consumer.take(2);
    expect([first!.sub, first!.body, second!.body]).toEqual([7, 1, 2]);
    await evict(gatewayStub());
    await consumer.ask({ op: "settle", sub: 7, ack: [first!.delivery] });
    expect(await consumer.take(1)).toMatchObject([{ body: 3 }]);
    expect(await stats(queue)).toMatchObject({ leased: 2, consumers: 1 });
  });

  it("[SES7] [EVC3] a consumer whose socket went while its gateway slept is dropped when its queue wakes", async () => {
    const queue = `gone-${++runs}`;
    const consumer = await connect();
    const other = await connect();
    await consumer.ask({ op: "subscribe", sub: 1, to: `queue:${queue}`, credit: 5 });
    await other.ask({ op: "publish", to: `queue:${queue}`, body: "x" });
    await consumer.take(1);
    await evict(queueStub(queue));
    await evict(gatewayStub());
    consumer.close();
    await eventually("the consumer to be gone", async () =>
      (await stats(queue)).consumers === 0 ? true : undefined,
    );
    await other.ask({ op: "subscribe", sub: 1, to: `queue:${queue}`, credit: 5 });
    expect(await other.take(1)).toMatchObject([{ body: "x", attempt: 2, redelivered: true }]);
  });

  it("[EVC3] [SES8] [SUB4] credit that was added before an eviction is there after a resume", async () => {
    const queue = `credit-${++runs}`;
    const to = `queue:${queue}`;
    const hello = { client: queue, session: { expirySeconds: 600 } };
    const consumer = await connect(hello);
    await consumer.ask({ op: "subscribe", sub: 1, to, credit: 1 });
    await consumer.ask({ op: "credit", sub: 1, add: 1 });
    await evict(gatewayStub());
    consumer.close();
    await eventually("the socket's end", () => consumer.closed);
    const again = await connect(hello);
    await again.askAll(...[1, 2, 3].map((body) => ({ op: "publish", to, body })));
    expect((await again.take(2)).map(({ body }) => body)).toEqual([1, 2]);
    expect(await stats(queue)).toMatchObject({ leased: 2, ready: 1 });
  });

  it("[EVC1] [STA5] a consumer whose gateway does not know it is dropped when its queue wakes", async () => {
    const queue = `unknown-${++runs}`;
    const packet = new CommandWriter();
    const consumer = {
      ref: 4_711,
      gateway: "gateway-0",
      credit: 9,
      leaseMs: undefined,
      client: "",
      filter: "",
      generation: 1,
      resend: false,
    };
    packet.command({ type: "attach", consumer });
    await (queueStub(queue) as unknown as QueueRpc).apply(packet.take(), "");
    expect(await stats(queue)).toMatchObject({ consumers: 1 });
    await evict(queueStub(queue));
    await eventually("the consumer to be gone", async () =>
      (await stats(queue)).consumers === 0 ? true : undefined,
    );
  });
});
