// The ceiling of the MQTT table: a null server in a process of its own.
import { lineOf, start, stop } from "../support/processes.ts";
import type { RunningMqtt, Target } from "./target.ts";

const START_TIMEOUT_MS = 30_000;

/** What the generator itself can receive and count. */
export const mqttNullTarget: Target<RunningMqtt> = {
  name: "mqtt-null",
  durability:
    "none: a bare server writes each publisher's frame to every subscriber unread; the generator's own limit",
  async start() {
    const program = new URL("null-server.ts", import.meta.url).pathname;
    const child = start(process.execPath, [program], process.env);
    const line = await lineOf(child, "ready", START_TIMEOUT_MS);
    const url = /http(:\/\/[^\s/]+)/.exec(line)![0].replace("http", "ws");
    return {
      url: `${url}/mqtt`,
      version: `node ${process.version}`,
      pids: [child.pid],
      maxQos: 0,
      stop: () => stop(child),
    };
  },
};
