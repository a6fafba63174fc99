// Runs examples/request-reply.ts as its reader does.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect } from "vitest";
import { withBroker } from "./harness.ts";

const EXAMPLE = fileURLToPath(new URL("../../examples/request-reply.ts", import.meta.url));
const it = withBroker();

it("[REQ1] [REQ4] [REQ13] the example is refused while nobody is there, and answered by its worker", async ({
  world,
}) => {
  const url = `${world.broker.wsUrl}?ns=${world.ns}`;
  const { stdout } = await promisify(execFile)(process.execPath, [EXAMPLE, url], { timeout: 30_000 });
  expect(stdout).toBe("404 no-responders\n200 42\n");
});
