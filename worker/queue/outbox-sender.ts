// The way of a queue's outbox to other objects: rows to one target in their order, several targets at once, each row until it is confirmed.
import { queueObjectName, splitObjectName } from "../address.ts";
import { type Env, topicTarget } from "../env.ts";
import { isRefusal } from "../errors.ts";
import { CommandWriter, type QueueCommand } from "../link/commands.ts";
import { type Published, readResults } from "../link/results.ts";
import type { OutboxRow, QueueStore } from "../log/store.ts";
import { Arrivals } from "./arrivals.ts";
import type { TurnCommand } from "./carry-out.ts";
import { destinationOf, transactionIn } from "./destination.ts";

const RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;
/** Targets that get rows at the same time. */
const MAX_LANES = 8;
/** Targets that did not answer and are left alone for a while; beyond them everything waits for the first of these. */
const MAX_RESTING = 50;

/** Sends the outbox of one queue. */
export class OutboxSender {
  readonly #env: Env;
  readonly #objectName: string;
  readonly #submit: (commands: TurnCommand[]) => Promise<unknown>;
  readonly #arrivals = new Arrivals();
  /** What is under way, by target. */
  readonly #lanes = new Map<string, Promise<void>>();
  /** Targets that did not answer, and when they are tried again, ms since the epoch. */
  readonly #resting = new Map<string, number>();
  /** How long they rest after the next failure. */
  readonly #waits = new Map<string, number>();
  /** The queue's next id when the outbox was looked into. */
  #seen = 0;

  constructor(env: Env, objectName: string, submit: (commands: TurnCommand[]) => Promise<unknown>) {
    this.#env = env;
    this.#objectName = objectName;
    this.#submit = submit;
  }

  /** When a target that did not answer is tried again, ms since the epoch. */
  get retryAt(): number {
    return Math.min(...this.#resting.values(), Number.POSITIVE_INFINITY);
  }

  /** Whether something is on its way or about to be; see `send`. */
  busy(next: number): boolean {
    return this.#lanes.size > 0 || next !== this.#seen;
  }

  /**
   * Sends what is in the outbox until it is empty or nobody answers.
   *
   * @param next the id that the queue gives next: the outbox is looked into when there may be new rows, or a retry is due
   */
  send(store: QueueStore, next: number): void {
    if (next === this.#seen && this.retryAt > Date.now()) return;
    this.#seen = next;
    this.#fill(store);
  }

  /** Sends what is in the outbox; false when something is left. */
  async drained(store: QueueStore): Promise<boolean> {
    this.#resting.clear();
    this.#fill(store);
    while (this.#lanes.size > 0) await Promise.all(this.#lanes.values());
    return store.nextOutbox() === undefined;
  }

  /** See QueueRpc.arrivals. */
  async arrivals(store: QueueStore, rows: number[], waitMs: number): Promise<(Published[] | null)[]> {
    return new Promise((resolve) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const isLeft = (row: number) => store.hasOutboxRow(row);
      const giveUp = this.#arrivals.wait(rows, isLeft, (arrived) => {
        if (timer !== undefined) clearTimeout(timer);
        resolve(arrived);
      });
      timer = setTimeout(giveUp, waitMs);
    });
  }

  #fill(store: QueueStore): void {
    const now = Date.now();
    for (const [target, until] of this.#resting) if (until <= now) this.#resting.delete(target);
    while (this.#lanes.size < MAX_LANES && this.#resting.size < MAX_RESTING) {
      const row = store.nextOutbox([...this.#lanes.keys(), ...this.#resting.keys()]);
      if (row === undefined) return;
      this.#lanes.set(row.target, this.#sendAll(store, row));
    }
  }

  async #sendAll(store: QueueStore, first: OutboxRow): Promise<void> {
    const { target } = first;
    try {
      for (let row: OutboxRow | undefined = first; row !== undefined; row = store.nextOutboxTo(target)) {
        await this.#sendOne(row);
        this.#waits.delete(target);
      }
    } catch {
      const waitMs = this.#waits.get(target) ?? RETRY_MS;
      this.#waits.set(target, Math.min(waitMs * 2, MAX_RETRY_MS));
      this.#resting.set(target, Date.now() + waitMs);
      // An empty turn arms the alarm for the retry.
      this.#submit([]).catch(() => undefined);
    }
    this.#lanes.delete(target);
    this.#fill(store);
  }

  async #sendOne({ id, target, data }: OutboxRow): Promise<void> {
    const { kind, name } = destinationOf(target);
    const confirmed: TurnCommand = { type: "confirmed", outboxId: id };
    switch (kind) {
      case "move":
      case "publish":
      case "topic": {
        const messages = await this.#transfer(kind, name, id, data);
        await this.#submit([confirmed]);
        this.#arrivals.arrived(id, messages);
        return;
      }
      case "conclude": {
        await this.#apply(name, { type: "conclude", tx: transactionIn(data), committed: true });
        await this.#submit([confirmed]);
        return;
      }
      case "ask": {
        const tx = transactionIn(data);
        const { name: participant } = splitObjectName(this.#objectName);
        const result = await this.#apply(name, { type: "resolve", tx, participant });
        if (result.type === "refused") throw new Error(result.refusal.message);
        // A queue that is no more has committed nothing.
        const committed = result.type === "settled" && result.settled[0] === true;
        await this.#submit([{ type: "conclude", tx, committed }, confirmed]);
      }
    }
  }

  async #transfer(
    kind: "move" | "publish" | "topic",
    name: string,
    id: number,
    data: Uint8Array,
  ): Promise<Published[]> {
    const { namespace } = splitObjectName(this.#objectName);
    // Receivers take rising ids of a source: rows on different lanes must not overtake each other under one.
    const source = kind === "move" ? this.#objectName : `${this.#objectName}\0${kind}:${name}`;
    const outcome =
      kind === "topic"
        ? await topicTarget(this.#env, namespace, name).transfer(source, id, data)
        : await this.#queue(name).transfer(source, id, data, kind === "publish");
    if (isRefusal(outcome)) throw new Error(outcome.message);
    // They are beyond the limits that a publish can meet.
    return outcome.filter((message): message is Published => !isRefusal(message));
  }

  async #apply(name: string, command: QueueCommand) {
    const packet = new CommandWriter();
    packet.command(command);
    const { results } = await this.#queue(name).apply(packet.take());
    return readResults(results).results[0]!;
  }

  #queue(name: string) {
    const { namespace } = splitObjectName(this.#objectName);
    return this.#env.QUEUE.getByName(queueObjectName(namespace, name));
  }
}
