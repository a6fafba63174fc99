// `npm run bench`: publish -> deliver -> ack on Dunlin, beside the raw echo of the same runtime and the peers that are
// installed, all in one run. What is measured and how to read it: README.md beside this file.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { natsSyncTarget, natsTarget } from "./peers/nats.ts";
import { rabbitmqTarget } from "./peers/rabbitmq.ts";
import { measure, type Sample } from "./support/measure.ts";
import { type Cell, cellsOf, type Options, readOptions } from "./support/options.ts";
import {
  type CellResult,
  cellTable,
  medianOf,
  type Participant,
  ratioTable,
  writeReport,
} from "./support/report.ts";
import { dunlinTarget, echoTarget } from "./targets/dunlin.ts";
import type { RunningTarget, Target } from "./targets/target.ts";

const targets: Target[] = [
  echoTarget("echo", "echo"),
  echoTarget("echo-batch", "echo-batch"),
  dunlinTarget("dunlin", "json"),
  dunlinTarget("dunlin-client", "client"),
  rabbitmqTarget,
  natsTarget,
  natsSyncTarget,
];

const folder = await mkdtemp(join(tmpdir(), "dunlin-bench-"));
const running = new Map<string, RunningTarget>();
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
  const participants = await startTargets(options);
  const results: CellResult[] = [];
  for (const cell of cellsOf(options)) {
    const result = await measureCell(cell, options, results.length);
    results.push(result);
    console.log(cellTable(result));
  }
  console.log(ratioTable(results));
  console.log(`\nWritten to ${await writeReport(options, participants, results)}`);
}

async function startTargets(options: Options): Promise<Participant[]> {
  const unknown = options.only.filter((name) => !targets.some((target) => target.name === name));
  if (unknown.length > 0) throw new Error(`no target is called ${unknown.join(", ")}`);
  const participants: Participant[] = [];
  for (const { name, durability, start } of targets) {
    if (options.only.length > 0 && !options.only.includes(name)) continue;
    const data = join(folder, name);
    await mkdir(data);
    const started = await start(data);
    if ("skipped" in started) {
      console.log(`${name}: skipped, ${started.skipped}`);
      participants.push({ name, durability, skipped: started.skipped });
      continue;
    }
    running.set(name, started);
    participants.push({ name, durability, version: started.version });
    console.log(`${name}: ${started.version}; ${durability}`);
  }
  return participants;
}

/** All targets are up while one is loaded: they take turns, and the order turns with each round. */
async function measureCell(cell: Cell, options: Options, number: number): Promise<CellResult> {
  const names = [...running.keys()];
  const samples = new Map<string, Sample[]>(names.map((name) => [name, []]));
  for (let round = 0; round < options.rounds; round++) {
    const first = (number + round) % names.length;
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      const sample = await measure(running.get(name)!, cell, options, `bench-${number}-${round}`).catch(
        (error) => {
          throw new Error(
            `${name}, ${JSON.stringify(cell)}: ${error instanceof Error ? error.message : error}`,
          );
        },
      );
      samples.get(name)!.push(sample);
    }
  }
  const entries = [...samples].map(([target, rounds]) => ({ target, median: medianOf(rounds), rounds }));
  return { ...cell, entries };
}

async function stopAll(): Promise<void> {
  const stopping = [...running.values()];
  running.clear();
  await Promise.all(stopping.map((target) => target.stop()));
  await rm(folder, { recursive: true, force: true });
}
