// A producer and a consumer of a queue over HTTP that go on over cuts and kills, and write what they do into the queue's history.
import type { Load } from "../../support/load.ts";
import { textOf } from "./topic-json.ts";

const RETRY_MS = 100;
const CALL_TIMEOUT_MS = 10_000;

/** Posts to the broker; undefined when no answer came. */
export async function post(
  url: string,
  init: RequestInit,
): Promise<{ status: number; body: unknown } | undefined> {
  try {
    const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
    const response = await fetch(url, { method: "POST", ...init, signal });
    return { status: response.status, body: await response.json() };
  } catch {
    // The connection was cut, or nobody listens just now.
    return undefined;
  }
}

/** Calls the broker; undefined when no answer came, or one that says to repeat the call. */
async function call(url: string, path: string, init: RequestInit, problems: string[]): Promise<unknown> {
  const answer = await post(url + path, init);
  if (answer === undefined) return undefined;
  const { status, body } = answer;
  if (status < 300) return body;
  if (status < 500 && status !== 429) problems.push(`${path} was answered ${JSON.stringify(body)}`);
  return undefined;
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Publishes one message after the other under an idempotency key, and repeats what was not confirmed. */
export class HttpProducer {
  readonly #name: string;
  readonly #url: () => string;
  readonly #load: Load;
  readonly #finished: Promise<void>;
  /** Message ids of others, confirmed before, that it publishes again. */
  readonly #again: () => string | undefined;
  #finishing = false;
  #abandoned = false;
  #call = 1_000_000;

  /** @param again an id that was confirmed to someone else and may be published once more */
  constructor(name: string, url: () => string, load: Load, again: () => string | undefined) {
    this.#name = name;
    this.#url = url;
    this.#load = load;
    this.#again = again;
    this.#finished = this.#run();
  }

  async finish(): Promise<void> {
    this.#finishing = true;
    await this.#finished;
  }

  /** Gives up what is not confirmed yet. */
  abandon(): void {
    this.#finishing = true;
    this.#abandoned = true;
  }

  async #run(): Promise<void> {
    const { perSecond = 10, random, maxBacklog } = this.#load;
    for (let created = 1; !this.#finishing; created += 1) {
      if (this.#load.published - this.#load.acked > maxBacklog) await pause(RETRY_MS);
      const known = random.chance(0.3) ? this.#again() : undefined;
      await this.#publish(known ?? `${this.#name}-${created}`, known !== undefined);
      await pause(1_000 / perSecond);
    }
  }

  async #publish(messageId: string, isAgain: boolean): Promise<void> {
    const { history, queue, problems } = this.#load;
    const init = {
      headers: { "content-type": "application/json", "idempotency-key": messageId },
      body: JSON.stringify({ messageId, group: null }),
    };
    while (!this.#abandoned) {
      this.#call += 1;
      const call_ = this.#call;
      history.record({ kind: "publish-invoked", producer: this.#name, messageId, call: call_ });
      const answer = await call(this.#url(), `/v1/queues/${queue}/messages`, init, problems);
      const confirm = answer as { seq: number; duplicate: boolean } | undefined;
      if (confirm === undefined) {
        history.record({ kind: "publish-failed", messageId, call: call_ });
        await pause(RETRY_MS);
        continue;
      }
      const { seq, duplicate } = confirm;
      history.record({
        kind: "publish-confirmed",
        producer: this.#name,
        messageId,
        call: call_,
        seq,
        duplicate,
      });
      if (!duplicate) this.#load.published += 1;
      if (!isAgain) this.#load.onConfirmed?.(messageId, seq);
      return;
    }
  }
}

/** A message as `receive` gives it. */
interface HttpMessage {
  messageId: string;
  seq: number;
  delivery: string;
  attempt: number;
  group?: string;
  body?: unknown;
  base64?: string;
}

/** Receives a few messages at a time with a long poll, and settles them. */
export class HttpConsumer {
  readonly #name: string;
  readonly #url: () => string;
  readonly #load: Load;
  readonly #finished: Promise<void>;
  #finishing = false;

  constructor(name: string, url: () => string, load: Load) {
    this.#name = name;
    this.#url = url;
    this.#load = load;
    this.#finished = this.#run();
  }

  async finish(): Promise<void> {
    this.#finishing = true;
    await this.#finished;
  }

  async #run(): Promise<void> {
    const { queue, leaseMs, problems, random } = this.#load;
    while (!this.#finishing) {
      const body = JSON.stringify({ max: 5, waitMs: 500, leaseMs });
      const answer = await call(this.#url(), `/v1/queues/${queue}/receive`, { body }, problems);
      const { messages = [] } = (answer ?? {}) as { messages?: HttpMessage[] };
      if (answer === undefined) await pause(RETRY_MS);
      if (messages.length === 0) continue;
      for (const message of messages) this.#delivered(message);
      // Now and then it forgets: the leases run out.
      if (!random.chance(0.02)) await this.#settle(messages);
    }
  }

  #delivered({ delivery, seq, attempt, group, ...message }: HttpMessage): void {
    const { history, identify, leaseMs } = this.#load;
    const messageId = identify?.({ op: "message", ...message }) ?? message.messageId;
    history.record({
      kind: "delivered",
      consumer: this.#name,
      messageId,
      seq,
      delivery,
      attempt,
      leaseMs,
      group,
    });
  }

  async #settle(messages: HttpMessage[]): Promise<void> {
    const { queue, history, random, problems } = this.#load;
    const release = messages
      .slice(1)
      .filter(() => random.chance(0.05))
      .map(({ delivery }) => delivery);
    const ack = messages.map(({ delivery }) => delivery).filter((delivery) => !release.includes(delivery));
    for (const delivery of release) history.record({ kind: "return-invoked", delivery });
    for (const delivery of ack) history.record({ kind: "ack-invoked", delivery });
    const body = JSON.stringify({ ack, release });
    let times = random.chance(0.1) ? 2 : 1;
    while (times > 0) {
      const answer = await call(this.#url(), `/v1/queues/${queue}/settle`, { body }, problems);
      if (answer === undefined) {
        if (this.#finishing) return;
        await pause(RETRY_MS);
        continue;
      }
      times -= 1;
      const { lost } = answer as { lost: string[] };
      for (const delivery of ack) {
        history.record({ kind: "ack-confirmed", delivery, lost: lost.includes(delivery) });
        if (!lost.includes(delivery)) this.#load.acked += 1;
      }
    }
  }
}

/** What identifies a message of a queue that gets messages from several protocols. */
export function idOf(frame: { messageId?: string; body?: unknown; base64?: unknown; op: string }): string {
  const { body } = frame;
  if (typeof body === "object" && body !== null && "messageId" in body) return String(body.messageId);
  return textOf(frame).replace(" ", "-");
}
