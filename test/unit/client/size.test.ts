import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { bundleModule } from "../../../local/build.ts";

const MAX_CLIENT_BYTES = 10_000;
const MAX_DURABLE_BYTES = 12_000;
const MAX_TABS_BYTES = 6_000;

const gzipped = (text: string) => gzipSync(text, { level: 9 }).length;

it("[CLI12] the client with everything it needs is at most 10 KB gzipped", async () => {
  const bytes = gzipped(await bundleModule("client.js"));
  expect(bytes, `${bytes} bytes gzipped`).toBeLessThanOrEqual(MAX_CLIENT_BYTES);
});

it("[CLI14] what survives a reload is a module of its own, at most 12 KB gzipped, beside the client that it shares", async () => {
  const text = await bundleModule("durable.js");
  const bytes = gzipped(text);
  expect(bytes, `${bytes} bytes gzipped`).toBeLessThanOrEqual(MAX_DURABLE_BYTES);
  expect(new Set(text.match(/\bfrom"[^"]+"/g))).toEqual(new Set(['from"./client.js"']));
});

it("[CLI12] none of them has anything of Node's", async () => {
  for (const name of ["client.js", "durable.js", "tabs.js"] as const) {
    expect(await bundleModule(name)).not.toMatch(/["']node:|\brequire\(|\bBuffer\b/);
  }
});

it("[TAB11] what tabs share a connection with is at most 6 KB gzipped", async () => {
  const bytes = gzipped(await bundleModule("tabs.js"));
  expect(bytes, `${bytes} bytes gzipped`).toBeLessThanOrEqual(MAX_TABS_BYTES);
});
