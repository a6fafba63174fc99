// Publishers and live readers of a topic over JSON that go on over cuts and kills.
import { WireClient, type WireFrame } from "../../support/wire-client.ts";
import type { StreamEvent } from "../streams.ts";

const RECONNECT_MS = 50;
const RETRY_MS = 100;
const SUB = 1;

/** What both need. */
export interface TopicTraffic {
  /** URL of `/ws` for a client. */
  urlOf(client: string): string;
  /** `topic:NAME`; a publisher may have a queue. */
  to: string;
  record(event: StreamEvent): void;
  /** What no correct broker would have done to a client. */
  problems: string[];
}

/** Publishes numbered messages under message ids, one frame of them at a time, and repeats what was not confirmed. */
export class TopicPublisher {
  /** How many messages it sends in all; may be raised as it goes on. */
  most = 0;
  sent = 0;
  confirmed = 0;
  /** Confirms that said duplicate. */
  duplicates = 0;
  readonly name: string;
  readonly #traffic: TopicTraffic;
  readonly #places = new Map<number, string>();
  #finishing = false;
  readonly #finished: Promise<void>;

  constructor(name: string, traffic: TopicTraffic) {
    this.name = name;
    this.#traffic = traffic;
    this.#finished = this.#run();
  }

  async stop(): Promise<void> {
    this.#finishing = true;
    await this.#finished;
  }

  async #run(): Promise<void> {
    const { urlOf, problems } = this.#traffic;
    let wire: WireClient | undefined;
    while (!this.#finishing) {
      try {
        if (wire === undefined || wire.socket.readyState !== 1) {
          wire = await WireClient.connect(`${urlOf(this.name)}?client=${this.name}`, {
            hello: { client: this.name },
          });
        }
        if (this.confirmed >= this.most) await sleep(RECONNECT_MS);
        else await this.#publish(wire);
      } catch (error) {
        const { message } = error as Error;
        if (!/closed|ECONN|socket hang up|HTTP 5|not OPEN|disconnected/.test(message))
          problems.push(`${this.name}: ${message}`);
        await sleep(RECONNECT_MS);
      }
    }
    wire?.cut();
  }

  /** Publishes the next few, those first whose confirm was lost; now and then one that was confirmed once more. */
  async #publish(wire: WireClient): Promise<void> {
    const { record, to, problems } = this.#traffic;
    const from = Math.max(0, this.confirmed - (Math.random() < 0.2 ? 2 : 0));
    const numbers = Array.from({ length: Math.min(this.most, from + 5) - from }, (_, at) => from + at);
    for (const number of numbers)
      if (number >= this.confirmed) record({ kind: "sent", stream: this.name, number });
    this.sent = Math.max(this.sent, from + numbers.length);
    const frames = numbers.map((number): WireFrame => {
      return {
        op: "publish",
        to,
        messageId: `${this.name}:${number}`,
        body: `${this.name} ${number}`,
      };
    });
    const answers = await Promise.all(wire.requestAll(frames));
    for (const [at, answer] of answers.entries()) {
      const number = numbers[at]!;
      if (answer.op === "error" && answer.retry !== "none") {
        // Those after it may have been taken.
        if (number >= this.confirmed) record({ kind: "failed", stream: this.name, number });
        await sleep(RETRY_MS);
        return;
      }
      if (answer.op !== "ok")
        problems.push(`${this.name} published ${number} and got ${JSON.stringify(answer)}`);
      this.#check(number, answer);
      if (number < this.confirmed) continue;
      record({ kind: "confirmed", stream: this.name, number });
      this.confirmed = number + 1;
    }
  }

  /** A repeated message has the place it had. */
  #check(number: number, { seq, epoch, duplicate }: WireFrame): void {
    if (duplicate) this.duplicates += 1;
    const place = `seq ${seq} of epoch ${epoch}`;
    const before = this.#places.get(number);
    if (before !== undefined && (before !== place || !duplicate)) {
      this.#traffic.problems.push(
        `${this.name} ${number} was ${before}, and again ${place}${duplicate ? "" : ", as new"}`,
      );
    }
    this.#places.set(number, place);
    this.#places.delete(number - 20);
  }
}

/** Subscribes to the topic and resumes after each lost connection. */
export class LiveReader {
  received = 0;
  readonly name: string;
  readonly #traffic: TopicTraffic;
  #wire: WireClient | undefined;
  #place: { epoch: number; seq: number } | undefined;
  #stopped = false;
  readonly #finished: Promise<void>;

  constructor(name: string, traffic: TopicTraffic) {
    this.name = name;
    this.#traffic = traffic;
    this.#finished = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wire?.cut();
    await this.#finished;
  }

  async #run(): Promise<void> {
    const { urlOf, to, record, problems } = this.#traffic;
    while (!this.#stopped) {
      try {
        const place = this.#place;
        const resume = place === undefined ? {} : { resume: [{ sub: SUB, to, ...place }] };
        const hello = { client: this.name, ...resume };
        const wire = await WireClient.connect(`${urlOf(this.name)}?client=${this.name}`, {
          hello,
          onFrame: (frame) => this.#receive(frame),
        });
        this.#wire = wire;
        if (place === undefined) {
          const answer = await wire.request({ op: "subscribe", sub: SUB, to });
          if (answer.op === "ok") record({ kind: "joined", reader: this.name, recovered: false });
          else wire.cut();
        }
        await wire.closed;
      } catch (error) {
        const { message } = error as Error;
        if (!/closed|ECONN|socket hang up|HTTP 5|not OPEN|disconnected/.test(message))
          problems.push(`${this.name}: ${message}`);
      }
      if (!this.#stopped) await sleep(RECONNECT_MS);
    }
  }

  #receive(frame: WireFrame): boolean {
    const { record } = this.#traffic;
    const reader = this.name;
    if (this.#stopped) return true;
    if (frame.op === "event" && frame.kind === "resumed") {
      record({ kind: "joined", reader, recovered: frame.recovered === true });
    } else if (frame.op === "event" && frame.kind === "lag") record({ kind: "gap", reader });
    else if (frame.op === "event" && frame.kind === "gone") {
      // The place could not be taken up again just now.
      this.#wire?.cut();
    } else if (frame.op === "message") {
      const [stream, number] = textOf(frame).split(" ");
      const { epoch, seq } = frame as { epoch: number; seq: number };
      this.#place = { epoch, seq };
      this.received += 1;
      record({ kind: "received", reader, stream: stream!, number: Number(number), epoch, seq });
    } else return false;
    return true;
  }
}

/** The text that stands for a message, however it travelled. */
export function textOf({ body, base64 }: WireFrame): string {
  const text = typeof body === "string" ? body : Buffer.from(String(base64), "base64").toString();
  return text.replaceAll('"', "");
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
