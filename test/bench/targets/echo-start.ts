// Runs the echo Worker on the same workerd, with the broker's compatibility settings and storage; its data folder is the argument.
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readWorkerConfig, type WorkerConfig } from "../../../local/build.ts";
import { startRuntime } from "../../../local/runtime.ts";

const STOP_GRACE_MS = 2_000;

const folder = process.argv[2]!;
await mkdir(join(folder, "objects"));
await copyFile(new URL("echo-worker.js", import.meta.url), join(folder, "worker.js"));
await writeFile(join(folder, "config.capnp"), echoConfig(await readWorkerConfig()));

const runtime = await startRuntime(join(folder, "config.capnp"));
console.log(`ready on http://127.0.0.1:${runtime.port}`);
process.once("SIGTERM", () => runtime.stop(STOP_GRACE_MS));
process.exitCode = await runtime.ended;

function echoConfig({ compatibility_date, compatibility_flags }: WorkerConfig): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "echo", worker = .echo),
    (name = "objects", disk = (path = ${JSON.stringify(join(folder, "objects"))}, writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "echo")],
);
const echo :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = ${JSON.stringify(compatibility_date)},
  compatibilityFlags = ${JSON.stringify(compatibility_flags)},
  durableObjectNamespaces = [
    (className = "Echo", uniqueKey = "echo", enableSql = true),
    (className = "Fan", uniqueKey = "fan", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [
    (name = "ECHO", durableObjectNamespace = "Echo"),
    (name = "FAN", durableObjectNamespace = "Fan"),
  ],
);
`;
}
