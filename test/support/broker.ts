// Runs a real broker as a separate process for tests, benchmarks and the demo: starts, kills, restarts and stops it.
// Leaves every conversation with it to the caller.
import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const READY_TIMEOUT_MS = 60_000;
const END_TIMEOUT_MS = 30_000;
const KEPT_LINES = 200;

/** How to start a broker. */
export interface BrokerOptions {
  /** Folder of its data. By default a temporary one, which `stop()` removes. */
  dataFolder?: string;
  /** Port on loopback; 0 (the default) takes a free one and keeps it over restarts. */
  port?: number;
  /** Settings such as `DUNLIN_AUTH_SECRET`, read at every start. Those of this process's own environment are not passed on. */
  env?: Record<string, string>;
  /** The program that runs it, relative to the repository; `local/start.ts` unless said. */
  program?: string;
}

/** How a broker process ended. */
export interface BrokerEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A broker process. */
export interface Broker {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** `ws://127.0.0.1:PORT/ws` */
  readonly wsUrl: string;
  readonly port: number;
  readonly dataFolder: string;
  /** Process id of the Node parent, and of the process group that holds it and its runtime. */
  readonly pid: number;
  /** Settles when the parent and its runtime are both gone, however that came about. */
  readonly ended: Promise<BrokerEnd>;
  /** The last lines it printed on both streams, over all restarts. */
  output(): string;
  /** Sends a signal to the parent and its runtime at the same instant, and waits until both are gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port and data, after a SIGKILL when it still runs. */
  restart(): Promise<void>;
  /** Asks it to end with SIGTERM, throws unless it does so with code 0, and removes a data folder of its own. */
  stop(): Promise<void>;
}

/**
 * Starts a broker and waits until it says that it is ready.
 *
 * @throws Error with everything it printed, when it ends or stays silent before that
 * @example
 * const broker = await startBroker();
 * await fetch(`${broker.url}/healthz`);
 * await broker.kill();
 * await broker.restart();
 * await broker.stop();
 */
export async function startBroker(options: BrokerOptions = {}): Promise<Broker> {
  const dataFolder = options.dataFolder ?? (await mkdtemp(join(tmpdir(), "dunlin-")));
  const ownsFolder = options.dataFolder === undefined;
  if (ownsFolder) ownFolders.add(dataFolder);
  const lines: string[] = [];
  const start = (port: number) =>
    launch({ program: "local/start.ts", env: {}, ...options, dataFolder, port }, lines);
  let running = await start(options.port ?? 0).catch(async (error: unknown) => {
    if (ownsFolder) await removeFolder(dataFolder);
    throw error;
  });
  const { port } = running;

  return {
    url: `http://127.0.0.1:${port}`,
    wsUrl: `ws://127.0.0.1:${port}/ws`,
    port,
    dataFolder,
    get pid() {
      return running.child.pid!;
    },
    get ended() {
      return running.ended;
    },
    output: () => lines.join("\n"),
    async kill(signal = "SIGKILL") {
      signalGroup(running.child, signal);
      await endInTime(running, signal, lines);
    },
    async restart() {
      signalGroup(running.child, "SIGKILL");
      await endInTime(running, "SIGKILL", lines);
      running = await start(port);
    },
    async stop() {
      const wasRunning = liveGroups.has(running.child.pid!);
      running.child.kill("SIGTERM");
      const end = await endInTime(running, "SIGTERM", lines);
      if (ownsFolder) await removeFolder(dataFolder);
      if (wasRunning && end.code !== 0) {
        throw new Error(`the broker ended with ${JSON.stringify(end)} on SIGTERM:\n${lines.join("\n")}`);
      }
    },
  };
}

interface Running {
  child: ChildProcess;
  port: number;
  ended: Promise<BrokerEnd>;
}

async function launch(options: Required<BrokerOptions>, lines: string[]): Promise<Running> {
  // A group of its own, so that one signal reaches the parent and the runtime at the same instant.
  const child = spawn(process.execPath, [join(ROOT, options.program)], {
    cwd: ROOT,
    env: { ...ambient(), ...options.env, DUNLIN_DATA: options.dataFolder, PORT: String(options.port) },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const pid = child.pid;
  if (pid !== undefined) liveGroups.add(pid);
  const guard = endWithThisProcess(pid);
  // The runtime holds the same stdout, so `close` means that it is gone too.
  const ended = new Promise<BrokerEnd>((resolve) => {
    child.once("close", (code, signal) => {
      if (pid !== undefined) liveGroups.delete(pid);
      guard?.kill();
      resolve({ code, signal });
    });
  });
  const ready = new Promise<number>((resolve) => {
    const keep = (line: string) => {
      lines.push(line);
      if (lines.length > KEPT_LINES) lines.shift();
      const port = line.includes("ready") ? /:(\d+)/.exec(line)?.[1] : undefined;
      if (port) resolve(Number(port));
    };
    createInterface({ input: child.stdout! }).on("line", keep);
    createInterface({ input: child.stderr! }).on("line", keep);
  });
  const failed = Promise.race([
    new Promise<never>((_, reject) => child.once("error", reject)),
    ended.then((end) => fail(`the broker ended (${JSON.stringify(end)}) before it was ready`, lines)),
  ]);
  try {
    const port = await inTime(Promise.race([ready, failed]), READY_TIMEOUT_MS, () =>
      fail(`the broker was not ready within ${READY_TIMEOUT_MS} ms`, lines),
    );
    failed.catch(() => {});
    return { child, port, ended };
  } catch (error) {
    signalGroup(child, "SIGKILL");
    throw error;
  }
}

/**
 * A group of its own is out of the reach of whatever ends this process. So a shell waits on a pipe that only this process
 * holds open, and ends the group when the pipe closes: also after a SIGKILL, which runs no exit handler.
 */
function endWithThisProcess(pid: number | undefined): ChildProcess | undefined {
  if (pid === undefined) return undefined;
  const guard = spawn("sh", ["-c", `read _; kill -9 -${pid}`], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  guard.unref();
  return guard;
}

/** This process's environment without what would change the broker under test. */
function ambient(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("DUNLIN_") && name !== "HOST"),
  );
}

async function endInTime(running: Running, signal: string, lines: string[]): Promise<BrokerEnd> {
  return inTime(running.ended, END_TIMEOUT_MS, () => {
    signalGroup(running.child, "SIGKILL");
    return fail(`the broker still runs ${END_TIMEOUT_MS} ms after ${signal}`, lines);
  });
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || !liveGroups.has(child.pid)) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function inTime<T>(work: Promise<T>, timeoutMs: number, late: () => T): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<T>((resolve, reject) => {
    timer = setTimeout(() => {
      try {
        resolve(late());
      } catch (error) {
        reject(error);
      }
    }, timeoutMs);
  });
  try {
    return await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

function fail(what: string, lines: string[]): never {
  throw new Error(`${what}; it printed:\n${lines.join("\n") || "(nothing)"}`);
}

async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  ownFolders.delete(folder);
}

// A run that ends early leaves no folders behind, and so no brokers that write into them.
const liveGroups = new Set<number>();
const ownFolders = new Set<string>();
process.once("exit", () => {
  for (const pid of liveGroups) {
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // It is gone already.
    }
  }
  for (const folder of ownFolders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});
