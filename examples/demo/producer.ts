// A producer of the demo, as a process of its own: sends its share of the flights, one message each, and ends when all
// are confirmed. Knows nothing of kills: the client repeats what was not confirmed, under the same message id.
import { connect } from "../../client/index.ts";
import { type Flight, readFlights } from "./flights.ts";

/** What a producer tells the demo: how many of its flights are on the broker's disk, and how many were there already. */
export interface ProducerReport {
  confirmed: number;
  duplicates: number;
}

const WINDOW = 250;
const REPORT_MS = 100;

// The demo ended, or this process told it that it is done.
process.once("disconnect", () => process.exit());

const [url, queue, rows, index, producers] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
const report: ProducerReport = { confirmed: 0, duplicates: 0 };
const timer = setInterval(tell, REPORT_MS);
const flights = (await readFlights(Number(rows))).filter(
  ({ row }) => row % Number(producers) === Number(index),
);
const dunlin = connect(url);
const jobs = dunlin.queue<Flight>(queue);

// As many lanes as sends may be unconfirmed; the client sends what they have in one turn in one frame.
const pending = flights.values();
await Promise.all(Array.from({ length: WINDOW }, () => lane()));
clearInterval(timer);
tell();
await dunlin.close();
process.disconnect();

async function lane(): Promise<void> {
  for (const flight of pending) {
    const { duplicate } = await jobs.send(flight, { messageId: `flight-${flight.row}` });
    report.confirmed += 1;
    if (duplicate) report.duplicates += 1;
  }
}

function tell(): void {
  // A report that cannot be delivered any more is followed by `disconnect`.
  process.send!(report, undefined, undefined, () => {});
}
