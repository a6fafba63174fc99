// MQTT.js as a page loads it, in a real browser, against Mosquitto's command line clients and across a SIGKILL of the broker.
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Broker, startBroker } from "../support/broker.ts";
import { HAS_MOSQUITTO_CLIENTS, MosquittoSub, mosquittoPub } from "../support/mosquitto-clients.ts";
import { openTcpPipe } from "../support/tcp-pipe.ts";

const TIMEOUT_MS = 120_000;
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const BUNDLE = join(dirname(createRequire(import.meta.url).resolve("mqtt/package.json")), "dist/mqtt.min.js");

/** What runs in the page: a client, what it got, and what it sent that was confirmed. */
const SCRIPT = `
globalThis.seen = [];
globalThis.confirmed = [];
globalThis.states = [];
globalThis.open = (url, clientId) => new Promise((resolve) => {
  globalThis.client = mqtt.connect(url, {
    protocolVersion: 5, clientId, clean: false, reconnectPeriod: 200, properties: { sessionExpiryInterval: 600 },
  });
  client.on("message", (topic, payload, packet) =>
    seen.push({ topic, payload: payload.toString(), qos: packet.qos, retain: packet.retain }));
  for (const state of ["connect", "close"]) client.on(state, () => states.push(state));
  client.once("connect", () => resolve());
});
globalThis.publish = async (topic, from, to) => {
  await Promise.all(Array.from({ length: to - from }, async (_, index) => {
    await client.publishAsync(topic, String(from + index), { qos: 2 });
    confirmed.push(from + index);
  }));
};`;

interface Got {
  topic: string;
  payload: string;
  qos: number;
  retain: boolean;
}

let broker: Broker;
let server: Server;
let browser: Browser;

beforeAll(async () => {
  broker = await startBroker();
  const bundle = await readFile(BUNDLE);
  server = createServer((request, response) => {
    const isScript = request.url === "/mqtt.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(
      isScript ? bundle : `<!doctype html><script src="/mqtt.js"></script><script>${SCRIPT}</script>`,
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
}, TIMEOUT_MS);

afterAll(async () => {
  await browser?.close();
  server?.close();
  await broker?.stop();
}, TIMEOUT_MS);

async function openPage(clientId: string): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  await page.evaluate(`open("${broker.url.replace("http", "ws")}/mqtt", "${clientId}")`);
  return page;
}

const seen = (page: Page) => page.evaluate("seen") as Promise<Got[]>;
const texts = (list: { payload: string }[], topic: (one: never) => boolean) =>
  list.filter((one) => topic(one as never)).map(({ payload }) => payload);

async function until(holds: () => Promise<boolean>): Promise<void> {
  await expect.poll(holds, { timeout: 40_000, interval: 50 }).toBe(true);
}

describe.runIf(HAS_MOSQUITTO_CLIENTS)("MQTT.js in a page", { timeout: TIMEOUT_MS }, () => {
  it("[MQO7] [MQO6] retained, QoS 2 and shared traffic with the command line, across a SIGKILL of the broker", async () => {
    const pipe = await openTcpPipe(`${broker.url.replace("http", "ws")}/mqtt`, 7);
    const line = (...args: string[]) => mosquittoPub(pipe.port, "-q", "2", ...args);
    await line("-t", "kept", "-m", "before", "-r");
    const page = await openPage("page");
    await page.evaluate('client.subscribeAsync(["kept", "down/#", "$share/g/work/#"], { qos: 2 })');
    await until(async () => (await seen(page)).length === 1);
    expect(await seen(page)).toEqual([{ topic: "kept", payload: "before", qos: 2, retain: true }]);

    const durable = ["-V", "mqttv5", "-i", "line", "-c", "-x", "600", "-q", "2"];
    const up = await MosquittoSub.start(pipe.port, ...durable, "-t", "up/#");
    await page.evaluate('publish("up/a", 0, 20)');
    await line("-t", "down/a", "-m", "1");
    expect((await up.take(20)).map(({ payload }) => Number(payload))).toEqual(
      Array.from({ length: 20 }, (_, n) => n),
    );

    const member = await MosquittoSub.start(pipe.port, "-V", "mqttv5", "-t", "$share/g/work/#", "-q", "1");
    for (let job = 0; job < 6; job++) await line("-t", "work/x", "-m", `${job}`);
    const jobs = async () => [
      ...texts(await seen(page), ({ topic }: Got) => topic === "work/x"),
      ...member.messages.map(({ payload }) => payload),
    ];
    await until(async () => (await jobs()).length >= 6);
    expect((await jobs()).toSorted()).toEqual(["0", "1", "2", "3", "4", "5"]);
    await member.stop();
    await up.stop();

    // The page goes on publishing while the broker is gone, and MQTT.js resends when it is back.
    const publishing = page.evaluate('publish("up/a", 20, 60)');
    await broker.kill();
    await broker.restart();
    await publishing;
    await line("-t", "down/a", "-m", "2");
    const back = await MosquittoSub.start(pipe.port, ...durable, "-t", "up/#");
    const rest = (await back.take(40)).map(({ payload }) => Number(payload)).filter((number) => number >= 20);
    expect(rest.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, n) => n + 20));
    await until(async () => texts(await seen(page), ({ topic }: Got) => topic === "down/a").length >= 2);
    expect(texts(await seen(page), ({ topic }: Got) => topic === "down/a")).toEqual(["1", "2"]);
    expect(await page.evaluate("states")).toContain("close");
    await back.stop();
    await pipe.stop();
    await page.close();
  });
});
