// Writes the configuration that runs the built Worker on workerd, with its objects' databases in a folder.
import type { WorkerConfig } from "./build.ts";

/** Where and how the local broker listens and keeps its data. */
export interface LocalOptions {
  host: string;
  port: number;
  /** Folder of the Durable Objects' databases. */
  objectsFolder: string;
  /** Text bindings: the Worker's variables and secrets. */
  vars: Record<string, string>;
}

/** Returns workerd's configuration in its Cap'n Proto text form. The bundle must lie beside it as `worker.js`. */
export function workerdConfig(worker: WorkerConfig, options: LocalOptions): string {
  const objects = worker.durable_objects.bindings;
  const bindings = [
    ...objects.map((o) => `(name = ${quote(o.name)}, durableObjectNamespace = ${quote(o.class_name)})`),
    ...Object.entries(options.vars).map(([name, value]) => `(name = ${quote(name)}, text = ${quote(value)})`),
  ];
  const namespaces = objects.map(
    (o) =>
      `(className = ${quote(o.class_name)}, uniqueKey = ${quote(`dunlin-${o.class_name}`)}, enableSql = true)`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "dunlin", worker = .dunlin),
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
`;
}

// A JSON string is a valid Cap'n Proto text literal for everything but \uXXXX, which cannot occur in paths and settings after this.
function quote(text: string): string {
  return `"${text.replace(/[\\"]/g, "\\$&").replace(/[\n\r\t]/g, " ")}"`;
}
