// The demo's producers and consumers as child processes: starts them, counts what they report, ends them gently or not.
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { ProducerReport } from "./producer.ts";

const live = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of live) child.kill("SIGKILL");
});

/** A consumer process. */
export interface Consumer {
  /** Ends it in the middle of whatever it does, and waits until it is gone. */
  drop(): Promise<void>;
  /** Tells it to stop, and waits until it has. */
  stop(): Promise<void>;
}

/** The producers together. */
export interface Producers {
  /** What they have reported so far. */
  report(): ProducerReport;
  /** Settles when all have sent everything; rejects when one of them fails. */
  finished: Promise<void>;
}

/** Starts producers that share the rows among them. */
export function startProducers(url: string, queue: string, rows: number, count: number): Producers {
  const reports: ProducerReport[] = [];
  const ends = Array.from({ length: count }, async (_, index) => {
    const { child, ended } = start("producer.ts", [url, queue, rows, index, count]);
    child.on("message", (report: ProducerReport) => {
      reports[index] = report;
    });
    await ended;
  });
  return {
    report: () => ({
      confirmed: reports.reduce((sum, report) => sum + report.confirmed, 0),
      duplicates: reports.reduce((sum, report) => sum + report.duplicates, 0),
    }),
    finished: Promise.all(ends).then(() => {}),
  };
}

/** Starts a consumer. */
export function startConsumer(url: string, queue: string, effectsPath: string): Consumer {
  const { child, ended } = start("consumer.ts", [url, queue, effectsPath]);
  // Its failure is told by `stop`; until then it is one more consumer that vanished.
  ended.catch(() => {});
  return {
    async drop() {
      child.kill("SIGKILL");
      await ended.catch(() => {});
    },
    async stop() {
      if (child.connected) child.send("stop");
      await ended;
    },
  };
}

function start(file: string, args: (string | number)[]): { child: ChildProcess; ended: Promise<void> } {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), args.map(String));
  live.add(child);
  const ended = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      live.delete(child);
      if (code === 0) resolve();
      else reject(new Error(`${file} ended with ${signal ?? `code ${code}`}`));
    });
  });
  return { child, ended };
}
