// Publishers and subscribers of MQTT that keep their side of a session over any number of lost connections, for tests that kill
// the broker. They judge what they see; the killing is the tests' own.
import type { Version } from "./mqtt-bytes.ts";
import { MqttWire, type Received } from "./mqtt-wire.ts";

const RECONNECT_MS = 50;
const IN_FLIGHT = 16;
const PAUSE_MS = 4;
const AGAIN_MS = 100;
const SUBSCRIBED_MS = 30_000;
const SILENCE_MS = 600_000;

/** Hears what happens to the numbered messages of publishers. */
export interface LoadWitness {
  sent?(stream: string, number: number): void;
  confirmed?(stream: string, number: number): void;
  /** The broker refused it for now; it is sent again. */
  failed?(stream: string, number: number): void;
  received?(reader: string, stream: string, number: number): void;
  /** A connection was lost. */
  cut?(client: string): void;
}

/** What a publisher and a subscriber have in common: a client id whose session must never be lost. */
abstract class Durable {
  /** What must not have happened. */
  readonly problems: string[] = [];
  connections = 0;
  protected wire: MqttWire | undefined;
  protected isOver = false;
  private readonly url: string | (() => string);
  readonly version: Version;
  readonly clientId: string;
  protected readonly witness: LoadWitness;
  private running: Promise<void> = Promise.resolve();

  constructor(url: string | (() => string), version: Version, clientId: string, witness: LoadWitness = {}) {
    this.url = url;
    this.version = version;
    this.clientId = clientId;
    this.witness = witness;
  }

  /** Connects, and again whenever the connection is lost. */
  start(): void {
    this.running = this.run();
  }

  /** Ends the connection and waits for the loop's end. */
  async stop(): Promise<void> {
    this.isOver = true;
    this.wire?.cut();
    await this.running;
  }

  /** Connects again after `stop`, to the same session. */
  async comeBack(): Promise<void> {
    await this.running;
    this.isOver = false;
    this.start();
  }

  /** After a CONNACK; `isFirst` says that there was none before. */
  protected abstract begin(wire: MqttWire, isFirst: boolean): Promise<void>;
  protected abstract handle(packet: Received, wire: MqttWire): void;

  private async run(): Promise<void> {
    while (!this.isOver) {
      try {
        await this.connection();
      } catch (error) {
        const { message } = error as Error;
        if (!/closed|ECONN|socket hang up|Unexpected server response|OPEN/.test(message)) {
          this.problems.push(`${this.clientId}: ${message}`);
        }
      }
      this.witness.cut?.(this.clientId);
      if (!this.isOver) await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
    }
  }

  private async connection(): Promise<void> {
    const isFirst = this.connections === 0;
    const wire = await MqttWire.connect(typeof this.url === "string" ? this.url : this.url(), this.version, {
      clientId: this.clientId,
      clean: false,
      ...(this.version === 5 ? { properties: { sessionExpiryInterval: 3_600 } } : {}),
    });
    this.wire = wire;
    if (!isFirst && this.version > 3 && !wire.connack!.sessionPresent) {
      this.problems.push(`${this.clientId}: its session was lost at connection ${this.connections + 1}`);
    }
    await this.begin(wire, isFirst);
    this.connections += 1;
    while (!this.isOver) this.handle(await wire.next(undefined, SILENCE_MS), wire);
  }
}

/** Publishes numbered messages at one QoS, sixteen in flight, and resends what was not acknowledged when the connection comes back. */
export class LoadPublisher extends Durable {
  /** How many messages were begun. */
  sent = 0;
  private readonly topic: string;
  private readonly qos: 1 | 2;
  /** How many messages it sends in all; may be raised as it goes on. */
  most: number;
  /** How often it sends a PUBLISH and a PUBREL a second time, from 0 to 1. */
  repeated = 0;
  /** By packet identifier, in the order of sending; true once PUBREC came. */
  private readonly open = new Map<number, { payload: string; isReceived: boolean }>();
  private isFinishing = false;

  constructor(
    url: string | (() => string),
    version: Version,
    clientId: string,
    topic: string,
    qos: 1 | 2,
    most: number,
    witness?: LoadWitness,
  ) {
    super(url, version, clientId, witness);
    this.topic = topic;
    this.qos = qos;
    this.most = most;
  }

  /** How many messages have gone all the way. */
  get confirmed(): number {
    return this.sent - this.open.size;
  }

  /** Begins no more messages; over once all are confirmed. */
  finish(): void {
    this.isFinishing = true;
  }

  protected override async begin(wire: MqttWire): Promise<void> {
    for (const [messageId, { payload, isReceived }] of this.open) {
      if (isReceived) wire.send({ cmd: "pubrel", messageId });
      else wire.sendPublish(this.topic, payload, { qos: this.qos, messageId, dup: true });
    }
    this.fill(wire);
  }

  protected override handle({ cmd, messageId, reasonCode }: Received, wire: MqttWire): void {
    const id = messageId!;
    const message = this.open.get(id);
    if ((reasonCode ?? 0) >= 0x80 && cmd !== "pubcomp") {
      if (!this.witness.failed) this.problems.push(`${this.clientId}: ${cmd} ${reasonCode}`);
      // The identifier is free again: the same message begins anew.
      else if (message && !message.isReceived) {
        this.witness.failed(this.clientId, numberOf(message.payload));
        const again = () =>
          wire.isOpen && wire.sendPublish(this.topic, message.payload, { qos: this.qos, messageId: id });
        setTimeout(again, AGAIN_MS);
      }
    } else if (cmd === "pubrec") {
      if (message) message.isReceived = true;
      const times = Math.random() < this.repeated ? 2 : 1;
      for (let time = 0; time < times; time += 1) wire.send({ cmd: "pubrel", messageId: id });
    } else if (cmd === "puback" || cmd === "pubcomp") {
      if (this.open.delete(id) && message) this.witness.confirmed?.(this.clientId, numberOf(message.payload));
      setTimeout(() => this.fill(wire), PAUSE_MS);
    } else this.problems.push(`${this.clientId}: a ${cmd} came`);
  }

  private fill(wire: MqttWire): void {
    while (!this.isFinishing && wire.isOpen && this.open.size < IN_FLIGHT && this.sent < this.most) {
      const messageId = 1 + (this.sent % 60_000);
      const payload = `${this.clientId} ${this.sent}`;
      this.sent += 1;
      this.open.set(messageId, { payload, isReceived: false });
      this.witness.sent?.(this.clientId, numberOf(payload));
      wire.sendPublish(this.topic, payload, { qos: this.qos, messageId });
      const isTwice = this.qos === 2 && Math.random() < this.repeated;
      if (isTwice) wire.sendPublish(this.topic, payload, { qos: this.qos, messageId, dup: true });
    }
  }

  /** Sends what `most` allows by now. */
  goOn(): void {
    if (this.wire) this.fill(this.wire);
  }
}

function numberOf(payload: string): number {
  return Number(payload.split(" ")[1]);
}

/** Subscribes at one QoS and writes down what arrives, without what its side of the protocol knows to be a repetition. */
export class LoadSubscriber extends Durable {
  /** Message numbers by publisher, as they came. */
  readonly seen = new Map<string, number[]>();
  total = 0;
  private readonly filters: string[];
  private readonly qos: 1 | 2;
  /** QoS 2 identifiers between PUBLISH and PUBREL. */
  private readonly receiving = new Set<number>();

  constructor(
    url: string | (() => string),
    version: Version,
    clientId: string,
    filters: string[],
    qos: 1 | 2,
    witness?: LoadWitness,
  ) {
    super(url, version, clientId, witness);
    this.filters = filters;
    this.qos = qos;
  }

  /** Settles when the subscription is made; throws with what stood in the way. */
  async subscribed(): Promise<void> {
    const deadline = Date.now() + SUBSCRIBED_MS;
    while (this.connections === 0) {
      if (Date.now() > deadline)
        throw new Error(`${this.clientId} does not subscribe: ${this.problems.join("; ")}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  protected override async begin(wire: MqttWire, isFirst: boolean): Promise<void> {
    if (isFirst) await wire.subscribe(this.filters, { qos: this.qos });
  }

  protected override handle({ cmd, messageId, qos, payload }: Received, wire: MqttWire): void {
    const id = messageId!;
    if (cmd === "pubrel") {
      this.receiving.delete(id);
      wire.send({ cmd: "pubcomp", messageId: id });
    } else if (cmd !== "publish") {
      this.problems.push(`${this.clientId}: a ${cmd} came`);
    } else {
      if (qos === 2) wire.send({ cmd: "pubrec", messageId: id });
      if (qos === 1) wire.send({ cmd: "puback", messageId: id });
      if (qos === 2 && this.receiving.has(id)) return;
      if (qos === 2) this.receiving.add(id);
      // A JSON publisher's text comes as JSON.
      const [publisher, number] = String(payload).replaceAll('"', "").split(" ");
      this.total += 1;
      if (this.witness.received) return this.witness.received(this.clientId, publisher!, Number(number));
      const numbers = this.seen.get(publisher!);
      if (numbers) numbers.push(Number(number));
      else this.seen.set(publisher!, [Number(number)]);
    }
  }
}
