// Bundles the Worker and the browser client. Used by `npm start`, `wrangler` (through wrangler.toml) and the size check.
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { parse } from "smol-toml";

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

/** Bundles the client into one ES module for browsers and returns its text. */
export async function bundleClient(): Promise<string> {
  return bundle("client/index.ts", { conditions: ["browser"], external: [], minify: true });
}

/** Bundles what tabs share a connection with into one ES module and returns its text. */
export async function bundleTabs(): Promise<string> {
  return bundle("client/tabs/index.ts", { conditions: ["browser"], external: [], minify: true });
}

/** Writes what browsers load into a folder: the page, the client as `client.js`, and what tabs share a connection with as `tabs.js`. */
export async function buildAssets(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await cp(`${root}local/page`, folder, { recursive: true });
  await writeFile(`${folder}/client.js`, await bundleClient());
  await writeFile(`${folder}/tabs.js`, await bundleTabs());
}

async function bundle(
  entry: string,
  options: { conditions: string[]; external: string[]; minify?: boolean },
): Promise<string> {
  const result = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    logLevel: "silent",
    ...options,
  });
  return result.outputFiles[0]!.text;
}

// As a program: the assets of a deployment, where wrangler.toml looks for them.
if (process.argv[1] === fileURLToPath(import.meta.url)) await buildAssets(`${root}dist/assets`);
