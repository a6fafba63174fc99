// `npm run check:once` in short: the broker as it is passes, and planted faults are found. Longer runs are for the command line.
import { expect, it } from "vitest";
import { FAULTS, type FaultName } from "../check/fault-names.ts";
import { run } from "../check/run.ts";

const TIMEOUT_MS = 300_000;
const CLEAN_MS = 8_000;
const FAULT_MS = 5_000;
const FAULT_QUIET_MS = 5_000;
const TRIES = 3;
const SHOWN = 5;

it("[CHK1] [CHK2] [CHK4] a short run over every protocol finds nothing", {
  timeout: TIMEOUT_MS,
}, async () => {
  const seed = process.env.FAULT_SEED ? Number(process.env.FAULT_SEED) : 4712;
  const { findings, counts, output } = await run({ seed, forMs: CLEAN_MS });
  expect(findings.slice(0, SHOWN), `seed ${seed}\n${output}`).toEqual([]);
  // A run that did next to nothing proves next to nothing.
  expect(counts.kills).toBeGreaterThan(0);
  expect(counts["settles confirmed"]).toBeGreaterThan(50);
  expect(counts["messages read from topics"]).toBeGreaterThan(50);
});

it.each<FaultName>(["ack-ignored", "dedup-forgets", "topic-packet-dropped"])(
  "[CHK3] finds the planted fault %s",
  {
    timeout: TIMEOUT_MS,
  },
  async (fault) => {
    const breaks: readonly string[] = FAULTS[fault].breaks;
    const found: string[] = [];
    for (let seed = 1; seed <= TRIES && found.length === 0; seed += 1) {
      const { findings } = await run({ seed, forMs: FAULT_MS, fault, quietMs: FAULT_QUIET_MS });
      found.push(...findings.map(({ breach }) => breach).filter((breach) => breaks.includes(breach)));
    }
    expect(found.length).toBeGreaterThan(0);
  },
);
