// Moves: commits that move tokens between two queues, and producers that number their messages while a next life fences the last one.
import { checkMoves, type Note, type Place } from "./moves.ts";
import { checkNumbers, type NumberEvent, type Reached, type StoredNumber } from "./numbers.ts";
import { Mover, type MoveTraffic, type WantedCommit } from "./traffic/mover.ts";
import { NumberedProducer, type NumberTraffic } from "./traffic/numbered.ts";
import { ask, type Finding, type Flow, sleep, until, type World } from "./world.ts";

const QUEUES = ["left", "right"] as const;
const TRAIL = "trail";
const NOTES = "moves/done";
const NUMBERED = "numbered";
const TOKENS = 40;
/** Long enough for most commits of a slow machine; those that come too late are refused, which is tried too. */
const LEASE_MS = 15_000;
/** Answered commits that may be made again, and for how long: well within the dedup window, whatever the clock does. */
const MAX_KEPT = 100;
const KEPT_MS = 100_000;
/** A life of a producer gets a successor when it has lasted so long and published so much. */
const LIFE_MS = 2_500;
const LIFE_NUMBERS = 5;
const PRODUCERS = ["n1", "n2"];
const LOOK_AGAIN_MS = 300;
const PAGE = 1_000;

/** What a queue shows of a message. */
interface Shown {
  seq: number;
  delivery: string;
  body?: unknown;
}

/** Tokens and numbers. */
export class MovesFlow implements Flow {
  readonly clients = ["v1", "v2", "v3", "v4", ...PRODUCERS];
  readonly rooms = [
    ...[...QUEUES, TRAIL, NUMBERED].map((name) => ({ room: "queue" as const, name })),
    { room: "topic" as const, name: NOTES },
  ];
  readonly #world: World;
  readonly #problems: string[] = [];
  readonly #moveTraffic: MoveTraffic;
  readonly #numberTraffic: NumberTraffic;
  /** Each token's hop when the round began. */
  #tokens = new Map<number, number>();
  #commits: WantedCommit[] = [];
  #kept: { commit: WantedCommit; atMs: number }[] = [];
  #movers: Mover[] = [];
  readonly #notes = new Map<number, Note>();
  readonly #stored = new Map<number, StoredNumber>();
  readonly #reached = new Map<string, Reached>();
  #events: NumberEvent[] = [];
  #calls = 0;
  /** By client: the lives of its producer, the present one last. */
  readonly #lives = new Map<string, NumberedProducer[]>();
  #living: NodeJS.Timeout | undefined;

  constructor(world: World) {
    this.#world = world;
    const common = {
      random: world.random,
      url: (client: string) => world.url(client),
      wsUrl: (client: string) => world.wsUrl(client),
      problems: this.#problems,
    };
    this.#moveTraffic = {
      ...{ ...common, queues: QUEUES, notes: [`topic:${NOTES}`, `queue:${TRAIL}`], leaseMs: LEASE_MS },
      begun: (commit) => this.#commits.push(commit),
      again: () => this.#again(),
    };
    this.#numberTraffic = {
      ...{ ...common, queue: NUMBERED },
      record: (event) => this.#events.push(event),
      nextCall: () => ++this.#calls,
    };
  }

  async prepare(): Promise<void> {
    const world = this.#world;
    for (const queue of [...QUEUES, TRAIL, NUMBERED]) await ask(world, "PUT", `/v1/queues/${queue}`, {});
    await ask(world, "PUT", `/v1/queues/${TRAIL}/bindings/${encodeURIComponent(NOTES)}`);
    for (let token = 0; token < TOKENS; token += 1) {
      const publish = [
        { to: `queue:${QUEUES[token % 2]}`, messageId: `token-${token}`, body: { token, hop: 0 } },
      ];
      await ask(world, "POST", "/v1/commit", { publish });
      this.#tokens.set(token, 0);
    }
  }

  begin(): void {
    this.#commits = [];
    this.#notes.clear();
    this.#stored.clear();
    this.#events = [];
    this.#kept = this.#kept.filter(({ atMs }) => performance.now() - atMs < KEPT_MS);
    const protocols = ["json", "json", "http", "http"] as const;
    this.#movers = protocols.map((protocol, at) => new Mover(`v${at + 1}`, protocol, this.#moveTraffic));
    for (const id of PRODUCERS) {
      const life = this.#lives.get(id)?.at(-1)?.life ?? { id, epoch: 1, confirmed: 0 };
      this.#lives.set(id, [new NumberedProducer(id, life, this.#numberTraffic)]);
    }
    this.#living = setInterval(() => this.#succeed(), LIFE_MS / PRODUCERS.length);
  }

  beforeCut(): void {}

  beforeEviction(): void {}

  beforeStep(): void {}

  async end(deadlineMs: number): Promise<Finding[]> {
    clearInterval(this.#living);
    const workers = [...this.#movers, ...[...this.#lives.values()].flat()];
    const finishing = Promise.all(workers.map((worker) => worker.finish())).then(() => true);
    const through = await Promise.race([finishing, until(() => false, deadlineMs)]);
    for (const mover of this.#movers) mover.abandon();
    if (!through) this.#problems.push("a commit or a numbered message was not answered in time");
    const found = [...(await this.#judgeMoves(deadlineMs)), ...(await this.#judgeNumbers(deadlineMs))];
    for (const what of this.#problems.splice(0)) found.push({ breach: "problem", where: "moves", what });
    this.#count();
    return found;
  }

  async stop(): Promise<void> {}

  /** A further life of a producer begins, beside the one before it, or after that died. */
  #succeed(): void {
    const { random } = this.#world;
    const client = random.pick(PRODUCERS);
    const lives = this.#lives.get(client)!;
    const last = lives.at(-1)!;
    if (last.life.confirmed < LIFE_NUMBERS) return;
    if (random.chance(0.3)) last.die();
    const life = { id: client, epoch: last.life.epoch + 1, confirmed: 0 };
    lives.push(new NumberedProducer(client, life, this.#numberTraffic));
  }

  /** A commit to be made once more. One of a former round is in this one's history from then on. */
  #again(): WantedCommit | undefined {
    const known = this.#commits.filter(({ answers }) => answers.length > 0);
    const { random } = this.#world;
    if (this.#kept.length === 0 || random.chance(0.5))
      return known.length === 0 ? undefined : random.pick(known);
    const { commit } = random.pick(this.#kept);
    if (!this.#commits.includes(commit)) this.#commits.push(commit);
    return commit;
  }

  /** What a queue hands on is under way for a while: it is judged again until there is nothing to find twice in a row, or time is over. */
  async #judgeMoves(deadlineMs: number): Promise<Finding[]> {
    const world = this.#world;
    for (let clean = 0; ; ) {
      const places = (await Promise.all(QUEUES.map((queue) => this.#peek(queue)))).flat();
      await this.#drain(TRAIL, ({ seq, body }) => this.#notes.set(seq, body as Note));
      const notes = [...this.#notes.values()];
      const found = checkMoves({ tokens: this.#tokens, commits: this.#commits, places, notes });
      clean = found.length === 0 ? clean + 1 : 0;
      if (clean === 2) {
        this.#tokens = new Map(places.map(({ token, hop }) => [token, hop]));
        return [];
      }
      if (found.length > 0 && performance.now() > deadlineMs) {
        return found.map((finding) => ({ ...finding, where: QUEUES.join(" and ") }));
      }
      await sleep(LOOK_AGAIN_MS);
      world.count("looks at tokens");
    }
  }

  async #judgeNumbers(deadlineMs: number): Promise<Finding[]> {
    const isEmpty = async () => {
      await this.#drain(NUMBERED, ({ seq, body }) => {
        this.#stored.set(seq, { ...(body as Omit<StoredNumber, "seq">), seq });
      });
      const { stats } = (await ask(this.#world, "GET", `/v1/queues/${NUMBERED}`)) as {
        stats: { ready: number; leased: number };
      };
      return stats.ready + stats.leased === 0;
    };
    if (!(await until(isEmpty, deadlineMs)))
      this.#problems.push("the numbered messages cannot be read in time");
    const stored = [...this.#stored.values()].sort((one, other) => one.seq - other.seq);
    const found = checkNumbers(this.#events, stored, this.#reached);
    return found.map((finding) => ({ ...finding, where: NUMBERED }));
  }

  /** The tokens that a queue holds, whoever has them. */
  async #peek(queue: string): Promise<Place[]> {
    const places: Place[] = [];
    for (const state of ["ready", "leased"]) {
      const path = `/v1/queues/${queue}/messages?state=${state}&limit=${PAGE}`;
      const { messages } = (await ask(this.#world, "GET", path)) as { messages: Shown[] };
      places.push(...messages.map(({ body }) => ({ ...(body as { token: number; hop: number }), queue })));
    }
    return places;
  }

  /** Reads what a queue has ready. What was read and not acked comes again under the same seq. */
  async #drain(queue: string, take: (message: Shown) => void): Promise<void> {
    for (;;) {
      const wanted = { max: PAGE, leaseMs: LEASE_MS };
      const answer = await ask(this.#world, "POST", `/v1/queues/${queue}/receive`, wanted);
      const { messages } = answer as { messages: Shown[] };
      if (messages.length === 0) return;
      for (const message of messages) take(message);
      const ack = messages.map(({ delivery }) => delivery);
      await ask(this.#world, "POST", `/v1/queues/${queue}/settle`, { ack });
    }
  }

  #count(): void {
    const world = this.#world;
    const { random } = world;
    for (const commit of this.#commits) {
      const { answers, moves } = commit;
      if (answers.includes("conflict")) world.count("commits refused");
      else world.count(moves.length > 1 ? "commits over two queues" : "commits");
      world.count("commits made again", Math.max(0, answers.length - 1));
      if (answers.length === 0 || !random.chance(0.1)) continue;
      this.#kept.push({ commit, atMs: performance.now() });
    }
    this.#kept = this.#kept.slice(-MAX_KEPT);
    for (const { kind, duplicate } of this.#events) {
      if (kind === "confirmed")
        world.count(duplicate ? "known numbers recognised" : "numbered messages stored");
      if (kind === "fenced") world.count("former lives fenced");
    }
  }
}
