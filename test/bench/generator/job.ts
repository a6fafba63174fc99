// What the bench asks of its load generator, and what the generator answers: the messages of their IPC channel.

/** The dialect the generator speaks. `echo-batch` is the echo with array frames: what the generator itself can carry. */
export type WireName = "echo" | "echo-batch" | "json" | "client" | "stomp" | "nats";

/** One measurement: a queue of its own, loaded for a fixed time. */
export interface Job {
  wire: WireName;
  /** Address of the WebSocket listener. */
  url: string;
  queue: string;
  /** Producer connections; as many consumer connections beside them. */
  pairs: number;
  /** Messages each producer keeps under way (published, but not yet settled and confirmed). */
  window: number;
  payloadBytes: number;
  warmUpMs: number;
  measureMs: number;
}

/** Milliseconds. */
export interface Latency {
  p50: number;
  p99: number;
  max: number;
}

/** What one job measured. */
export interface Measured {
  /** Whole cycles within the measured time. */
  messages: number;
  elapsedMs: number;
  /** From handing the publish to the socket until its confirm. */
  confirm: Latency;
  /** From the same moment until the consumer has the message. */
  deliver: Latency;
  /** From the same moment until the publish is confirmed, the message delivered and its ack confirmed. */
  cycle: Latency;
  /** Processor time of the generator in percent of the measured time: near 100 means that it was the limit. */
  generatorCpuPercent: number;
  /** Messages delivered twice or out of nowhere; expected to be 0. */
  unexpected: number;
  /** Messages that did not end their cycle after the load stopped; expected to be 0. */
  lost: number;
  /** Every message of the job, warm-up included. */
  total: number;
}

/** The generator's reports: `measuring` after the warm-up, `draining` after the measured time, then `measured` or `failed`. */
export type Report<M = Measured> =
  | { kind: "measuring" | "draining" }
  | { kind: "measured"; measured: M }
  | { kind: "failed"; reason: string };
