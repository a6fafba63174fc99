// What a run found, as a table to read and a file to compare.
import { mkdir, writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import type { Sample } from "./measure.ts";
import type { Cell, Options } from "./options.ts";

const ECHO = "echo";
const SUBJECT = "dunlin";

/** A target in one cell: every round, and the one with the median throughput. */
export interface Entry {
  target: string;
  median: Sample;
  rounds: Sample[];
}

/** One cell with all its targets. */
export interface CellResult extends Cell {
  entries: Entry[];
}

/** A target as it ran, or why it did not. */
export interface Participant {
  name: string;
  durability: string;
  version?: string;
  skipped?: string;
}

/** The round with the median throughput. */
export function medianOf(rounds: readonly Sample[]): Sample {
  const sorted = rounds.toSorted((a, b) => a.messagesPerSecond - b.messagesPerSecond);
  return sorted[Math.floor((sorted.length - 1) / 2)]!;
}

const columns: { title: string; of(sample: Sample, echo: Sample | undefined): string }[] = [
  { title: "msgs/s", of: (s) => Math.round(s.messagesPerSecond).toLocaleString("en") },
  { title: "of echo", of: (s, echo) => (echo ? ratio(s, echo) : "-") },
  { title: "confirm p50", of: (s) => milliseconds(s.confirm.p50) },
  { title: "deliver p50", of: (s) => milliseconds(s.deliver.p50) },
  { title: "p99 ms", of: (s) => milliseconds(s.deliver.p99) },
  { title: "cycle p50", of: (s) => milliseconds(s.cycle.p50) },
  { title: "p99 ms", of: (s) => milliseconds(s.cycle.p99) },
  { title: "rows/msg", of: (s) => s.rowsPerMessage?.toFixed(3) ?? "-" },
  { title: "CPU us/msg", of: (s) => s.brokerCpuMicros.toFixed(0) },
  { title: "CPU %", of: (s) => s.brokerCpuPercent.toFixed(0) },
  { title: "RSS MiB", of: (s) => (s.peakRssBytes / 2 ** 20).toFixed(0) },
  { title: "generator %", of: (s) => s.generatorCpuPercent.toFixed(0) },
  { title: "others %", of: (s) => s.othersCpuPercent.toFixed(0) },
  { title: "lost/unexpected", of: (s) => `${s.lost}/${s.unexpected}` },
];

/** The lines of one cell's table. */
export function cellTable(result: CellResult): string {
  const echo = result.entries.find((entry) => entry.target === ECHO)?.median;
  const rows = [
    ["", ...columns.map((column) => column.title)],
    ...result.entries.map((entry) => [
      entry.target,
      ...columns.map((column) => column.of(entry.median, echo)),
    ]),
  ];
  return [`\n${cellName(result)}`, ...aligned(rows)].join("\n");
}

/** Rows of equal length as lines with columns; the first row has the titles, the first column the names. */
export function aligned(rows: readonly string[][]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) =>
    row.map((text, i) => (i === 0 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join("  "),
  );
}

/** Dunlin's throughput and typical delivery time against every other target, a line for each cell. */
export function ratioTable(results: readonly CellResult[]): string {
  const lines: string[] = [];
  for (const result of results) {
    const subject = result.entries.find((entry) => entry.target === SUBJECT)?.median;
    if (!subject) continue;
    const others = result.entries
      .filter((entry) => entry.target !== SUBJECT)
      .map(({ target, median }) => {
        const delay = (subject.deliver.p50 / median.deliver.p50).toFixed(2);
        return `${target} ${ratio(subject, median)} (p50 x${delay})`;
      });
    lines.push(`${cellName(result)}: ${others.join(", ")}`);
  }
  if (lines.length === 0) return "";
  return `\n${SUBJECT}'s throughput as a multiple of each other's (and its delivery p50 as a multiple):\n${lines.join("\n")}`;
}

/** Writes everything as JSON under `reports/` and returns the file's path. */
export async function writeReport(options: Options, tables: Record<string, unknown>): Promise<string> {
  const folder = new URL("../../../reports/", import.meta.url).pathname;
  await mkdir(folder, { recursive: true });
  const time = new Date().toISOString();
  const file = join(folder, `bench-${time.replace(/[:.]/g, "-")}.json`);
  const machine = {
    cpus: cpus().length,
    model: cpus()[0]?.model,
    memoryBytes: totalmem(),
    node: process.version,
  };
  await writeFile(file, `${JSON.stringify({ time, machine, options, ...tables }, null, 2)}\n`);
  return file;
}

function cellName({ window, payloadBytes, pairs }: Cell): string {
  return `window ${window}, ${payloadBytes} B, ${pairs} + ${pairs} connections`;
}

function ratio(a: Sample, b: Sample): string {
  return `x${(a.messagesPerSecond / b.messagesPerSecond).toFixed(2)}`;
}

/** A time to read, in milliseconds. */
export function milliseconds(value: number): string {
  return value.toFixed(value < 10 ? 2 : 1);
}
