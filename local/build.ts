// Bundles the Worker and the browser client. Used by `npm start`, `wrangler` (through wrangler.toml) and the size check.
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build, type Plugin } from "esbuild";
import { parse } from "smol-toml";
import { INTERNAL_NAMES } from "./internal-names.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The parts of wrangler.toml that a local run shares with a deployment, so that there is one source for them. */
export interface WorkerConfig {
  main: string;
  compatibility_date: string;
  compatibility_flags: string[];
  vars: Record<string, string>;
  durable_objects: { bindings: { name: string; class_name: string }[] };
}

/** Reads wrangler.toml. */
export async function readWorkerConfig(): Promise<WorkerConfig> {
  return parse(await readFile(`${root}wrangler.toml`, "utf8")) as unknown as WorkerConfig;
}

/** Bundles the Worker into one ES module and returns its text. */
export async function bundleWorker(entry: string): Promise<string> {
  return bundle(entry, { conditions: ["workerd", "worker", "browser"], external: ["cloudflare:*"] });
}

/** What browsers load beside the page: the name of each module, and the file that it begins with. */
const MODULES = {
  "client.js": "client/index.ts",
  "durable.js": "client/durable/index.ts",
  "presence.js": "client/presence/presence.ts",
  "tabs.js": "client/tabs/index.ts",
};

/** Makes every import of the client one of the module beside it, so that the classes of both are the same. */
const SHARED_CLIENT: Plugin = {
  name: "shared-client",
  setup: ({ onResolve }) =>
    onResolve({ filter: /^\.\.\/index\.ts$/ }, () => ({ path: "./client.js", external: true })),
};

/** Bundles a module for browsers and returns its text. */
export async function bundleModule(name: keyof typeof MODULES): Promise<string> {
  return bundle(MODULES[name], {
    conditions: ["browser"],
    minify: true,
    // Not in the others: IndexedDB knows its names as text. They use the client by its public face alone.
    ...(name === "client.js" && { mangleProps: INTERNAL_NAMES }),
    // The client logs nothing; what partysocket would log is longer than some of our files.
    drop: ["console"],
    plugins: [SHARED_CLIENT],
  });
}

/** Writes what browsers load into a folder: the page, and the client's modules. */
export async function buildAssets(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await cp(`${root}local/page`, folder, { recursive: true });
  for (const name of Object.keys(MODULES) as (keyof typeof MODULES)[]) {
    await writeFile(`${folder}/${name}`, await bundleModule(name));
  }
}

async function bundle(entry: string, options: BuildOptions): Promise<string> {
  const result = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    format: "esm",
    target: "es2024",
    logLevel: "silent",
    ...options,
    write: false,
  });
  return result.outputFiles[0]!.text;
}

// As a program: the assets of a deployment, where wrangler.toml looks for them.
if (process.argv[1] === fileURLToPath(import.meta.url)) await buildAssets(`${root}dist/assets`);
