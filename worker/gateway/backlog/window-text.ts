// An Outgoing as text in its socket's attachment, so that an eviction between any two frames changes nothing for its client.
import { beginFlight, type Flight } from "./flight.ts";
import type { Outgoing } from "./outgoing.ts";
import { addToRanges, inRanges, rangesText, sortRanges, textRanges } from "./ranges.ts";

/* KEPT in attachments, which end with their sockets. Numbers in base 36, `;` between fields, ranges as in ranges.ts:
 *
 *   next index ; sent index ; window ; seven lists of indexes of flights, one for each state of STATES ; ids lent
 */
interface State {
  qos: 1 | 2;
  released: boolean;
  onWire: boolean;
  counts: boolean;
}
const STATES: readonly State[] = [
  { qos: 1, released: false, onWire: true, counts: true },
  { qos: 2, released: false, onWire: true, counts: true },
  { qos: 2, released: true, onWire: true, counts: true },
  { qos: 2, released: true, onWire: true, counts: false },
  { qos: 1, released: false, onWire: false, counts: false },
  { qos: 2, released: false, onWire: false, counts: false },
  { qos: 2, released: true, onWire: false, counts: false },
];

/** What a client's connection would lose if its object slept now; "" when there is nothing. */
export function saveWindow(outgoing: Outgoing): string {
  const { nextIndex, sentIndex, window, flights, lent } = outgoing;
  if (nextIndex === 0 && window === 0) return "";
  const lists: number[][] = STATES.map(() => []);
  for (const flight of flights.values()) {
    const state = STATES.findIndex((state) => same(state, flight));
    if (state >= 0) addToRanges(lists[state]!, flight.index);
  }
  const ids: number[] = [];
  for (const id of lent.list()) addToRanges(ids, id);
  return [
    ...[nextIndex, sentIndex, window].map((number) => number.toString(36)),
    ...lists.map(rangesText),
    rangesText(sortRanges(ids)),
  ].join(";");
}

/** Fills an Outgoing that the log has rebuilt as far as it knew. What the log knows to be finished stays finished. */
export function restoreWindow(outgoing: Outgoing, saved: string): void {
  const fields = saved.split(";");
  const [next, sent, window] = fields.slice(0, 3).map((field) => Number.parseInt(field, 36));
  const states = new Map<number, State>();
  for (const [at, state] of STATES.entries()) {
    for (const index of inRanges(textRanges(fields[3 + at] ?? ""))) states.set(index, state);
  }
  finishUnlisted(outgoing, sent!, states);
  if (outgoing.durable) takeSent(outgoing, sent!, states);
  else beginLive(outgoing, sent!, states);
  outgoing.sentIndex = Math.max(outgoing.sentIndex, sent!);
  outgoing.nextIndex = Math.max(outgoing.nextIndex, next!);
  outgoing.window = window!;
  outgoing.again.clear();
  for (const flight of outgoing.flights.values()) {
    // A message that the log knows more of than an older attachment was sent after it, on this connection.
    const { released, onWire, counts } = states.get(flight.index) ?? {
      released: false,
      onWire: true,
      counts: true,
    };
    flight.released ||= released;
    flight.onWire = onWire;
    flight.counts = counts;
    if (!onWire && !flight.released) outgoing.again.add(flight.packetId);
  }
  outgoing.lent.load([...inRanges(textRanges(fields[3 + STATES.length] ?? ""))]);
  outgoing.recount();
}

/** What was sent and is in no list was acknowledged. */
function finishUnlisted(outgoing: Outgoing, sent: number, states: ReadonlyMap<number, State>): void {
  for (const flight of [...outgoing.flights.values()]) {
    if (flight.index >= sent || states.has(flight.index)) continue;
    outgoing.flights.delete(flight.packetId);
    outgoing.finish(flight);
  }
}

/** Waiting messages that were sent since the log last heard of it: it must still hear of it, for DUP to be right after a crash. */
function takeSent(outgoing: Outgoing, sent: number, states: ReadonlyMap<number, State>): void {
  const { queue } = outgoing;
  if (queue.size > 0 && queue.firstIndex < sent) outgoing.tellSent();
  while (queue.size > 0 && queue.firstIndex < sent) {
    const entry = queue.shift()!;
    if (states.has(entry.index)) outgoing.wasSent(entry);
    else outgoing.finish(entry);
  }
}

/** Messages in flight of a session that ends with its socket: the log does not hold them. */
function beginLive(outgoing: Outgoing, sent: number, states: ReadonlyMap<number, State>): void {
  const { queue, flights } = outgoing;
  while (queue.size > 0 && queue.firstIndex < sent) queue.shift();
  for (const [index, { qos }] of [...states].sort((a, b) => a[0] - b[0])) {
    const flight = beginFlight({ index, position: 0, options: 0 }, qos, true);
    flights.set(flight.packetId, flight);
  }
}

function same(state: State, flight: Flight): boolean {
  const { qos, released, onWire, counts } = flight;
  return (
    state.qos === qos && state.released === released && state.onWire === onWire && state.counts === counts
  );
}
