// Unbatched publishing as a closed loop: one packet in a frame, and the next PUBLISH on the same packet id once the handshake of the
// one before is over. What became due in one turn of the event loop leaves in one write, as in the cycle of queues. On the echo, a
// frame's return stands for the handshake's end.
import { openClient, openMany } from "./mqtt-client.ts";
import type { PublishJob } from "./mqtt-job.ts";
import type { MqttLoadFactory } from "./mqtt-load.ts";
import {
  ackPacket,
  PUBACK,
  PUBCOMP,
  PUBREC,
  PublishTemplate,
  publishIdAt,
  sequenceAt,
} from "./mqtt-packets.ts";
import type { MqttSocket } from "./mqtt-socket.ts";

const PUBREL_FIRST_BYTE = 0x62;

/** The load of a publish job. */
export const publishLoad: MqttLoadFactory<PublishJob> = (job, failed) => {
  const { connections, qos } = job;
  const windowOfOne = job.window / connections;
  const echo = job.wire === "echo";
  const template = new PublishTemplate(qos, job.topic, job.payloadBytes);
  const released = Array.from({ length: windowOfOne + 1 }, (_, id) => ackPacket(PUBREL_FIRST_BYTE, id));
  const sentAt = new Float64Array(connections * (windowOfOne + 1));
  const due: Buffer[][] = Array.from({ length: connections }, () => []);
  const sequences = new Uint32Array(connections);
  const expected = new Uint32Array(connections);
  const latenciesMs: number[] = [];
  let publishers: MqttSocket[] = [];
  let subscriber: MqttSocket | undefined;
  let running = false;
  let flushing = false;
  let collecting = false;
  let done = 0;
  let delivered = 0;
  let underWay = 0;
  let wrong = 0;

  const flush = (): void => {
    flushing = false;
    for (const [connection, packets] of due.entries()) {
      if (packets.length === 0) continue;
      due[connection] = [];
      publishers[connection]!.sendAll(packets);
    }
  };
  const send = (connection: number, packet: Buffer): void => {
    due[connection]!.push(packet);
    if (flushing) return;
    flushing = true;
    setImmediate(flush);
  };
  const publish = (connection: number, id: number): void => {
    const packet = Buffer.allocUnsafe(template.bytes.length);
    const timeMs = performance.now();
    sentAt[connection * (windowOfOne + 1) + id] = timeMs;
    template.write(packet, 0, { publisher: connection, sequence: sequences[connection]!++, timeMs, id });
    send(connection, packet);
    underWay++;
  };
  const finished = (connection: number, id: number): void => {
    done++;
    underWay--;
    if (collecting) latenciesMs.push(performance.now() - sentAt[connection * (windowOfOne + 1) + id]!);
    if (running) publish(connection, id);
  };
  const publisherOf = (connection: number) => ({
    published(bytes: Buffer, payloadAt: number) {
      if (echo) finished(connection, publishIdAt(bytes, payloadAt));
    },
    acknowledged(type: number, id: number) {
      if (qos === 1 && type === PUBACK) finished(connection, id);
      else if (qos === 2 && type === PUBREC) send(connection, released[id]!);
      else if (qos === 2 && type === PUBCOMP) finished(connection, id);
      else failed(`a publisher with QoS ${qos} got a packet of type ${type}`);
    },
    failed,
  });
  const onDelivery = (bytes: Buffer, payloadAt: number): void => {
    const publisher = bytes[payloadAt]!;
    const sequence = sequenceAt(bytes, payloadAt);
    if (sequence !== expected[publisher]) wrong++;
    expected[publisher] = sequence + 1;
    delivered++;
  };

  return {
    async open() {
      if (job.subscriber) subscriber = await openClient(job, "sub", { published: onDelivery, failed }, 0);
      publishers = await openMany(connections, (n) => openClient(job, `pub${n}`, publisherOf(n)));
    },
    start() {
      running = true;
      for (let connection = 0; connection < connections; connection++) {
        for (let id = 1; id <= windowOfOne; id++) publish(connection, id);
      }
    },
    stop() {
      running = false;
    },
    count: () => done,
    missing: () => underWay + (subscriber ? sequences.reduce((sum, one) => sum + one, 0) - delivered : 0),
    wrong: () => wrong,
    collect(on) {
      collecting = on;
    },
    latenciesMs: () => latenciesMs,
    close() {
      for (const socket of publishers) socket.close();
      subscriber?.close();
    },
  };
};
