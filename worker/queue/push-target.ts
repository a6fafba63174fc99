// Where a queue pushes its messages, as a part of its books; and the consumer that stands for it.
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import type { Refusal } from "../errors.ts";
import type { ConsumerSpec } from "../link/commands.ts";
import type { PushSpec } from "../push/spec.ts";
import { Book } from "./book.ts";
import { attach, detach, heldBy } from "./settle.ts";
import type { Turn } from "./turn.ts";

/** The gateway's name of the consumer that pushes: no gateway is called so. */
export const PUSH_GATEWAY = "\0push";
/** Its ref. Gateways choose theirs at random from 2^48. */
export const PUSH_REF = 1;
/** What a lease lasts beyond the time that an answer may take. */
const LEASE_MARGIN_MS = 15_000;

/** PERSISTED, in a fact and in a checkpoint: text32, the spec as JSON, "" for none. */
export class PushTarget extends Book {
  readonly number = 5;
  #spec: PushSpec | undefined;

  get spec(): PushSpec | undefined {
    return this.#spec;
  }

  set(spec: PushSpec | undefined): void {
    this.note((to) => to.text32(textOf(spec)));
    this.#spec = spec;
  }

  replay(fact: Reader): void {
    const text = fact.text32();
    this.set(text === "" ? undefined : (JSON.parse(text) as PushSpec));
  }

  save(to: Writer): void {
    to.text32(textOf(this.#spec));
  }

  load(from: Reader): void {
    this.replay(from);
  }
}

/** Begins, changes or ends pushing; what was under way comes back at once. Refused where no consumer more may come. */
export function setPush(turn: Turn, spec: PushSpec | undefined): Refusal | undefined {
  detach(turn, [PUSH_REF]);
  const refusal = spec === undefined ? undefined : attach(turn, consumerFor(spec));
  if (refusal === undefined) turn.ledger.push.set(spec);
  return refusal;
}

function consumerFor(spec: PushSpec): ConsumerSpec {
  return {
    ...{ ref: PUSH_REF, gateway: PUSH_GATEWAY, client: "push", filter: "", credit: spec.concurrency },
    ...{ leaseMs: leaseMs(spec), generation: 1, resend: false },
  };
}

/** The object has woken: what it was pushing before is pushed again, as nobody knows how far it came, with the time for a whole answer. */
export function resumePush(turn: Turn): void {
  const { push, consumers, everyone, holds } = turn.ledger;
  const { spec } = push;
  const consumer = consumers.get(PUSH_REF);
  if (spec === undefined || consumer === undefined) return;
  const shared = [...everyone.of(consumer, false)];
  for (const entry of [...heldBy(turn, consumer, shared.length), ...shared]) {
    // The handler has come as far as its commit: that decides, and no lease that it holds may end before.
    if (holds.has(entry.position)) continue;
    turn.ledger.extend(entry, Math.max(entry.deadline, turn.now + leaseMs(spec)));
    turn.deliver(entry, consumer, true);
  }
}

function leaseMs({ timeoutMs }: PushSpec): number {
  return timeoutMs + LEASE_MARGIN_MS;
}

function textOf(spec: PushSpec | undefined): string {
  return spec === undefined ? "" : JSON.stringify(spec);
}
