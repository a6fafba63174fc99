// Runs the echo Worker on the same workerd with the same settings as the broker; its data folder is the argument.
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readWorkerConfig } from "../../../local/build.ts";
import { startRuntime } from "../../../local/runtime.ts";
import { workerdConfig } from "../../../local/workerd-config.ts";

const STOP_GRACE_MS = 2_000;

const folder = process.argv[2]!;
const objectsFolder = join(folder, "objects");
await mkdir(objectsFolder, { recursive: true });
await copyFile(new URL("echo-worker.js", import.meta.url), join(folder, "worker.js"));
const config = await readWorkerConfig();
const echo = { ...config, durable_objects: { bindings: [{ name: "ECHO", class_name: "Echo" }] } };
await writeFile(
  join(folder, "config.capnp"),
  workerdConfig(echo, { host: "127.0.0.1", port: 0, objectsFolder, vars: {} }),
);

const runtime = await startRuntime(join(folder, "config.capnp"));
console.log(`ready on http://127.0.0.1:${runtime.port}`);
process.once("SIGTERM", () => runtime.stop(STOP_GRACE_MS));
process.exitCode = await runtime.ended;
