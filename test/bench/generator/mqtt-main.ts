// The MQTT generator's process: one job over IPC, one measurement back, as main.ts is for queues.

import type { Report } from "./job.ts";
import { fanOutLoad } from "./mqtt-fan-out.ts";
import { idleLoad } from "./mqtt-idle.ts";
import type { MqttJob, MqttMeasured } from "./mqtt-job.ts";
import { latencyLoad } from "./mqtt-latency.ts";
import { type MqttLoad, runLoad } from "./mqtt-load.ts";
import { publishLoad } from "./mqtt-publish.ts";

process.once("message", async (job: MqttJob) => {
  try {
    let fail: (reason: string) => void = () => {};
    const failure = new Promise<never>((_, reject) => {
      fail = (reason) => reject(new Error(reason));
    });
    failure.catch(() => {});
    const load = loadOf(job, fail);
    const measured = await runLoad(load, job, failure, (kind) => send({ kind }));
    load.close();
    finish({ kind: "measured", measured });
  } catch (error) {
    finish({ kind: "failed", reason: error instanceof Error ? error.message : String(error) });
  }
});

function loadOf(job: MqttJob, failed: (reason: string) => void): MqttLoad {
  switch (job.kind) {
    case "fan-out":
      return fanOutLoad(job, failed);
    case "publish":
      return publishLoad(job, failed);
    case "latency":
      return latencyLoad(job, failed);
    case "idle":
      return idleLoad(job, failed);
  }
}

function send(report: Report<MqttMeasured>): void {
  process.send!(report);
}

function finish(report: Report<MqttMeasured>): void {
  process.send!(report, () => process.exit());
}
