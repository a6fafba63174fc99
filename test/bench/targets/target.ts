// The port between the bench and what it measures: how each is started, reached, described and stopped.
import type { WireName } from "../generator/job.ts";

/** Something to measure. */
export interface Target {
  name: string;
  /** What a confirm of it means, printed with the figures. */
  durability: string;
  /** Starts it on free loopback ports with data of its own under `folder`; or says why it cannot. */
  start(folder: string): Promise<RunningTarget | { skipped: string }>;
}

/** A target that accepts connections. */
export interface RunningTarget {
  wire: WireName;
  url: string;
  /** What exactly ran, e.g. a version. */
  version: string;
  /** Roots of its process trees. */
  pids: number[];
  /** Rows written to storage for a queue so far, where the target tells. */
  rowsWritten?(queue: string): Promise<number>;
  stop(): Promise<void>;
}
