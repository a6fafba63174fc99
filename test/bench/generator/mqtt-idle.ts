// Connections that do nothing: what the broker's memory is read against.
import { openClient, openMany } from "./mqtt-client.ts";
import type { IdleJob } from "./mqtt-job.ts";
import type { MqttLoadFactory } from "./mqtt-load.ts";
import type { MqttSocket } from "./mqtt-socket.ts";

/** The load of an idle job: nothing is counted but what the bench sees of the broker's process meanwhile. */
export const idleLoad: MqttLoadFactory<IdleJob> = (job, failed) => {
  let sockets: MqttSocket[] = [];
  return {
    async open() {
      sockets = await openMany(job.connections, (n) => openClient(job, `idle${n}`, { failed }));
    },
    start() {},
    stop() {},
    count: () => 0,
    missing: () => 0,
    wrong: () => 0,
    collect() {},
    latenciesMs: () => [],
    close() {
      for (const socket of sockets) socket.close();
    },
  };
};
