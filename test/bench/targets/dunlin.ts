// Dunlin as a user runs it, and the raw echo on the same runtime that its figures are read against.
import { createRequire } from "node:module";
import { join } from "node:path";
import type { WireName } from "../generator/job.ts";
import { type Child, lineOf, start, stop } from "../support/processes.ts";
import type { Running, RunningMqtt, Target } from "./target.ts";

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
    start: async (folder) => ({ ...(await startEcho(folder)), wire }),
  };
}

/** The measure of the MQTT table: the echo of frames, and an object that only passes a publisher's frames on to all. */
export const mqttEchoTarget: Target<RunningMqtt> = {
  name: "mqtt-echo",
  durability:
    "none: an object passes each publisher's frame on to every subscriber unread, or returns it; the runtime's own limit",
  async start(folder) {
    const echo = await startEcho(folder);
    return { ...echo, url: `${echo.url}/mqtt`, echoUrl: `${echo.url}/`, maxQos: 0 };
  },
};

/** The broker through `local/start.ts`, loaded over its JSON protocol or through its own client. */
export function dunlinTarget(name: string, wire: WireName): Target {
  return {
    name,
    durability:
      "publishes and settles are confirmed after the SQLite commit that holds them is fsynced; delivery follows that commit",
    async start(folder) {
      const dunlin = await startDunlin(folder);
      return {
        ...dunlin,
        wire,
        rowsWritten: (queue) => rowsWritten(dunlin.url.replace("ws:", "http:"), queue),
      };
    },
  };
}

/** The broker through `local/start.ts`, loaded over MQTT. */
export const mqttDunlinTarget: Target<RunningMqtt> = {
  name: "mqtt-dunlin",
  durability:
    "PUBACK and PUBREC follow the fsync of what had to be stored; a message that only QoS 0 subscribers want is not stored",
  async start(folder) {
    const dunlin = await startDunlin(folder);
    return { ...dunlin, url: `${dunlin.url}/mqtt`, maxQos: 2 };
  },
};

async function startEcho(folder: string): Promise<Running> {
  const program = new URL("echo-start.ts", import.meta.url).pathname;
  const child = start(process.execPath, [program, folder], process.env);
  return running(child, await webSocketUrl(child));
}

async function startDunlin(folder: string): Promise<Running> {
  const child = start(process.execPath, [join(root, "local/start.ts")], {
    ...process.env,
    PORT: "0",
    HOST: "127.0.0.1",
    DUNLIN_DATA: folder,
  });
  return running(child, await webSocketUrl(child));
}

function running(child: Child, url: string): Running {
  return { url, version: `workerd ${runtimeVersion}`, pids: [child.pid], stop: () => stop(child) };
}

async function webSocketUrl(child: Child): Promise<string> {
  const line = await lineOf(child, "ready", START_TIMEOUT_MS);
  return /http(:\/\/[^\s/]+)/.exec(line)![0].replace("http", "ws");
}

async function rowsWritten(url: string, queue: string): Promise<number> {
  const response = await fetch(`${url}/v1/queues/${queue}`);
  if (!response.ok) throw new Error(`stats of ${queue}: ${response.status} ${await response.text()}`);
  const stats = (await response.json()) as { rowsWritten?: number; stats?: { rowsWritten: number } };
  return stats.rowsWritten ?? stats.stats!.rowsWritten;
}
