// One life of a producer that numbers its messages: publishes them one by one, over JSON or HTTP, until it learns that it is over.
import type { Random } from "../../support/random.ts";
import { WireClient, type WireFrame } from "../../support/wire-client.ts";
import type { NumberEvent } from "../numbers.ts";
import { post } from "./http.ts";

const RETRY_MS = 100;
const PAUSE_MS = 150;
const REPLY_MS = 5_000;
const BATCH = "application/vnd.dunlin.batch+json";

/** What all lives share. */
export interface NumberTraffic {
  queue: string;
  random: Random;
  /** `http://…` and `ws://…/ws` of a client. */
  url(client: string): string;
  wsUrl(client: string): string;
  record(event: NumberEvent): void;
  /** A number that no other call of the run has. */
  nextCall(): number;
  /** What no correct broker would have done to a client. */
  problems: string[];
}

/** Which life, and how far it has come. */
export interface Life {
  id: string;
  epoch: number;
  /** The last number that is confirmed. */
  confirmed: number;
}

/** Goes on until it is fenced, told to finish, or dies. */
export class NumberedProducer {
  readonly life: Life;
  readonly #client: string;
  readonly #traffic: NumberTraffic;
  readonly #finished: Promise<void>;
  #wire: WireClient | undefined;
  #finishing = false;
  #dead = false;

  constructor(client: string, life: Life, traffic: NumberTraffic) {
    this.#client = client;
    this.life = life;
    this.#traffic = traffic;
    this.#finished = this.#run();
  }

  /** Ends when its last message is answered; it has published one at least. */
  async finish(): Promise<void> {
    this.#finishing = true;
    await this.#finished;
    this.#wire?.cut();
  }

  /** Ends without waiting for an answer. */
  die(): void {
    this.#finishing = true;
    this.#dead = true;
  }

  async #run(): Promise<void> {
    const { random } = this.#traffic;
    do {
      if (await this.#publish(this.life.confirmed + 1)) this.life.confirmed += 1;
      const { confirmed } = this.life;
      // Also such as were confirmed in a former round.
      if (!this.#dead && confirmed > 0 && random.chance(0.25))
        await this.#publish(random.integer(1, confirmed));
      await pause(PAUSE_MS);
    } while (!this.#finishing);
  }

  /** Publishes a number until it is answered. @returns whether it is confirmed */
  async #publish(number: number): Promise<boolean> {
    const { record, random, nextCall, problems } = this.#traffic;
    const { id, epoch, confirmed } = this.life;
    while (!this.#dead) {
      const event = { call: nextCall(), id, epoch, number };
      record({ kind: "sent", ...event });
      const message = { body: { id, epoch, number }, producer: { id, epoch, seq: number } };
      const answer = random.chance(0.5) ? await this.#overJson(message) : await this.#overHttp(message);
      if (answer?.seq !== undefined) {
        record({ kind: "confirmed", ...event, seq: answer.seq, duplicate: answer.duplicate === true });
        return true;
      }
      if (answer?.kind === "fenced") {
        record({ kind: "fenced", ...event });
        this.die();
      } else if (answer?.kind === "out-of-sequence") {
        record({ kind: "ahead", ...event });
        return number <= confirmed;
      } else if (answer?.retry === "none") {
        problems.push(`${id} published ${number} and got ${JSON.stringify(answer)}`);
      }
      if (!this.#dead) await pause(RETRY_MS);
    }
    return false;
  }

  async #overHttp(message: unknown): Promise<WireFrame | undefined> {
    const { queue, url } = this.#traffic;
    const init = { headers: { "content-type": BATCH }, body: JSON.stringify({ messages: [message] }) };
    const answer = await post(`${url(this.#client)}/v1/queues/${queue}/messages`, init);
    const body = answer?.body as WireFrame | WireFrame[] | undefined;
    return Array.isArray(body) ? body[0] : body;
  }

  async #overJson(message: { body: unknown; producer: unknown }): Promise<WireFrame | undefined> {
    const { queue, wsUrl } = this.#traffic;
    try {
      if (this.#wire?.socket.readyState !== 1) {
        this.#wire = await WireClient.connect(wsUrl(this.#client), { timeoutMs: REPLY_MS });
      }
      return await this.#wire.request({ op: "publish", to: `queue:${queue}`, ...message });
    } catch {
      // The connection is lost, or the answer late.
      return undefined;
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
