// Headless Chromium, and a web site on loopback with nothing on it but the page under test.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import type { PageApi, PageLog } from "./page.ts";

/** Where the browser is. */
export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
/** What keeps it to itself. */
export const QUIET = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** Generous: a slow machine runs the broker and the browser at once. */
const WAIT_MS = 60_000;

/** A tab with the page open in it. */
export class Tab {
  readonly page: Page;
  readonly context: BrowserContext;

  constructor(page: Page) {
    this.page = page;
    this.context = page.context();
  }

  /** Calls a function of the page. */
  call<Name extends Exclude<keyof PageApi, "log">>(
    name: Name,
    ...args: Parameters<PageApi[Name]>
  ): Promise<Awaited<ReturnType<PageApi[Name]>>> {
    return this.page.evaluate(
      ([called, list]) => {
        const api = (globalThis as unknown as { page: Record<string, (...values: unknown[]) => unknown> })
          .page;
        return api[called]!(...list);
      },
      [name as string, args as unknown[]] as const,
    ) as Promise<Awaited<ReturnType<PageApi[Name]>>>;
  }

  /** What happened in the page so far. */
  log(): Promise<PageLog> {
    return this.page.evaluate(() => (globalThis as unknown as { page: { log: PageLog } }).page.log);
  }

  /**
   * Polls the page's record until it satisfies.
   *
   * @throws Error with the record after a minute
   */
  async until(what: string, holds: (log: PageLog) => boolean): Promise<PageLog> {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const log = await this.log();
      if (holds(log)) return log;
      if (Date.now() > deadline) throw new Error(`${what}: not within ${WAIT_MS} ms; ${diagnosis(log)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** A browser and the site it visits. */
export interface Site {
  /**
   * Opens the page in a tab of its own browser context, so that tabs can be offline one by one.
   *
   * @param options.beside a tab to share the context with, and so the origin's storage, locks and channels
   * @param options.before what runs in the page before its own script
   * @param options.strict with a policy that forbids workers
   */
  newTab(options?: { beside?: Tab; before?: () => void; strict?: boolean }): Promise<Tab>;
  close(): Promise<void>;
}

/** Starts the site and the browser. */
export async function openSite(): Promise<Site> {
  const script = await bundlePage();
  const server = createServer((request, response) => {
    const isScript = request.url === "/page.js";
    if (request.url === "/strict") response.setHeader("content-security-policy", "worker-src 'none'");
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : '<!doctype html><script type="module" src="/page.js"></script>');
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: QUIET });
  return {
    async newTab({ beside, before, strict } = {}) {
      const context = beside?.context ?? (await browser.newContext());
      const page = await context.newPage();
      if (before) await page.addInitScript(before);
      await page.goto(`http://127.0.0.1:${port}/${strict ? "strict" : ""}`);
      await page.waitForFunction(() => "page" in globalThis);
      return new Tab(page);
    },
    async close() {
      await browser.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function bundlePage(): Promise<string> {
  const entry = fileURLToPath(new URL("page.ts", import.meta.url));
  const built = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    format: "esm",
    write: false,
  });
  return built.outputFiles[0]!.text;
}

function diagnosis(log: PageLog): string {
  const { confirmed, handedOut, acked, lost, states, errors } = log;
  const counts = `${confirmed.length} confirmed, ${handedOut.length} handed out, ${acked.length} acked, ${lost.length} lost`;
  return `${counts}; states ${states.join(" ")}; errors ${errors.join(" | ") || "none"}`;
}
