// What the MQTT table measures: every cell with the job it is for a target, or why it is none.
import type { MqttJob } from "../generator/mqtt-job.ts";
import type { RunningMqtt } from "../targets/target.ts";
import type { Options } from "./options.ts";

const PAYLOAD_BYTES = 100;
/** Of all publishers together: each has at least one frame at the broker while deliveries make room for the next. */
const FAN_OUT_WINDOW = 80;
const FAN_OUT_PACKETS_PER_FRAME = 10;
const PUBLISH_WINDOW = 64;
const PUBLISH_CONNECTIONS = 4;
const LATENCY_MESSAGES_PER_SECOND = 200;
/** An object on workerd hibernates after ten seconds without an event. */
const IDLE_SETTLE_MS = 12_000;
const IDLE_HOLD_MS = 500;
/** Opened and closed before, so that what a broker loads for its first connections does not count. */
const IDLE_WARM_UP = { connections: 100, warmUpMs: 500 };
/** What runs with fewer descriptors than idle connections need. */
const IDLE_FALLBACK = 1_000;
const SPARE_DESCRIPTORS = 500;

/** One point of the plan. */
export interface MqttCell {
  kind: MqttJob["kind"];
  title: string;
  /** Frames of one message: all of them, and those that the broker gets. */
  frames?: { all: number; inbound: number };
  /** Connections that a fresh instance of each target holds. */
  connections?: number;
  /** Run once against the same instance before. */
  warmUp?: MqttCell;
  rounds: number;
  jobOf(target: RunningMqtt, topic: string): MqttJob | undefined;
}

/** Every cell, fan-out first. */
export function mqttCellsOf(options: Options, descriptors: number): MqttCell[] {
  const { warmUpMs, measureMs } = options;
  const common = { payloadBytes: PAYLOAD_BYTES, warmUpMs, measureMs };
  const cells = [
    ...options.subscribers.flatMap((subscribers) =>
      options.publishers.map((publishers) => fanOutCell(options, common, publishers, subscribers)),
    ),
    ...([1, 2] as const).flatMap((qos) =>
      [false, true].map((subscriber) => publishCell(options, common, qos, subscriber)),
    ),
    ...([0, 1] as const).map((qos) => latencyCell(common, qos)),
    idleCell(
      options.idle + SPARE_DESCRIPTORS < descriptors ? options.idle : IDLE_FALLBACK,
      IDLE_SETTLE_MS,
      idleCell(IDLE_WARM_UP.connections, IDLE_WARM_UP.warmUpMs),
    ),
  ];
  return cells.filter(({ kind }) => options.kinds.length === 0 || options.kinds.includes(kind));
}

type CommonTimes = Pick<MqttJob, "payloadBytes" | "warmUpMs" | "measureMs">;

function fanOutCell(
  { rounds }: Options,
  common: CommonTimes,
  publishers: number,
  subscribers: number,
): MqttCell {
  return {
    kind: "fan-out",
    title:
      `QoS 0 fan-out, ${publishers} publisher(s) to ${subscribers.toLocaleString("en")} subscribers, ${PAYLOAD_BYTES} B, ` +
      `${FAN_OUT_PACKETS_PER_FRAME} packets in a frame, at most ${FAN_OUT_WINDOW} undelivered`,
    rounds,
    jobOf: ({ url }, topic) => ({
      ...common,
      kind: "fan-out",
      wire: "mqtt",
      url,
      topic,
      publishers,
      subscribers,
      window: FAN_OUT_WINDOW / publishers,
      packetsPerFrame: FAN_OUT_PACKETS_PER_FRAME,
    }),
  };
}

function publishCell({ rounds }: Options, common: CommonTimes, qos: 1 | 2, subscriber: boolean): MqttCell {
  return {
    kind: "publish",
    title:
      `QoS ${qos} publish, one packet in a frame, ${PAYLOAD_BYTES} B, window ${PUBLISH_WINDOW} over ${PUBLISH_CONNECTIONS} ` +
      `connections, ${subscriber ? "one QoS 0 subscriber" : "no subscriber"}`,
    frames: qos === 1 ? { all: 2, inbound: 1 } : { all: 4, inbound: 2 },
    rounds,
    jobOf(target, topic) {
      if (target.echoUrl === undefined && target.maxQos < qos) return undefined;
      return {
        ...common,
        kind: "publish",
        wire: target.echoUrl === undefined ? "mqtt" : "echo",
        url: target.echoUrl ?? target.url,
        topic,
        qos,
        connections: PUBLISH_CONNECTIONS,
        window: PUBLISH_WINDOW,
        subscriber: target.echoUrl === undefined && subscriber,
      };
    },
  };
}

function latencyCell(common: CommonTimes, qos: 0 | 1): MqttCell {
  return {
    kind: "latency",
    title: `latency from publish to receive, QoS ${qos}, ${LATENCY_MESSAGES_PER_SECOND} messages/s, ${PAYLOAD_BYTES} B, one publisher, one subscriber`,
    rounds: 1,
    jobOf(target, topic) {
      if (target.maxQos < qos) return undefined;
      return {
        ...common,
        kind: "latency",
        wire: "mqtt",
        url: target.url,
        topic,
        qos,
        messagesPerSecond: LATENCY_MESSAGES_PER_SECOND,
      };
    },
  };
}

function idleCell(connections: number, warmUpMs: number, warmUp?: MqttCell): MqttCell {
  return {
    kind: "idle",
    title: `${connections.toLocaleString("en")} idle connections to a fresh broker, memory after ${warmUpMs / 1000} s`,
    connections,
    ...(warmUp && { warmUp }),
    rounds: 1,
    jobOf: (target, topic) => ({
      kind: "idle",
      wire: target.echoUrl === undefined ? "mqtt" : "echo",
      url: target.echoUrl ?? target.url,
      topic,
      payloadBytes: PAYLOAD_BYTES,
      connections,
      warmUpMs,
      measureMs: IDLE_HOLD_MS,
    }),
  };
}
