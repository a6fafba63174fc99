// Mosquitto as a peer of the MQTT table, over its WebSocket listener.
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { firstExisting, freePorts, lineOf, start, stop } from "../support/processes.ts";
import type { RunningMqtt, Target } from "../targets/target.ts";

const START_TIMEOUT_MS = 30_000;
const programs = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto", "/usr/local/sbin/mosquitto"];
const run = promisify(execFile);

/** Mosquitto with persistence, saved by its default timer. */
export const mqttMosquittoTarget: Target<RunningMqtt> = {
  name: "mqtt-mosquitto",
  durability:
    "acknowledged from memory; persistence on, saved every 30 minutes (the default), so the process's end by force loses what " +
    "was acknowledged",
  async start(folder) {
    const program = await firstExisting(programs);
    if (program === undefined) return { skipped: "mosquitto is not installed" };
    const [webSocketPort] = (await freePorts(1)) as [number];
    const data = join(folder, "data");
    await mkdir(data);
    const template = await readFile(new URL("mosquitto.conf", import.meta.url), "utf8");
    const config = join(folder, "mosquitto.conf");
    await writeFile(
      config,
      template.replace("@WEBSOCKET_PORT@", String(webSocketPort)).replaceAll("@FOLDER@", data),
    );
    const child = start(program, ["-c", config], process.env);
    await lineOf(child, "running", START_TIMEOUT_MS);
    return {
      url: `ws://127.0.0.1:${webSocketPort}/mqtt`,
      version: await versionOf(program),
      pids: [child.pid],
      maxQos: 2,
      stop: () => stop(child),
    };
  },
};

/** `-h` prints the version in its first line, and ends with an error code. */
async function versionOf(program: string): Promise<string> {
  const { stdout } = await run(program, ["-h"]).catch((error: { stdout: string }) => error);
  return stdout.slice(0, stdout.indexOf("\n"));
}
