// The port between a job's clock (warm-up, measured time, drain) and the kinds of load it may be.
import type { Latency } from "./job.ts";
import type { MqttMeasured } from "./mqtt-job.ts";

/** A slow broker may take its time with what is under way, as long as something comes. */
const STALLED_MS = 10_000;
const DRAIN_MS = 45_000;
const DRAIN_POLL_MS = 10;

/** One kind of load over real sockets. */
export interface MqttLoad {
  /** Connects and subscribes everybody. */
  open(): Promise<void>;
  /** Begins to publish. */
  start(): void;
  /** Publishes nothing any more. */
  stop(): void;
  /** What was counted so far. */
  count(): number;
  /** How many messages or deliveries are still missing. */
  missing(): number;
  /** Deliveries that came twice or out of order so far. */
  wrong(): number;
  /** From now on (true) or no longer (false) latencies are collected. */
  collect(on: boolean): void;
  latenciesMs(): number[];
  close(): void;
}

/** Makes a load; `failed` ends the job. */
export type MqttLoadFactory<Job> = (job: Job, failed: (reason: string) => void) => MqttLoad;

/** Runs a load: opens, warms up, measures, and waits for what is still missing. */
export async function runLoad(
  load: MqttLoad,
  times: { warmUpMs: number; measureMs: number },
  failure: Promise<never>,
  onPhase: (phase: "measuring" | "draining") => void,
): Promise<MqttMeasured> {
  const orFailure = <T>(step: Promise<T>): Promise<T> => Promise.race([step, failure]);
  await orFailure(load.open());
  load.start();
  await orFailure(sleep(times.warmUpMs));

  onPhase("measuring");
  const startedAt = performance.now();
  const cpuBefore = process.cpuUsage();
  const countBefore = load.count();
  load.collect(true);
  await orFailure(sleep(times.measureMs));
  load.collect(false);
  const elapsedMs = performance.now() - startedAt;
  const cpu = process.cpuUsage(cpuBefore);
  const count = load.count() - countBefore;
  onPhase("draining");

  load.stop();
  await orFailure(drain(load));
  return {
    count,
    elapsedMs,
    latency: latencyOf(load.latenciesMs()),
    generatorCpuPercent: (cpu.user + cpu.system) / 10 / elapsedMs,
    lost: load.missing(),
    wrong: load.wrong(),
  };
}

async function drain(load: MqttLoad): Promise<void> {
  const startedAt = performance.now();
  let progressAt = startedAt;
  for (let missing = load.missing(); missing > 0; ) {
    await sleep(DRAIN_POLL_MS);
    const now = performance.now();
    if (load.missing() !== missing) progressAt = now;
    missing = load.missing();
    if (now - progressAt > STALLED_MS || now - startedAt > DRAIN_MS) return;
  }
}

function latencyOf(samples: number[]): Latency {
  const sorted = Float64Array.from(samples).sort();
  const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
