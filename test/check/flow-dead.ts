// Dead letters: a queue whose consumers fail and reject much, and the queue that takes what dies there.
import { History } from "../support/history.ts";
import { createLoad, type Load, LoadConsumer, LoadProducer } from "../support/load.ts";
import { QueueBook } from "./queue-book.ts";
import { ask, type Finding, type Flow, until, type World } from "./world.ts";

const QUEUE = "flaky";
const DEAD = "flaky.dead";
const LEASE_MS = 7_000;
const PER_SECOND = 8;

/** A queue of what fails. */
export class DeadFlow implements Flow {
  readonly clients = ["p3", "c4", "c5", "c6"];
  readonly rooms = [
    { room: "queue", name: QUEUE },
    { room: "queue", name: DEAD },
  ] as const;
  readonly #world: World;
  readonly #book: QueueBook;
  readonly #dead: QueueBook;
  #loads: Load[] = [];
  #producer: LoadProducer | undefined;
  #consumers: LoadConsumer[] = [];

  constructor(world: World) {
    this.#world = world;
    this.#book = new QueueBook(QUEUE, world);
    this.#dead = new QueueBook(DEAD, world);
  }

  async prepare(): Promise<void> {
    const backoff = { kind: "exponential", baseMs: 50, maxMs: 400, jitter: 0.5 };
    await ask(this.#world, "PUT", `/v1/queues/${QUEUE}`, { maxFailures: 3, backoff, deadLetterTo: DEAD });
  }

  begin(round: number): void {
    const world = this.#world;
    const common = {
      wsUrl: world.broker.wsUrl,
      urlOf: (client: string) => world.wsUrl(client),
      leaseMs: LEASE_MS,
    };
    const { random } = world;
    const load = createLoad({
      ...{ ...common, queue: QUEUE, history: this.#book.begin(), random, maxBacklog: 200 },
      ...{ perSecond: PER_SECOND, delayed: 0.1, settledAgain: 0.1, closesUnasked: true },
      fates: { vanish: 0.01, overdue: 0.01, release: 0.03, fail: 0.35, reject: 0.06 },
    });
    const dead = createLoad({
      ...{ ...common, queue: DEAD, history: new DeadLetters(this.#dead.begin(), this.#book.history), random },
      ...{
        maxBacklog: 200,
        settledAgain: 0.1,
        closesUnasked: true,
        fates: { vanish: 0.01, release: 0.05, fail: 0.02 },
      },
    });
    this.#loads = [load, dead];
    this.#producer = new LoadProducer(`p3@${round}`, load, 16, [`p3@${round}a`, `p3@${round}b`]);
    this.#consumers = [
      new LoadConsumer(`c4@${round}`, load, 8, 0),
      new LoadConsumer(`c5@${round}`, load, 8, 30),
      new LoadConsumer(`c6@${round}`, dead, 8, 30),
    ];
  }

  beforeCut(client?: string): void {
    for (const [at, consumer] of this.#consumers.entries()) {
      if (client === undefined || client === `c${at + 4}`) consumer.expectEnd();
    }
  }

  beforeEviction(): void {}

  beforeStep(byMs: number): void {
    for (const { history } of [this.#book, this.#dead]) history.record({ kind: "clock-stepped", byMs });
  }

  async end(deadlineMs: number): Promise<Finding[]> {
    const finishing = this.#producer!.finish().then(() => true);
    const through = await Promise.race([finishing, until(() => false, deadlineMs)]);
    const isQuiet = async () => {
      const [stats, dead] = await Promise.all([this.#book.stats(), this.#dead.stats()]);
      const isEmpty = await this.#book.isEmpty();
      // Dead letters may still be on their way.
      if (stats?.deadLettered === 0) return isEmpty;
      return isEmpty && dead?.accepted === stats?.deadLettered && (await this.#dead.isEmpty());
    };
    const drained = through && (await until(isQuiet, deadlineMs));
    this.#producer!.abandon();
    for (const consumer of this.#consumers) await consumer.finish();
    this.#expectDeadLetters();
    const found = await this.#book.judge(drained);
    // Nothing may have died so far.
    if ((await this.#dead.stats()) !== undefined) found.push(...(await this.#dead.judge(drained)));
    for (const { problems, queue } of this.#loads) {
      for (const what of problems) found.push({ breach: "problem", where: queue, what });
    }
    return found;
  }

  async stop(): Promise<void> {}

  /** What was rejected, and that confirmed, must have come out of the queue of dead letters. */
  #expectDeadLetters(): void {
    const rejected = new Map<string, string>();
    const messages = new Map<string, string>();
    for (const event of this.#book.history.events) {
      if (event.kind === "delivered") messages.set(event.delivery, event.messageId);
      if (event.kind === "ack-invoked" && event.isRejection) {
        rejected.set(event.delivery, messages.get(event.delivery)!);
      }
      const messageId = event.kind === "ack-confirmed" && !event.lost && rejected.get(event.delivery);
      if (!messageId) continue;
      const call = this.#dead.history.events.length;
      const publish = { producer: QUEUE, messageId, call };
      this.#dead.history.record({ kind: "publish-failed", messageId, call });
      this.#dead.history.record({ kind: "publish-confirmed", ...publish, seq: undefined, duplicate: false });
    }
  }
}

/** The history of the queue of dead letters, which tells the other one who died. */
class DeadLetters extends History {
  readonly #own: History;
  readonly #of: History;
  readonly #known = new Map<string, number>();

  constructor(own: History, of: History) {
    super();
    this.#own = own;
    this.#of = of;
  }

  override record(event: Parameters<History["record"]>[0]): void {
    if (event.kind === "delivered") {
      const { messageId, seq } = event;
      const known = this.#known.get(messageId);
      // The same letter again is the same seq; another seq is the same message dead a second time.
      if (known !== seq) this.#of.record({ kind: "dead-lettered", messageId });
      if (known === undefined) {
        this.#own.record({ kind: "publish-invoked", producer: "dead", messageId, call: seq });
        this.#own.record({ kind: "publish-failed", messageId, call: seq });
      }
      this.#known.set(messageId, seq);
    }
    this.#own.record(event);
  }
}
