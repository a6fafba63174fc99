// NATS with JetStream as a peer, over its WebSocket listener: a work-queue stream on file storage, or MQTT.
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { firstExisting, freePorts, lineOf, start, stop } from "../support/processes.ts";
import type { Running, RunningMqtt, Target } from "../targets/target.ts";

const START_TIMEOUT_MS = 30_000;
const programs = ["/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server"];
const run = promisify(execFile);

/** JetStream with its default: written to the page cache, fsynced by a timer. */
export const natsTarget = natsWith(
  "nats",
  "",
  "confirmed once written to the page cache; fsynced every 2 minutes (the default), so a power failure loses confirmed " +
    "messages; acks answered from memory",
);

/** JetStream with an fsync before each confirm, which servers from 2.10 on can do. */
export const natsSyncTarget = natsWith(
  "nats-sync",
  "sync_interval: always",
  "sync_interval always: each write is fsynced before its confirm",
);

/** NATS as an MQTT broker; servers before 2.10 know no QoS 2. */
export const mqttNatsTarget: Target<RunningMqtt> = {
  name: "mqtt-nats",
  durability:
    "QoS 1 is acknowledged once written to the page cache, where a QoS 1 session wants it (fsynced every 2 minutes, the default), " +
    "else once routed",
  async start(folder) {
    const [mqttPort] = (await freePorts(1)) as [number];
    const nats = await startNats(folder, "", `mqtt { host: "127.0.0.1", port: ${mqttPort} }`);
    if ("skipped" in nats) return nats;
    const minor = Number(/v2\.(\d+)/.exec(nats.version)?.[1] ?? 0);
    return { ...nats, url: `${nats.url}/mqtt`, maxQos: minor >= 10 ? 2 : 1 };
  },
};

function natsWith(name: string, sync: string, durability: string): Target {
  return {
    name,
    durability,
    async start(folder) {
      const nats = await startNats(folder, sync, "");
      return "skipped" in nats ? nats : { ...nats, wire: "nats" };
    },
  };
}

async function startNats(folder: string, sync: string, mqtt: string): Promise<Running | { skipped: string }> {
  const program = await firstExisting(programs);
  if (program === undefined) return { skipped: "nats-server is not installed" };
  const version = (await run(program, ["--version"])).stdout.trim();
  const [clientPort, webSocketPort] = (await freePorts(2)) as [number, number];
  const template = await readFile(new URL("nats.conf", import.meta.url), "utf8");
  const config = join(folder, "nats.conf");
  await writeFile(
    config,
    template
      .replace("@CLIENT_PORT@", String(clientPort))
      .replace("@WEBSOCKET_PORT@", String(webSocketPort))
      .replace("@STORE_FOLDER@", join(folder, "store"))
      .replace("@SYNC@", sync)
      .replace("@MQTT@", mqtt),
  );
  const refusal = await run(program, ["-t", "-c", config]).then(
    () => undefined,
    (error: Error) => error,
  );
  if (refusal && sync) return { skipped: `${version} does not know \`${sync}\`` };
  const child = start(program, ["-c", config], process.env);
  await lineOf(child, "Server is ready", START_TIMEOUT_MS);
  return {
    url: `ws://127.0.0.1:${webSocketPort}`,
    version,
    pids: [child.pid],
    stop: () => stop(child),
  };
}
