// Which one of several consumers gets messages, where a queue wants one at a time: the others stand by in the order they attached.
import type { Reader } from "../bytes/reader.ts";
import type { Writer } from "../bytes/writer.ts";
import { Book } from "./book.ts";
import type { Consumer, Consumers } from "./consumers.ts";
import type { Turn } from "./turn.ts";

/* PERSISTED as facts and in checkpoints of book 12: f64 ref of the active consumer, 0 when there is none. */
const NUMBER = 12;

/** Who is active. */
export class Active extends Book {
  readonly number = NUMBER;
  #ref = 0;

  /** The active consumer's ref, 0 when there is none. */
  get ref(): number {
    return this.#ref;
  }

  set(ref: number): void {
    this.note((to) => to.f64(ref));
    this.#ref = ref;
  }

  override replay(fact: Reader): void {
    this.set(fact.f64());
  }

  override save(to: Writer): void {
    to.f64(this.#ref);
  }

  override load(from: Reader): void {
    this.#ref = from.f64();
  }
}

/**
 * Lets another consumer be the active one if the one that is has gone, or has lost its connection and holds nothing any more: what it
 * held has then come back, and goes before what follows.
 *
 * @param attaching a consumer that is told in any case, since it is new or has a new connection
 */
export function elect(turn: Turn, attaching?: Consumer): void {
  const { active, consumers, settings } = turn.ledger;
  if (!settings.singleActiveConsumer) {
    if (active.ref !== 0) active.set(0);
    consumers.serveOnly(0);
    return;
  }
  const current = consumers.get(active.ref);
  const stays = current !== undefined && (!current.paused || current.used > 0);
  const chosen = stays
    ? current
    : (firstAttached(consumers, false) ?? current ?? firstAttached(consumers, true));
  const ref = chosen?.ref ?? 0;
  const told = new Set(attaching === undefined ? [] : [attaching]);
  if (ref !== active.ref) {
    // With nobody active before, it is the setting that is new: everyone hears of it.
    for (const consumer of active.ref === 0 ? consumers.values() : [current, chosen]) {
      if (consumer !== undefined) told.add(consumer);
    }
    active.set(ref);
  }
  for (const consumer of told) {
    if (!consumer.paused && consumer.ref > 0) turn.tell(consumer, consumer === chosen ? "active" : "standby");
  }
  consumers.serveOnly(ref);
}

function firstAttached(consumers: Consumers, paused: boolean): Consumer | undefined {
  for (const consumer of consumers.values())
    if (consumer.ref > 0 && consumer.paused === paused) return consumer;
  return undefined;
}
