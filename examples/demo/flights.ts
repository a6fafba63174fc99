// The work of the demo: flights, and what is computed of them by the hour of the day.
// Straight from the file in one process, and from messages in others; both use only what is here.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

/** The body of one job: one row of the file. */
export interface Flight {
  /** Its place in the file, from 0. */
  row: number;
  /** Delay at the arrival, in minutes; negative when it came early. */
  delay: number;
  /** In miles. */
  distance: number;
  /** Hour of the day of the departure, with its fraction. */
  time: number;
}

/** What is known of the flights of one hour of the day. Sums, so that no order of the flights matters. */
export interface Totals {
  flights: number;
  distance: number;
  delay: number;
  /** Sum of a hash of each row, place in the file included: two mistakes that cancel out elsewhere show here. */
  checksum: number;
}

/** Totals by hour of the day. */
export type HourlyTotals = Map<number, Totals>;

/** Reads the first `count` rows of the file. */
export async function readFlights(count = Infinity): Promise<Flight[]> {
  // The package exports its code alone, so its data is found beside its package.json.
  const path = createRequire(import.meta.url).resolve("vega-datasets");
  const folder = path.slice(0, path.lastIndexOf("vega-datasets") + "vega-datasets".length);
  const rows = JSON.parse(await readFile(`${folder}/data/flights-200k.json`, "utf8")) as Omit<
    Flight,
    "row"
  >[];
  return rows.slice(0, count).map(({ delay, distance, time }, row) => ({ row, delay, distance, time }));
}

/** Adds a flight to its hour. */
export function addFlight(totals: HourlyTotals, flight: Flight): void {
  const hour = Math.floor(flight.time);
  const sums = totals.get(hour) ?? { flights: 0, distance: 0, delay: 0, checksum: 0 };
  sums.flights += 1;
  sums.distance += flight.distance;
  sums.delay += flight.delay;
  sums.checksum += hashOf(flight);
  totals.set(hour, sums);
}

/** The sums over all hours. */
export function sumUp(totals: HourlyTotals): Totals {
  const sum = { flights: 0, distance: 0, delay: 0, checksum: 0 };
  for (const { flights, distance, delay, checksum } of totals.values()) {
    sum.flights += flights;
    sum.distance += distance;
    sum.delay += delay;
    sum.checksum += checksum;
  }
  return sum;
}

/** FNV-1a, 32 bits: the sum over 200,000 rows stays an exact number. */
function hashOf({ row, delay, distance, time }: Flight): number {
  let hash = 0x811c9dc5;
  for (const character of `${row}:${delay}:${distance}:${time}`) {
    hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  }
  return hash >>> 0;
}
