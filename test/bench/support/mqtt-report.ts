// The MQTT table as text: each kind of cell has columns of its own.
import type { MqttCell } from "./mqtt-cells.ts";
import type { MqttSample } from "./mqtt-measure.ts";
import { aligned, milliseconds } from "./report.ts";

const ECHO = "mqtt-echo";
const CEILING = "mqtt-null";

/** A target in one cell: every round, and the one with the median rate; or why there is none. */
export interface MqttEntry {
  target: string;
  median?: MqttSample | undefined;
  rounds: MqttSample[];
  failed?: string;
}

/** One cell with all its targets. */
export interface MqttCellResult {
  cell: MqttCell;
  entries: MqttEntry[];
}

interface Context {
  cell: MqttCell;
  echo: MqttSample | undefined;
  ceiling: MqttSample | undefined;
}

interface Column {
  title: string;
  of(sample: MqttSample, context: Context): string;
}

const cpu: Column[] = [
  { title: "CPU %", of: (s) => s.brokerCpuPercent.toFixed(0) },
  { title: "RSS MiB", of: (s) => mebibytes(s.peakRssBytes) },
  { title: "generator %", of: (s) => s.generatorCpuPercent.toFixed(0) },
  { title: "others %", of: (s) => s.othersCpuPercent.toFixed(0) },
];
const faults: Column = { title: "lost/wrong", of: (s) => `${s.lost}/${s.wrong}` };

const columns: Record<MqttCell["kind"], Column[]> = {
  "fan-out": [
    { title: "deliveries/s", of: (s) => rate(s.perSecond) },
    { title: "of echo", of: (s, { echo }) => share(s.perSecond, echo?.perSecond) },
    { title: "of null", of: (s, { ceiling }) => share(s.perSecond, ceiling?.perSecond) },
    { title: "deliver p50 ms", of: (s) => milliseconds(s.latency.p50) },
    { title: "CPU us/delivery", of: (s) => s.brokerCpuMicros.toFixed(2) },
    ...cpu,
    faults,
  ],
  publish: [
    { title: "msgs/s", of: (s) => rate(s.perSecond) },
    {
      title: "inbound/echo",
      of: (s, { cell, echo }) => share(s.perSecond * cell.frames!.inbound, echo?.perSecond),
    },
    { title: "all/echo", of: (s, { cell, echo }) => share(s.perSecond * cell.frames!.all, echo?.perSecond) },
    { title: "handshake p50 ms", of: (s) => milliseconds(s.latency.p50) },
    { title: "p99 ms", of: (s) => milliseconds(s.latency.p99) },
    { title: "CPU us/msg", of: (s) => s.brokerCpuMicros.toFixed(1) },
    ...cpu,
    faults,
  ],
  latency: [
    { title: "received/s", of: (s) => rate(s.perSecond) },
    { title: "p50 ms", of: (s) => milliseconds(s.latency.p50) },
    { title: "p99 ms", of: (s) => milliseconds(s.latency.p99) },
    { title: "max ms", of: (s) => milliseconds(s.latency.max) },
    ...cpu,
    faults,
  ],
  idle: [
    { title: "RSS before MiB", of: (s) => mebibytes(s.rssBytes.before) },
    { title: "connected MiB", of: (s) => mebibytes(s.rssBytes.connected) },
    { title: "KiB/connection", of: (s, { cell }) => perConnection(s, cell).toFixed(2) },
    {
      title: "beyond echo's",
      of: (s, { cell, echo }) =>
        echo ? (perConnection(s, cell) - perConnection(echo, cell)).toFixed(2) : "-",
    },
  ],
};

/** The round with the median rate. */
export function medianRound(rounds: readonly MqttSample[]): MqttSample | undefined {
  const sorted = rounds.toSorted((a, b) => a.perSecond - b.perSecond);
  return sorted[Math.floor((sorted.length - 1) / 2)];
}

/** The lines of one cell's table. */
export function mqttCellTable({ cell, entries }: MqttCellResult): string {
  const of = (name: string): MqttSample | undefined => entries.find(({ target }) => target === name)?.median;
  const context: Context = { cell, echo: of(ECHO), ceiling: of(CEILING) };
  const shown = columns[cell.kind];
  // In a cell of publishing, the echo's own row is frames that came back, which are no messages: no share is shown for it.
  const plain = cell.kind === "publish" ? { ...context, echo: undefined } : context;
  const rows = [
    ["", ...shown.map(({ title }) => title)],
    ...entries.flatMap(({ target, median }) =>
      median === undefined
        ? []
        : [[target, ...shown.map((column) => column.of(median, target === ECHO ? plain : context))]],
    ),
  ];
  if (rows.length === 1) rows.push(["(no target)", ...shown.map(() => "-")]);
  const failures = entries.flatMap(({ target, failed }) =>
    failed === undefined ? [] : [`${target} FAILED: ${failed}`],
  );
  return [`\n${cell.title}`, ...aligned(rows), ...failures].join("\n");
}

function perConnection(sample: MqttSample, cell: MqttCell): number {
  return (sample.rssBytes.connected - sample.rssBytes.before) / 1024 / cell.connections!;
}

function rate(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function share(value: number, of: number | undefined): string {
  return of === undefined ? "-" : `x${(value / of).toFixed(2)}`;
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(0);
}
