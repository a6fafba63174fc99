// A broker for the outbox as far as it deals with one: numbered producers by the rules PRD1 to PRD4, refusals, lost answers, and clients
// that come and go. And Web Locks that a test can take away from a tab, as its death does.

import type { Locks } from "../../../../client/durable/lead.ts";
import type { Sender } from "../../../../client/durable/pump.ts";
import { DunlinError, type SendResult } from "../../../../client/index.ts";

interface Options {
  messageId: string;
  producer: { id: string; epoch: number; seq: number };
}

interface Address {
  stored: { body: unknown; messageId: string; options: Options }[];
  producers: Map<string, { epoch: number; seqs: number[] }>;
}

const error = (kind: string, code: number, retry: "none" | "after" = "none") =>
  new DunlinError(`${kind}, says the broker`, { kind, code, retry });

/** The broker. */
export class FakeBroker {
  readonly #addresses = new Map<string, Address>();
  /** Attempts of any kind. */
  attempts = 0;
  /** Refuses a message, before its number is looked at or after, as a test likes. */
  refusal: (to: string, body: unknown) => DunlinError | undefined = () => undefined;

  publish(to: string, body: unknown, options: Options): SendResult {
    this.attempts += 1;
    const refusal = this.refusal(to, body);
    if (refusal) throw refusal;
    const { stored, producers } = this.#address(to);
    const { id, epoch, seq } = options.producer;
    const known = producers.get(id);
    if (known && epoch < known.epoch) throw error("fenced", 405);
    const seqs = known?.epoch === epoch ? known.seqs : [];
    const { messageId } = options;
    const place = { messageId, epoch: 1 };
    if (seq <= seqs.length) return { ...place, seq: seqs[seq - 1]!, duplicate: true };
    if (seq > seqs.length + 1) throw error("out-of-sequence", 407);
    stored.push({ body, messageId, options });
    producers.set(id, { epoch, seqs: [...seqs, stored.length] });
    return { ...place, seq: stored.length, duplicate: false };
  }

  /** The bodies that are stored at an address, in their order. */
  bodies(to: string): unknown[] {
    return this.#address(to).stored.map(({ body }) => body);
  }

  options(to: string): Options[] {
    return this.#address(to).stored.map(({ options }) => options);
  }

  /** Forgets its producers, as for too many others; the messages stay. */
  forget(): void {
    for (const { producers } of this.#addresses.values()) producers.clear();
  }

  #address(to: string): Address {
    let address = this.#addresses.get(to);
    if (!address) {
      address = { stored: [], producers: new Map() };
      this.#addresses.set(to, address);
    }
    return address;
  }
}

/** A tab's client. */
export class FakeClient implements Sender {
  readonly #broker: FakeBroker;
  readonly #whenOnline: (() => void)[] = [];
  state = "open";
  /** What becomes of answers: they come, are lost with an error of this kind, or never come. */
  answers: "come" | "lost" | "never" = "come";

  constructor(broker: FakeBroker, state = "open") {
    this.#broker = broker;
    this.state = state;
  }

  ready(): Promise<void> {
    if (this.state === "open") return Promise.resolve();
    return new Promise((resolve) => this.#whenOnline.push(resolve));
  }

  goOnline(): void {
    this.state = "open";
    for (const resolve of this.#whenOnline) resolve();
  }

  queue(name: string) {
    return { send: (body: unknown, options: object) => this.#publish(`queue:${name}`, body, options) };
  }

  topic(name: string) {
    return { publish: (body: unknown, options: object) => this.#publish(`topic:${name}`, body, options) };
  }

  async #publish(to: string, body: unknown, options: object): Promise<SendResult> {
    let result: SendResult | undefined;
    let failure: unknown;
    try {
      result = this.#broker.publish(to, body, options as Options);
    } catch (refusal) {
      failure = refusal;
    }
    if (this.answers === "lost") throw new DunlinError("too late to ask", { kind: "outcome-unknown" });
    if (this.answers === "never") await new Promise(() => {});
    if (result) return result;
    throw failure;
  }
}

/** The locks of one site. */
export class FakeLocks {
  readonly #queues = new Map<string, { tab: string; start(): void }[]>();

  /** The locks as one tab sees them. */
  of(tab: string): Locks {
    return {
      request: (name, { signal }, work) =>
        new Promise((resolve, reject) => {
          const queue = this.#queues.get(name) ?? [];
          this.#queues.set(name, queue);
          const wish = {
            tab,
            start: () => {
              const done = () => {
                this.#leave(name, wish);
                resolve();
              };
              work().then(done, reject);
            },
          };
          signal.addEventListener("abort", () => {
            if (queue[0] === wish) return;
            this.#leave(name, wish);
            reject(new Error("aborted"));
          });
          queue.push(wish);
          if (queue[0] === wish) wish.start();
        }),
    };
  }

  /** The tab is gone. */
  die(tab: string): void {
    for (const [name, queue] of this.#queues) {
      for (const wish of queue.filter((one) => one.tab === tab)) this.#leave(name, wish);
    }
  }

  #leave(name: string, wish: { tab: string; start(): void }): void {
    const queue = this.#queues.get(name)!;
    const wasFirst = queue[0] === wish;
    const at = queue.indexOf(wish);
    if (at >= 0) queue.splice(at, 1);
    if (wasFirst) queue[0]?.start();
  }
}
