// Latency at a rate that loads nothing: one publisher, one subscriber, the time of sending in the payload.
import { openClient } from "./mqtt-client.ts";
import type { LatencyJob } from "./mqtt-job.ts";
import type { MqttLoadFactory } from "./mqtt-load.ts";
import { ackPacket, PublishTemplate, publishIdAt, sequenceAt, timeAt } from "./mqtt-packets.ts";
import type { MqttSocket } from "./mqtt-socket.ts";

const PUBACK_FIRST_BYTE = 0x40;
const LAST_PACKET_ID = 65_535;

/** The load of a latency job. */
export const latencyLoad: MqttLoadFactory<LatencyJob> = (job, failed) => {
  const template = new PublishTemplate(job.qos, job.topic, job.payloadBytes);
  const intervalMs = 1000 / job.messagesPerSecond;
  const latenciesMs: number[] = [];
  let publisher: MqttSocket | undefined;
  let subscriber: MqttSocket | undefined;
  let timer: NodeJS.Timeout | undefined;
  let collecting = false;
  let sent = 0;
  let delivered = 0;
  let wrong = 0;

  const publish = (): void => {
    const packet = Buffer.allocUnsafe(template.bytes.length);
    const id = job.qos === 0 ? undefined : (sent % LAST_PACKET_ID) + 1;
    template.write(packet, 0, { publisher: 0, sequence: sent++, timeMs: performance.now(), id });
    publisher!.send(packet);
  };
  const published = (bytes: Buffer, payloadAt: number): void => {
    if (sequenceAt(bytes, payloadAt) !== delivered) wrong++;
    delivered++;
    if (collecting) latenciesMs.push(performance.now() - timeAt(bytes, payloadAt));
    if (job.qos === 1) subscriber!.send(ackPacket(PUBACK_FIRST_BYTE, publishIdAt(bytes, payloadAt)));
  };

  return {
    async open() {
      subscriber = await openClient(job, "sub", { published, failed }, job.qos);
      publisher = await openClient(job, "pub", { failed });
    },
    start() {
      const startedAt = performance.now();
      let ticks = 0;
      const tick = (): void => {
        publish();
        timer = setTimeout(tick, Math.max(0, startedAt + ++ticks * intervalMs - performance.now()));
      };
      tick();
    },
    stop() {
      clearTimeout(timer);
    },
    count: () => delivered,
    missing: () => sent - delivered,
    wrong: () => wrong,
    collect(on) {
      collecting = on;
    },
    latenciesMs: () => latenciesMs,
    close() {
      publisher?.close();
      subscriber?.close();
    },
  };
};
