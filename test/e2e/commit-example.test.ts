// The example of commits, run as it stands.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect } from "vitest";
import { withBroker } from "./harness.ts";

const it = withBroker();
const EXAMPLE = fileURLToPath(new URL("../../examples/commit.ts", import.meta.url));
const TIMEOUT_MS = 30_000;

describe("examples/commit.ts", () => {
  it("[CMT1] [CMT5] books a transfer once", async ({ world }) => {
    const { stdout } = await promisify(execFile)(process.execPath, [EXAMPLE, world.broker.url], {
      timeout: TIMEOUT_MS,
    });
    expect(stdout.trim().split("\n")).toEqual([
      "committed: 3 messages",
      "booked: ann -500",
      "booked: bob 500",
    ]);
  });
});
