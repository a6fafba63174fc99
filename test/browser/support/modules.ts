// A site on loopback that serves the client's modules as a broker does, and a page that imports them. It stays when the broker dies.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { bundleModule } from "../../../local/build.ts";

/** The running site. */
export interface ModuleSite {
  url: string;
  close(): Promise<void>;
}

/** Serves a page that runs a script of this folder. */
export async function serveModules(script: string): Promise<ModuleSite> {
  const texts: Record<string, string> = {
    "/client.js": await bundleModule("client.js"),
    "/durable.js": await bundleModule("durable.js"),
    "/page.js": await bundlePage(script),
  };
  const server = createServer((request, response) => {
    const text = texts[request.url!];
    response.setHeader("content-type", text === undefined ? "text/html" : "text/javascript");
    response.end(text ?? '<!doctype html><script type="module" src="/page.js"></script>');
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function bundlePage(script: string): Promise<string> {
  const built = await build({
    entryPoints: [fileURLToPath(new URL(script, import.meta.url))],
    bundle: true,
    format: "esm",
    target: "es2024",
    write: false,
    plugins: [
      {
        name: "served",
        setup({ onResolve }) {
          onResolve({ filter: /\/client\/index\.ts$/ }, () => ({ path: "./client.js", external: true }));
          onResolve({ filter: /\/durable\/index\.ts$/ }, () => ({ path: "./durable.js", external: true }));
        },
      },
    ],
  });
  return built.outputFiles[0]!.text;
}
