import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Broker, startBroker } from "../support/broker.ts";
import type { PageLog } from "./support/page.ts";
import { openSite, type Site, type Tab } from "./support/site.ts";

const TIMEOUT_MS = 120_000;
const WAIT = { timeout: 40_000, interval: 50 };

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
  queue = `tabs-${number}`;
});

afterEach(async () => {
  for (const tab of tabs) await tab.context.close();
  tabs = [];
});

/** Counts the sockets that the page itself opens. */
function countSockets(): void {
  const page = globalThis as unknown as { sockets: WebSocket[]; WebSocket: typeof WebSocket };
  page.sockets = [];
  page.WebSocket = class extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      page.sockets.push(this);
    }
  };
}

async function sharing(beside?: Tab): Promise<Tab> {
  const tab = await site.newTab({ ...(beside ? { beside } : {}), before: countSockets });
  if (!beside) tabs.push(tab);
  await tab.call("open", broker.url, { shared: queue, pingMs: 1_000 });
  return tab;
}

const openSockets = (tab: Tab) =>
  tab.page.evaluate(() => {
    const { sockets } = globalThis as unknown as { sockets: WebSocket[] };
    return sockets.filter(({ readyState }) => readyState === 1).length;
  });

async function stats(): Promise<Record<string, number>> {
  const response = await fetch(`${broker.url}/v1/queues/${queue}`);
  return ((await response.json()) as { stats: Record<string, number> }).stats;
}

const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
const logsOf = (all: Tab[]) => Promise.all(all.map((tab) => tab.log()));
const unexpected = (logs: PageLog[]) =>
  logs.flatMap(({ errors }) => errors.filter((error) => !error.startsWith("unreachable")));

describe("several tabs", { timeout: TIMEOUT_MS }, () => {
  it("[TAB1] [TAB7] share one socket and the jobs of a queue, and go on when its holder is closed and when the next one crashes", async () => {
    const leader = await sharing();
    const next = await sharing(leader);
    const others = [await sharing(leader), await sharing(leader)];
    const all = [leader, next, ...others];
    for (const tab of all) await tab.call("consume", queue, { credit: 8 }, 1);
    expect(sum(await Promise.all(all.map(openSockets)))).toBe(1);
    await expect.poll(async () => (await stats()).consumers, WAIT).toBe(4);

    const jobs = 1_500;
    const produced = others.map((tab, index) =>
      tab.call("produce", queue, index * jobs, (index + 1) * jobs, 10),
    );
    void leader.call("produce", queue, 10_000, 12_000, 10).catch(() => {});
    void next.call("produce", queue, 20_000, 22_000, 10).catch(() => {});
    await others[0]!.until(
      "jobs under way",
      ({ acked, confirmed }) => acked.length > 50 && confirmed.length > 50,
    );
    await leader.page.close();
    await others[0]!.until("a new leader", ({ states }) => states.length === 3 && states[2] === "open");
    const confirmed = (await others[0]!.log()).confirmed.length;
    await others[0]!.until(
      "jobs over it",
      (log) => log.confirmed.length > Math.min(confirmed + 50, jobs - 1),
    );
    const cdp = await next.context.newCDPSession(next.page);
    await Promise.race([cdp.send("Page.crash").catch(() => {}), next.page.waitForEvent("crash")]);
    await Promise.all(produced);

    await expect
      .poll(async () => {
        const { accepted, settled, ready, leased } = await stats();
        return { open: accepted! - settled!, ready, leased };
      }, WAIT)
      .toEqual({ open: 0, ready: 0, leased: 0 });
    await expect.poll(async () => (await stats()).consumers, WAIT).toBe(2);
    expect(sum(await Promise.all(others.map(openSockets)))).toBe(1);
    const logs = await logsOf(others);
    expect(unexpected(logs)).toEqual([]);
    for (const [index, log] of logs.entries()) {
      const own = Array.from({ length: jobs }, (_, job) => index * jobs + job);
      expect(log.confirmed.sort((a, b) => a - b)).toEqual(own);
      expect(log.lost).toEqual([]);
      expect(log.acked.length).toBe(log.handedOut.length);
    }
    const acked = logs.flatMap((log) => log.acked);
    expect(new Set(acked).size).toBe(acked.length);
    // What the living sent is stored once each; of the dead, whatever left before.
    expect((await stats()).deadLettered).toBe(0);
  });

  it("[TAB4] what a closed tab held is at the others at once, long before its lease ends", async () => {
    const leader = await sharing();
    const holder = await sharing(leader);
    await holder.call("consume", queue, { credit: 5, leaseMs: 60_000 }, 600_000);
    await leader.call("produce", queue, 0, 5, 5);
    await holder.until("a job in hand", ({ handedOut }) => handedOut.length === 1);
    await leader.call("consume", queue, { credit: 5 });
    await holder.page.close();
    const log = await leader.until("all jobs", ({ acked }) => acked.length === 5);
    expect(log.acked.sort()).toEqual([0, 1, 2, 3, 4]);
    expect(log.states).toEqual(["open"]);
  });

  it("[TAB4] a tab that closes its client ends only its own; the others do not notice", async () => {
    const leader = await sharing();
    const other = await sharing(leader);
    for (const tab of [leader, other]) await tab.call("consume", queue, { credit: 1 });
    await other.call("close");
    await expect.poll(async () => (await stats()).consumers, WAIT).toBe(1);
    await leader.call("produce", queue, 0, 20, 5);
    await leader.until("all jobs", ({ acked }) => acked.length === 20);
    expect((await leader.log()).states).toEqual(["open"]);
    expect((await other.log()).states).toEqual(["open", "closed"]);
  });

  it("[TAB5] a holder that is about to be frozen gives the connection to another tab, and takes part again afterwards", async () => {
    const leader = await sharing();
    const other = await sharing(leader);
    await other.call("consume", queue, { credit: 8 });
    await leader.page.evaluate(() => document.dispatchEvent(new Event("freeze")));
    await other.until(
      "the connection taken over",
      ({ states }) => states.length === 3 && states[2] === "open",
    );
    await leader.until("the thawed tab back", ({ states }) => states.length === 3 && states[2] === "open");
    await leader.call("produce", queue, 0, 20, 5);
    const log = await other.until("all jobs", ({ acked }) => acked.length === 20);
    expect(log.lost).toEqual([]);
    expect(sum(await Promise.all([leader, other].map(openSockets)))).toBe(1);
  });

  it("[TAB5] a holder that stands still without a word loses its place to another tab, and comes back as one of many", async () => {
    const leader = await sharing();
    const other = await sharing(leader);
    await other.call("consume", queue, { credit: 8 });
    const cdp = await leader.context.newCDPSession(leader.page);
    await cdp.send("Debugger.enable");
    await cdp.send("Debugger.pause");
    // Whatever runs next stops.
    void leader.page.evaluate("0").catch(() => {});
    const produced = other.call("produce", queue, 0, 10, 5);
    await other.until("the place taken", ({ states }) => states.length === 3 && states[2] === "open");
    await produced;
    await cdp.send("Debugger.resume");
    await cdp.send("Debugger.disable");
    await leader.until("the other one back", ({ states }) => states.length === 3 && states[2] === "open");
    await leader.call("produce", queue, 10, 20, 5);
    const log = await other.until("all jobs", ({ acked }) => acked.length === 20);
    expect(log.lost).toEqual([]);
    expect(unexpected(await logsOf([leader, other]))).toEqual([]);
    expect(sum(await Promise.all([leader, other].map(openSockets)))).toBe(1);
  });

  it("[TAB9] without storage a tab has a connection of its own", async () => {
    const alone = await site.newTab({
      before: () =>
        Object.defineProperty(globalThis, "localStorage", {
          get: () => {
            throw new Error("denied");
          },
        }),
    });
    tabs.push(alone);
    await alone.call("open", broker.url, { shared: queue });
    await alone.call("consume", queue, { credit: 1 });
    await alone.call("produce", queue, 0, 3, 3);
    await alone.until("all jobs", ({ acked }) => acked.length === 3);
  });
});

/** As in a tab that has been hidden for long. */
function hideForLong(): void {
  const page = globalThis as unknown as { setInterval: (run: () => void, ms: number) => unknown };
  const { setInterval } = page;
  page.setInterval = (run, ms) => setInterval(run, Math.max(ms, 60_000));
  Object.defineProperty(document, "hidden", { value: true });
}

function hide(): void {
  Object.defineProperty(document, "hidden", { value: true });
}

describe("a hidden tab", { timeout: TIMEOUT_MS }, () => {
  async function hold(options: Parameters<Site["newTab"]>[0], steady: boolean): Promise<PageLog> {
    const tab = await site.newTab(options);
    tabs.push(tab);
    await tab.call("open", broker.url, { steady });
    await tab.call("produce", queue, 0, 1, 1);
    await tab.call("consume", queue, { credit: 1, leaseMs: 1_000 }, 3_000);
    return tab.until("the job settled", ({ acked, lost }) => acked.length + lost.length >= 1);
  }

  it("[LIV1] keeps its leases with steady timers, also when its own run once a minute", async () => {
    expect(await hold({ before: hideForLong }, true)).toMatchObject({ acked: [0], lost: [], handedOut: [0] });
  });

  it("[LIV1] loses them without", async () => {
    expect(await hold({ before: hideForLong }, false)).toMatchObject({ lost: [0] });
  });

  it("[LIV2] has timers of its own where a policy forbids workers", async () => {
    expect(await hold({ before: hide, strict: true }, true)).toMatchObject({ acked: [0], lost: [] });
  });
});
