// A client of MQTT inside the runtime: a real WebSocket through the Worker's router. It sends what it is told, acknowledges nothing by
// itself, and keeps every packet that came, in order.
import { expect } from "vitest";
import type {
  Connack,
  Connect,
  Packet,
  Properties,
  Publish,
  Qos,
  SubscribeFilter,
  Version,
} from "../../../worker/protocol/mqtt/codec/packets.ts";
import { PacketReader } from "../../../worker/protocol/mqtt/codec/reader.ts";
import { encode } from "../../../worker/protocol/mqtt/codec/writer.ts";
import { call, eventually } from "./client.ts";

const MAX_PACKET_BYTES = 10_000_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Fields of a CONNECT; 5.0, clean and without keep alive unless said. */
export type ConnectFields = Partial<Omit<Connect, "type">>;

/** A PUBLISH as tests compare it. */
export interface Got {
  topic: string;
  body: string;
  qos: Qos;
  packetId: number;
  dup: boolean;
  retain: boolean;
  properties: Properties;
}

/** A connection. */
export class MqttWire {
  readonly version: Version;
  /** Packets that were not taken yet. */
  packets: Packet[] = [];
  closed: { code: number; reason: string } | undefined;
  /** Frames that came. */
  frames = 0;
  readonly #socket: WebSocket;
  readonly #reader: PacketReader;

  private constructor(socket: WebSocket, version: Version) {
    this.#socket = socket;
    this.version = version;
    this.#reader = new PacketReader({ maxPacketBytes: MAX_PACKET_BYTES, role: "client", version });
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => this.#take(new Uint8Array(data as ArrayBuffer)));
    socket.addEventListener("close", ({ code, reason }) => {
      this.closed = { code, reason };
    });
    socket.accept();
  }

  /** Opens a socket, and says nothing. */
  static async open(version: Version = 5): Promise<MqttWire> {
    const headers = { upgrade: "websocket", "sec-websocket-protocol": "mqtt" };
    const response = await call("/mqtt", { headers });
    if (response.webSocket === null) throw new Error(`the handshake was answered ${response.status}`);
    return new MqttWire(response.webSocket, version);
  }

  /** Opens a connection and a session; returns them with the CONNACK. */
  static async connect(clientId: string, fields: ConnectFields = {}): Promise<[MqttWire, Connack]> {
    const wire = await MqttWire.open(fields.version);
    const { version } = wire;
    wire.send({ type: "connect", version, clientId, cleanStart: true, keepAlive: 0, ...fields });
    const connack = await wire.next("connack");
    if (connack.reasonCode !== 0) throw new Error(`CONNECT was answered ${connack.reasonCode}`);
    return [wire, connack];
  }

  /** Sends packets in one frame. */
  send(...packets: Packet[]): void {
    this.bytes(joined(packets.map((packet) => encode(packet, this.version))));
  }

  /** Sends a frame. */
  bytes(frame: Uint8Array): void {
    this.#socket.send(frame);
  }

  publish(topic: string, body: string, fields: Partial<Publish> = {}): void {
    this.send(publishPacket(topic, body, fields));
  }

  /** Publishes at QoS 1 and waits for the PUBACK. */
  async publishSure(topic: string, body: string, fields: Partial<Publish> = {}): Promise<void> {
    const packetId = fields.packetId ?? 60_000;
    this.publish(topic, body, { ...fields, qos: 1, packetId });
    expect(await this.next("puback")).toMatchObject({ packetId, reasonCode: 0 });
  }

  answer(type: "puback" | "pubrec" | "pubrel" | "pubcomp", packetId: number, reasonCode = 0): void {
    this.send({ type, packetId, reasonCode });
  }

  /** Subscribes and waits for the SUBACK; the codes it brings. */
  async subscribe(
    filter: string,
    options: Partial<SubscribeFilter> = {},
    subscriptionId = 0,
  ): Promise<number[]> {
    const filters = [
      {
        filter,
        qos: 2 as Qos,
        noLocal: false,
        retainAsPublished: false,
        retainHandling: 0 as const,
        ...options,
      },
    ];
    const properties = subscriptionId > 0 ? { subscriptionIdentifiers: [subscriptionId] } : {};
    this.send({ type: "subscribe", packetId: 50_000, filters, properties });
    return (await this.next("suback")).reasonCodes;
  }

  /** Takes the next packet, which must be of this kind. */
  async next<T extends Packet["type"]>(type: T): Promise<Packet & { type: T }> {
    const [packet] = await this.take(1);
    if (packet!.type !== type) throw new Error(`not ${type} but ${JSON.stringify(plain(packet!))} came`);
    return packet as Packet & { type: T };
  }

  /** Takes the next packet, which must be a PUBLISH. */
  async got(): Promise<Got> {
    return gotOf(await this.next("publish"));
  }

  /** Takes the next `count` packets. */
  async take(count: number): Promise<Packet[]> {
    try {
      return await eventually(`${count} packets`, () =>
        this.packets.length >= count ? this.packets.splice(0, count) : undefined,
      );
    } catch (error) {
      const came = JSON.stringify(this.packets.map(plain)).slice(0, 1_000);
      throw new Error(
        `${String(error)}; ${this.packets.length} came: ${came}; closed: ${this.closed?.reason}`,
      );
    }
  }

  /** Everything that came before the answer to a PINGREQ that is sent now. */
  async rest(): Promise<Packet[]> {
    this.send({ type: "pingreq" });
    await eventually("PINGRESP", () => this.packets.some(({ type }) => type === "pingresp") || undefined);
    const found = this.packets.filter(({ type }) => type !== "pingresp");
    this.packets = [];
    return found;
  }

  /** Leaves with a DISCONNECT, and waits for the socket's end. */
  async disconnect(reasonCode = 0, properties?: Properties): Promise<void> {
    this.send({ type: "disconnect", reasonCode, ...(properties === undefined ? {} : { properties }) });
    await this.end();
  }

  /** Waits for the socket's end. */
  async end(): Promise<{ code: number; reason: string }> {
    return eventually("the socket's end", () => this.closed);
  }

  /** Ends the socket without a word, and waits until that is done. */
  async drop(): Promise<void> {
    this.close();
    await this.end();
  }

  close(): void {
    if (this.closed === undefined) this.#socket.close(1000, "");
  }

  #take(bytes: Uint8Array): void {
    this.frames++;
    this.#reader.push(bytes);
    for (let packet = this.#reader.next(); packet !== undefined; packet = this.#reader.next()) {
      if (packet.type === "malformed")
        throw new Error(`the broker wrote what is no packet: ${packet.message}`);
      this.packets.push(packet);
    }
  }
}

/** A PUBLISH of QoS 0 unless said. */
export function publishPacket(topic: string, body: string, fields: Partial<Publish> = {}): Publish {
  return {
    ...{ type: "publish", topic, payload: encoder.encode(body) },
    ...{ qos: 0, retain: false, dup: false, packetId: 0, ...fields },
  };
}

/** A PUBLISH, as tests compare it. */
export function gotOf({ topic, payload, qos, packetId, dup, retain, properties = {} }: Publish): Got {
  return { topic, body: decoder.decode(payload), qos, packetId, dup, retain, properties };
}

/** A packet without binary parts. */
export function plain(packet: Packet): Record<string, unknown> {
  if (packet.type !== "publish") return { ...packet };
  return { type: "publish", ...gotOf(packet) };
}

function joined(parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
