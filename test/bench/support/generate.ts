// Runs a load generator's process for one job, and samples what the target's processes use while it measures.
import { fork } from "node:child_process";
import type { Report } from "../generator/job.ts";
import { machineCpuMs, type Usage, usageOf } from "./processes.ts";

const SAMPLE_MS = 500;
const JOB_GRACE_MS = 90_000;

/** What the target's processes, and the machine, have used up to a moment. */
export interface Snapshot extends Usage {
  machineCpuMs: number;
}

/** What a job measured, and the target at the beginning and the end of the measured time. */
export interface Generated<Measured> {
  measured: Measured;
  before: Snapshot;
  after: Snapshot;
  /** The most the target's processes held at once meanwhile. */
  peakRssBytes: number;
}

/**
 * Starts the generator, hands it the job and waits for its measurement.
 *
 * @param program path of the generator's program
 * @param pids roots of the target's process trees
 * @throws Error when the generator fails or does not end in time
 */
export function generate<Job extends { warmUpMs: number; measureMs: number }, Measured>(
  program: string,
  job: Job,
  pids: readonly number[],
): Promise<Generated<Measured>> {
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
    child.on("message", async (report: Report<Measured>) => {
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
