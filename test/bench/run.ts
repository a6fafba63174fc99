// `npm run bench`: the table of queues, then the table of MQTT, each on Dunlin beside the raw echo of the same runtime and the peers
// that are installed, all in one run. What is measured and how to read it: README.md beside this file.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mqttTargets, runMqttTable } from "./mqtt-table.ts";
import { queueTargets, runQueueTable } from "./queue-table.ts";
import { Fleet } from "./support/fleet.ts";
import { type Options, readOptions } from "./support/options.ts";
import { writeReport } from "./support/report.ts";
import type { Running, RunningMqtt, RunningTarget } from "./targets/target.ts";

const ALL_OF_MQTT = "mqtt";

const folder = await mkdtemp(join(tmpdir(), "dunlin-bench-"));
const fleets = new Set<{ stop(): Promise<void> }>();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, async () => {
    await stopAll();
    process.exit(1);
  });
}

try {
  await main(readOptions(process.argv.slice(2)));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await stopAll();
}

async function main(options: Options): Promise<void> {
  const known = [ALL_OF_MQTT, ...[...queueTargets, ...mqttTargets].map(({ name }) => name)];
  const unknown = options.only.filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw new Error(`no target is called ${unknown.join(", ")}; there are ${known.join(", ")}`);
  const chosen = ({ name }: { name: string }): boolean =>
    options.only.length === 0 || options.only.includes(name);

  const tables: Record<string, unknown> = {};
  const queues = queueTargets.filter(chosen);
  if (queues.length > 0)
    Object.assign(
      tables,
      await withFleet("queues", (fleet: Fleet<RunningTarget>) => runQueueTable(queues, options, fleet)),
    );
  const mqtt = options.only.includes(ALL_OF_MQTT) ? mqttTargets : mqttTargets.filter(chosen);
  if (mqtt.length > 0)
    tables.mqtt = await withFleet("mqtt", (fleet: Fleet<RunningMqtt>) => runMqttTable(mqtt, options, fleet));
  console.log(`\nWritten to ${await writeReport(options, tables)}`);
}

/** One table's targets are stopped before the next table's are started. */
async function withFleet<R extends Running, T>(
  name: string,
  run: (fleet: Fleet<R>) => Promise<T>,
): Promise<T> {
  const own = join(folder, name);
  await mkdir(own);
  const fleet = new Fleet<R>(own);
  fleets.add(fleet);
  const result = await run(fleet);
  await fleet.stop();
  return result;
}

async function stopAll(): Promise<void> {
  await Promise.all([...fleets].map((fleet) => fleet.stop()));
  await rm(folder, { recursive: true, force: true });
}
