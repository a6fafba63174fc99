// Runs mosquitto_sub and mosquitto_pub, where they are installed, against a TCP port.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";

const WAIT_MS = 20_000;
/** Topic, QoS, retain flag and payload of a message, after a mark that no other line has. */
const FORMAT = "got|%t|%q|%r|%p";

/** Whether the clients are here; their tests are left out otherwise. */
export const HAS_MOSQUITTO_CLIENTS = ["mosquitto_pub", "mosquitto_sub", "stdbuf"].every((name) =>
  existsSync(`/usr/bin/${name}`),
);

// A test that fails leaves no clients behind.
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** A message as mosquitto_sub printed it. */
export interface Printed {
  topic: string;
  qos: number;
  retain: boolean;
  payload: string;
}

/** A running mosquitto_sub. */
export class MosquittoSub {
  readonly messages: Printed[] = [];
  private readonly child: ChildProcess;
  private readonly lines: string[] = [];
  private changed: () => void = () => {};
  private hasEnded = false;

  private constructor(port: number, args: string[]) {
    const all = ["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", `${port}`, "-d", "-F", FORMAT, ...args];
    this.child = spawn("stdbuf", all, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      createInterface({ input: stream }).on("line", (line) => this.read(line));
    }
    running.add(this.child);
    this.child.once("close", () => {
      running.delete(this.child);
      this.hasEnded = true;
      this.changed();
    });
  }

  /** Starts it with `-t`, `-q`, `-V` and so on, and waits until its subscription is confirmed. */
  static async start(port: number, ...args: string[]): Promise<MosquittoSub> {
    const sub = new MosquittoSub(port, args);
    await sub.until(() => sub.lines.some((line) => line.includes("received SUBACK")));
    return sub;
  }

  /** Waits until so many messages were printed, and returns all. */
  async take(count: number): Promise<Printed[]> {
    await this.until(() => this.messages.length >= count);
    return this.messages;
  }

  /** Ends it with DISCONNECT (SIGTERM), or as a crash does (SIGKILL). */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    this.child.kill(signal);
    // Its handler disconnects inside the signal, and hangs for ever when that comes while the library holds one of its locks.
    const hung = setTimeout(() => this.child.kill("SIGKILL"), 2_000);
    await this.until(() => this.hasEnded);
    clearTimeout(hung);
  }

  private read(line: string): void {
    const [mark, topic, qos, retain, ...payload] = line.split("|");
    if (mark === "got") {
      this.messages.push({
        topic: topic!,
        qos: Number(qos),
        retain: retain === "1",
        payload: payload.join("|"),
      });
    } else this.lines.push(line);
    this.changed();
  }

  private async until(holds: () => boolean): Promise<void> {
    const deadline = Date.now() + WAIT_MS;
    while (!holds()) {
      const shown = () => JSON.stringify([this.lines.slice(-10), this.messages.slice(-10)]);
      if (this.hasEnded) throw new Error(`mosquitto_sub ended: ${shown()}`);
      if (Date.now() > deadline) throw new Error(`mosquitto_sub: not within ${WAIT_MS} ms: ${shown()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/** Runs mosquitto_pub to its end; throws with what it printed unless that is success. */
export async function mosquittoPub(port: number, ...args: string[]): Promise<void> {
  const child = spawn("mosquitto_pub", ["-h", "127.0.0.1", "-p", `${port}`, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (text += String(data)));
  const code = await new Promise((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`mosquitto_pub ${args.join(" ")} ended with ${code}: ${text}`);
}
