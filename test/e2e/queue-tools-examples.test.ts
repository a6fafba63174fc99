// The examples of docs/queue-tools.md, run as they stand.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect } from "vitest";
import { withBroker } from "./harness.ts";

const it = withBroker();
const TIMEOUT_MS = 30_000;

/** Lines that an example prints. */
async function printed(name: string, url: string): Promise<string[]> {
  const file = fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [file, url], { timeout: TIMEOUT_MS });
  return stdout.trim().split("\n");
}

describe("the examples of a queue's tools", () => {
  it("[RDV1] [RDV8] redrive.ts: dead letters come again", async ({ world }) => {
    expect(await printed("redrive.ts", world.broker.url)).toEqual([
      "moved 2",
      "order 1 again",
      "order 2 again",
    ]);
  });

  it("[RCR1] schedule.ts: runs by the clock", async ({ world }) => {
    const line = "sales for daily";
    expect(await printed("schedule.ts", world.broker.url)).toEqual([line, line]);
  });

  it("[PSH1] [PSH3] webhook.ts: believes what is signed, and nothing else", async ({ world }) => {
    expect(await printed("webhook.ts", world.broker.url)).toEqual([
      "without a signature: 401",
      'message 1 of hooks: {"order":7}',
    ]);
  });

  it("[RCP1] [RCP2] [PRD1] receipts.ts: each job once, and who did it", async ({ world }) => {
    const lines = await printed("receipts.ts", world.broker.url);
    expect(lines.slice(0, 3)).toEqual(["1: stored", "2: stored", "2: was there before"]);
    expect(lines.slice(3).toSorted()).toEqual(["1: ack by worker-7", "2: dead by worker-7, no pans left"]);
  });
});
