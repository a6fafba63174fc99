// Dunlin as a user runs it, and the raw echo on the same runtime that its figures are read against.
import { createRequire } from "node:module";
import { join } from "node:path";
import type { WireName } from "../generator/job.ts";
import { type Child, start, stop } from "../support/processes.ts";
import type { Target } from "./target.ts";

const START_TIMEOUT_MS = 60_000;
const root = new URL("../../..", import.meta.url).pathname;
const { version: runtimeVersion } = createRequire(import.meta.url)("workerd/package.json") as {
  version: string;
};

/** The echo: no storage, no broker. `echo-batch` carries the same messages in array frames. */
export function echoTarget(name: string, wire: WireName): Target {
  return {
    name,
    durability: "none: a frame comes back, nothing is stored",
    async start(folder) {
      const program = new URL("echo-start.ts", import.meta.url).pathname;
      const child = start(process.execPath, [program, folder], process.env);
      return {
        wire,
        url: await webSocketUrl(child),
        version: `workerd ${runtimeVersion}`,
        pids: [child.pid],
        stop: () => stop(child),
      };
    },
  };
}

/** The broker through `local/start.ts`, loaded over its JSON protocol or through its own client. */
export function dunlinTarget(name: string, wire: WireName): Target {
  return {
    name,
    durability:
      "publishes and settles are confirmed after the SQLite commit that holds them is fsynced; delivery follows that commit",
    async start(folder) {
      const child = start(process.execPath, [join(root, "local/start.ts")], {
        ...process.env,
        PORT: "0",
        HOST: "127.0.0.1",
        DUNLIN_DATA: folder,
      });
      const url = await webSocketUrl(child);
      return {
        wire,
        url,
        version: `workerd ${runtimeVersion}`,
        pids: [child.pid],
        rowsWritten: (queue) => rowsWritten(url.replace("ws:", "http:"), queue),
        stop: () => stop(child),
      };
    },
  };
}

async function webSocketUrl(child: Child): Promise<string> {
  const line = await child.line("ready", START_TIMEOUT_MS);
  return /http(:\/\/[^\s/]+)/.exec(line)![0].replace("http", "ws");
}

async function rowsWritten(url: string, queue: string): Promise<number> {
  const response = await fetch(`${url}/v1/queues/${queue}`);
  if (!response.ok) throw new Error(`stats of ${queue}: ${response.status} ${await response.text()}`);
  const stats = (await response.json()) as { rowsWritten?: number; stats?: { rowsWritten: number } };
  return stats.rowsWritten ?? stats.stats!.rowsWritten;
}
