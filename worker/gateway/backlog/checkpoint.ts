// The books of a backlog as bytes: opening one reads the checkpoint and replays only the rows after it.
import { Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";
import type { Books } from "./books.ts";
import { readOptions, writeOptions } from "./facts.ts";
import type { Outgoing } from "./outgoing.ts";
import type { RecordTable } from "./records.ts";
import { readNumber, readRising, writeNumber, writeRising } from "./varint.ts";

/* PERSISTED in the table owed_checkpoint, version 1. Numbers as in varint.ts; n × { … } is a number and so many of the fields.
 *
 *   u8 version   number key of the row after it   number next session number
 *   n × source { text16 name, id }   n × options (facts.ts)
 *   n × row { distance from the last row's end, n × { size, expiresAt } }
 *   n × session { number, u8 durable, text16 id, next index, sent index, inbound ids rising,
 *                 n × flight { index, position, options, u8 released }, n × run { index, position, count, options } }
 *
 * Options of sessions are indexes into the list of options. Flights of sessions that end with their sockets are not told.
 */
const VERSION = 1;

/** Encodes the books after a row, with nothing pending. `nextKey` is the key of the next row. */
export function saveBooks(books: Books, nextKey: number): Uint8Array {
  const to = new Writer(65_536);
  to.u8(VERSION);
  writeNumber(to, nextKey);
  writeNumber(to, books.nextNumber);
  writeNumber(to, books.sources.size);
  for (const [source, id] of books.sources) {
    to.text16(source);
    writeNumber(to, id);
  }
  const places = new Map<number, number>();
  const known = [...books.sessions.values()].filter(({ outgoing }) => outgoing.number > 0);
  for (const { outgoing } of known) {
    for (const { options } of keptFlights(outgoing)) place(places, options);
    for (const [, , , options] of outgoing.queue.list()) place(places, options);
  }
  writeNumber(to, places.size);
  for (const number of places.keys()) writeOptions(to, books.options.get(number));
  saveRecords(to, books.records);
  writeNumber(to, known.length);
  for (const { outgoing, inbound } of known) {
    writeNumber(to, outgoing.number);
    to.u8(outgoing.durable ? 1 : 0);
    to.text16(outgoing.session);
    writeNumber(to, outgoing.nextIndex);
    writeNumber(to, outgoing.sentIndex);
    writeRising(to, outgoing.durable ? [...inbound.ids].sort((a, b) => a - b) : []);
    saveLists(to, outgoing, places);
  }
  return to.take();
}

/**
 * Fills empty books from a checkpoint; returns the key of the row after it.
 *
 * @throws RangeError on another version
 */
export function loadBooks(saved: Uint8Array, books: Books): number {
  const from = new Reader(saved);
  if (from.u8() !== VERSION) throw new RangeError("a checkpoint of an unknown version");
  const nextKey = readNumber(from);
  const nextNumber = readNumber(from);
  for (let left = readNumber(from); left > 0; left--) books.sources.set(from.text16(), readNumber(from));
  const options: number[] = [];
  for (let left = readNumber(from); left > 0; left--) options.push(books.options.number(readOptions(from)));
  loadRecords(from, books.records);
  for (let left = readNumber(from); left > 0; left--) {
    const number = readNumber(from);
    const durable = from.u8() === 1;
    const session = from.text16();
    books.begun(number, durable, session);
    const { outgoing, inbound } = books.begin(session, durable);
    outgoing.nextIndex = readNumber(from);
    outgoing.sentIndex = readNumber(from);
    for (const id of readRising(from)) inbound.ids.add(id);
    loadLists(from, outgoing, options);
  }
  books.nextNumber = nextNumber;
  return nextKey;
}

function saveLists(to: Writer, outgoing: Outgoing, places: ReadonlyMap<number, number>): void {
  const flights = keptFlights(outgoing);
  writeNumber(to, flights.length);
  for (const { index, position, options, released } of flights) {
    for (const number of [index, position, places.get(options)!]) writeNumber(to, number);
    to.u8(released ? 1 : 0);
  }
  writeNumber(to, outgoing.queue.runs);
  for (const [index, position, count, options] of outgoing.queue.list()) {
    for (const number of [index, position, count, places.get(options)!]) writeNumber(to, number);
  }
}

function loadLists(from: Reader, outgoing: Outgoing, options: readonly number[]): void {
  for (let left = readNumber(from); left > 0; left--) {
    const entry = {
      index: readNumber(from),
      position: readNumber(from),
      options: options[readNumber(from)]!,
    };
    outgoing.wasSent(entry).released = from.u8() === 1;
  }
  for (let left = readNumber(from); left > 0; left--) {
    const [index, position, count] = [readNumber(from), readNumber(from), readNumber(from)];
    outgoing.queue.push(index, position, options[readNumber(from)]!, count);
  }
}

function saveRecords(to: Writer, records: RecordTable): void {
  const rows: number[][] = [];
  for (const position of records.positions()) {
    if (records.place(position) === 0) rows.push([]);
    rows.at(-1)!.push(position);
  }
  writeNumber(to, rows.length);
  let end = 0;
  for (const row of rows) {
    writeNumber(to, row[0]! - end);
    end = row[0]! + row.length;
    writeNumber(to, row.length);
    for (const position of row) {
      writeNumber(to, records.size(position));
      writeNumber(to, records.expiresAt(position));
    }
  }
}

function loadRecords(from: Reader, records: RecordTable): void {
  let position = 0;
  for (let left = readNumber(from); left > 0; left--) {
    position += readNumber(from);
    const count = readNumber(from);
    for (let at = 0; at < count; at++) records.add(position++, readNumber(from), readNumber(from), at);
  }
}

function keptFlights({ flights }: Outgoing) {
  return [...flights.values()].filter(({ position }) => position > 0);
}

function place(places: Map<number, number>, options: number): void {
  if (!places.has(options)) places.set(options, places.size);
}
