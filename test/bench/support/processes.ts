// Child processes of the bench: starting them with a deadline, ending them by id, and what /proc tells of them.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { access, readdir, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { createInterface } from "node:readline";

const STOP_GRACE_MS = 15_000;
const KEPT_LINES = 40;
/** The unit of processor times in /proc: USER_HZ, which Linux fixes at 100 for user space. */
const TICKS_PER_SECOND = 100;

/** A child and the last lines it printed. */
export interface Child {
  process: ChildProcess;
  pid: number;
  /** Resolves with the first line, already printed or still to come, that contains the word. */
  line(word: string, timeoutMs: number): Promise<string>;
  ended: Promise<void>;
  printed(): string;
}

/** Starts a program whose output is kept, not shown. */
export function start(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Child {
  const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const lines: string[] = [];
  const waiting = new Set<(line: string) => void>();
  const ended = once(child, "exit").then(() => {});
  for (const output of [child.stdout, child.stderr]) {
    createInterface({ input: output }).on("line", (line) => {
      lines.push(line);
      if (lines.length > KEPT_LINES) lines.shift();
      for (const waiter of waiting) waiter(line);
    });
  }
  const printed = (): string => lines.join("\n");
  return {
    process: child,
    pid: child.pid!,
    ended,
    printed,
    line: (word, timeoutMs) =>
      new Promise((resolve, reject) => {
        const fail = (why: string): void => {
          clearTimeout(timer);
          reject(new Error(`${program} ${why} before it printed "${word}":\n${printed()}`));
        };
        const timer = setTimeout(() => fail(`ran for ${timeoutMs} ms`), timeoutMs);
        const waiter = (line: string): void => {
          if (!line.includes(word)) return;
          clearTimeout(timer);
          waiting.delete(waiter);
          resolve(line);
        };
        waiting.add(waiter);
        lines.forEach(waiter);
        ended.then(() => fail("ended"));
      }),
  };
}

/** Asks a child to end, and ends it when it does not. */
export async function stop(child: Child): Promise<void> {
  if (child.process.exitCode !== null || child.process.signalCode !== null) return;
  child.process.kill("SIGTERM");
  const timer = setTimeout(() => child.process.kill("SIGKILL"), STOP_GRACE_MS);
  await child.ended;
  clearTimeout(timer);
}

/** Waits for a child's line as `child.line` does, and ends the child when it does not come: a failed start leaves nothing running. */
export async function lineOf(child: Child, word: string, timeoutMs: number): Promise<string> {
  try {
    return await child.line(word, timeoutMs);
  } catch (error) {
    await stop(child);
    throw error;
  }
}

/** Polls until the attempt succeeds. */
export async function until(what: string, timeoutMs: number, attempt: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await attempt())) {
    if (Date.now() > deadline) throw new Error(`${what} did not happen within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Distinct TCP ports of the loopback address that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}

/** The first of these programs that exists and may be run. */
export async function firstExisting(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    try {
      await access(path, 1);
      return path;
    } catch {}
  }
  return undefined;
}

/** Processor time and resident memory of processes and all their descendants. */
export interface Usage {
  cpuMs: number;
  rssBytes: number;
}

/** Reads what the trees under these processes use now; zero where /proc does not exist. */
export async function usageOf(roots: readonly number[]): Promise<Usage> {
  const processes = await readProcesses();
  const tree = new Set(roots);
  // A child may have a smaller id than its parent, so passes repeat until none is added.
  for (let before = -1; before !== tree.size; ) {
    before = tree.size;
    for (const one of processes) if (tree.has(one.parent)) tree.add(one.pid);
  }
  const total: Usage = { cpuMs: 0, rssBytes: 0 };
  for (const one of processes) {
    if (!tree.has(one.pid)) continue;
    total.cpuMs += one.cpuMs;
    total.rssBytes += await residentBytes(one.pid);
  }
  return total;
}

/** Processor time of the whole machine that was not idle so far, in milliseconds; zero where /proc does not exist. */
export async function machineCpuMs(): Promise<number> {
  const text = await readFile("/proc/stat", "utf8").catch(() => "cpu");
  // user nice system idle iowait irq softirq steal, see proc(5): idle and waiting for the disk are not work.
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = text
    .slice(0, text.indexOf("\n"))
    .split(/ +/)
    .slice(1)
    .map(Number);
  return ((user + nice + system + irq + softirq + steal) * 1000) / TICKS_PER_SECOND;
}

interface ProcessStat {
  pid: number;
  parent: number;
  cpuMs: number;
}

async function readProcesses(): Promise<ProcessStat[]> {
  const found: ProcessStat[] = [];
  for (const name of await readdir("/proc").catch(() => [])) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, "utf8").catch(() => undefined);
    if (stat === undefined) continue;
    // After the name in parentheses, which may hold spaces, stand the state and the parent: fields 3 and 4 of proc(5).
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ticks = Number(fields[11]) + Number(fields[12]);
    found.push({ pid: Number(name), parent: Number(fields[1]), cpuMs: (ticks * 1000) / TICKS_PER_SECOND });
  }
  return found;
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}
