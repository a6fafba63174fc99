// Judges producers that number their messages, and their lives: each number once, in order, and nothing of a life after its successor's.
import type { Breach } from "./fault-names.ts";

/** What one call of a producer was, and how it was answered. */
export interface NumberEvent {
  /** `ahead`: the number was refused as not the next one, though all before it are confirmed. */
  kind: "sent" | "confirmed" | "fenced" | "ahead";
  /** Of all calls of the run: which one. */
  call: number;
  id: string;
  epoch: number;
  number: number;
  /** Of a confirm; 0 when the broker does not remember. */
  seq?: number;
  duplicate?: boolean;
}

/** A message that the queue holds. */
export interface StoredNumber {
  id: string;
  epoch: number;
  number: number;
  seq: number;
}

/** How far a producer had come. */
export interface Reached {
  epoch: number;
  number: number;
}

/** What a correct broker could not have caused. */
export interface NumberFinding {
  breach: Breach;
  what: string;
  events: unknown[];
}

type Report = (breach: Breach, what: string, ...events: unknown[]) => void;

/**
 * Finds what a correct broker could not have caused; an empty array when there is nothing.
 *
 * @param stored all that came into the queue since the beginning, in the order of their seqs
 * @param reached how far each producer was at the beginning; is brought up to date
 */
export function checkNumbers(
  events: readonly NumberEvent[],
  stored: readonly StoredNumber[],
  reached: Map<string, Reached>,
): NumberFinding[] {
  const found: NumberFinding[] = [];
  const ids = new Set([...events, ...stored].map(({ id }) => id));
  for (const id of ids) {
    const report: Report = (breach, what, ...shown) =>
      found.push({ breach, what: `${id}: ${what}`, events: shown });
    const own = events.filter((event) => event.id === id);
    const messages = stored.filter((message) => message.id === id);
    const before = reached.get(id) ?? { epoch: 0, number: 0 };
    checkAnswers(own, report);
    checkConfirmed(own, messages, before, report);
    reached.set(id, checkOrder(messages, before, report));
  }
  return found;
}

const nameOf = ({ epoch, number }: { epoch: number; number: number }) => `number ${number} of epoch ${epoch}`;

/** What is stored goes on from where the producer was, and ends where it is returned. */
function checkOrder(messages: StoredNumber[], before: Reached, report: Report): Reached {
  let at = before;
  const seen = new Set<string>();
  for (const message of messages) {
    const { epoch, number } = message;
    const what = `${nameOf(message)} is stored after ${nameOf(at)}`;
    const next = epoch === at.epoch ? at.number + 1 : 1;
    if (seen.has(nameOf(message)) || (epoch === before.epoch && number <= before.number)) {
      report("duplicated", what, message);
    } else if (epoch < at.epoch) report("unfenced", what, message);
    else if (number < next) report("reordered", what, message);
    else if (number > next) report("lost", what, message);
    seen.add(nameOf(message));
    if (epoch > at.epoch || (epoch === at.epoch && number > at.number)) at = { epoch, number };
  }
  return at;
}

/** Everything that was confirmed is there, where the confirm said, and was sent by somebody. */
function checkConfirmed(own: NumberEvent[], messages: StoredNumber[], before: Reached, report: Report): void {
  const seqs = new Map(messages.map((message) => [nameOf(message), message.seq]));
  const sent = new Set(own.map(nameOf));
  for (const message of messages) {
    if (!sent.has(nameOf(message)))
      report("duplicated", `${nameOf(message)} is stored and was not sent`, message);
  }
  const fresh = new Set<string>();
  for (const event of own) {
    if (event.kind !== "confirmed") continue;
    const { epoch, number, seq, duplicate } = event;
    const name = nameOf(event);
    if (duplicate === false && fresh.has(name))
      report("duplicated", `${name} was confirmed as new twice`, event);
    if (duplicate === false) fresh.add(name);
    if (epoch < before.epoch || (epoch === before.epoch && number <= before.number)) {
      if (duplicate === false) report("duplicated", `${name} of long ago was confirmed as new`, event);
      continue;
    }
    const place = seqs.get(name);
    if (place === undefined) report("lost", `${name} was confirmed and is not stored`, event);
    else if (seq !== 0 && seq !== place) report("duplicated", `${name} is stored at ${place} too`, event);
  }
}

/** After a life's first confirm nothing that a former one asks for is confirmed; and no number is missing. */
function checkAnswers(own: NumberEvent[], report: Report): void {
  /** By call: the highest epoch that was confirmed before it began. */
  const calls = new Map<number, number>();
  let highestSent = 0;
  let highest = 0;
  for (const event of own) {
    const { kind, call, epoch } = event;
    if (kind === "sent") {
      calls.set(call, highest);
      highestSent = Math.max(highestSent, epoch);
    } else if (kind === "ahead")
      report("lost", `what comes before ${nameOf(event)} is not known any more`, event);
    else if (kind === "fenced") {
      if (epoch >= highestSent)
        report("unfenced", `${nameOf(event)} was fenced, and nobody came after it`, event);
    } else {
      if (epoch < calls.get(call)!)
        report("unfenced", `${nameOf(event)} was confirmed to a life that is over`, event);
      highest = Math.max(highest, epoch);
    }
  }
}
