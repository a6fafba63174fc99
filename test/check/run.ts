// One run of the check: rounds of traffic and disturbances against one broker process, each judged when it has become quiet.
import { startBroker } from "../support/broker.ts";
import { FAULTS, type FaultName } from "./fault-names.ts";
import { DeadFlow } from "./flow-dead.ts";
import { JobsFlow } from "./flow-jobs.ts";
import { MovesFlow } from "./flow-moves.ts";
import { TopicsFlow } from "./flow-topics.ts";
import { type Action, planRound } from "./plan.ts";
import { Stalls } from "./stalls.ts";
import { type Counts, type Finding, type Flow, sleep, World } from "./world.ts";

/** How to run. */
export interface RunOptions {
  seed: number;
  /** Whether commits and numbered producers take part. */
  moves?: boolean;
  /** How long rounds begin; what follows until the last one is quiet comes on top. */
  forMs: number;
  fault?: FaultName;
  /** How long what was confirmed may take to arrive once nothing is sent any more. */
  quietMs?: number;
  /** Hears of each round that is over. */
  onRound?: (round: number, counts: Counts) => void;
}

export interface RunResult {
  seed: number;
  rounds: number;
  findings: Finding[];
  counts: Counts;
  /** What the broker printed last, for whoever looks for a cause. */
  output: string;
}

const ROUND_MS = 20_000;
const LEAST_ROUND_MS = 2_000;
/** A room that did not answer for long is tried again after a minute. */
const QUIET_MS = 150_000;
/** How long after it was told to an object may die with its next call, and its callers notice. */
const DYING_MS = 3_000;
const CONTROL_MS = 20_000;
const SHOWN_OUTPUT = 600;
/** A run with a planted fault waits no longer than this for what will not come. */
const QUIET_WITH_FAULT_MS = 12_000;

/** Runs until time is over, or a round found something. */
export async function run({
  seed,
  forMs,
  fault,
  quietMs,
  moves = false,
  onRound,
}: RunOptions): Promise<RunResult> {
  const gateways = 1 + (seed % 2);
  const env: Record<string, string> = { GATEWAYS: String(gateways), DUNLIN_CHECK_OFFSET_MS: "0" };
  if (fault !== undefined) env.DUNLIN_CHECK_FAULT = fault;
  const broker = await startBroker({ program: "test/check/start.ts", env });
  const world = new World(broker, seed);
  const flows: Flow[] = [new JobsFlow(world), new DeadFlow(world), new TopicsFlow(world)];
  if (moves || (fault !== undefined && "moves" in FAULTS[fault])) flows.push(new MovesFlow(world));
  const disturber = new Disturber(world, flows, env);
  const stalls = new Stalls(world);
  const targets = {
    clients: flows.flatMap(({ clients }) => clients),
    rooms: flows.flatMap(({ rooms }) => rooms),
    gateways,
  };
  const findings: Finding[] = [];
  let round = 0;
  try {
    await world.openPipes(targets.clients);
    for (const flow of flows) await flow.prepare(world);
    const endMs = performance.now() + forMs;
    while (performance.now() < endMs && findings.length === 0) {
      round += 1;
      const roundMs = Math.min(ROUND_MS, Math.max(LEAST_ROUND_MS, endMs - performance.now()));
      for (const flow of flows) flow.begin(round);
      stalls.begin();
      await disturber.carryOut(planRound(seed, round, roundMs, targets), roundMs);
      const deadlineMs =
        performance.now() + (quietMs ?? (fault === undefined ? QUIET_MS : QUIET_WITH_FAULT_MS));
      const quiet = Promise.all(flows.map((flow) => flow.end(deadlineMs)));
      for (const found of await quiet) findings.push(...found);
      findings.push(...disturber.problems);
      onRound?.(round, world.counts);
    }
    await Promise.all(flows.map((flow) => flow.stop()));
  } finally {
    stalls.stop();
    await world.close();
    await broker.kill();
    await broker.stop();
  }
  return { seed, rounds: round, findings, counts: world.counts, output: broker.output() };
}

/** Carries out what a plan says. */
class Disturber {
  readonly #world: World;
  readonly #flows: Flow[];
  readonly #env: Record<string, string>;
  /** What the broker did not do. */
  readonly problems: Finding[] = [];

  /** @param env of the broker: what it holds counts from its next start on */
  constructor(world: World, flows: Flow[], env: Record<string, string>) {
    this.#world = world;
    this.#flows = flows;
    this.#env = env;
  }

  async carryOut(actions: Action[], forMs: number): Promise<void> {
    const beginMs = performance.now();
    const wait = (untilMs: number) => sleep(Math.max(0, beginMs + untilMs - performance.now()));
    for (const action of actions) {
      if (this.problems.length > 0) return;
      await wait(action.atMs);
      await this.#do(action);
    }
    await wait(forMs);
  }

  async #do(action: Action): Promise<void> {
    const world = this.#world;
    switch (action.do) {
      case "cut":
        for (const flow of this.#flows) flow.beforeCut(action.client);
        world.cut(action.client);
        break;
      case "kill":
        for (const flow of this.#flows) flow.beforeCut();
        await world.broker.kill();
        await world.broker.restart();
        world.count("kills");
        break;
      case "evict": {
        const { room, name, moment } = action;
        for (const flow of this.#flows) {
          if (room === "gateway") flow.beforeCut();
          else flow.beforeEviction();
        }
        await this.#control(`evict?room=${room}&name=${encodeURIComponent(name)}&moment=${moment}`);
        // Which clients were at this gateway nobody here knows: all have counted their connections as lost.
        if (room === "gateway") for (const client of world.clients) world.cut(client);
        // When it dies with a call, nobody here knows which.
        for (let afterMs = 0; afterMs <= (moment === "now" ? 0 : DYING_MS); afterMs += DYING_MS / 10) {
          setTimeout(() => {
            for (const flow of this.#flows) flow.beforeEviction();
          }, afterMs);
        }
        world.count("objects evicted");
        break;
      }
      case "clock": {
        const byMs = action.offsetMs - Number(this.#env.DUNLIN_CHECK_OFFSET_MS);
        for (const flow of this.#flows) flow.beforeStep(byMs);
        this.#env.DUNLIN_CHECK_OFFSET_MS = String(action.offsetMs);
        await this.#control(`clock?offsetMs=${action.offsetMs}`);
        await this.#alarmsAgain();
        world.count("clock steps");
        break;
      }
    }
  }

  async #alarmsAgain(): Promise<void> {
    const rooms = this.#flows.flatMap(({ rooms }) =>
      rooms.map(({ room, name }) => ({ room: room as string, name })),
    );
    for (let gateway = 0; gateway < Number(this.#env.GATEWAYS); gateway += 1) {
      rooms.push({ room: "gateway", name: `gateway-${gateway}` });
    }
    const again = rooms.map(({ room, name }) =>
      this.#control(`evict?room=${room}&name=${encodeURIComponent(name)}&moment=alarm`),
    );
    await Promise.all(again);
  }

  async #control(path: string): Promise<void> {
    const url = `${this.#world.broker.url}/check/${path}`;
    const signal = AbortSignal.timeout(CONTROL_MS);
    await fetch(url, { method: "POST", signal }).catch((error: Error) => {
      const printed = this.#world.broker.output().slice(-SHOWN_OUTPUT);
      const what = `/check/${path} was not answered: ${error.message}; the broker printed last: ${printed}`;
      this.problems.push({ breach: "problem", where: "the broker", what });
    });
  }
}
