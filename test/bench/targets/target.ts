// The port between the bench and what it measures: how each is started, reached, described and stopped.
import type { WireName } from "../generator/job.ts";

/** Something to measure. */
export interface Target<R extends Running = RunningTarget> {
  name: string;
  /** What a confirm of it means, printed with the figures. */
  durability: string;
  /** Starts it on free loopback ports with data of its own under `folder`; or says why it cannot. */
  start(folder: string): Promise<R | { skipped: string }>;
}

/** Something that accepts connections. */
export interface Running {
  url: string;
  /** What exactly ran, e.g. a version. */
  version: string;
  /** Roots of its process trees. */
  pids: number[];
  stop(): Promise<void>;
}

/** A target of the queue table. */
export interface RunningTarget extends Running {
  wire: WireName;
  /** Rows written to storage for a queue so far, where the target tells. */
  rowsWritten?(queue: string): Promise<number>;
}

/** A target of the MQTT table: `url` is where MQTT is spoken, with its path. */
export interface RunningMqtt extends Running {
  /** The highest QoS that it really speaks; more is not asked of it. */
  maxQos: 0 | 1 | 2;
  /** Where a frame comes back as it was sent, for the one target that is the measure of frames. */
  echoUrl?: string;
}
