import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Broker, startBroker } from "../support/broker.ts";
import { networkTo } from "../support/network.ts";
import type { PageLog } from "./support/page.ts";
import { openSite, type Site, type Tab } from "./support/site.ts";

const TIMEOUT_MS = 180_000;
const JOBS = 3_000;
const allAckedAndOpen = ({ acked, lost, states }: PageLog) =>
  acked.length + lost.length >= JOBS && states.at(-1) === "open";

let site: Site;
let broker: Broker;
let tabs: Tab[] = [];
let queue = "";
let number = 0;

beforeAll(async () => {
  [site, broker] = await Promise.all([openSite(), startBroker()]);
}, TIMEOUT_MS);

afterAll(async () => {
  await site?.close();
  await broker?.stop();
}, TIMEOUT_MS);

beforeEach(() => {
  number += 1;
  queue = `jobs-${number}`;
});

afterEach(async () => {
  for (const tab of tabs) await tab.context.close();
  tabs = [];
});

async function newTab(): Promise<Tab> {
  const tab = await site.newTab();
  tabs.push(tab);
  return tab;
}

async function stats(): Promise<Record<string, number>> {
  const response = await fetch(`${broker.url}/v1/queues/${queue}`);
  return ((await response.json()) as { stats: Record<string, number> }).stats;
}

/** Every job was confirmed, handled and acked exactly once, and the broker counts the same. */
async function expectEachOnce(logs: PageLog[], jobs: number): Promise<void> {
  const all = Array.from({ length: jobs }, (_, job) => job);
  const sorted = (pick: (log: PageLog) => number[]) => logs.flatMap(pick).sort((a, b) => a - b);
  expect(sorted((log) => log.confirmed)).toEqual(all);
  expect(sorted((log) => log.handedOut)).toEqual(all);
  expect(sorted((log) => log.acked)).toEqual(all);
  expect(sorted((log) => log.lost)).toEqual([]);
  const unexpected = logs.flatMap((log) => log.errors.filter((error) => !error.startsWith("unreachable")));
  expect(unexpected).toEqual([]);
  expect(await stats()).toMatchObject({
    accepted: jobs,
    settled: jobs,
    ready: 0,
    leased: 0,
    deadLettered: 0,
  });
}

describe("a page", { timeout: TIMEOUT_MS }, () => {
  it("[CLI12] [PUB5] [PUB6] sends, consumes and acks bodies of every kind", async () => {
    const tab = await newTab();
    await tab.call("open", broker.url);
    const { sent, got, receipts } = await tab.call("echo", queue);
    expect(got).toEqual(sent);
    expect(receipts).toMatchObject(sent.map((_, index) => ({ seq: index + 1, duplicate: false })));
    await tab.call("close");
    expect((await tab.log()).states).toEqual(["open", "closed"]);
    expect(await stats()).toMatchObject({ settled: sent.length, ready: 0, leased: 0 });
  });

  it("[SUB9] shares a queue with other pages", async () => {
    const [one, two] = [await newTab(), await newTab()];
    for (const tab of [one, two]) {
      await tab.call("open", broker.url);
      await tab.call("consume", queue, { credit: 8 }, 1);
    }
    await one.call("produce", queue, 0, 500, 50);
    const acked = async () => (await one.log()).acked.length + (await two.log()).acked.length;
    await one.until("half of the jobs acked here", (log) => log.acked.length > 0);
    await expect.poll(acked, { timeout: 60_000 }).toBe(500);
    const logs = [await one.log(), await two.log()];
    for (const log of logs) expect(log.acked.length).toBeGreaterThan(0);
    await expectEachOnce(logs, 500);
  });

  it("[CLI3] [CLI5] [DUR1] loses and doubles nothing when the broker is killed in the middle", async () => {
    const tab = await newTab();
    await tab.call("open", broker.url);
    await tab.call("consume", queue, { credit: 100 });
    for (const [kills, from] of [0, JOBS / 3, (2 * JOBS) / 3].entries()) {
      const produced = tab.call("produce", queue, from, from + JOBS / 3, 30);
      if (kills < 2) {
        await tab.until("jobs under way", (log) => log.confirmed.length > from + JOBS / 20);
        await broker.kill();
        await broker.restart();
        await tab.until("a new connection", ({ states }) => states.length === 3 + 2 * kills);
      }
      await produced;
    }
    const log = await tab.until("all jobs acked", ({ acked, lost }) => acked.length + lost.length >= JOBS);
    expect(log.states).toEqual(["open", "reconnecting", "open", "reconnecting", "open"]);
    await expectEachOnce([log], JOBS);
  });

  it("[CLI3] [CLI5] loses and doubles nothing when it goes offline and online again", async () => {
    const network = await networkTo(broker.port);
    try {
      const tab = await newTab();
      await tab.call("open", network.url, { pingMs: 1_000 });
      await tab.call("consume", queue, { credit: 100 });
      const produced = tab.call("produce", queue, 0, JOBS, 30);
      await tab.until("jobs under way", (log) => log.confirmed.length > JOBS * 0.2);
      // The browser's own switch leaves open sockets alone; a network that is gone does not.
      await tab.context.setOffline(true);
      network.fallSilent();
      await tab.until("attempts that fail", (log) => log.errors.length >= 2);
      network.recover();
      await tab.context.setOffline(false);
      await produced;
      const log = await tab.until("all jobs acked", allAckedAndOpen);
      expect(log.states).toEqual(["open", "reconnecting", "open"]);
      await expectEachOnce([log], JOBS);
    } finally {
      await network.close();
    }
  });

  it("[CLI1] [CLI3] [CLI5] notices a network that has fallen silent, and goes on over another socket", async () => {
    const network = await networkTo(broker.port);
    try {
      const tab = await newTab();
      await tab.call("open", network.url, { pingMs: 1_000 });
      await tab.call("consume", queue, { credit: 100 });
      const produced = tab.call("produce", queue, 0, JOBS, 30);
      await tab.until("jobs under way", (log) => log.confirmed.length > JOBS * 0.2);
      network.fallSilent();
      await tab.until("the loss noticed", (log) => log.states.at(-1) === "reconnecting");
      network.recover();
      await produced;
      const log = await tab.until("all jobs acked", allAckedAndOpen);
      expect(log.states).toEqual(["open", "reconnecting", "open"]);
      await expectEachOnce([log], JOBS);
    } finally {
      await network.close();
    }
  });

  it("[CLI5] [CLI11] reloaded under its client id, goes on with what its former life had not settled", async () => {
    const tab = await newTab();
    await tab.call("open", broker.url, { client: "reloaded" });
    await tab.call("produce", queue, 0, 50, 50);
    await tab.call("consume", queue, { credit: 10 }, 600_000);
    await tab.until("a job begun", (log) => log.handedOut.length === 1);
    await tab.page.reload();
    await tab.page.waitForFunction(() => "page" in globalThis);
    await tab.call("open", broker.url, { client: "reloaded" });
    await tab.call("consume", queue, { credit: 10 });
    const log = await tab.until("all jobs acked", ({ acked }) => acked.length >= 50);
    expect(log.acked.sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, job) => job));
    expect(await stats()).toMatchObject({ accepted: 50, settled: 50 });
  });

  it("[CLI7] keeps a job that takes longer than its lease", async () => {
    const tab = await newTab();
    await tab.call("open", broker.url);
    await tab.call("produce", queue, 0, 2, 2);
    await tab.call("consume", queue, { credit: 2, leaseMs: 2_000 }, 3_000);
    const log = await tab.until("all jobs acked", ({ acked, lost }) => acked.length + lost.length >= 2);
    await expectEachOnce([log], 2);
  });
});
