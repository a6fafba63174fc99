// Topics: publishers over MQTT and JSON; readers over MQTT at QoS 1 and 2, near and away, shared, over JSON, and through a binding.
import { createLoad, type Load, LoadConsumer } from "../support/load.ts";
import { LoadPublisher, LoadSubscriber, type LoadWitness } from "../support/mqtt-load.ts";
import { QueueBook } from "./queue-book.ts";
import { checkStreams, type Place, type Reader, type StreamEvent } from "./streams.ts";
import { LiveReader, TopicPublisher, textOf } from "./traffic/topic-json.ts";
import { ask, type Finding, type Flow, until, type World } from "./world.ts";

const AUDIT = "audit";
const WORK = "work";
const LEASE_MS = 7_000;
const PER_SECOND = 5;
const REFILL_MS = 100;
const RETENTION_MS = 3_600_000;

const A = ["t4", "j1"];
const B = ["t5", "o5"];
/** o5 publishes at QoS 1, where the publisher has no identity to repeat under. */
const REPEATING = new Set(["o5"]);

const READERS: Reader[] = [
  { name: "exact", promise: "exactly", ordered: true, streams: [...A, ...B] },
  { name: "wild", promise: "exactly", ordered: true, streams: [...A, ...B] },
  { name: "away", promise: "exactly", ordered: true, streams: [...A, ...B] },
  { name: "once", promise: "at-least", ordered: true, streams: [...A, ...B] },
  { name: "share", promise: "exactly", ordered: false, streams: A },
  { name: "live1", promise: "live", ordered: true, streams: A },
  { name: "live2", promise: "live", ordered: true, streams: A },
  { name: "worker", promise: "at-least", ordered: false, streams: ["w1"] },
];

/** Publishers and readers of two topics, and a queue that MQTT clients consume. */
export class TopicsFlow implements Flow {
  readonly clients = [
    ...A,
    ...B,
    "w1",
    ...READERS.map(({ name }) => name),
    "share1",
    "share2",
    "worker1",
    "worker2",
    "c7",
  ].filter((client) => client !== "share" && client !== "worker");
  readonly rooms = [
    { room: "topic", name: "check/a" },
    { room: "topic", name: "check/b" },
    { room: "queue", name: AUDIT },
    { room: "queue", name: WORK },
    { room: "queue", name: "$share/g/check/a" },
  ] as const;
  readonly #world: World;
  readonly #audit: QueueBook;
  readonly #problems: string[] = [];
  readonly #publishers: LoadPublisher[];
  readonly #subscribers: LoadSubscriber[];
  readonly #away: LoadSubscriber;
  readonly #places = new Map<string, Place>();
  #events: StreamEvent[] = [];
  #first = new Map<string, number>();
  #json: TopicPublisher[] = [];
  #live: LiveReader[] = [];
  #auditLoad: Load | undefined;
  #auditor: LoadConsumer | undefined;
  #filling: NodeJS.Timeout | undefined;
  #allowed = 0;
  #isAway = false;

  constructor(world: World) {
    this.#world = world;
    this.#audit = new QueueBook(AUDIT, world);
    const url = (client: string) => () => world.mqttUrl(client);
    const witness: LoadWitness = {
      sent: (stream, number) => this.#record({ kind: "sent", stream, number }),
      confirmed: (stream, number) => this.#record({ kind: "confirmed", stream, number }),
      failed: (stream, number) => this.#record({ kind: "failed", stream, number }),
      received: (reader, stream, number) =>
        this.#record({ kind: "received", reader: group(reader), stream, number }),
      cut: (reader) => this.#record({ kind: "cut", reader: group(reader) }),
    };
    this.#publishers = [
      new LoadPublisher(url("t4"), 4, "t4", "check/a", 2, 0, witness),
      new LoadPublisher(url("t5"), 5, "t5", "check/b", 2, 0, witness),
      new LoadPublisher(url("o5"), 5, "o5", "check/b", 1, 0, witness),
    ];
    for (const publisher of this.#publishers) publisher.repeated = 0.1;
    this.#away = new LoadSubscriber(url("away"), 5, "away", ["+/a", "+/b"], 2, witness);
    this.#subscribers = [
      new LoadSubscriber(url("exact"), 4, "exact", ["check/a", "check/b"], 2, witness),
      new LoadSubscriber(url("wild"), 5, "wild", ["check/#"], 2, witness),
      new LoadSubscriber(url("once"), 5, "once", ["check/+"], 1, witness),
      new LoadSubscriber(url("share1"), 5, "share1", ["$share/g/check/a"], 2, witness),
      new LoadSubscriber(url("share2"), 5, "share2", ["$share/g/check/a"], 2, witness),
      new LoadSubscriber(url("worker1"), 5, "worker1", [`$queue/${WORK}`], 1, witness),
      new LoadSubscriber(url("worker2"), 4, "worker2", [`$queue/${WORK}`], 1, witness),
      this.#away,
    ];
  }

  async prepare(): Promise<void> {
    const world = this.#world;
    await ask(world, "PUT", "/v1/topics/check%2Fa", { retention: { maxAgeMs: RETENTION_MS } });
    await ask(world, "PUT", `/v1/queues/${AUDIT}`, {});
    await ask(world, "PUT", `/v1/queues/${AUDIT}/bindings/check%2Fa`);
    for (const subscriber of this.#subscribers) subscriber.start();
    for (const subscriber of this.#subscribers) await subscriber.subscribed();
    for (const publisher of this.#publishers) publisher.start();
    const traffic = {
      urlOf: (client: string) => world.wsUrl(client),
      to: "topic:check/a",
      record: (event: StreamEvent) => this.#record(event),
      problems: this.#problems,
    };
    this.#live = ["live1", "live2"].map((name) => new LiveReader(name, traffic));
    this.#json = [
      new TopicPublisher("j1", traffic),
      new TopicPublisher("w1", { ...traffic, to: `queue:${WORK}` }),
    ];
  }

  begin(round: number): void {
    const world = this.#world;
    this.#events = [];
    this.#first = new Map([
      ...this.#publishers.map(({ clientId, sent }) => [clientId, sent] as const),
      ...this.#json.map(({ name, sent }) => [name, sent] as const),
    ]);
    this.#auditLoad = createLoad({
      ...{ wsUrl: world.broker.wsUrl, urlOf: (client) => world.wsUrl(client), leaseMs: LEASE_MS },
      ...{
        queue: AUDIT,
        history: this.#audit.begin(),
        random: world.random,
        maxBacklog: 0,
        settledAgain: 0.1,
        closesUnasked: true,
      },
      identify: (frame) => textOf(frame),
    });
    this.#auditor = new LoadConsumer(`c7@${round}`, this.#auditLoad, 16, 30);
    this.#filling = setInterval(() => {
      this.#allowed += (PER_SECOND * REFILL_MS) / 1_000;
      for (const publisher of [...this.#publishers, ...this.#json])
        publisher.most = Math.floor(this.#allowed);
      for (const publisher of this.#publishers) publisher.goOn();
      if (world.random.chance(0.01)) this.#leave();
    }, REFILL_MS);
  }

  beforeCut(client?: string): void {
    if (client === undefined || client === "c7") this.#auditor?.expectEnd();
    if (client === undefined) this.#record({ kind: "disturbed" });
  }

  beforeEviction(): void {
    this.#record({ kind: "disturbed" });
  }

  beforeStep(byMs: number): void {
    this.#audit.history.record({ kind: "clock-stepped", byMs });
    // Leases of consumers over MQTT may have run out.
    this.#record({ kind: "disturbed" });
  }

  async end(deadlineMs: number): Promise<Finding[]> {
    clearInterval(this.#filling);
    if (this.#isAway) this.#leave();
    for (const publisher of this.#publishers) publisher.most = publisher.sent;
    for (const publisher of this.#json) publisher.most = publisher.sent;
    this.#allowed = Math.max(...[...this.#publishers, ...this.#json].map(({ sent }) => sent));
    const all = [...this.#publishers, ...this.#json];
    await until(() => all.every((publisher) => publisher.confirmed >= publisher.sent), deadlineMs);
    const judgeStreams = () =>
      checkStreams(this.#events, READERS, { repeating: REPEATING, first: this.#first, drained: true });
    const isAllThere = () => !judgeStreams().some(({ breach }) => breach === "lost");
    await until(isAllThere, deadlineMs);
    const drained = await until(
      async () => this.#audit.hasAll() && (await this.#audit.isEmpty()),
      deadlineMs,
    );
    await this.#auditor!.finish();
    const options = { repeating: REPEATING, first: this.#first, drained: true, places: this.#places };
    const found = checkStreams(this.#events, READERS, options).map(
      (finding): Finding => ({ ...finding, where: "topics" }),
    );
    found.push(...(await this.#audit.judge(drained)));
    const clients = [...this.#publishers, ...this.#subscribers];
    const problems = [this.#problems, this.#auditLoad!.problems, ...clients.map((client) => client.problems)];
    for (const list of problems) {
      for (const what of list.splice(0)) found.push({ breach: "problem", where: "topics", what });
    }
    this.#count();
    return found;
  }

  async stop(): Promise<void> {
    for (const client of [...this.#publishers, ...this.#subscribers, ...this.#live, ...this.#json])
      await client.stop();
  }

  /** A session's client goes away, or comes back. */
  #leave(): void {
    this.#isAway = !this.#isAway;
    if (this.#isAway) void this.#away.stop();
    else void this.#away.comeBack();
    this.#world.count("sessions away");
  }

  #record(event: StreamEvent): void {
    this.#events.push(event);
    if (
      (event.kind !== "sent" && event.kind !== "confirmed" && event.kind !== "failed") ||
      !A.includes(event.stream)
    )
      return;
    // What goes to the first topic goes through the binding as well.
    const { history } = this.#audit;
    const message = {
      messageId: `${event.stream} ${event.number}`,
      producer: event.stream,
      call: event.number,
    };
    if (event.kind === "sent") history.record({ kind: "publish-invoked", ...message });
    else if (event.kind === "failed") history.record({ kind: "publish-failed", ...message });
    else history.record({ kind: "publish-confirmed", ...message, seq: undefined, duplicate: false });
  }

  #count(): void {
    for (const { kind } of this.#events) {
      if (kind === "sent") this.#world.count("publishes to topics");
      if (kind === "received") this.#world.count("messages read from topics");
      if (kind === "gap") this.#world.count("announced gaps");
      if (kind === "joined") this.#world.count("live readers resumed");
    }
  }
}

/** Members of a group read as one. */
function group(reader: string): string {
  return reader.replace(/^(share|worker)\d$/, "$1");
}
