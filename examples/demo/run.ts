// `npm run demo`: every flight of a file goes through the broker as a job of its own, while the broker is killed and
// consumers vanish; at the end what the consumers computed must equal what the file says.
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Broker, startBroker } from "../../test/support/broker.ts";
import { createRandom, type Random } from "../../test/support/random.ts";
import { type QueueStats, waitForStats } from "../../test/support/stats.ts";
import { Effects } from "./effects.ts";
import { addFlight, type Flight, type HourlyTotals, readFlights, sumUp } from "./flights.ts";
import { bold, cyan, dim, figure, green, red, Screen, yellow } from "./screen.ts";
import { type Consumer, type Producers, startConsumer, startProducers } from "./workers.ts";

const QUEUE = "flights";
const POLL_MS = 20;
const SHOW_MS = 100;
const RATE_WINDOW_MS = 2_000;
const STALL_MS = 60_000;

const settings = readSettings();

/** One run. */
interface Run {
  broker: Broker;
  effects: Effects;
  effectsPath: string;
  producers: Producers;
  consumers: Consumer[];
  random: Random;
  screen: Screen;
  rows: number;
  kills: number;
  drops: number;
}

const random = createRandom(settings.seed);
const screen = new Screen();
const startedAt = performance.now();
const flights = await readFlights(settings.rows);
screen.line();
screen.line(
  `  ${bold("Dunlin")}  ${figure(flights.length)} flights, one job each, through a broker that is being killed`,
);
screen.line(
  dim(
    `  ${settings.producers} producers, ${settings.consumers} consumers, ${settings.kills} SIGKILLs of the broker, ` +
      `${settings.drops} of consumers in mid-job; seed ${random.seed}`,
  ),
);
screen.line();

const folder = await mkdtemp(join(tmpdir(), "dunlin-demo-"));
// However it ends: after the exit handlers of broker.ts and workers.ts, which have ended all who write here.
process.once("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));
process.exit((await runIn(folder)) ? 0 : 1);

/** Reads the command line: every option is a whole number. */
function readSettings() {
  const names = ["rows", "kills", "drops", "producers", "consumers", "seed"] as const;
  const options = Object.fromEntries(names.map((name) => [name, { type: "string" as const }]));
  let values: Partial<Record<string, string | boolean>>;
  try {
    values = parseArgs({ options }).values;
  } catch (error) {
    return refuse(`${(error as Error).message}\nOptions: ${names.map((name) => `--${name} N`).join(" ")}`);
  }
  const whole = <Default>(name: (typeof names)[number], standard: Default, least: number) => {
    const text = values[name];
    if (text === undefined) return standard;
    if (/^\d+$/.test(String(text)) && Number(text) >= least) return Number(text);
    return refuse(`--${name} must be a whole number of at least ${least}, not ${text}`);
  };
  return {
    rows: whole("rows", Infinity, 1),
    kills: whole("kills", 6, 0),
    drops: whole("drops", 6, 0),
    producers: whole("producers", 3, 1),
    consumers: whole("consumers", 4, 1),
    seed: whole("seed", undefined, 0),
  };
}

function refuse(why: string): never {
  console.error(why);
  process.exit(2);
}

async function runIn(dataFolder: string): Promise<boolean> {
  const broker = await startBroker({ dataFolder: join(dataFolder, "broker") });
  const effectsPath = join(dataFolder, "effects.sqlite");
  const effects = new Effects(effectsPath);
  const run: Run = {
    broker,
    effects,
    effectsPath,
    producers: startProducers(broker.url, QUEUE, flights.length, settings.producers),
    consumers: Array.from({ length: settings.consumers }, () =>
      startConsumer(broker.url, QUEUE, effectsPath),
    ),
    random,
    screen,
    rows: flights.length,
    kills: 0,
    drops: 0,
  };
  event(`the broker runs on ${broker.url}`);
  await Promise.race([work(run), run.producers.finished.then(() => new Promise<never>(() => {}))]);
  await run.producers.finished;
  const stats = await waitForStats(broker.url, QUEUE, isDrained, STALL_MS);
  screen.done();
  event("every job is done; consumers and broker end");
  await Promise.all(run.consumers.map((consumer) => consumer.stop()));
  await broker.stop();
  const isEqual = report(run, stats);
  effects.close();
  return isEqual;
}

/** Works, kills and drops until all jobs are done. */
async function work(run: Run): Promise<void> {
  const kills = moments(run, settings.kills);
  const drops = moments(run, settings.drops);
  const rates: [number, number][] = [];
  let shownMs = 0;
  let lastCount = -1;
  let lastChangeMs = performance.now();
  for (;;) {
    const count = run.effects.count();
    const nowMs = performance.now();
    if (count !== lastCount) lastChangeMs = nowMs;
    else if (nowMs - lastChangeMs > STALL_MS) throw new Error(stalled(run, count));
    lastCount = count;
    if (nowMs - shownMs > SHOW_MS) {
      shownMs = nowMs;
      rates.push([nowMs, count]);
      while (nowMs - rates[0]![0] > RATE_WINDOW_MS) rates.shift();
      show(run, count, rates);
    }
    if (count >= run.rows) return;
    if (count >= (drops[0] ?? Infinity)) {
      drops.shift();
      await dropConsumer(run);
    }
    if (count >= (kills[0] ?? Infinity)) {
      kills.shift();
      await killBroker(run, count);
    }
    await sleep(POLL_MS);
  }
}

/** Random amounts of work after which something happens. */
function moments({ random, rows }: Run, count: number): number[] {
  const fractions = Array.from({ length: count }, () => 0.02 + 0.9 * random.next());
  return fractions.map((fraction) => fraction * rows).sort((a, b) => a - b);
}

async function killBroker(run: Run, count: number): Promise<void> {
  await sleep(run.random.integer(0, 100));
  await run.broker.kill();
  run.kills += 1;
  const killedAt = performance.now();
  await sleep(run.random.integer(0, 300));
  await run.broker.restart();
  const awayMs = Math.round(performance.now() - killedAt);
  event(`${red("SIGKILL")} of the broker after ${figure(count)} jobs; it was away for ${awayMs} ms`);
}

async function dropConsumer(run: Run): Promise<void> {
  const index = run.random.integer(0, run.consumers.length - 1);
  await run.consumers[index]!.drop();
  run.drops += 1;
  event(`${yellow("dropped")} consumer ${index + 1} in the middle of its jobs; another takes its place`);
  run.consumers[index] = startConsumer(run.broker.url, QUEUE, run.effectsPath);
}

function event(text: string): void {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1).padStart(5);
  screen.line(`  ${dim(`${seconds} s`)}  ${text}`);
}

function show(run: Run, count: number, rates: [number, number][]): void {
  const [[firstMs, firstCount], [lastMs, lastCount]] = [rates[0]!, rates.at(-1)!];
  const rate = lastMs > firstMs ? ((lastCount - firstCount) * 1000) / (lastMs - firstMs) : 0;
  const { confirmed } = run.producers.report();
  run.screen.progress(
    count / run.rows,
    `${figure(count)} of ${figure(run.rows)}  ${cyan(`${figure(rate)}/s`)}`,
    [
      `sent ${figure(confirmed)}`,
      `absorbed redeliveries ${figure(run.effects.absorbed().redelivered)}`,
      `SIGKILLs ${run.kills} of ${settings.kills}`,
      `dropped consumers ${run.drops} of ${settings.drops}`,
    ],
  );
}

function stalled(run: Run, count: number): string {
  return (
    `no job was done for ${STALL_MS} ms at ${count} of ${run.rows}; sent ${JSON.stringify(run.producers.report())}; ` +
    `the broker printed:\n${run.broker.output()}`
  );
}

function isDrained(stats: QueueStats): boolean {
  return stats.ready + stats.delayed + stats.leased === 0;
}

/** Compares, prints, and says whether everything is equal. */
function report(run: Run, stats: QueueStats): boolean {
  const expected = totalsOf(flights);
  const computed = run.effects.totals();
  const { redelivered, storedTwice } = run.effects.absorbed();
  const { duplicates } = run.producers.report();
  const [file, effects] = [sumUp(expected), sumUp(computed)];
  const hours = [...expected].filter(([hour, totals]) => isSame(totals, computed.get(hour))).length;
  const brokerAgrees = stats.accepted === run.rows && stats.settled === run.rows && storedTwice === 0;
  const rows: [string, string, string][] = [
    ["flights", figure(file.flights), figure(effects.flights)],
    ["miles", figure(file.distance), figure(effects.distance)],
    ["minutes of delay", figure(file.delay), figure(effects.delay)],
    ["checksum of rows", file.checksum.toString(16), effects.checksum.toString(16)],
    ["hours of the day", String(expected.size), String(hours)],
  ];
  screen.line();
  screen.line(dim(`  ${"".padEnd(18)}${"the file".padStart(18)}${"the consumers".padStart(18)}`));
  for (const [name, left, right] of rows) {
    const verdict = left === right ? green("equal") : red("DIFFERENT");
    screen.line(`  ${name.padEnd(18)}${left.padStart(18)}${right.padStart(18)}   ${verdict}`);
  }
  screen.line();
  const seconds = (performance.now() - startedAt) / 1000;
  screen.line(
    `  Broker: ${figure(stats.accepted)} accepted, ${figure(stats.settled)} settled, ${stats.deadLettered} dead letters`,
  );
  screen.line(`  ${run.kills} SIGKILLs of the broker, ${run.drops} consumers dropped in mid-job`);
  screen.line(
    `  ${figure(redelivered)} redeliveries absorbed, ${figure(duplicates)} repeated sends recognised as duplicates, ${storedTwice} stored twice`,
  );
  screen.line(
    `  ${seconds.toFixed(1)} s, ${figure(run.rows / seconds)} jobs/s with everything that happened`,
  );
  screen.line();
  const isEqual = brokerAgrees && rows.every(([, left, right]) => left === right);
  screen.line(
    isEqual
      ? green(bold("  No row lost, none counted twice."))
      : red(bold("  The totals or the figures of the broker differ.")),
  );
  screen.line();
  return isEqual;
}

function totalsOf(rows: Flight[]): HourlyTotals {
  const totals: HourlyTotals = new Map();
  for (const flight of rows) addFlight(totals, flight);
  return totals;
}

function isSame(left: object, right: object | undefined): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
