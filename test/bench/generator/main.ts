// The load generator's process: one job over IPC, one measurement back. A process of its own, so that neither the bench nor the
// broker's launcher shares its event loop, and so that one job's heap does not weigh on the next.
import { Cycle } from "./cycle.ts";
import { echoBatchWire, echoWire } from "./echo.ts";
import type { Job, Report, WireName } from "./job.ts";
import { jsonWire } from "./json.ts";
import { natsWire } from "./nats.ts";
import { stompWire } from "./stomp.ts";
import type { WireFactory } from "./wire.ts";

const wires: Record<WireName, () => Promise<WireFactory>> = {
  echo: async () => echoWire,
  "echo-batch": async () => echoBatchWire,
  json: async () => jsonWire,
  client: async () => (await import("./client.ts")).clientWire,
  stomp: async () => stompWire,
  nats: async () => natsWire,
};

process.once("message", async (job: Job) => {
  try {
    const cycle = new Cycle(job, await wires[job.wire]());
    const measured = await cycle.run((kind) => process.send!({ kind } satisfies Report));
    cycle.close();
    finish({ kind: "measured", measured });
  } catch (error) {
    finish({ kind: "failed", reason: error instanceof Error ? error.message : String(error) });
  }
});

function finish(report: Report): void {
  process.send!(report, () => process.exit());
}
