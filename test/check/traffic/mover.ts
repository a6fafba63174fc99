// Moves tokens between two queues by commits, over JSON or HTTP, and repeats a commit that was not answered as the very same one.
import type { Random } from "../../support/random.ts";
import { WireClient, type WireFrame } from "../../support/wire-client.ts";
import type { Commit, Move } from "../moves.ts";
import { post } from "./http.ts";

const RETRY_MS = 100;
const PAUSE_MS = 150;
const WAIT_MS = 500;
const REPLY_MS = 5_000;
const CREDIT = 3;

/** What all movers share. */
export interface MoveTraffic {
  /** The two queues. */
  queues: readonly [string, string];
  /** Where moves are noted, if they are: `topic:NAME`, `queue:NAME`. */
  notes: readonly string[];
  leaseMs: number;
  random: Random;
  /** `http://…` and `ws://…/ws` of a client. */
  url(client: string): string;
  wsUrl(client: string): string;
  /** A commit is about to be made. */
  begun(commit: WantedCommit): void;
  /** One that was answered some time ago. */
  again(): WantedCommit | undefined;
  /** What no correct broker would have done to a client. */
  problems: string[];
}

/** A commit with what it publishes. */
export interface WantedCommit extends Commit {
  publish: { to: string; body: unknown }[];
}

interface Token {
  queue: string;
  delivery: string;
  body?: unknown;
}

/** A worker: receives, commits, now and then forgets. */
export class Mover {
  readonly #name: string;
  readonly #traffic: MoveTraffic;
  readonly #finished: Promise<void>;
  #wire: WireClient | undefined;
  #finishing = false;
  #abandoned = false;

  constructor(name: string, protocol: "json" | "http", traffic: MoveTraffic) {
    this.#name = name;
    this.#traffic = traffic;
    this.#finished = this.#run(protocol === "json" ? () => this.#taken() : () => this.#received());
  }

  /** Ends when its last commit is answered. */
  async finish(): Promise<void> {
    this.#finishing = true;
    await this.#finished;
    this.#wire?.cut();
  }

  /** Gives up what is not answered yet. */
  abandon(): void {
    this.#finishing = true;
    this.#abandoned = true;
  }

  async #run(next: () => Promise<Token[]>): Promise<void> {
    const { random } = this.#traffic;
    while (!this.#finishing) {
      const tokens = await next();
      const [first, second] = tokens;
      // One that is forgotten comes again when its lease is over.
      if (first === undefined || random.chance(0.03)) continue;
      if (second !== undefined && random.chance(0.5)) await this.#commit([first, second]);
      else for (const token of tokens) await this.#commit([token]);
      const old = random.chance(0.1) ? this.#traffic.again() : undefined;
      if (old !== undefined) await this.#make(old);
      await pause(PAUSE_MS);
    }
  }

  async #commit(tokens: Token[]): Promise<void> {
    const { queues, notes, random, begun } = this.#traffic;
    const moves = tokens.map(({ queue, delivery, body }): Move => {
      const { token, hop } = body as { token: number; hop: number };
      return { queue, delivery, token, hop };
    });
    const noted = random.chance(0.4);
    const publish = moves.flatMap(({ queue, delivery, token, hop }) => [
      { to: `queue:${queues.find((other) => other !== queue)}`, body: { token, hop: hop + 1 } },
      ...(noted ? [{ to: random.pick(notes), body: { token, hop, delivery } }] : []),
    ]);
    const commit = { moves, noted, answers: [], publish };
    begun(commit);
    await this.#make(commit);
    if (random.chance(0.15)) await this.#make(commit);
  }

  /** Makes a commit until it is answered. */
  async #make(commit: WantedCommit): Promise<void> {
    while (!this.#abandoned) {
      const answer = this.#isOpen() ? await this.#overJson(commit) : await this.#overHttp(commit);
      if (answer !== undefined) {
        commit.answers.push(answer);
        return;
      }
      await pause(RETRY_MS);
    }
  }

  async #overHttp({ moves, publish }: WantedCommit): Promise<Commit["answers"][number] | undefined> {
    const settle = moves.map(({ queue, delivery }) => ({ queue, ack: [delivery] }));
    const answer = await this.#post("/v1/commit", { settle, publish });
    return answer === undefined ? undefined : this.#read(answer.body as WireFrame);
  }

  async #overJson({ moves, publish }: WantedCommit): Promise<Commit["answers"][number] | undefined> {
    const { queues } = this.#traffic;
    const settle = moves.map(({ queue, delivery }) => ({ sub: queues.indexOf(queue), ack: [delivery] }));
    const reply = this.#wire!.request({ op: "commit", settle, publish }, REPLY_MS);
    const answer = await reply.catch(() => undefined);
    return answer === undefined ? undefined : this.#read(answer);
  }

  #read(answer: WireFrame): Commit["answers"][number] | undefined {
    const { kind, retry, published } = answer as WireFrame & { published?: { duplicate?: boolean }[] };
    if (published !== undefined) return published.every(({ duplicate }) => duplicate) ? "again" : "made";
    if (kind === "conflict") return "conflict";
    if (retry === "none") this.#traffic.problems.push(`a commit was answered ${JSON.stringify(answer)}`);
    return undefined;
  }

  /** Messages over HTTP: of one queue, or of both. */
  async #received(): Promise<Token[]> {
    const { queues, leaseMs, random } = this.#traffic;
    const tokens: Token[] = [];
    for (const queue of random.chance(0.4) ? queues : [random.pick(queues)]) {
      const body = { max: 1, waitMs: WAIT_MS, leaseMs };
      const answer = await this.#post(`/v1/queues/${queue}/receive`, body);
      const { messages = [] } = (answer?.body ?? {}) as { messages?: Omit<Token, "queue">[] };
      tokens.push(...messages.map((message) => ({ ...message, queue })));
    }
    if (tokens.length === 0) await pause(RETRY_MS);
    return tokens;
  }

  /** Messages over JSON: the oldest one that is here, and one of the other queue. */
  async #taken(): Promise<Token[]> {
    const { queues } = this.#traffic;
    try {
      if (!this.#isOpen()) this.#wire = await this.#open();
      const wire = this.#wire!;
      const first = await wire.nextMessage(undefined, WAIT_MS);
      const at = wire.pushes.findIndex(({ op, sub }) => op === "message" && sub !== first.sub);
      const others = at < 0 ? [] : wire.pushes.splice(at, 1);
      return [first, ...others].map(({ sub, delivery, body }) => ({
        queue: queues[sub!]!,
        delivery: delivery!,
        body,
      }));
    } catch {
      // Nothing came, or the connection is lost: what it held is given back.
      await pause(RETRY_MS);
      return [];
    }
  }

  async #open(): Promise<WireClient> {
    const { wsUrl, queues, leaseMs } = this.#traffic;
    const hello = { client: this.#name };
    const wire = await WireClient.connect(`${wsUrl(this.#name)}?client=${this.#name}`, {
      hello,
      timeoutMs: REPLY_MS,
    });
    for (const [sub, queue] of queues.entries()) {
      await wire.ok({ op: "subscribe", sub, to: `queue:${queue}`, credit: CREDIT, leaseMs });
    }
    return wire;
  }

  #isOpen(): boolean {
    return this.#wire?.socket.readyState === 1;
  }

  #post(path: string, body: unknown): ReturnType<typeof post> {
    const headers = { "content-type": "application/json" };
    return post(this.#traffic.url(this.#name) + path, { headers, body: JSON.stringify(body) });
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
