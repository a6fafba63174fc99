// aedes as a peer of the MQTT table: a broker on Node.js, in a process of its own.
import { readFile } from "node:fs/promises";
import { lineOf, start, stop } from "../support/processes.ts";
import type { RunningMqtt, Target } from "../targets/target.ts";

const START_TIMEOUT_MS = 30_000;

/** aedes with its own persistence, which is memory. */
export const mqttAedesTarget: Target<RunningMqtt> = {
  name: "mqtt-aedes",
  durability: "acknowledged from memory, and kept nowhere else",
  async start() {
    const version = await installedVersion();
    if (version === undefined) return { skipped: "aedes is not installed" };
    const program = new URL("aedes-start.ts", import.meta.url).pathname;
    const child = start(process.execPath, [program], process.env);
    const line = await lineOf(child, "ready", START_TIMEOUT_MS);
    return {
      url: `${/http(:\/\/[^\s/]+)/.exec(line)![0].replace("http", "ws")}/mqtt`,
      version: `aedes ${version} on node ${process.version}`,
      pids: [child.pid],
      maxQos: 2,
      stop: () => stop(child),
    };
  },
};

async function installedVersion(): Promise<string | undefined> {
  try {
    const description = await readFile(new URL("package.json", import.meta.resolve("aedes")), "utf8");
    return (JSON.parse(description) as { version: string }).version;
  } catch {
    return undefined;
  }
}
