// `npm run check:once`: proves, as far as a run can, that every operation happens exactly once; or that it would see it if not.
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { FAULTS, type FaultName } from "./fault-names.ts";
import { type RunResult, run } from "./run.ts";
import type { Counts, Finding } from "./world.ts";

const USAGE = `npm run check:once -- [--minutes M | --seconds S] [--seed N] [--fault NAME | --fault all] [--moves] [--report FILE]

--moves: commits and numbered producers take part as well.

Faults: ${Object.keys(FAULTS).join(", ")}`;
const DEFAULT_SECONDS = 60;
/** With a planted fault: seconds of traffic of one try, and tries. */
const FAULT_SECONDS = 12;
const FAULT_TRIES = 2;
const SHOWN = 20;

const { values } = parseArgs({
  options: {
    minutes: { type: "string" },
    seconds: { type: "string" },
    seed: { type: "string" },
    fault: { type: "string" },
    report: { type: "string" },
    moves: { type: "boolean" },
    help: { type: "boolean" },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
const asked =
  values.seconds ?? (values.minutes === undefined ? undefined : String(Number(values.minutes) * 60));
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const names = values.fault === "all" ? (Object.keys(FAULTS) as FaultName[]) : [values.fault as FaultName];
if (values.fault !== undefined && values.fault !== "all" && !(values.fault in FAULTS)) {
  console.error(`there is no fault ${values.fault}\n\n${USAGE}`);
  process.exit(2);
}
console.log(`seed ${seed}`);
const ok = values.fault === undefined ? await clean() : await planted();
process.exit(ok ? 0 : 1);

/** Runs the broker as it is. */
async function clean(): Promise<boolean> {
  const result = await run({
    seed,
    moves: values.moves ?? false,
    forMs: Number(asked ?? DEFAULT_SECONDS) * 1_000,
    onRound: (round, counts) => console.log(`${clock()} round ${round}: ${summary(counts)}`),
  });
  await report(result);
  if (result.findings.length === 0) {
    console.log(
      `\nnothing lost, duplicated, reordered, resurrected or unfenced in ${result.rounds} rounds\n${table(result.counts)}`,
    );
    return true;
  }
  console.log(`\n${result.findings.length} findings (seed ${seed})\n${shown(result.findings)}`);
  return false;
}

/** Runs with faults planted, each of which must be found. */
async function planted(): Promise<boolean> {
  const missed: string[] = [];
  for (const fault of names) {
    const { breaks } = FAULTS[fault];
    let found: Finding[] = [];
    for (let tries = 0; tries < FAULT_TRIES && found.length === 0; tries += 1) {
      const forMs = Number(asked ?? FAULT_SECONDS) * 1_000;
      const result = await run({ seed: seed + tries, forMs, fault });
      await report(result);
      found = result.findings.filter(({ breach }) => (breaks as readonly string[]).includes(breach));
    }
    if (found.length === 0) missed.push(fault);
    const first =
      found[0] === undefined
        ? "NOT FOUND"
        : `found ${found.length}: ${found[0].breach}, ${found[0].where}: ${found[0].what}`;
    console.log(`${clock()} ${fault}: ${first.slice(0, 300)}`);
    if (names.length === 1) console.log(shown(found));
  }
  if (names.length > 1)
    console.log(`\n${names.length - missed.length} of ${names.length} planted faults found`);
  return missed.length === 0;
}

async function report(result: RunResult): Promise<void> {
  if (values.report !== undefined) await writeFile(values.report, `${JSON.stringify(result, null, 2)}\n`);
}

function shown(findings: Finding[]): string {
  const kinds = Map.groupBy(
    findings,
    ({ breach, where, what }) => `${breach} in ${where}: ${what.split(":")[0]!.slice(0, 30)}`,
  );
  const counted = [...kinds].map(([kind, all]) => `${String(all.length).padStart(6)} ${kind}`);
  const lines = findings
    .slice(0, SHOWN)
    .map(({ breach, where, what, events = [] }) =>
      [`  ${breach} in ${where}: ${what}`, ...events.map((event) => `      ${JSON.stringify(event)}`)].join(
        "\n",
      ),
    );
  return [
    ...counted,
    ...lines,
    ...(findings.length > SHOWN ? [`  … and ${findings.length - SHOWN} more`] : []),
  ].join("\n");
}

function summary(counts: Counts): string {
  return ["publishes to queues", "publishes to topics", "kills", "objects evicted", "connections cut"]
    .map((name) => `${counts[name] ?? 0} ${name}`)
    .join(", ");
}

function table(counts: Counts): string {
  return Object.entries(counts)
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([name, count]) => `${String(count).padStart(9)} ${name}`)
    .join("\n");
}

function clock(): string {
  return new Date().toISOString().slice(11, 19);
}
