// Sends what waits, round by round, in the tab that has the lead: numbers some messages, sends them, and books what became of them.
import { DunlinError, type SendResult } from "../index.ts";
import type { Outgoing } from "../publish.ts";
import { type Judgement, judge } from "./judge.ts";
import { pause } from "./lead.ts";
import type { Claimed, Ended, OutboxStore, Stored, Totals } from "./outbox-store.ts";

/** What is needed of a client: a `Dunlin` is one. */
export interface Sender {
  readonly state: string;
  ready(): Promise<void>;
  queue(name: string): { send(body: unknown, options: object): Promise<SendResult> };
  topic(name: string): { publish(body: unknown, options: object): Promise<SendResult> };
}

/** What the pump needs of its outbox. */
export interface PumpOwner {
  readonly sender: Sender;
  readonly store: OutboxStore;
  readonly tab: string;
  newId(): string;
  /** A round is booked. */
  settled(ended: readonly Ended[], totals: Totals): void;
}

const ROUND = { messages: 256, bytes: 1_048_576 };
const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 30_000;

/** Sends for as long as it has the lead. */
export class Pump {
  readonly #owner: PumpOwner;
  /** Addresses that are left alone for a while, and for how long the last time. */
  readonly #blocked = new Map<string, { untilMs: number; waitMs: number }>();
  #woken = new AbortController();

  constructor(owner: PumpOwner) {
    this.#owner = owner;
  }

  /** There is something new to send. */
  wake(): void {
    this.#woken.abort();
  }

  /** Works until the signal comes, or the client is closed for good. */
  async run(signal: AbortSignal): Promise<void> {
    const { sender, store } = this.#owner;
    while (!signal.aborted) {
      const isReady = await beforeAbort(signal, sender.ready().then(yes, no));
      if (!isReady) return;
      // Before the look: what comes during it must not be missed.
      this.#woken = new AbortController();
      const claimed = await store.claim(ROUND, (to) => this.#isBlocked(to), this.#owner.newId());
      if (claimed.length === 0) {
        await pause(this.#nextMs(), AbortSignal.any([signal, this.#woken.signal]));
        continue;
      }
      const answers = await beforeAbort(signal, Promise.all(claimed.map((message) => this.#send(message))));
      // What a connection that is over for good says is no refusal of a message. Numbers make it harmless to send them again.
      if (!answers || sender.state === "closed") return;
      await this.#settle(claimed, answers);
    }
  }

  async #send({ to, text, bytes, messageId, producer }: Claimed): Promise<SendResult | DunlinError> {
    const { body, ...options } = outgoingOf({ text, bytes });
    const colon = to.indexOf(":");
    const name = to.slice(colon + 1);
    const { sender } = this.#owner;
    const all = { ...options, messageId, producer };
    try {
      if (to.slice(0, colon) === "queue") return await sender.queue(name).send(body, all);
      return await sender.topic(name).publish(body, all);
    } catch (error) {
      if (error instanceof DunlinError) return error;
      return new DunlinError(String(error), { kind: "closed" });
    }
  }

  async #settle(claimed: Claimed[], answers: (SendResult | DunlinError)[]): Promise<void> {
    const { store, tab } = this.#owner;
    const byAddress = Map.groupBy(
      claimed.map((message, index) => ({ ...message, answer: answers[index]! })),
      ({ to }) => to,
    );
    const judgements: Judgement[] = [];
    for (const [to, sent] of byAddress) {
      const judgement = judge(sent);
      judgements.push(judgement);
      this.#block(to, judgement);
    }
    const { ended, totals } = await store.settle(judgements, {
      freshId: this.#owner.newId(),
      ownTab: tab,
      nowMs: Date.now(),
    });
    this.#owner.settled(ended, totals);
  }

  /** An address that keeps messages without need to number them anew waits, longer each time. */
  #block(to: string, { verdicts, renumber, afterMs }: Judgement): void {
    const isHeldUp = !renumber && verdicts.some(({ is }) => is === "kept");
    const hasMoved = verdicts.some(({ is }) => is !== "kept");
    if (!isHeldUp) {
      this.#blocked.delete(to);
      return;
    }
    const lastMs = hasMoved ? 0 : (this.#blocked.get(to)?.waitMs ?? 0);
    const waitMs = Math.min(MAX_WAIT_MS, Math.max(afterMs ?? 0, lastMs * 2, FIRST_WAIT_MS));
    this.#blocked.set(to, { untilMs: Date.now() + waitMs, waitMs });
  }

  #isBlocked(to: string): boolean {
    return (this.#blocked.get(to)?.untilMs ?? 0) > Date.now();
  }

  /** Until the first address may be tried again. */
  #nextMs(): number | undefined {
    const times = [...this.#blocked.values()].map(({ untilMs }) => untilMs - Date.now());
    const due = times.filter((ms) => ms > 0);
    return due.length > 0 ? Math.min(...due) : undefined;
  }
}

/** A stored message as it was handed in. */
export function outgoingOf({
  text,
  bytes,
}: Pick<Stored, "text"> & { bytes?: Uint8Array | undefined }): Outgoing {
  const fields = JSON.parse(text) as Outgoing;
  return bytes ? { ...fields, body: bytes } : fields;
}

const yes = () => true;
const no = () => false;

/** The promise's value; undefined when the signal comes first. */
async function beforeAbort<Value>(signal: AbortSignal, promise: Promise<Value>): Promise<Value | undefined> {
  const stop = new AbortController();
  try {
    const aborted = pause(undefined, AbortSignal.any([signal, stop.signal])).then(() => undefined);
    return await Promise.race([promise, aborted]);
  } finally {
    // Lets the listener go.
    stop.abort();
  }
}
