// One measurement of the MQTT table: a generator of its own against a running target, with what the target's processes used.
import { readFile } from "node:fs/promises";
import type { MqttJob, MqttMeasured } from "../generator/mqtt-job.ts";
import { generate } from "./generate.ts";
import { usageOf } from "./processes.ts";

const program = new URL("../generator/mqtt-main.ts", import.meta.url).pathname;

/** What one round of one cell gave for one target. */
export interface MqttSample extends MqttMeasured {
  perSecond: number;
  /** Processor time of the target's processes for each one counted, in microseconds. */
  brokerCpuMicros: number;
  /** Processor time of the target's processes in percent of the measured time; two busy cores are 200. */
  brokerCpuPercent: number;
  /** Processor time of everything else on the machine in percent of the measured time: far above 10, the figures are noise. */
  othersCpuPercent: number;
  /** The most its processes held at once, in bytes. */
  peakRssBytes: number;
  /** What its processes held before the generator connected, and at the beginning of the measured time. */
  rssBytes: { before: number; connected: number };
}

/**
 * Runs a job against the processes under `pids`.
 *
 * @throws Error when the generator fails or does not end in time
 */
export async function measureMqtt(job: MqttJob, pids: readonly number[]): Promise<MqttSample> {
  const idle = await usageOf(pids);
  const { measured, before, after, peakRssBytes } = await generate<MqttJob, MqttMeasured>(program, job, pids);
  const brokerCpuMs = after.cpuMs - before.cpuMs;
  const brokerCpuPercent = (brokerCpuMs * 100) / measured.elapsedMs;
  const busyPercent = ((after.machineCpuMs - before.machineCpuMs) * 100) / measured.elapsedMs;
  return {
    ...measured,
    perSecond: (measured.count * 1000) / measured.elapsedMs,
    brokerCpuMicros: (brokerCpuMs * 1000) / measured.count,
    brokerCpuPercent,
    othersCpuPercent: Math.max(0, busyPercent - brokerCpuPercent - measured.generatorCpuPercent),
    peakRssBytes,
    rssBytes: { before: idle.rssBytes, connected: before.rssBytes },
  };
}

/** How many descriptors a process of the bench may have open; generators and targets inherit it. */
export async function descriptorLimit(): Promise<number> {
  const limits = await readFile("/proc/self/limits", "utf8").catch(() => "");
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 1024);
}
