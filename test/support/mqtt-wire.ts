// A raw MQTT client over WebSocket for tests: it sends what it is told, and shows every packet that comes back, in order.
// It acknowledges, reconnects and hides nothing by itself; the bytes of wrong packets come from mqtt-bytes.ts.
import mqttPacket, { type IConnectPacket, type ISubscription, type Packet } from "mqtt-packet";
import { WebSocket } from "ws";
import { firstPacket, type Version } from "./mqtt-bytes.ts";

// The broker of reference fails by silence where it is lax: no need to wait long for that.
const WAIT_MS = process.env.MQTT_TARGET === "mosquitto" ? 3_000 : 10_000;
/** How long the other side may keep the connection after its closing frame, as in browsers. */
const CLOSING_MS = 2_000;

/** A packet as it came. */
export interface Received {
  cmd: string;
  messageId?: number;
  reasonCode?: number;
  returnCode?: number;
  sessionPresent?: boolean;
  granted?: number[];
  topic?: string;
  payload?: Buffer;
  qos?: 0 | 1 | 2;
  retain?: boolean;
  dup?: boolean;
  properties?: ReceivedProperties;
  /** The packet's bytes. */
  raw: Buffer;
  [field: string]: unknown;
}

/** Properties that tests read, as mqtt-packet names them. */
export interface ReceivedProperties {
  assignedClientIdentifier?: string;
  receiveMaximum?: number;
  topicAliasMaximum?: number;
  topicAlias?: number;
  maximumPacketSize?: number;
  messageExpiryInterval?: number;
  serverKeepAlive?: number;
  subscriptionIdentifier?: number | number[];
  userProperties?: Record<string, string | string[]>;
  reasonString?: string;
  [name: string]: unknown;
}

/** Fields of a CONNECT; clean, without keep alive and with an id of its own unless said. */
export type ConnectFields = Partial<Omit<IConnectPacket, "cmd" | "protocolVersion" | "protocolId">>;

/** Fields of a PUBLISH. */
export interface PublishFields {
  qos?: 0 | 1 | 2;
  retain?: boolean;
  dup?: boolean;
  messageId?: number;
  properties?: Record<string, unknown>;
}

/** How a socket is opened. */
export interface SocketOptions {
  /** Subprotocols offered; `mqtt` unless said. */
  protocols?: string[];
  headers?: Record<string, string>;
}

/** How a socket ended. */
export interface End {
  /** The WebSocket's closing code. */
  code: number;
  /** The reason code of the DISCONNECT before it, if there was one. */
  reason: number | undefined;
  /** The code of the CONNACK that refused, when nothing else came. */
  refusal: number | undefined;
}

let clients = 0;

/**
 * A connection to `/mqtt`.
 *
 * @example
 * const wire = await MqttWire.connect(url, 5, { clientId: "a" });
 * await wire.subscribe("news/#", { qos: 1 });
 * await wire.publish("news/x", "hello", { qos: 1 });
 * expect(await wire.message()).toMatchObject({ topic: "news/x", qos: 1 });
 */
export class MqttWire {
  readonly socket: WebSocket;
  readonly version: Version;
  /** The answer to CONNECT. */
  connack: Received | undefined;
  /** Packets that nobody has taken yet, oldest first. */
  readonly inbox: Received[] = [];
  /** Every packet that ever came, oldest first. */
  readonly history: Received[] = [];
  private stream = Buffer.alloc(0);
  private failure: Error | undefined;
  private end: { code: number } | undefined;
  private changed: () => void = () => {};
  private lastId = 0;

  private constructor(url: string, version: Version, options: SocketOptions) {
    this.version = version;
    this.socket = new WebSocket(url, options.protocols ?? ["mqtt"], {
      perMessageDeflate: false,
      headers: options.headers ?? {},
    });
    this.socket.on("message", (data: Buffer, isBinary) => this.receive(data, isBinary));
    this.socket.on("close", (code) => {
      this.end = { code };
      this.changed();
    });
  }

  /** Opens a socket and sends nothing; throws with the HTTP status when the upgrade is refused. */
  static async open(url: string, version: Version = 5, options: SocketOptions = {}): Promise<MqttWire> {
    const wire = new MqttWire(url, version, options);
    await new Promise<void>((resolve, reject) => {
      wire.socket.once("open", resolve);
      wire.socket.on("error", reject);
    });
    return wire;
  }

  /** Opens a socket and connects; throws unless the CONNACK says success. */
  static async connect(
    url: string,
    version: Version,
    fields: ConnectFields = {},
    options: SocketOptions = {},
  ): Promise<MqttWire> {
    const wire = await MqttWire.open(url, version, options);
    const connack = await wire.hello(fields);
    const code = connack.reasonCode ?? connack.returnCode;
    if (code !== 0) throw new Error(`CONNECT was answered with ${code}`);
    return wire;
  }

  /** Sends a CONNECT and returns the CONNACK, whatever it says. */
  async hello(fields: ConnectFields = {}): Promise<Received> {
    clients += 1;
    this.send({
      cmd: "connect",
      clientId: `c${clients}`,
      clean: true,
      keepalive: 0,
      ...fields,
      protocolVersion: this.version,
      protocolId: this.version === 3 ? "MQIsdp" : "MQTT",
    });
    this.connack = await this.next("connack");
    return this.connack;
  }

  /** Sends packets, each in a frame of its own. */
  send(...packets: Packet[]): void {
    for (const packet of packets) this.socket.send(this.encode(packet));
  }

  /** Sends bytes as one binary frame. */
  sendBytes(bytes: Uint8Array): void {
    this.socket.send(bytes);
  }

  /** The bytes of a well-formed packet. */
  encode(packet: Packet): Buffer {
    return mqttPacket.generate(packet, { protocolVersion: this.version });
  }

  /** Whether anything can still be sent. */
  get isOpen(): boolean {
    return this.socket.readyState === WebSocket.OPEN;
  }

  /** A packet identifier not used before on this connection. */
  nextId(): number {
    this.lastId += 1;
    return this.lastId;
  }

  /** Subscribes to filters with the same options and returns the codes; messages that come first stay in the inbox. */
  async subscribe(
    filters: string | string[],
    options: Partial<Omit<ISubscription, "topic">> & { properties?: Record<string, unknown> } = {},
  ): Promise<number[]> {
    const { properties, ...rest } = options;
    const subscriptions = [filters].flat().map((topic) => ({ topic, qos: 0 as const, ...rest }));
    const messageId = this.nextId();
    this.send({ cmd: "subscribe", messageId, subscriptions, ...(properties ? { properties } : {}) });
    const suback = await this.take("suback");
    if (suback.messageId !== messageId) throw new Error(`SUBACK ${suback.messageId} for ${messageId}`);
    return suback.granted!;
  }

  /** Unsubscribes and returns the codes (none before MQTT 5). */
  async unsubscribe(filters: string | string[]): Promise<number[]> {
    const messageId = this.nextId();
    this.send({ cmd: "unsubscribe", messageId, unsubscriptions: [filters].flat() });
    const unsuback = await this.take("unsuback");
    if (unsuback.messageId !== messageId) throw new Error(`UNSUBACK ${unsuback.messageId} for ${messageId}`);
    return unsuback.granted ?? [];
  }

  /**
   * Publishes, plays the handshake of its QoS to the end, and returns the answer (PUBACK, or PUBCOMP or the PUBREC that refused);
   * at QoS 0 it returns at once.
   */
  async publish(
    topic: string,
    payload: string | Uint8Array,
    fields: PublishFields = {},
  ): Promise<Received | undefined> {
    const { qos = 0 } = fields;
    const messageId = this.sendPublish(topic, payload, fields);
    if (qos === 0) return undefined;
    const answer = await this.take(qos === 1 ? "puback" : "pubrec");
    if (answer.messageId !== messageId) throw new Error(`${answer.cmd} ${answer.messageId} for ${messageId}`);
    if (qos === 1 || (answer.reasonCode ?? 0) >= 0x80) return answer;
    this.send({ cmd: "pubrel", messageId });
    return this.take("pubcomp");
  }

  /** Sends a PUBLISH, with a packet identifier unless at QoS 0, and returns that. */
  sendPublish(topic: string, payload: string | Uint8Array, fields: PublishFields = {}): number {
    const { qos = 0, messageId = qos ? this.nextId() : 0 } = fields;
    const flags = { qos, retain: fields.retain ?? false, dup: fields.dup ?? false };
    const properties = fields.properties ? { properties: fields.properties } : {};
    this.send({
      cmd: "publish",
      topic,
      payload: typeof payload === "string" ? payload : Buffer.from(payload),
      ...flags,
      ...(qos ? { messageId } : {}),
      ...properties,
    });
    return messageId;
  }

  /** The next packet, which must be of this type when one is named. */
  async next(cmd?: string, timeoutMs = WAIT_MS): Promise<Received> {
    await this.until(() => this.inbox.length > 0, `no ${cmd ?? "packet"}`, timeoutMs);
    const received = this.inbox.shift()!;
    if (cmd !== undefined && received.cmd !== cmd) throw new Error(`${show(received)} came, not ${cmd}`);
    return received;
  }

  /** The first packet of a type; others before it stay in the inbox. */
  async take(cmd: string, timeoutMs = WAIT_MS): Promise<Received> {
    const find = () => this.inbox.findIndex((received) => received.cmd === cmd);
    await this.until(() => find() >= 0, `no ${cmd}`, timeoutMs);
    return this.inbox.splice(find(), 1)[0]!;
  }

  /** The next packet, a PUBLISH, whose handshake is played to the end. */
  async message(timeoutMs = WAIT_MS): Promise<Received> {
    const received = await this.next("publish", timeoutMs);
    const messageId = received.messageId!;
    if (received.qos === 1) this.send({ cmd: "puback", messageId });
    if (received.qos === 2) {
      this.send({ cmd: "pubrec", messageId });
      await this.take("pubrel");
      this.send({ cmd: "pubcomp", messageId });
    }
    return received;
  }

  /** The payloads of the next messages, as text. */
  async payloads(count: number): Promise<string[]> {
    const found: string[] = [];
    while (found.length < count) found.push(String((await this.message()).payload));
    return found;
  }

  /** Throws when anything but the answer to a PINGREQ comes next: what was to come on this connection has come. */
  async quiet(): Promise<void> {
    this.send({ cmd: "pingreq" });
    await this.next("pingresp");
  }

  /** Ends cleanly with a DISCONNECT, and waits until the server has closed. */
  async bye(fields: Record<string, unknown> = {}): Promise<void> {
    this.send({ cmd: "disconnect", ...fields } as Packet);
    await this.closed();
  }

  /** Waits for the server to close; throws when a packet other than DISCONNECT comes before. */
  async closed(timeoutMs = WAIT_MS): Promise<End> {
    const { CLOSING, CLOSED } = this.socket;
    const isEnding = () => this.socket.readyState === CLOSING || this.socket.readyState === CLOSED;
    const timer = setInterval(() => isEnding() && this.changed(), 10);
    await this.until(isEnding, "not closed", timeoutMs).finally(() => clearInterval(timer));
    const grace = setTimeout(() => this.socket.terminate(), CLOSING_MS);
    await this.until(() => this.end !== undefined, "closing without end", timeoutMs);
    clearTimeout(grace);
    const first = this.inbox[0];
    const refusal = first?.cmd === "connack" ? first.reasonCode || first.returnCode : undefined;
    if (refusal) this.inbox.shift();
    const others = this.inbox.filter(({ cmd }) => cmd !== "disconnect");
    if (others.length > 0) throw new Error(`before the close came ${others.map(show).join(" ")}`);
    return { code: this.end!.code, reason: this.inbox.shift()?.reasonCode, refusal };
  }

  /** Cuts the connection as a lost network does. */
  cut(): void {
    this.socket.terminate();
  }

  private receive(data: Buffer, isBinary: boolean): void {
    if (!isBinary) this.failure ??= new Error(`a text frame came: ${String(data)}`);
    this.stream = Buffer.concat([this.stream, data]);
    try {
      for (let raw = firstPacket(this.stream); raw; raw = firstPacket(this.stream)) {
        this.stream = this.stream.subarray(raw.length);
        const received = parse(raw, this.version);
        this.inbox.push(received);
        this.history.push(received);
      }
    } catch (error) {
      this.failure ??= error as Error;
    }
    this.changed();
  }

  private async until(holds: () => boolean, what: string, timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!holds()) {
      if (this.failure) throw this.failure;
      if (this.end) throw new Error(`${what}: closed with ${this.end.code}; ${this.diagnosis()}`);
      const leftMs = deadline - Date.now();
      if (leftMs <= 0) throw new Error(`${what} within ${timeoutMs} ms; ${this.diagnosis()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    if (this.failure) throw this.failure;
  }

  private diagnosis(): string {
    return `the last that came: ${this.history.slice(-5).map(show).join(" ") || "nothing"}`;
  }
}

/** Reads one packet; what the parser does not check of a server's packets is checked here. */
function parse(raw: Buffer, version: Version): Received {
  let received: Received | undefined;
  let failure: Error | undefined;
  const parser = mqttPacket.parser({ protocolVersion: version });
  parser.on("packet", (packet) => {
    received = { ...(packet as unknown as Received), raw };
  });
  parser.on("error", (error: Error) => {
    failure = error;
  });
  parser.parse(raw);
  if (!received || failure) throw failure ?? new Error(`no packet: ${raw.toString("hex")}`);
  if (received.cmd === "publish") checkPublish(received, version);
  return received;
}

/** [MQTT-3.3.1-2], [MQTT-3.3.2-2], [MQTT-2.2.1-4] and, before MQTT 5, no bytes where properties would be. */
function checkPublish(received: Received, version: Version): void {
  const { qos, dup, topic, messageId, properties } = received;
  const wrong =
    (qos === 0 && dup) ||
    (qos !== 0 && !messageId) ||
    /[+#]/.test(topic!) ||
    (version < 5 && properties !== undefined);
  if (wrong) throw new Error(`a wrong PUBLISH came: ${show(received)}`);
}

function show({ raw: _, ...rest }: Received): string {
  const text = JSON.stringify(rest, (_key, value: unknown) => {
    const buffer = value as { type?: string; data?: number[] } | null;
    return buffer?.type === "Buffer" ? Buffer.from(buffer.data!).toString().slice(0, 60) : value;
  });
  return text.length > 400 ? `${text.slice(0, 400)}…` : text;
}
