import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { afterEach, expect } from "vitest";
import { eventually, withBroker } from "./harness.ts";

const EXAMPLE = fileURLToPath(new URL("../../examples/once-sqlite.ts", import.meta.url));
const PAYMENTS = 300;
const KILLS = 4;

const it = withBroker();
let processes: ChildProcess[] = [];

afterEach(() => {
  for (const child of processes) child.kill("SIGKILL");
  processes = [];
});

it("[ONC8] the example books each payment once, though it is killed in the middle again and again, and the broker too", async ({
  world,
}) => {
  const folder = await mkdtemp(join(tmpdir(), "dunlin-ledger-"));
  const path = join(folder, "ledger.db");
  // The example connects to the namespace of its URL.
  const url = `${world.broker.wsUrl}?ns=${world.ns}`;
  const messages = Array.from({ length: PAYMENTS }, (_, index) => ({
    body: { account: `a${index % 3}`, cents: index },
    messageId: `p-${index}`,
  }));
  const answer = await world.call("POST", "/v1/queues/payments/messages", JSON.stringify({ messages }), {
    "content-type": "application/vnd.dunlin.batch+json",
  });
  expect(answer.status).toBe(201);

  const lines: string[] = [];
  const start = () => {
    const child = spawn(process.execPath, [EXAMPLE, url, path], { stdio: ["ignore", "pipe", "inherit"] });
    processes.push(child);
    createInterface({ input: child.stdout! }).on("line", (line) => lines.push(line));
    return child;
  };
  for (let kill = 1; kill <= KILLS; kill++) {
    const child = start();
    const share = Math.floor((PAYMENTS * kill) / (KILLS + 1));
    await eventually(() => expect(lines.length).toBeGreaterThan(share));
    child.kill("SIGKILL");
    if (kill === 2) {
      await world.broker.kill();
      await world.broker.restart();
    }
  }
  start();
  await eventually(async () => expect((await world.stats("payments")).settled).toBe(PAYMENTS), 60_000);

  const ledger = new DatabaseSync(path, { readOnly: true });
  const accounts = ledger.prepare("SELECT name, cents FROM accounts ORDER BY name").all();
  ledger.close();
  const sum = (rest: number) =>
    messages.reduce((cents, { body }, index) => cents + (index % 3 === rest ? body.cents : 0), 0);
  expect(accounts).toEqual([0, 1, 2].map((rest) => ({ name: `a${rest}`, cents: sum(rest) })));
  expect(lines.filter((line) => line.endsWith(" booked")).length).toBeLessThanOrEqual(PAYMENTS);
  await rm(folder, { recursive: true });
}, 120_000);
