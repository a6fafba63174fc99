import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Broker, startBroker } from "../support/broker.ts";
import { type ModuleSite, serveModules } from "./support/modules.ts";
import type { OutboxPage } from "./support/outbox-page.ts";
import { CHROMIUM, QUIET } from "./support/site.ts";

const TIMEOUT_MS = 400_000;
const WAIT_MS = 120_000;
/** Jobs stored between one death and the next. */
const JOBS = 50;

let site: ModuleSite;
let broker: Broker;
let browser: Browser;

beforeAll(async () => {
  [site, broker] = await Promise.all([serveModules("outbox-page.ts"), startBroker()]);
  browser = await chromium.launch({ executablePath: CHROMIUM, args: QUIET });
}, TIMEOUT_MS);

afterAll(async () => {
  await browser?.close();
  await site?.close();
  await broker?.stop();
}, TIMEOUT_MS);

async function until(holds: () => boolean | Promise<boolean>, what: () => string): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within ${WAIT_MS} ms: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A browser's storage with the tabs of one user in it. */
async function user() {
  const context: BrowserContext = await browser.newContext();
  context.setDefaultTimeout(WAIT_MS);
  const stored: string[] = [];
  await context.exposeFunction("stored", (job: string) => {
    stored.push(job);
  });
  const problems: string[] = [];
  const ready = async (page: Page) => {
    await page.goto(site.url);
    await page.waitForFunction(() => "page" in globalThis);
    return page;
  };
  const newTab = async () => {
    const page = await context.newPage();
    page.on("pageerror", (error) => problems.push(String(error)));
    return ready(page);
  };
  const more = async (jobs: number) => {
    const goal = stored.length + jobs;
    await until(
      () => stored.length >= goal,
      () => `${stored.length} of ${goal} jobs were stored; ${problems.join(" | ")}`,
    );
  };
  return { context, stored, problems, newTab, ready, more };
}

const call = <Name extends keyof OutboxPage>(page: Page, name: Name, ...args: Parameters<OutboxPage[Name]>) =>
  page.evaluate(
    ([called, list]) => {
      const api = (globalThis as unknown as { page: Record<string, (...values: unknown[]) => unknown> }).page;
      return api[called]!(...list);
    },
    [name as string, args as unknown[]] as const,
  ) as Promise<Awaited<ReturnType<OutboxPage[Name]>>>;

/** Begins work that ends with its page. */
function begin(work: Promise<unknown>): void {
  work.catch(() => {});
}

/** The renderer of a tab dies, as when it runs out of memory. */
async function crash(context: BrowserContext, page: Page): Promise<void> {
  const session = await context.newCDPSession(page);
  const crashed = new Promise<void>((resolve) => {
    page.once("crash", () => resolve());
  });
  begin(session.send("Page.crash"));
  await crashed;
  await page.close();
}

it("[OBX2] [OBX4] [OBX9] [ONC2] [ONC8] each job is done once, though tabs reload, close and crash while they send and work, and the broker is killed", {
  timeout: TIMEOUT_MS,
}, async () => {
  const queue = "jobs";
  const { context, stored, problems, newTab, ready, more } = await user();
  let consumer = await newTab();
  begin(call(consumer, "consume", broker.url, queue));
  let life = 0;
  const produceIn = (page: Page) => begin(call(page, "produce", broker.url, queue, `life${life++}`));

  const one = await newTab();
  produceIn(one);
  await more(JOBS);
  // A second tab sends too; the first, which has the lead, reloads in the middle.
  let two = await newTab();
  produceIn(two);
  await more(JOBS);
  await ready(one);
  produceIn(one);
  await more(JOBS);
  // The broker dies, and the tabs go on storing; then a tab crashes before the broker is back.
  await broker.kill();
  await more(JOBS);
  await crash(context, two);
  await broker.restart();
  await more(JOBS);
  // The consumer reloads in the middle of its work, and later crashes.
  await ready(consumer);
  begin(call(consumer, "consume", broker.url, queue));
  two = await newTab();
  produceIn(two);
  await more(JOBS);
  await one.close();
  await more(JOBS);
  await crash(context, consumer);
  consumer = await newTab();
  begin(call(consumer, "consume", broker.url, queue));
  await broker.kill();
  await broker.restart();
  await more(JOBS);
  await call(two, "stop");
  await two.close();

  const last = await newTab();
  expect(problems).toEqual([]);
  expect(await call(last, "drained", broker.url)).toBe(0);
  const stats = async () =>
    ((await (await fetch(`${broker.url}/v1/queues/${queue}`)).json()) as { stats: Record<string, number> })
      .stats;
  await until(
    async () => {
      const { accepted, settled } = await stats();
      return accepted === settled;
    },
    () => "not all jobs are settled",
  );
  const effects = new Map(await call(last, "effects"));
  expect([...effects].filter(([, times]) => times !== 1)).toEqual([]);
  expect(stored.filter((job) => !effects.has(job))).toEqual([]);
  // What a page stored and could not tell any more may be there as well: five at once for each life.
  expect(effects.size - stored.length).toBeLessThanOrEqual(5 * life);
  expect((await stats()).accepted).toBe(effects.size);
  expect(problems).toEqual([]);
  await context.close();
});
