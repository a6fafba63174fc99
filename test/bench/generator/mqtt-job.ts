// What the MQTT table asks of its generator, and what it answers: the messages of their IPC channel.
import type { Latency } from "./job.ts";

/** Which peer's dialect of WebSocket: `mqtt`, or a socket that returns every frame as it came. */
export type MqttWire = "mqtt" | "echo";

interface Common {
  wire: MqttWire;
  /** Address of the WebSocket listener, with its path. */
  url: string;
  topic: string;
  payloadBytes: number;
  warmUpMs: number;
  measureMs: number;
}

/** QoS 0 from a few publishers to many subscribers of one topic. */
export interface FanOutJob extends Common {
  kind: "fan-out";
  publishers: number;
  subscribers: number;
  /** Messages of one publisher that may be under way: published, but (on the average subscriber) not yet delivered. */
  window: number;
  /** PUBLISH packets in one frame. */
  packetsPerFrame: number;
}

/** Publishes, one packet in a frame, each followed by the next once its handshake is over. */
export interface PublishJob extends Common {
  kind: "publish";
  qos: 1 | 2;
  connections: number;
  /** Messages under way, over all connections. */
  window: number;
  /** Whether one QoS 0 subscriber listens. */
  subscriber: boolean;
}

/** One publisher at a fixed rate to one subscriber, all with one QoS. */
export interface LatencyJob extends Common {
  kind: "latency";
  qos: 0 | 1;
  messagesPerSecond: number;
}

/** Connections that do nothing, held for `measureMs`. */
export interface IdleJob extends Common {
  kind: "idle";
  connections: number;
}

export type MqttJob = FanOutJob | PublishJob | LatencyJob | IdleJob;

/** What one job measured. */
export interface MqttMeasured {
  /** Deliveries (fan-out, latency) or handshakes (publish) within the measured time; 0 for idle connections. */
  count: number;
  elapsedMs: number;
  /** From handing the publish to the socket until its delivery, or (publish) until the end of its handshake. */
  latency: Latency;
  /** Processor time of the generator in percent of the measured time: near 100 means that it was the limit. */
  generatorCpuPercent: number;
  /** Messages or deliveries, from the first on, that were still missing after the load had stopped. */
  lost: number;
  /** Deliveries that came twice or out of their publisher's order. Every single delivery is looked at. */
  wrong: number;
}
