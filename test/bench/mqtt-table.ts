// The table of MQTT: fan-out, unbatched publishing, latency and idle connections on Dunlin, beside the runtime's own limit and the peers.
import { mqttAedesTarget } from "./peers/aedes.ts";
import { mqttMosquittoTarget } from "./peers/mosquitto.ts";
import { mqttNatsTarget } from "./peers/nats.ts";
import { mqttRabbitmqTarget } from "./peers/rabbitmq.ts";
import type { Fleet } from "./support/fleet.ts";
import { type MqttCell, mqttCellsOf } from "./support/mqtt-cells.ts";
import { descriptorLimit, type MqttSample, measureMqtt } from "./support/mqtt-measure.ts";
import { type MqttCellResult, type MqttEntry, medianRound, mqttCellTable } from "./support/mqtt-report.ts";
import type { Options } from "./support/options.ts";
import type { Participant } from "./support/report.ts";
import { mqttDunlinTarget, mqttEchoTarget } from "./targets/dunlin.ts";
import { mqttNullTarget } from "./targets/null.ts";
import type { RunningMqtt, Target } from "./targets/target.ts";

/** What the table has rows for. */
export const mqttTargets: readonly Target<RunningMqtt>[] = [
  mqttNullTarget,
  mqttEchoTarget,
  mqttDunlinTarget,
  mqttMosquittoTarget,
  mqttNatsTarget,
  mqttRabbitmqTarget,
  mqttAedesTarget,
];

/** Measures and prints every cell for the targets given; one that fails a cell is told there, and the others go on. */
export async function runMqttTable(
  targets: readonly Target<RunningMqtt>[],
  options: Options,
  fleet: Fleet<RunningMqtt>,
): Promise<{ participants: Participant[]; results: MqttCellResult[] }> {
  const participants = await fleet.start(targets);
  const results: MqttCellResult[] = [];
  for (const cell of mqttCellsOf(options, await descriptorLimit())) {
    const topic = `bench/${results.length}`;
    const measured =
      cell.connections === undefined
        ? await measureInTurns(cell, fleet.running, topic)
        : await measureFresh(cell, targets, fleet, topic);
    results.push({ cell, entries: measured });
    console.log(mqttCellTable(results.at(-1)!));
    if (measured.some(({ failed }) => failed !== undefined)) process.exitCode = 1;
  }
  return { participants, results };
}

/** All targets are up while one is loaded: they take turns, and the order turns with each round. */
async function measureInTurns(
  cell: MqttCell,
  running: ReadonlyMap<string, RunningMqtt>,
  topic: string,
): Promise<MqttEntry[]> {
  const entries = [...running.keys()].map((target): MqttEntry => ({ target, rounds: [] }));
  for (let round = 0; round < cell.rounds; round++) {
    const first = round % entries.length;
    for (const entry of [...entries.slice(first), ...entries.slice(0, first)]) {
      const target = running.get(entry.target)!;
      await measureInto(entry, () => runJob(cell, target, `${topic}/${round}`));
    }
  }
  return entries;
}

async function measureFresh(
  cell: MqttCell,
  targets: readonly Target<RunningMqtt>[],
  fleet: Fleet<RunningMqtt>,
  topic: string,
): Promise<MqttEntry[]> {
  const entries: MqttEntry[] = [];
  for (const target of targets.filter(({ name }) => fleet.running.has(name))) {
    const entry: MqttEntry = { target: target.name, rounds: [] };
    entries.push(entry);
    await measureInto(entry, () =>
      fleet.withFresh(target, async (running) => {
        if (cell.warmUp) await runJob(cell.warmUp, running, topic);
        return runJob(cell, running, topic);
      }),
    );
  }
  return entries;
}

async function runJob(cell: MqttCell, target: RunningMqtt, topic: string): Promise<MqttSample | undefined> {
  const job = cell.jobOf(target, topic);
  return job && measureMqtt(job, target.pids);
}

async function measureInto(entry: MqttEntry, measure: () => Promise<MqttSample | undefined>): Promise<void> {
  if (entry.failed !== undefined) return;
  try {
    const sample = await measure();
    if (sample) entry.rounds.push(sample);
    entry.median = medianRound(entry.rounds);
  } catch (error) {
    entry.failed = error instanceof Error ? error.message : String(error);
  }
}
