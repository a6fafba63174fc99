import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { bundleClient, bundleTabs } from "../../../local/build.ts";

const MAX_GZIP_BYTES = 10_000;
const MAX_TABS_GZIP_BYTES = 6_000;

it("[CLI12] the client with everything it needs is at most 10 KB gzipped", async () => {
  const bytes = gzipSync(await bundleClient(), { level: 9 }).length;
  expect(bytes, `${bytes} bytes gzipped`).toBeLessThanOrEqual(MAX_GZIP_BYTES);
});

it("[TAB11] what tabs share a connection with is at most 6 KB gzipped", async () => {
  const bytes = gzipSync(await bundleTabs(), { level: 9 }).length;
  expect(bytes, `${bytes} bytes gzipped`).toBeLessThanOrEqual(MAX_TABS_GZIP_BYTES);
});
