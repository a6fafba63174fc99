// Writes the configuration that runs the built Worker on workerd, with its objects' databases in a folder.
import type { WorkerConfig } from "./build.ts";

/** Where and how the local broker listens and keeps its data. */
export interface LocalOptions {
  host: string;
  port: number;
  /** Folder of the Durable Objects' databases. */
  objectsFolder: string;
  /** Folder of what browsers load. */
  assetsFolder: string;
  /** Text bindings: the Worker's variables and secrets. */
  vars: Record<string, string>;
  /** Names of the Workers that take queues' messages; NAME.js beside the configuration is the bundle of each. */
  handlers: string[];
}

/** Returns workerd's configuration in its Cap'n Proto text form. The bundles must lie beside it. */
export function workerdConfig(worker: WorkerConfig, options: LocalOptions): string {
  const objects = worker.durable_objects.bindings;
  const bindings = [
    ...objects.map((o) => `(name = ${quote(o.name)}, durableObjectNamespace = ${quote(o.class_name)})`),
    `(name = "ASSETS", service = "assets")`,
    ...options.handlers.map((name) => `(name = ${quote(name)}, service = ${quote(name)})`),
    ...Object.entries(options.vars).map(([name, value]) => `(name = ${quote(name)}, text = ${quote(value)})`),
  ];
  const namespaces = objects.map(
    (o) =>
      `(className = ${quote(o.class_name)}, uniqueKey = ${quote(`dunlin-${o.class_name}`)}, enableSql = true)`,
  );
  const handlers = options.handlers.map(
    (name) => `    (name = ${quote(name)}, worker = ${handlerWorker(name, worker)}),\n`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "dunlin", worker = .dunlin),
    (name = "assets", worker = .assets),
${handlers.join("")}    (name = "files", disk = (path = ${quote(options.assetsFolder)})),
    (name = "objects", disk = (path = ${quote(options.objectsFolder)}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = ${quote(`${options.host.includes(":") ? `[${options.host}]` : options.host}:${options.port}`)}, http = (), service = "dunlin")],
);
const dunlin :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = ${quote(worker.compatibility_date)},
  compatibilityFlags = [${worker.compatibility_flags.map(quote).join(", ")}],
  durableObjectNamespaces = [${namespaces.join(", ")}],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [${bindings.join(", ")}],
);
const assets :Workerd.Worker = (
  modules = [(name = "assets-worker.js", esModule = embed "assets-worker.js")],
  compatibilityDate = ${quote(worker.compatibility_date)},
  bindings = [(name = "FILES", service = "files")],
);
`;
}

/** A handler has a default entrypoint, the internet, and nothing else. */
function handlerWorker(name: string, { compatibility_date }: WorkerConfig): string {
  const module = `(name = ${quote(`${name}.js`)}, esModule = embed ${quote(`${name}.js`)})`;
  return `(modules = [${module}], compatibilityDate = ${quote(compatibility_date)})`;
}

// A JSON string is a valid Cap'n Proto text literal for everything but \uXXXX, which cannot occur in paths and settings after this.
function quote(text: string): string {
  return `"${text.replace(/[\\"]/g, "\\$&").replace(/[\n\r\t]/g, " ")}"`;
}
