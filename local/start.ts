// `npm start`: the whole broker on one machine, with no account. Builds the Worker, runs it on workerd, keeps its data in a folder.
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { buildAssets, bundleWorker, readWorkerConfig } from "./build.ts";
import { readHandlers } from "./handlers.ts";
import { startRuntime } from "./runtime.ts";
import { workerdConfig } from "./workerd-config.ts";

const STOP_GRACE_MS = 2_000;
const PORT_RETRY_MS = 3_000;
const PARENT_CHECK_MS = 200;
/** On one machine every object is a database of its own with open files: topics share a few. */
const LOCAL_TOPIC_BUCKETS = "64";
/** Variables of the environment that reach the Worker, besides all DUNLIN_… */
const PASSED_ON = new Set(["GATEWAYS", "TOPIC_BUCKETS", "TOPIC_OWN"]);

const host = process.env.HOST ?? "127.0.0.1";
const port = Number(process.env.PORT ?? 8787);
const dataFolder = resolve(process.env.DUNLIN_DATA ?? ".dunlin");

const config = await readWorkerConfig();
const runFolder = join(dataFolder, "run");
const objectsFolder = join(dataFolder, "objects");
const assetsFolder = join(runFolder, "assets");
await mkdir(runFolder, { recursive: true });
await mkdir(objectsFolder, { recursive: true });
await writeFile(join(runFolder, "worker.js"), await bundleWorker(config.main));
await writeFile(join(runFolder, "assets-worker.js"), await bundleWorker("local/assets-worker.ts"));
const handlers = readHandlers(process.env.DUNLIN_HANDLERS ?? "");
for (const [name, file] of handlers) {
  await writeFile(join(runFolder, `${name}.js`), await bundleWorker(resolve(file)));
}
await buildAssets(assetsFolder);
await writeFile(
  join(runFolder, "config.capnp"),
  workerdConfig(config, {
    host,
    port,
    objectsFolder,
    assetsFolder,
    vars: { ...config.vars, ...localVars() },
    handlers: [...handlers.keys()],
  }),
);

const runtime = await startWhenPortIsFree();
const shownHost = host.includes(":") ? `[${host}]` : host;
console.log(`Dunlin is ready on http://${shownHost}:${runtime.port} (data in ${dataFolder})`);
if (!isLoopback(host) && !authConfigured()) {
  console.log(
    "It listens beyond this machine without authentication, so it refuses every request: set DUNLIN_AUTH_SECRET.",
  );
}

let stopping = false;
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, async () => {
    stopping = true;
    await runtime.stop(STOP_GRACE_MS);
    process.exit(0);
  });
}
// npm ended by SIGKILL cannot pass anything on: a broker that nobody can stop any more would keep the port and the data.
if (process.env.npm_lifecycle_event !== undefined) {
  const parent = process.ppid;
  setInterval(async () => {
    if (process.ppid === parent) return;
    await runtime.stop(STOP_GRACE_MS);
    process.exit(1);
  }, PARENT_CHECK_MS).unref();
}
process.exitCode = await runtime.ended;
if (!stopping) {
  console.error(
    `workerd has ended with code ${process.exitCode}. Start again: what was confirmed is in ${dataFolder}.`,
  );
}

/** Settings the Worker gets beside wrangler.toml's: secrets from the environment, and whether it may be open. */
function localVars(): Record<string, string> {
  const vars: Record<string, string> = { TOPIC_BUCKETS: LOCAL_TOPIC_BUCKETS };
  for (const [name, value] of Object.entries(process.env)) {
    if ((name.startsWith("DUNLIN_") || PASSED_ON.has(name)) && name !== "DUNLIN_DATA" && value)
      vars[name] = value;
  }
  delete vars.DUNLIN_OPEN;
  delete vars.DUNLIN_HANDLERS;
  // Nobody but this machine's own programs can reach a loopback address: only there is no authentication an option.
  if (isLoopback(host)) vars.DUNLIN_OPEN = "loopback";
  return vars;
}

function authConfigured(): boolean {
  return Boolean(process.env.DUNLIN_AUTH_SECRET || process.env.DUNLIN_JWKS_URL);
}

function isLoopback(name: string): boolean {
  return name === "localhost" || name === "::1" || /^127\./.test(name);
}

/** A broker ended a moment ago may still hold the port: tries for a short while before it gives up. */
async function startWhenPortIsFree() {
  const deadline = Date.now() + PORT_RETRY_MS;
  for (;;) {
    try {
      return await startRuntime(join(runFolder, "config.capnp"));
    } catch (error) {
      if (!String(error).includes("Address already in use")) throw error;
      if (Date.now() > deadline) {
        console.error(`Port ${port} on ${host} is in use; set PORT to another one.`);
        process.exit(1);
      }
      await new Promise((retry) => setTimeout(retry, 100));
    }
  }
}
