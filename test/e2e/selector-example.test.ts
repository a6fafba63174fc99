// The example of header filters, run as it stands.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect } from "vitest";
import { withBroker } from "./harness.ts";

const it = withBroker();
const EXAMPLE = fileURLToPath(new URL("../../examples/selector.ts", import.meta.url));
const TIMEOUT_MS = 30_000;

describe("examples/selector.ts", () => {
  it("[SEL10] [SEL14] hears and keeps what its filters let through", async ({ world }) => {
    const { stdout } = await promisify(execFile)(process.execPath, [EXAMPLE, world.broker.url], {
      timeout: TIMEOUT_MS,
    });
    expect(stdout.trim().split("\n")).toEqual([
      "heard: a blue Volvo",
      "kept: a red Volvo",
      "kept: a blue Tatra",
    ]);
  });
});
