// One measurement: a generator of its own against a running target, with what the target's processes used meanwhile.
import type { Job, Measured } from "../generator/job.ts";
import type { RunningTarget } from "../targets/target.ts";
import { generate } from "./generate.ts";
import type { Cell, Options } from "./options.ts";

const program = new URL("../generator/main.ts", import.meta.url).pathname;

/** What one round of one cell gave for one target. */
export interface Sample extends Measured {
  messagesPerSecond: number;
  /** Processor time of the target's processes for each message, in microseconds. */
  brokerCpuMicros: number;
  /** Processor time of the target's processes in percent of the measured time; two busy cores are 200. */
  brokerCpuPercent: number;
  /** Processor time of everything else on the machine in percent of the measured time: far above 10, the figures are noise. */
  othersCpuPercent: number;
  /** The most its processes held at once, in bytes. */
  peakRssBytes: number;
  /** Rows written to storage for each message, where the target tells. */
  rowsPerMessage?: number;
}

/**
 * Loads a target for one cell.
 *
 * @throws Error when the generator fails or does not end in time
 */
export async function measure(
  target: RunningTarget,
  cell: Cell,
  options: Options,
  queue: string,
): Promise<Sample> {
  const { warmUpMs, measureMs } = options;
  const job: Job = { wire: target.wire, url: target.url, queue, ...cell, warmUpMs, measureMs };
  const { measured, before, after, peakRssBytes } = await generate<Job, Measured>(program, job, target.pids);
  const sample: Sample = {
    ...measured,
    messagesPerSecond: (measured.messages * 1000) / measured.elapsedMs,
    brokerCpuMicros: ((after.cpuMs - before.cpuMs) * 1000) / measured.messages,
    brokerCpuPercent: ((after.cpuMs - before.cpuMs) * 100) / measured.elapsedMs,
    othersCpuPercent: 0,
    peakRssBytes,
  };
  const busyPercent = ((after.machineCpuMs - before.machineCpuMs) * 100) / measured.elapsedMs;
  sample.othersCpuPercent = Math.max(0, busyPercent - sample.brokerCpuPercent - measured.generatorCpuPercent);
  // Of the queue's whole life: what the set-up wrote is spread over all its messages too.
  if (target.rowsWritten) sample.rowsPerMessage = (await target.rowsWritten(queue)) / measured.total;
  return sample;
}
