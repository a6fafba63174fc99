import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Runtime, startRuntime } from "../../local/runtime.ts";
import { type Broker, startBroker } from "../support/broker.ts";

const TIMEOUT_MS = 120_000;
const STOP_GRACE_MS = 2_000;
const EXAMPLES = fileURLToPath(new URL("../../examples/", import.meta.url));

// The runtime has no cron of its own: /work stands for the trigger.
const ENTRY = `
import send from "./worker-send.ts";
import consume from "./worker-consume.ts";
export default {
  async fetch(request, env, context) {
    if (new URL(request.url).pathname !== "/work") return send.fetch(request, env, context);
    await consume.scheduled({}, env);
    return new Response("done");
  },
};`;

let broker: Broker;
let runtime: Runtime;
let folder: string;
let url: string;

beforeAll(async () => {
  broker = await startBroker();
  folder = await mkdtemp(join(tmpdir(), "dunlin-edge-"));
  const built = await build({
    stdin: { contents: ENTRY, resolveDir: EXAMPLES },
    bundle: true,
    format: "esm",
    conditions: ["workerd", "worker", "browser"],
    write: false,
  });
  await writeFile(join(folder, "worker.js"), built.outputFiles[0]!.text);
  await writeFile(join(folder, "config.capnp"), config(broker.url));
  runtime = await startRuntime(join(folder, "config.capnp"));
  url = `http://127.0.0.1:${runtime.port}`;
}, TIMEOUT_MS);

afterAll(async () => {
  await runtime?.stop(STOP_GRACE_MS);
  await broker?.stop();
  await rm(folder, { recursive: true, force: true });
}, TIMEOUT_MS);

function config(brokerUrl: string): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "edge", worker = .edge), (name = "internet", network = (allow = ["private"]))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "edge")],
);
const edge :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-10-01",
  bindings = [(name = "DUNLIN_URL", text = "${brokerUrl}"), (name = "RUN_MS", text = "1500")],
);
`;
}

const order = (id: number, key: string) =>
  fetch(url, { method: "POST", body: JSON.stringify({ id }), headers: { "idempotency-key": key } });

async function stats(): Promise<Record<string, number>> {
  const response = await fetch(`${broker.url}/v1/queues/orders`);
  return ((await response.json()) as { stats: Record<string, number> }).stats;
}

describe("the client in a Worker", { timeout: TIMEOUT_MS }, () => {
  it("[CLI12] [CLI3] sends, and a repeated request is stored once", async () => {
    const receipts = [];
    for (const [id, key] of [
      [1, "one"],
      [2, "two"],
      [1, "one"],
    ] as const) {
      const response = await order(id, key);
      expect(response.status).toBe(201);
      receipts.push(await response.json());
    }
    expect(receipts).toMatchObject([
      { seq: 1, duplicate: false },
      { seq: 2, duplicate: false },
      { seq: 1, duplicate: true },
    ]);
    expect(await stats()).toMatchObject({ accepted: 2, ready: 2 });
  });

  it("[CLI12] [CLI11] consumes until its time is up, and keeps nothing", async () => {
    expect(await (await fetch(`${url}/work`)).text()).toBe("done");
    expect(await stats()).toMatchObject({ settled: 2, ready: 0, leased: 0 });
  });
});
