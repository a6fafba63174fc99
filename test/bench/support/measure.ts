// One measurement: a generator of its own against a running target, with what the target's processes used meanwhile.
import { fork } from "node:child_process";
import type { Job, Measured, Report } from "../generator/job.ts";
import type { RunningTarget } from "../targets/target.ts";
import type { Cell, Options } from "./options.ts";
import { machineCpuMs, type Usage, usageOf } from "./processes.ts";

const SAMPLE_MS = 500;
const JOB_GRACE_MS = 90_000;
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
  const { measured, before, after, peakRssBytes } = await generate(job, target.pids);
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

interface Snapshot extends Usage {
  machineCpuMs: number;
}

interface Generated {
  measured: Measured;
  before: Snapshot;
  after: Snapshot;
  peakRssBytes: number;
}

function generate(job: Job, pids: readonly number[]): Promise<Generated> {
  return new Promise((resolve, reject) => {
    const child = fork(program, { serialization: "advanced" });
    const timer = setTimeout(
      () => {
        child.kill("SIGKILL");
        reject(new Error(`the generator did not end in time: ${JSON.stringify(job)}`));
      },
      job.warmUpMs + job.measureMs + JOB_GRACE_MS,
    );
    let sampler: NodeJS.Timeout | undefined;
    let measured: Measured | undefined;
    let before: Snapshot | undefined;
    let after: Snapshot | undefined;
    let peakRssBytes = 0;

    const sampleUsage = async (): Promise<Snapshot> => {
      const snapshot = { ...(await usageOf(pids)), machineCpuMs: await machineCpuMs() };
      peakRssBytes = Math.max(peakRssBytes, snapshot.rssBytes);
      return snapshot;
    };
    const onPhase = async (phase: "measuring" | "draining"): Promise<void> => {
      if (phase === "measuring") {
        sampler = setInterval(sampleUsage, SAMPLE_MS);
        before = await sampleUsage();
      } else {
        clearInterval(sampler);
        after = await sampleUsage();
      }
    };
    child.on("message", async (report: Report) => {
      if (report.kind === "failed") reject(new Error(report.reason));
      else if (report.kind === "measured") measured = report.measured;
      else await onPhase(report.kind);
      if (measured && before && after) resolve({ measured, before, after, peakRssBytes });
    });
    child.once("exit", (code) => {
      clearTimeout(timer);
      clearInterval(sampler);
      if (!measured) reject(new Error(`the generator ended with code ${code} before it had measured`));
    });
    child.send(job);
  });
}
