// Jobs: one queue with producers over JSON, HTTP and MQTT QoS 2, and consumers over JSON and HTTP.
import { createLoad, type Load, LoadConsumer, LoadProducer } from "../support/load.ts";
import { LoadPublisher } from "../support/mqtt-load.ts";
import { QueueBook } from "./queue-book.ts";
import { HttpConsumer, HttpProducer, idOf } from "./traffic/http.ts";
import { type Finding, type Flow, until, type World } from "./world.ts";

const QUEUE = "jobs";
const LEASE_MS = 7_000;
const PER_SECOND = 12;
const MQTT_PER_SECOND = 6;
const REFILL_MS = 100;
const GROUPS = ["a", "b", "c"];

/** Producers and consumers of a queue, over every protocol. */
export class JobsFlow implements Flow {
  readonly clients = ["p1", "p2", "h1", "m1", "c1", "c2", "c3", "h2"];
  readonly rooms = [{ room: "queue", name: QUEUE }] as const;
  readonly #world: World;
  readonly #book: QueueBook;
  readonly #mqtt: LoadPublisher;
  #load: Load | undefined;
  #producers: (LoadProducer | HttpProducer)[] = [];
  #consumers: LoadConsumer[] = [];
  #http: HttpConsumer | undefined;
  #filling: NodeJS.Timeout | undefined;

  constructor(world: World) {
    this.#world = world;
    this.#book = new QueueBook(QUEUE, world);
    const record = (kind: "sent" | "confirmed", number: number) => this.#published(kind, number);
    this.#mqtt = new LoadPublisher(() => world.mqttUrl("m1"), 5, "m1", `$queue/${QUEUE}`, 2, 0, {
      sent: (_, number) => record("sent", number),
      confirmed: (_, number) => record("confirmed", number),
      failed: () => undefined,
    });
    this.#mqtt.repeated = 0.1;
  }

  async prepare(): Promise<void> {
    this.#mqtt.start();
  }

  begin(round: number): void {
    const world = this.#world;
    const { random } = world;
    const load = createLoad({
      wsUrl: world.broker.wsUrl,
      urlOf: (client) => world.wsUrl(client),
      ...{ queue: QUEUE, history: this.#book.begin(), random, leaseMs: LEASE_MS, maxBacklog: 300 },
      ...{ perSecond: PER_SECOND, delayed: 0.15, settledAgain: 0.1, closesUnasked: true, identify: idOf },
      fates: { vanish: 0.01, overdue: 0.02, release: 0.04, fail: 0.03 },
      onConfirmed: (messageId, seq) => this.#book.keep(messageId, seq),
    });
    this.#load = load;
    const name = (client: string) => `${client}@${round}`;
    const groups = (client: string) => GROUPS.map((group) => `${name(client)}${group}`);
    this.#producers = [
      ...["p1", "p2"].map((client) => new LoadProducer(name(client), load, 16, groups(client))),
      new HttpProducer(
        name("h1"),
        () => world.url("h1"),
        load,
        () => this.#book.again(),
      ),
    ];
    const sessions: [string, number][] = [
      ["c1", 0],
      ["c2", 0],
      ["c3", 30],
    ];
    this.#consumers = sessions.map(([client, expiry]) => new LoadConsumer(name(client), load, 8, expiry));
    this.#http = new HttpConsumer(name("h2"), () => world.url("h2"), load);
    this.#filling = setInterval(() => {
      this.#mqtt.most += (MQTT_PER_SECOND * REFILL_MS) / 1_000;
      this.#mqtt.goOn();
    }, REFILL_MS);
  }

  beforeCut(client?: string): void {
    for (const [at, consumer] of this.#consumers.entries()) {
      if (client === undefined || client === `c${at + 1}`) consumer.expectEnd();
    }
  }

  beforeEviction(): void {}

  beforeStep(byMs: number): void {
    this.#book.history.record({ kind: "clock-stepped", byMs });
  }

  async end(deadlineMs: number): Promise<Finding[]> {
    clearInterval(this.#filling);
    this.#mqtt.most = this.#mqtt.sent;
    const finishing = Promise.all(this.#producers.map((producer) => producer.finish()));
    const through = await Promise.race([finishing.then(() => true), until(() => false, deadlineMs)]);
    const drained =
      through &&
      (await until(
        async () => this.#mqtt.confirmed >= this.#mqtt.sent && (await this.#book.isEmpty()),
        deadlineMs,
      ));
    for (const producer of this.#producers) producer.abandon();
    for (const consumer of this.#consumers) await consumer.finish();
    await this.#http?.finish();
    const { problems } = this.#load!;
    const found = await this.#book.judge(drained);
    for (const what of [...problems, ...this.#mqtt.problems.splice(0)]) {
      found.push({ breach: "problem", where: QUEUE, what });
    }
    return found;
  }

  async stop(): Promise<void> {
    await this.#mqtt.stop();
  }

  /** What an MQTT client published has no seq that it could know of. */
  #published(kind: "sent" | "confirmed", number: number): void {
    const { history } = this.#book;
    const message = { producer: "m1", messageId: `m1-${number}`, call: number };
    if (kind === "sent") history.record({ kind: "publish-invoked", ...message });
    else {
      this.#load!.published += 1;
      history.record({ kind: "publish-confirmed", ...message, seq: undefined, duplicate: false });
    }
  }
}
