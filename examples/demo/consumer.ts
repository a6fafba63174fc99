// A consumer of the demo, as a process of its own: applies jobs to the shared effects and acks them, until it is told to
// stop or is killed in the middle of its work.
import { connect, type Message } from "../../client/index.ts";
import { Effects } from "./effects.ts";
import type { Flight } from "./flights.ts";

const CREDIT = 250;
/** Short, so that the jobs of a killed consumer are soon another's. The client extends it while a job runs. */
const LEASE_MS = 5_000;

// The demo ended, or this process told it that it is done.
process.once("disconnect", () => process.exit());

const [url, queue, effectsPath] = process.argv.slice(2) as [string, string, string];
const effects = new Effects(effectsPath);
const dunlin = connect(url);
const stop = new AbortController();
process.on("message", () => stop.abort());

let batch: Message<Flight>[] = [];
for await (const message of dunlin.queue<Flight>(queue).consume({
  credit: CREDIT,
  leaseMs: LEASE_MS,
  signal: stop.signal,
})) {
  batch.push(message);
  // What has arrived together is one transaction: one wait for the disk.
  if (batch.length === 1) setImmediate(work);
}
await dunlin.close();
effects.close();
process.disconnect();

function work(): void {
  const jobs = batch;
  batch = [];
  effects.apply(jobs);
  for (const job of jobs) void job.ack();
}
