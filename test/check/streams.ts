// Judges what readers of topics saw: numbered messages of publishers, each to every reader. Handles and leases are
// history-check.ts's business; here are none.
import type { Breach } from "./fault-names.ts";

/** What happened at a publisher or a reader, in order. `stream` is the publisher; its messages are numbered from 0. */
export type StreamEvent =
  | { kind: "sent" | "confirmed" | "failed"; stream: string; number: number }
  | {
      kind: "received";
      reader: string;
      stream: string;
      number: number;
      /** Of a live reader: the message's place in its topic. */
      epoch?: number;
      seq?: number;
    }
  /** A live reader subscribed, or resumed; `recovered` says that nothing is missing since its last message. */
  | { kind: "joined"; reader: string; recovered: boolean }
  /** A live reader was told that messages were skipped. */
  | { kind: "gap"; reader: string }
  /** A connection of this reader was lost, or what it stands on was ended. */
  | { kind: "cut"; reader: string }
  /** Every connection was lost, or any object may have been ended. */
  | { kind: "disturbed" };

/** What a reader was promised. */
export interface Reader {
  name: string;
  /** `exactly`: each message once. `at-least`: again only after a disturbance. `live`: once, and a gap is announced. */
  promise: "exactly" | "at-least" | "live";
  /** Each publisher's messages come in order; not so when the reader is several consumers. */
  ordered: boolean;
  /** The publishers whose messages it gets; one named `at-least` there may repeat to any reader. */
  streams: readonly string[];
}

export interface StreamFinding {
  breach: Breach;
  what: string;
  /** The reader's last events up to it. */
  events: StreamEvent[];
}

/** What holds for a part of the run. */
export interface StreamOptions {
  /** Publishers that repeat what was not confirmed without an identity: their messages may come again to any reader. */
  repeating: ReadonlySet<string>;
  /** Each publisher's first number in this part; what is below was there before. */
  first: ReadonlyMap<string, number>;
  /** Every confirmed message had time to arrive. */
  drained: boolean;
  /** Where live readers are, kept from one part to the next. */
  places?: Map<string, Place>;
}

interface Sent {
  sent: number;
  confirmed: Set<number>;
  failed: Set<number>;
  /** By number, how many disturbances of the publisher there were before it was sent, and how many there were in all. */
  sentAfter: Map<number, number>;
  disturbed: number;
}

const SHOWN = 5;
const SHOWN_EVENTS = 16;

/** Finds what a correct broker could not have caused; an empty array when there is nothing. */
export function checkStreams(
  events: StreamEvent[],
  readers: Reader[],
  options: StreamOptions,
): StreamFinding[] {
  const streams = new Map<string, Sent>();
  let disturbed = 0;
  for (const event of events) {
    if (event.kind === "disturbed") disturbed += 1;
    if (event.kind === "cut") {
      const cut = streams.get(event.reader);
      if (cut) cut.disturbed += 1;
    }
    if (event.kind !== "sent" && event.kind !== "confirmed" && event.kind !== "failed") continue;
    const { stream, number } = event;
    const first = options.first.get(stream) ?? 0;
    const known: Sent = streams.get(stream) ?? {
      ...{ sent: first, confirmed: new Set(), failed: new Set(), sentAfter: new Map(), disturbed: 0 },
    };
    streams.set(stream, known);
    if (event.kind === "failed") known.disturbed += 1;
    if (event.kind === "sent") {
      known.sent = Math.max(known.sent, number + 1);
      if (!known.sentAfter.has(number)) known.sentAfter.set(number, known.disturbed + disturbed);
    } else known[event.kind].add(number);
  }
  for (const known of streams.values()) known.disturbed += disturbed;
  return readers.flatMap((reader) => checkReader(reader, events, streams, options));
}

function checkReader(
  reader: Reader,
  events: StreamEvent[],
  streams: Map<string, Sent>,
  options: StreamOptions,
): StreamFinding[] {
  const found: StreamFinding[] = [];
  let at = 0;
  const report = (breach: Breach, what: string) => {
    const mine = (event: StreamEvent) =>
      event.kind === "disturbed" || ("reader" in event && event.reader === reader.name);
    const shown = events.slice(0, at).filter(mine).slice(-SHOWN_EVENTS);
    found.push({ breach, what: `${reader.name}: ${what}`, events: shown });
  };
  const seen = new Map<string, Map<number, number>>();
  const furthest = new Map<string, number>();
  /** How many disturbances there were so far. */
  let disturbed = 0;
  const place = options.places?.get(reader.name) ?? new Place(reader.name);
  options.places?.set(reader.name, place);
  for (const event of events) {
    at += 1;
    if (event.kind === "disturbed" || (event.kind === "cut" && event.reader === reader.name)) disturbed += 1;
    if (reader.promise === "live") place.see(event, report);
    if (event.kind !== "received" || event.reader !== reader.name) continue;
    const { stream, number } = event;
    const sent = streams.get(stream);
    const first = options.first.get(stream) ?? 0;
    if (number < first) report("resurrected", `${stream} ${number} came, which was done before ${first}`);
    else if (sent === undefined || number >= sent.sent)
      report("duplicated", `${stream} ${number} came unsent`);
    const numbers = seen.get(stream) ?? new Map<number, number>();
    seen.set(stream, numbers);
    const before = numbers.get(number);
    numbers.set(number, disturbed);
    if (before !== undefined) {
      const isRepeated =
        options.repeating.has(stream) && (sent?.sentAfter.get(number) ?? 0) < (sent?.disturbed ?? 0);
      const isResent = reader.promise === "at-least" && disturbed > 0;
      if (!isRepeated && !isResent) report("duplicated", `${stream} ${number} came again`);
      continue;
    }
    const last = furthest.get(stream) ?? -1;
    furthest.set(stream, Math.max(last, number));
    if (number < last && reader.ordered && !sent?.failed.has(number)) {
      report("reordered", `${stream} ${number} came after ${last}`);
    }
  }
  if (options.drained && reader.promise !== "live") findMissing(reader, streams, seen, report);
  return found;
}

function findMissing(
  reader: Reader,
  streams: Map<string, Sent>,
  seen: Map<string, Map<number, number>>,
  report: (breach: Breach, what: string) => void,
): void {
  for (const stream of reader.streams) {
    const numbers = seen.get(stream);
    const missing = [...(streams.get(stream)?.confirmed ?? [])].filter((number) => !numbers?.has(number));
    if (missing.length === 0) continue;
    const shown = missing.slice(0, SHOWN).join(", ");
    report(
      "lost",
      `${missing.length} confirmed messages of ${stream} never came: ${shown}${missing.length > SHOWN ? " …" : ""}`,
    );
  }
}

/** Follows a live reader through a topic: its seqs go up by one, or it is told otherwise. */
export class Place {
  readonly #reader: string;
  #epoch = 0;
  #seq = 0;
  /** Whether a gap is allowed before the next message. */
  #mayGap = true;

  constructor(reader: string) {
    this.#reader = reader;
  }

  see(event: StreamEvent, report: (breach: Breach, what: string) => void): void {
    if (!("reader" in event) || event.reader !== this.#reader) return;
    if (event.kind === "gap" || (event.kind === "joined" && !event.recovered)) this.#mayGap = true;
    if (event.kind !== "received") return;
    const { epoch = 0, seq = 0 } = event;
    const what = `seq ${seq} of epoch ${epoch} came after ${this.#seq} of ${this.#epoch}`;
    if (epoch === this.#epoch) {
      if (seq === this.#seq) report("duplicated", what);
      else if (seq < this.#seq) report("reordered", what);
      else if (seq > this.#seq + 1 && !this.#mayGap) report("lost", `${what}, and nobody said so`);
    }
    this.#epoch = epoch;
    this.#seq = seq;
    this.#mayGap = false;
  }
}
