import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Broker, startBroker } from "../support/broker.ts";
import { openSite, type Site } from "./support/site.ts";

const TIMEOUT_MS = 120_000;
const EXAMPLES = new URL("../../examples/", import.meta.url);

let site: Site;
let broker: Broker;
let pages: Server;

beforeAll(async () => {
  [site, broker] = await Promise.all([openSite(), startBroker()]);
  pages = createServer(async (request, answer) => {
    const html = await readFile(new URL(`.${request.url}`.split("?")[0]!, EXAMPLES), "utf8").catch(
      () => undefined,
    );
    if (html === undefined) answer.writeHead(204).end();
    else {
      const own = html.replaceAll("http://127.0.0.1:8787", broker.url);
      answer.writeHead(200, { "content-type": "text/html" }).end(own);
    }
  });
  await new Promise<void>((listening) => pages.listen(0, "127.0.0.1", listening));
}, TIMEOUT_MS);

afterAll(async () => {
  await site?.close();
  await broker?.stop();
  pages?.close();
}, TIMEOUT_MS);

/** Opens an example, and gathers what goes wrong in it. */
async function openExample(name: string, context?: BrowserContext) {
  const page = context ? await context.newPage() : (await site.newTab()).page;
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => problems.push(message.text()));
  await page.goto(`http://127.0.0.1:${(pages.address() as AddressInfo).port}/${name}`);
  return { page, problems };
}

/** Waits until the page's list has so many lines, and tells them. */
async function lines(page: Page, count: number, problems: string[]): Promise<string[]> {
  await page
    .waitForFunction((lines) => document.querySelectorAll("li").length >= lines, count, { timeout: 60_000 })
    .catch(() => {
      throw new Error(`the page does not show ${count} lines; it said: ${problems.join(" | ") || "nothing"}`);
    });
  return page.locator("li").allTextContents();
}

it("[CLI12] the example page, served from another port, shares its queue with a call over HTTP", {
  timeout: TIMEOUT_MS,
}, async () => {
  const { page, problems } = await openExample("browser.html");
  await page.fill("input", "from the page");
  await page.click("button");
  const called = await fetch(`${broker.url}/v1/queues/jobs/messages`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ text: "from a call" }),
  });
  expect(called.status).toBe(201);
  const shown = await lines(page, 2, problems);
  expect(shown.sort()).toEqual(["from a call", "from the page"]);
  expect(problems).toEqual([]);
});

it("[TAB8] the example of several tabs shares jobs and a connection, and goes on when the tab that has it is closed", {
  timeout: TIMEOUT_MS,
}, async () => {
  const first = await openExample("tabs.html");
  await first.page.fill("input", "one");
  await first.page.click("button");
  expect(await lines(first.page, 1, first.problems)).toEqual(["one"]);
  const second = await openExample("tabs.html", first.page.context());
  await first.page.close();
  await second.page.fill("input", "two");
  await second.page.click("button");
  expect(await lines(second.page, 1, second.problems)).toEqual(["two"]);
  expect(second.problems).toEqual([]);
});

it("[TCL3] [CLI12] the example of a topic shows every tab what any of them says, and a new one the last line", {
  timeout: TIMEOUT_MS,
}, async () => {
  const first = await openExample("topic.html");
  const say = async (text: string) => {
    await first.page.fill("input", text);
    await first.page.click("button");
  };
  await say("one");
  expect(await lines(first.page, 1, first.problems)).toEqual(["one"]);
  const second = await openExample("topic.html");
  expect(await lines(second.page, 1, second.problems)).toEqual(["one"]);
  await say("two");
  for (const { page, problems } of [first, second]) {
    expect(await lines(page, 2, problems)).toEqual(["one", "two"]);
    expect(problems).toEqual([]);
  }
});

it("[OBX1] [OBX2] [ONC8] the example of what is durable enters an order that was made without a network, once", {
  timeout: TIMEOUT_MS,
}, async () => {
  const { page, problems } = await openExample("durable.html");
  const order = async (item: string) => {
    await page.fill("input", item);
    await page.click("button");
    await page.waitForFunction(() => document.querySelector("input")?.value === "");
  };
  await order("tea");
  expect(await lines(page, 1, problems)).toEqual(["tea"]);
  await broker.kill();
  await order("milk");
  await order("sugar");
  await broker.restart();
  expect(await lines(page, 3, problems)).toEqual(["tea", "milk", "sugar"]);
  await page.waitForFunction(() => document.querySelector("output")?.textContent === "0 to send");
  await expect
    .poll(
      async () =>
        ((await (await fetch(`${broker.url}/v1/queues/orders`)).json()) as { stats: { settled: number } })
          .stats.settled,
      { timeout: 30_000 },
    )
    .toBe(3);
});

it("[PRS17] [CLI12] the example of presence lists who is on the page, and takes away who has gone", {
  timeout: TIMEOUT_MS,
}, async () => {
  const first = await openExample("presence.html?ann");
  const second = await openExample("presence.html?bob");
  for (const { page, problems } of [first, second]) {
    expect((await lines(page, 2, problems)).sort()).toEqual(["ann", "bob"]);
  }
  await second.page.fill("input", "Bob is writing");
  await first.page.waitForFunction(() => document.body.textContent?.includes("Bob is writing"));
  await second.page.goto("about:blank");
  await first.page.waitForFunction(() => document.querySelectorAll("li").length === 1);
  expect(first.problems).toEqual([]);
});
