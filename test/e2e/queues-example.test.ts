// The example of what queues do for their consumers, run as it stands.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect } from "vitest";
import { withBroker } from "./harness.ts";

const it = withBroker();
const EXAMPLE = fileURLToPath(new URL("../../examples/queues.ts", import.meta.url));
const TIMEOUT_MS = 30_000;

describe("examples/queues.ts", () => {
  it("[PRI1] [SAC1] [SAC2] [SAC4] [QSL1] [DEV1] [DEV3] shows each of them", async ({ world }) => {
    const { stdout } = await promisify(execFile)(process.execPath, [EXAMPLE, world.broker.url], {
      timeout: TIMEOUT_MS,
    });
    const lines = stdout.trim().split("\n");
    // Two sockets print what one event made in either order.
    expect(lines.slice(-3, -1).sort()).toEqual(["desk gets the doorbell", "phone gets the doorbell"]);
    expect([...lines.slice(0, -3), lines.at(-1)]).toEqual([
      "mailer gets a password reset",
      "mailer gets a newsletter",
      "writer-1 active: true",
      "writer-2 active: false",
      "writer-1 gets entry 1",
      "writer-1 gets entry 2",
      "writer-2 active: true",
      "writer-2 gets entry 1",
      "writer-2 gets entry 2",
      "gpu-worker gets a film",
      "any-worker gets a page",
      "desk: settled elsewhere",
    ]);
  });
});
