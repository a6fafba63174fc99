// Rows that MQTT makes all objects write together, counted as the platform bills them.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DurableSql, type SqlRow, type SqlValue } from "../../worker/log/sql.ts";
import { type ConnectFields, MqttWire, publishPacket } from "./support/mqtt.ts";
import { lazyByHand, writeLazy } from "./support/mqtt-script.ts";
import { evict, gatewayStub } from "./support/objects.ts";

const BATCH = 20;
const BATCHES = 4;
let runs = 0;
const open: MqttWire[] = [];
let written: string[] = [];
const { all: original } = DurableSql.prototype;

lazyByHand();

beforeEach(() => {
  DurableSql.prototype.all = function (this: DurableSql, query: string, ...values: SqlValue[]): SqlRow[] {
    const before = this.rowsWritten;
    const rows = original.call(this, query, ...values);
    for (let row = before; row < this.rowsWritten; row++) written.push(query);
    return rows;
  };
});

afterEach(async () => {
  for (const wire of open.splice(0)) wire.close();
  await writeLazy();
  DurableSql.prototype.all = original;
});

async function connect(clientId: string, fields: ConnectFields = {}): Promise<MqttWire> {
  const [wire] = await MqttWire.connect(clientId, fields);
  open.push(wire);
  return wire;
}

/** Rows that are written while something is done. */
async function rowsOf(work: () => Promise<unknown>): Promise<string[]> {
  written = [];
  await work();
  return written;
}

/** Publishes a batch in one frame, and carries both handshakes to their end at every subscriber. */
async function cycle(topic: string, qos: 0 | 1 | 2, from: MqttWire, to: MqttWire[]): Promise<void> {
  const ids = Array.from({ length: BATCH }, (_, n) => n + 1);
  from.send(...ids.map((id) => publishPacket(topic, `${id}`, { qos, packetId: qos > 0 ? id : 0 })));
  const acknowledge = qos === 1 ? "puback" : "pubrec";
  if (qos > 0) await from.take(BATCH);
  for (const wire of to) {
    for (let n = 0; n < BATCH; n++) {
      const { packetId } = await wire.got();
      if (qos > 0) wire.answer(acknowledge, packetId);
    }
    for (let n = 0; n < BATCH && qos === 2; n++) {
      wire.answer("pubcomp", (await wire.next("pubrel")).packetId);
    }
  }
  if (qos < 2) return;
  for (const id of ids) from.answer("pubrel", id);
  await from.take(BATCH);
}

describe("rows written", () => {
  it.each([0, 1, 2] as const)(
    "[MQV16] none for messages of QoS %i to sessions that end with their sockets, with evictions between",
    async (qos) => {
      const topic = `cost-${++runs}`;
      const from = await connect(`${topic}-from`);
      const to = [await connect(`${topic}-a`), await connect(`${topic}-b`)];
      for (const wire of to) await wire.subscribe(topic);
      await cycle(topic, qos, from, to);
      const rows = await rowsOf(async () => {
        for (let n = 0; n < BATCHES; n++) {
          await cycle(topic, qos, from, to);
          await evict(gatewayStub());
          await writeLazy();
        }
      });
      expect(rows).toEqual([]);
    },
  );

  it.each([1, 8])(
    "[MQV16] one at the topic and one at the gateway for a batch of QoS 1 to %i kept sessions, and one for its acknowledgements",
    async (sessions) => {
      const topic = `cost-${++runs}`;
      const from = await connect(`${topic}-from`);
      const properties = { sessionExpiryInterval: 100 };
      const to: MqttWire[] = [];
      for (let n = 0; n < sessions; n++) {
        to.push(await connect(`${topic}-${n}`, { properties }));
        await to[n]!.subscribe(topic);
      }
      await cycle(topic, 1, from, to);
      await writeLazy();
      for (let n = 0; n < BATCHES; n++) {
        const rows = await rowsOf(() => cycle(topic, 1, from, to));
        expect(rows.length, rows.join("\n")).toBeLessThanOrEqual(2);
        const later = await rowsOf(async () => {
          for (const wire of to) await wire.rest();
          await writeLazy();
        });
        expect(later.length, later.join("\n")).toBeLessThanOrEqual(1);
      }
    },
  );

  it("[MQV16] the same while all of them are away", async () => {
    const topic = `cost-${++runs}`;
    const from = await connect(`${topic}-from`);
    for (let n = 0; n < 8; n++) {
      const wire = await connect(`${topic}-${n}`, { properties: { sessionExpiryInterval: 100 } });
      await wire.subscribe(topic);
      await wire.drop();
    }
    await from.publishSure(topic, "first");
    await writeLazy();
    for (let n = 0; n < BATCHES; n++) {
      const rows = await rowsOf(() => cycle(topic, 1, from, []));
      expect(rows.length, rows.join("\n")).toBeLessThanOrEqual(2);
    }
  });
});
