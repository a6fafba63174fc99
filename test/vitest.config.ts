// Test projects by where they run: pure parts in Node, objects inside workerd, whole brokers over real sockets.
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { bundleWorker } from "../local/build.ts";

const root = new URL("..", import.meta.url).pathname;
/** A second Worker, which the broker calls. */
const handlers = await bundleWorker("test/workerd/support/handlers.ts");

export default defineConfig({
  test: {
    projects: [
      {
        root,
        test: {
          name: "node",
          include: ["test/unit/**/*.test.ts", "test/model/**/*.test.ts"],
          testTimeout: 60_000,
        },
      },
      {
        root,
        plugins: [
          cloudflareTest({
            wrangler: { configPath: `${root}wrangler.toml` },
            miniflare: {
              bindings: { DUNLIN_OPEN: "loopback" },
              serviceBindings: {
                HANDLER_SCRIPTED: { name: "handlers", entrypoint: "Scripted" },
                HANDLER_ORDERS: { name: "handlers", entrypoint: "Orders" },
              },
              workers: [
                {
                  name: "handlers",
                  modules: [{ type: "ESModule", path: "handlers.js", contents: handlers }],
                  compatibilityDate: "2026-10-01",
                },
              ],
            },
          }),
        ],
        test: { name: "workerd", include: ["test/workerd/**/*.test.ts"], testTimeout: 60_000 },
      },
      {
        root,
        test: {
          name: "broker",
          include: ["test/e2e/**/*.test.ts", "test/fault/**/*.test.ts", "test/browser/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // Each file runs brokers of its own and mostly waits: three at once keep two cores busy.
          maxWorkers: 3,
        },
      },
    ],
  },
});
