// Fan-out as a closed loop: a publisher sends its next frame of packets as soon as deliveries have made room in its window, so the
// broker has always something to do and never more than the window. Every delivery is counted and its sequence number compared.
import { openClient, openMany } from "./mqtt-client.ts";
import type { FanOutJob } from "./mqtt-job.ts";
import type { MqttLoadFactory } from "./mqtt-load.ts";
import { PublishTemplate, sequenceAt } from "./mqtt-packets.ts";
import type { MqttSocket } from "./mqtt-socket.ts";

/** A latency is taken from the first subscriber only: it is a sample, the count is not. */
const SAMPLED_SUBSCRIBER = 0;
const TIMES_KEPT = 65_536;

/** The load of a fan-out job. */
export const fanOutLoad: MqttLoadFactory<FanOutJob> = (job, failed) => {
  const { publishers, subscribers, window, packetsPerFrame } = job;
  const template = new PublishTemplate(0, job.topic, job.payloadBytes);
  const frame = Buffer.alloc(template.bytes.length * packetsPerFrame);
  const sent = new Float64Array(publishers);
  const delivered = new Float64Array(publishers);
  const next = Array.from({ length: subscribers }, () => new Uint32Array(publishers));
  const sentAt = new Float64Array(publishers * TIMES_KEPT);
  const latenciesMs: number[] = [];
  let inputs: MqttSocket[] = [];
  let outputs: MqttSocket[] = [];
  let running = false;
  let collecting = false;
  let wrong = 0;
  let missed = 0;

  const publishDue = (): void => {
    if (!running) return;
    for (let publisher = 0; publisher < publishers; publisher++) {
      while (sent[publisher]! + packetsPerFrame <= window + Math.floor(delivered[publisher]! / subscribers)) {
        let at = 0;
        const timeMs = performance.now();
        for (let i = 0; i < packetsPerFrame; i++) {
          const sequence = sent[publisher]!++;
          sentAt[publisher * TIMES_KEPT + (sequence % TIMES_KEPT)] = timeMs;
          at = template.write(frame, at, { publisher, sequence, timeMs });
        }
        inputs[publisher]!.send(frame);
      }
    }
  };
  const subscriberOf = (number: number) => {
    const expected = next[number]!;
    return {
      published(bytes: Buffer, payloadAt: number) {
        const publisher = bytes[payloadAt]!;
        const sequence = sequenceAt(bytes, payloadAt);
        const due = expected[publisher]!;
        if (sequence < due) {
          wrong++;
          return;
        }
        // What was skipped will not be counted when it comes late (it is "wrong" then), so it is missing from here on.
        missed += sequence - due;
        expected[publisher] = sequence + 1;
        delivered[publisher]! += sequence - due + 1;
        if (collecting && number === SAMPLED_SUBSCRIBER)
          latenciesMs.push(performance.now() - sentAt[publisher * TIMES_KEPT + (sequence % TIMES_KEPT)]!);
      },
      readDone: publishDue,
      failed,
    };
  };
  const total = (counts: Float64Array): number => counts.reduce((sum, count) => sum + count, 0);

  return {
    async open() {
      outputs = await openMany(subscribers, (n) => openClient(job, `sub${n}`, subscriberOf(n), 0));
      inputs = await openMany(publishers, (n) => openClient(job, `pub${n}`, { failed }));
    },
    start() {
      running = true;
      publishDue();
    },
    stop() {
      running = false;
    },
    count: () => total(delivered) - missed,
    missing: () => total(sent) * subscribers - total(delivered) + missed,
    wrong: () => wrong,
    collect(on) {
      collecting = on;
    },
    latenciesMs: () => latenciesMs,
    close() {
      for (const socket of [...inputs, ...outputs]) socket.close();
    },
  };
};
