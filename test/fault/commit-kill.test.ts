// Tokens move from queue to queue, and through a topic, by commits alone, over SIGKILLs at random points: in the end each is there once.
import { afterEach, expect, it } from "vitest";
import { type Broker, startBroker } from "../support/broker.ts";
import { createRandom, type Random } from "../support/random.ts";

const TOKENS = 40;
const KILLS = 5;
const MOVERS = 4;
const LEASE_MS = 3_000;
const QUEUES = ["a", "b", "c"];
/** The topic's messages come to this queue. */
const BOUND = "c";

let broker: Broker | undefined;
afterEach(async ({ task }) => {
  if (task.result?.state === "fail") console.log(broker?.output());
  await broker?.stop();
  broker = undefined;
});

interface Leased {
  queue: string;
  delivery: string;
  body: string;
}

/** One HTTP call; undefined when it was not answered well, for whatever reason. */
async function ask<T>(method: string, path: string, body?: unknown): Promise<T | undefined> {
  try {
    const response = await fetch(`${broker!.url}${path}`, {
      method,
      headers: { "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return response.ok ? (JSON.parse(text) as T) : undefined;
  } catch {
    return undefined;
  }
}

async function lease(queue: string, max: number): Promise<Leased[]> {
  const got = await ask<{ messages: { delivery: string; body: string }[] }>(
    "POST",
    `/v1/queues/${queue}/receive`,
    { max, waitMs: 200, leaseMs: LEASE_MS },
  );
  return (got?.messages ?? []).map(({ delivery, body }) => ({ queue, delivery, body }));
}

/** Takes some tokens, moves them in one commit, and now and then commits again as if the answer had been lost. */
async function move(random: Random): Promise<number> {
  const from = random.chance(0.4) ? [random.pick(QUEUES), random.pick(QUEUES)] : [random.pick(QUEUES)];
  const leased = (await Promise.all(from.map((queue) => lease(queue, random.integer(1, 3))))).flat();
  if (leased.length === 0) return 0;
  const settle = [...Map.groupBy(leased, ({ queue }) => queue)].map(([queue, messages]) => ({
    queue,
    ack: messages.map(({ delivery }) => delivery),
  }));
  const publish = leased.map(({ body }) => ({
    to: random.chance(0.3) ? "topic:tokens/moved" : `queue:${random.pick(QUEUES)}`,
    body,
  }));
  const first = await ask("POST", "/v1/commit", { settle, publish });
  if (first === undefined || random.chance(0.2)) await ask("POST", "/v1/commit", { settle, publish });
  return first === undefined ? 0 : leased.length;
}

/** The tokens of all queues once nothing is on its way: as often as they are there. */
async function count(): Promise<string[]> {
  const bodies: string[] = [];
  for (const queue of QUEUES) {
    for (const state of ["ready", "leased", "delayed"]) {
      const page = await ask<{ messages: { body: string }[] }>(
        "GET",
        `/v1/queues/${queue}/messages?state=${state}&limit=1000`,
      );
      bodies.push(...(page?.messages ?? []).map(({ body }) => body));
    }
  }
  return bodies.sort();
}

it("[CMT1] [CMT5] [CMT8] [CMT10] [DUR1] tokens that move by commits over SIGKILLs are neither lost nor doubled", {
  timeout: 240_000,
}, async () => {
  const random = createRandom(process.env.FAULT_SEED ? Number(process.env.FAULT_SEED) : undefined);
  console.log(`seed ${random.seed} (repeat with FAULT_SEED=${random.seed})`);
  broker = await startBroker();
  for (const queue of QUEUES) await ask("PUT", `/v1/queues/${queue}`, { maxFailures: 10_000 });
  await ask("PUT", `/v1/queues/${BOUND}/bindings/${encodeURIComponent("tokens/#")}`);
  const tokens = Array.from({ length: TOKENS }, (_, at) => `t${100 + at}`);
  for (const token of tokens) await ask("POST", "/v1/queues/a/messages", token);

  let running = true;
  let moved = 0;
  const movers = Array.from({ length: MOVERS }, async () => {
    while (running) {
      const count = await move(random);
      moved += count;
      if (count === 0) await sleep(50);
    }
  });
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(random.integer(200, 2_500));
    await broker.kill();
    await broker.restart();
  }
  await sleep(2_000);
  running = false;
  await Promise.all(movers);

  // What a commit of a dead caller holds is free again after 30 s at the latest.
  await expect.poll(count, { timeout: 60_000, interval: 500 }).toEqual(tokens);
  await sleep(2_000);
  expect(await count()).toEqual(tokens);
  console.log(`${moved} moves`);
  expect(moved).toBeGreaterThan(TOKENS);
});

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
