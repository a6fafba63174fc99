// Starts a broker whose Worker is worker/chaos-worker.ts: as local/start.ts does, without a page and with the same bundle at every restart.
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bundleWorker, readWorkerConfig } from "../../local/build.ts";
import { startRuntime } from "../../local/runtime.ts";
import { workerdConfig } from "../../local/workerd-config.ts";

const STOP_GRACE_MS = 2_000;
const PORT_RETRY_MS = 5_000;

const dataFolder = process.env.DUNLIN_DATA!;
const runFolder = join(dataFolder, "run");
const objectsFolder = join(dataFolder, "objects");
const assetsFolder = join(runFolder, "assets");
const configPath = join(runFolder, "config.capnp");
const config = await readWorkerConfig();
if (!existsSync(join(runFolder, "assets-worker.js"))) {
  await mkdir(assetsFolder, { recursive: true });
  await mkdir(objectsFolder, { recursive: true });
  await writeFile(join(runFolder, "worker.js"), await bundleWorker("test/check/worker/chaos-worker.ts"));
  await writeFile(join(runFolder, "assets-worker.js"), await bundleWorker("local/assets-worker.ts"));
}
const vars: Record<string, string> = { ...config.vars, TOPIC_BUCKETS: "64" };
for (const [name, value] of Object.entries(process.env)) {
  if (/^(DUNLIN_|GATEWAYS$|TOPIC_)/.test(name) && value !== undefined) vars[name] = value;
}
vars.DUNLIN_OPEN = "loopback";
const port = Number(process.env.PORT ?? 0);
const host = "127.0.0.1";
await writeFile(
  configPath,
  workerdConfig(config, { host, port, objectsFolder, assetsFolder, vars, handlers: [] }),
);

const runtime = await startWhenPortIsFree();
console.log(`the broker under check is ready on http://127.0.0.1:${runtime.port}`);
process.once("SIGTERM", async () => {
  await runtime.stop(STOP_GRACE_MS);
  process.exit(0);
});
process.exitCode = await runtime.ended;

/** One ended a moment ago may still hold the port. */
async function startWhenPortIsFree() {
  const deadline = Date.now() + PORT_RETRY_MS;
  for (;;) {
    try {
      return await startRuntime(configPath);
    } catch (error) {
      if (!String(error).includes("Address already in use") || Date.now() > deadline) throw error;
      await new Promise((retry) => setTimeout(retry, 100));
    }
  }
}
