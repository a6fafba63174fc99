// Runs workerd as a child that cannot outlive this process, and tells when it listens.
import { type ChildProcess, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

/** A running workerd. */
export interface Runtime {
  /** The port it listens on (the chosen one when 0 was asked for). */
  port: number;
  /** Settles with the exit code when workerd ends for whatever reason. */
  ended: Promise<number>;
  /** Asks it to finish, and ends it after `graceMs`: whatever was confirmed is already on disk. */
  stop(graceMs: number): Promise<void>;
}

/**
 * Starts workerd on a configuration file.
 *
 * @param configPath path of the Cap'n Proto text configuration
 * @returns the runtime once its socket listens
 * @throws Error when workerd ends before that, with what it printed
 */
export async function startRuntime(configPath: string): Promise<Runtime> {
  const binary = createRequire(import.meta.url).resolve("workerd/bin/workerd");
  const child = spawn(binary, ["serve", configPath, "--control-fd=3"], {
    stdio: ["ignore", "inherit", "pipe", "pipe"],
  });
  // What it prints before it listens belongs to the error, if it comes to that.
  const printed: string[] = [];
  let started = false;
  createInterface({ input: child.stderr! }).on("line", (line) => {
    if (started) console.error(line);
    else printed.push(line);
  });
  const ended = new Promise<number>((resolve) => child.once("exit", (code) => resolve(code ?? 1)));
  const guard = endWithParent(child);
  ended.then(() => guard?.kill());

  const port = await Promise.race([
    listening(child.stdio[3] as Readable),
    ended.then((code) => {
      throw new Error(`workerd ended with code ${code} before it listened:\n${printed.join("\n")}`);
    }),
  ]);
  started = true;
  for (const line of printed) console.error(line);
  return {
    port,
    ended,
    async stop(graceMs) {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** Resolves with the port of workerd's control message `{"event":"listen","socket":"http","port":…}`. */
function listening(control: Readable): Promise<number> {
  return new Promise((resolve) => {
    createInterface({ input: control }).on("line", (line) => {
      const message = JSON.parse(line) as { event: string; socket?: string; port?: number };
      if (message.event === "listen" && message.socket === "http") resolve(message.port!);
    });
  });
}

/**
 * A child survives its parent's SIGKILL, and a broker without its parent would hold the port and the data for ever.
 * So a shell waits on a pipe that only this process holds open, and ends workerd when the pipe closes.
 */
function endWithParent(child: ChildProcess): ChildProcess | undefined {
  if (process.platform === "win32") return undefined;
  const guard = spawn("sh", ["-c", `read _; kill -9 ${child.pid}`], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  guard.unref();
  return guard;
}
