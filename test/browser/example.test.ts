import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Broker, startBroker } from "../support/broker.ts";
import { openSite, type Site } from "./support/site.ts";

const TIMEOUT_MS = 120_000;
const EXAMPLE = new URL("../../examples/browser.html", import.meta.url);

let site: Site;
let broker: Broker;
let folder: string;

beforeAll(async () => {
  [site, broker, folder] = await Promise.all([
    openSite(),
    startBroker(),
    mkdtemp(join(tmpdir(), "dunlin-page-")),
  ]);
}, TIMEOUT_MS);

afterAll(async () => {
  await site?.close();
  await broker?.stop();
  await rm(folder, { recursive: true, force: true });
}, TIMEOUT_MS);

it("[CLI12] the example page, opened as a file, shares its queue with a call over HTTP", {
  timeout: TIMEOUT_MS,
}, async () => {
  const html = (await readFile(EXAMPLE, "utf8")).replaceAll("http://127.0.0.1:8787", broker.url);
  const file = join(folder, "browser.html");
  await writeFile(file, html);
  const { page } = await site.newTab();
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => problems.push(message.text()));
  await page.goto(pathToFileURL(file).href);
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
