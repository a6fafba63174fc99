// What the tests of MQTT stand on: one broker per file, a namespace per test, raw MQTT clients into it.
// MQTT_TARGET=mosquitto runs them against Mosquitto instead, a fresh one per test.
import { test as base, beforeAll, expect, vi } from "vitest";
import { type Broker, type BrokerOptions, startBroker } from "../../support/broker.ts";
import { startMosquitto } from "../../support/mosquitto.ts";
import type { Version } from "../../support/mqtt-bytes.ts";
import { type ConnectFields, type End, MqttWire, type SocketOptions } from "../../support/mqtt-wire.ts";
import { World } from "../harness.ts";

const START_TIMEOUT_MS = 120_000;
const TEST_TIMEOUT_MS = 60_000;
/** True when the tests run against the broker they were written against as well. */
export const IS_REFERENCE = process.env.MQTT_TARGET === "mosquitto";

/** All versions, for `it.for`. */
export const ALL: readonly Version[] = [3, 4, 5];
/** The versions that have a specification of their own. */
export const BOTH: readonly Version[] = [4, 5];

/** A namespace of its own, with raw clients in it. */
export class MqttWorld {
  /** The same namespace over JSON and HTTP. */
  readonly world: World;
  /** `ws://…/mqtt?ns=…` */
  readonly url: string;
  private readonly wires: MqttWire[] = [];

  constructor(world: World, url: string) {
    this.world = world;
    this.url = url;
  }

  /** Opens a socket and sends nothing. */
  async open(version: Version = 5, options: SocketOptions = {}): Promise<MqttWire> {
    const wire = await MqttWire.open(this.url, version, options);
    this.wires.push(wire);
    return wire;
  }

  /** Opens a socket and connects; throws unless that succeeds. */
  async connect(version: Version = 5, fields: ConnectFields = {}): Promise<MqttWire> {
    const wire = await MqttWire.connect(this.url, version, fields);
    this.wires.push(wire);
    return wire;
  }

  /** Connects with a session that outlives the socket. */
  durable(version: Version, clientId: string, fields: ConnectFields = {}): Promise<MqttWire> {
    const properties = { sessionExpiryInterval: 300, ...fields.properties };
    const expiry = version === 5 ? { properties } : {};
    return this.connect(version, { clientId, clean: false, ...fields, ...expiry });
  }

  /**
   * Opens a socket and sends bytes, which the server must answer by closing, with a refusing CONNACK of one of these codes or
   * none before it.
   */
  async refuse(version: Version, frame: Uint8Array, ...codes: number[]): Promise<End> {
    const wire = await this.open(version);
    wire.sendBytes(frame);
    const end = await wire.closed();
    if (end.refusal !== undefined)
      expect(codes, `CONNACK ${end.refusal.toString(16)}`).toContain(end.refusal);
    return end;
  }

  /** Connects, sends bytes and expects the end: MQTT 5 with a DISCONNECT of one of these reasons, the others without any. */
  async provoke(version: Version, frame: Uint8Array, ...reasons: number[]): Promise<End> {
    const wire = await this.connect(version);
    wire.sendBytes(frame);
    return expectEnd(wire, ...reasons);
  }

  /** Cuts every socket. */
  end(): void {
    for (const wire of this.wires) wire.cut();
    this.world.end();
  }
}

/** Waits for the end of a connection: MQTT 5 with a DISCONNECT of one of these reasons, the others without any. */
export async function expectEnd(wire: MqttWire, ...reasons: number[]): Promise<End> {
  const end = await wire.closed();
  if (wire.version < 5) expect(end.reason, "a DISCONNECT before MQTT 5").toBeUndefined();
  // A server may leave the DISCONNECT out; ours does not.
  else if (IS_REFERENCE && end.reason === undefined) return end;
  else if (reasons.length > 0) expect(reasons, `reason ${end.reason?.toString(16)}`).toContain(end.reason);
  return end;
}

let worlds = 0;

/**
 * Starts a broker before the file's tests and ends it after them; each test gets an `mqtt` of its own.
 *
 * @example
 * const it = withMqtt();
 * it("[MQC1] …", async ({ mqtt }) => { const wire = await mqtt.connect(5); });
 */
export function withMqtt(options: BrokerOptions = {}) {
  vi.setConfig({ testTimeout: TEST_TIMEOUT_MS, hookTimeout: START_TIMEOUT_MS });
  let broker: Broker | undefined;
  beforeAll(async () => {
    if (IS_REFERENCE) return;
    broker = await startBroker(options);
    return () => broker?.stop();
  }, START_TIMEOUT_MS);
  return base.extend<{ mqtt: MqttWorld }>({
    mqtt: async ({ task: _ }, use) => {
      worlds += 1;
      const reference = IS_REFERENCE ? await startMosquitto() : undefined;
      const world = new World(`m${worlds}-${process.pid}`, broker!);
      const url = reference?.url ?? mqttUrl(world);
      const mqtt = new MqttWorld(world, url);
      await use(mqtt);
      mqtt.end();
      await reference?.stop();
    },
  });
}

/** Where a namespace speaks MQTT. */
export function mqttUrl(world: World): string {
  return `${world.broker.url.replace("http", "ws")}/mqtt?ns=${encodeURIComponent(world.ns)}`;
}
