// The wire contract as sequences of frames: each file of golden/ is sent and expected literally, but for named placeholders.
// A change here is a change of the contract. How a sequence is written: golden/README.md.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect } from "vitest";
import { WireClient } from "../support/wire-client.ts";
import { closeCode, type World, withBroker } from "./harness.ts";

const it = withBroker();
const FOLDER = fileURLToPath(new URL("golden", import.meta.url));
const FRAME_TIMEOUT_MS = 20_000;

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** One step: a frame to send, frames to see next (in this order), or the code that the socket closes with. */
type Step =
  | { send: Json }
  | { sendText: string }
  | { expect: Json[] }
  | { expectText: string }
  | { closed: number };

interface Golden {
  /** Title with the rules it proves. */
  title: string;
  /** Sequences of one file run in one namespace, each on a socket of its own. */
  sockets: { name: string; steps: Step[] }[];
}

const PATTERNS: Record<string, (value: Json) => boolean> = {
  time: (value) => typeof value === "number" && Math.abs(value - Date.now()) < 120_000,
  integer: (value) => Number.isInteger(value),
  number: (value) => typeof value === "number",
  text: (value) => typeof value === "string" && value.length > 0,
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
};

/** Compares what came with what stands in the file; `$kind` matches by kind, `$kind=name` also remembers, `@name` recalls. */
class Matcher {
  readonly #known = new Map<string, Json>();

  /** Puts remembered values into a frame to send. */
  fill(frame: Json): Json {
    if (typeof frame === "string" && frame.startsWith("@")) return this.#recall(frame.slice(1));
    if (Array.isArray(frame)) return frame.map((item) => this.fill(item));
    if (typeof frame !== "object" || frame === null) return frame;
    return Object.fromEntries(Object.entries(frame).map(([name, value]) => [name, this.fill(value)]));
  }

  /** The expected frame with each placeholder replaced by what came, where that fits it. */
  resolve(expected: Json, actual: Json | undefined): Json {
    if (typeof expected === "string" && expected.startsWith("@")) return this.#recall(expected.slice(1));
    if (typeof expected === "string" && expected.startsWith("$")) return this.#place(expected, actual);
    if (Array.isArray(expected)) {
      return expected.map((item, i) => this.resolve(item, Array.isArray(actual) ? actual[i] : undefined));
    }
    if (typeof expected !== "object" || expected === null) return expected;
    const fields = typeof actual === "object" && !Array.isArray(actual) ? actual : null;
    return Object.fromEntries(
      Object.entries(expected).map(([name, value]) => [name, this.resolve(value, fields?.[name])]),
    );
  }

  remember(name: string, value: Json): void {
    this.#known.set(name, value);
  }

  #place(placeholder: string, actual: Json | undefined): Json {
    const [kind, name] = placeholder.slice(1).split("=") as [string, string | undefined];
    const fits = PATTERNS[kind];
    if (!fits) throw new Error(`no placeholder ${placeholder}`);
    if (actual === undefined || !fits(actual)) return placeholder;
    if (name !== undefined) this.remember(name, actual);
    return actual;
  }

  #recall(name: string): Json {
    const value = this.#known.get(name);
    if (value === undefined) throw new Error(`nothing is remembered as @${name}`);
    return value;
  }
}

async function play(world: World, steps: Step[], matcher: Matcher): Promise<void> {
  const url = `${world.broker.wsUrl}?ns=${world.ns}`;
  const wire = await WireClient.connect(url, { hello: false });
  // Every frame in the order in which it came, whether it is a reply or a push.
  const texts: string[] = [];
  wire.socket.on("message", (data) => texts.push(String(data)));
  const frames: Json[] = [];
  const next = async (what: string): Promise<Json> => {
    await expect
      .poll(() => frames.length + texts.length, { timeout: FRAME_TIMEOUT_MS, message: what })
      .toBeGreaterThan(0);
    if (frames.length === 0) {
      const parsed = JSON.parse(texts.shift()!) as Json;
      frames.push(...(Array.isArray(parsed) ? parsed : [parsed]));
    }
    return frames.shift()!;
  };
  try {
    for (const step of steps) {
      if ("send" in step) wire.sendText(JSON.stringify(matcher.fill(step.send)));
      else if ("sendText" in step) wire.sendText(step.sendText);
      else if ("closed" in step) expect(await closeCode(wire)).toBe(step.closed);
      else if ("expectText" in step) {
        await expect.poll(() => texts.shift(), { timeout: FRAME_TIMEOUT_MS }).toBe(step.expectText);
      } else {
        for (const expected of step.expect) {
          const actual = await next(`a frame like ${JSON.stringify(expected)}`);
          expect(actual).toEqual(matcher.resolve(expected, actual));
        }
      }
    }
    expect([...frames, ...texts], "frames that no step expects").toEqual([]);
  } finally {
    wire.cut();
  }
}

describe("golden frames", () => {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith(".json"));
  const sequences = files.map((file) => JSON.parse(readFileSync(join(FOLDER, file), "utf8")) as Golden);
  it.for(sequences)("$title", async ({ sockets }, { world }) => {
    const matcher = new Matcher();
    matcher.remember("namespace", world.ns);
    for (const { steps } of sockets) await play(world, steps, matcher);
  });
});
