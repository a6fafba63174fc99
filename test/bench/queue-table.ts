// The table of queues: publish -> deliver -> ack on Dunlin, beside the raw echo of the same runtime and the peers.
import { natsSyncTarget, natsTarget } from "./peers/nats.ts";
import { rabbitmqTarget } from "./peers/rabbitmq.ts";
import type { Fleet } from "./support/fleet.ts";
import { measure, type Sample } from "./support/measure.ts";
import { type Cell, cellsOf, type Options } from "./support/options.ts";
import { type CellResult, cellTable, medianOf, type Participant, ratioTable } from "./support/report.ts";
import { dunlinTarget, echoTarget } from "./targets/dunlin.ts";
import type { RunningTarget, Target } from "./targets/target.ts";

/** What the table has rows for. */
export const queueTargets: readonly Target[] = [
  echoTarget("echo", "echo"),
  echoTarget("echo-batch", "echo-batch"),
  dunlinTarget("dunlin", "json"),
  dunlinTarget("dunlin-client", "client"),
  rabbitmqTarget,
  natsTarget,
  natsSyncTarget,
];

/** Measures and prints every cell for the targets given. */
export async function runQueueTable(
  targets: readonly Target[],
  options: Options,
  fleet: Fleet<RunningTarget>,
): Promise<{ participants: Participant[]; results: CellResult[] }> {
  const participants = await fleet.start(targets);
  const results: CellResult[] = [];
  for (const cell of cellsOf(options)) {
    const result = await measureCell(cell, options, fleet.running, results.length);
    results.push(result);
    console.log(cellTable(result));
  }
  console.log(ratioTable(results));
  return { participants, results };
}

/** All targets are up while one is loaded: they take turns, and the order turns with each round. */
async function measureCell(
  cell: Cell,
  options: Options,
  running: ReadonlyMap<string, RunningTarget>,
  number: number,
): Promise<CellResult> {
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
