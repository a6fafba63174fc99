// A backlog far larger than memory: fills a queue, restarts the broker, and measures how long its first message takes and what
// the broker's memory is meanwhile.   node test/bench/backlog.ts --messages 1000000 --bytes 2500

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { startBroker } from "../support/broker.ts";

const { values } = parseArgs({
  options: { messages: { type: "string", default: "1000000" }, bytes: { type: "string", default: "2500" } },
});
const messages = Number(values.messages);
const bytes = Number(values.bytes);
const BATCH = 500;
const CALLS = 4;

const broker = await startBroker();
try {
  const path = `${broker.url}/v1/queues/backlog`;
  const body = "x".repeat(bytes);
  const batch = JSON.stringify({ messages: Array.from({ length: BATCH }, () => ({ body })) });
  const began = Date.now();
  let sent = 0;
  await Promise.all(
    Array.from({ length: CALLS }, async () => {
      while (sent < messages) {
        sent += BATCH;
        await call(`${path}/messages`, batch, "application/vnd.dunlin.batch+json");
        if (sent % 50_000 === 0)
          console.log(`${sent.toLocaleString("en")} stored, broker ${residentMiB()} MiB`);
      }
    }),
  );
  const seconds = (Date.now() - began) / 1_000;
  const rate = Math.round(sent / seconds).toLocaleString("en");
  console.log(
    `${sent.toLocaleString("en")} messages of ${bytes} B stored in ${seconds.toFixed(0)} s (${rate}/s)`,
  );
  console.log(`data folder: ${execFileSync("du", ["-sh", broker.dataFolder]).toString().split("\t")[0]}`);

  await broker.kill("SIGKILL");
  await broker.restart();
  const opened = performance.now();
  const first = await call(`${path}/receive`, JSON.stringify({ max: 1 }), "application/json");
  console.log(
    `first message after a SIGKILL and restart: ${(performance.now() - opened).toFixed(0)} ms (seq ${seqOf(first)})`,
  );
  console.log(`memory of the broker then: ${residentMiB()} MiB`);

  const draining = Date.now();
  let taken = 0;
  while (taken < 50_000) {
    const { messages: received } = (await call(
      `${path}/receive`,
      JSON.stringify({ max: 1_000 }),
      "application/json",
    )) as {
      messages: { delivery: string }[];
    };
    taken += received.length;
    await call(
      `${path}/settle`,
      JSON.stringify({ ack: received.map(({ delivery }) => delivery) }),
      "application/json",
    );
  }
  const drained = Math.round(taken / ((Date.now() - draining) / 1_000)).toLocaleString("en");
  console.log(`drained ${taken.toLocaleString("en")} at ${drained}/s, broker ${residentMiB()} MiB`);
} finally {
  await broker.stop();
}

async function call(url: string, body: string, type: string): Promise<unknown> {
  const response = await fetch(url, { method: "POST", body, headers: { "content-type": type } });
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response.json();
}

function seqOf(answer: unknown): number | undefined {
  return (answer as { messages: { seq: number }[] }).messages[0]?.seq;
}

/** Resident memory of the broker's workerd, MiB. */
function residentMiB(): number {
  const children = execFileSync("ps", ["-o", "pid=,comm=", "--ppid", String(broker.pid)]).toString();
  const pid = /(\d+)\s+workerd/.exec(children)?.[1];
  const status = pid === undefined ? "" : readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1_024);
}
