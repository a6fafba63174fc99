import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Broker, startBroker } from "../support/broker.ts";
import { openSite, type Site } from "./support/site.ts";

const TIMEOUT_MS = 120_000;
const EXAMPLE = new URL("../../examples/browser.html", import.meta.url);

let site: Site;
let broker: Broker;
let pages: Server;

beforeAll(async () => {
  [site, broker] = await Promise.all([openSite(), startBroker()]);
  const html = (await readFile(EXAMPLE, "utf8")).replaceAll("http://127.0.0.1:8787", broker.url);
  pages = createServer((_, answer) => answer.writeHead(200, { "content-type": "text/html" }).end(html));
  await new Promise<void>((listening) => pages.listen(0, "127.0.0.1", listening));
}, TIMEOUT_MS);

afterAll(async () => {
  await site?.close();
  await broker?.stop();
  pages?.close();
}, TIMEOUT_MS);

it("[CLI12] the example page, served from another port, shares its queue with a call over HTTP", {
  timeout: TIMEOUT_MS,
}, async () => {
  const { page } = await site.newTab();
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => problems.push(message.text()));
  await page.goto(`http://127.0.0.1:${(pages.address() as AddressInfo).port}/browser.html`);
  await page.fill("input", "from the page");
  await page.click("button");
  const called = await fetch(`${broker.url}/v1/queues/jobs/messages`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ text: "from a call" }),
  });
  expect(called.status).toBe(201);
  await page
    .waitForFunction(() => document.querySelectorAll("li").length === 2, undefined, { timeout: 60_000 })
    .catch(() => {
      throw new Error(`the page does not show both jobs; it said: ${problems.join(" | ") || "nothing"}`);
    });
  const shown = await page.locator("li").allTextContents();
  expect(shown.sort()).toEqual(["from a call", "from the page"]);
  expect(problems).toEqual([]);
});
