// The bench's command line: which targets, which cells, how long.
import { parseArgs } from "node:util";

/** What a run measures. */
export interface Options {
  /** Names of targets; empty means all. */
  only: string[];
  windows: number[];
  payloadsBytes: number[];
  pairs: number[];
  rounds: number;
  /** Of the MQTT table: publishers and subscribers of the fan-out, and connections that stay idle. */
  publishers: number[];
  subscribers: number[];
  idle: number;
  /** Kinds of cells of the MQTT table; empty means all. */
  kinds: string[];
  warmUpMs: number;
  measureMs: number;
}

/** One point of the plan, measured for every target. */
export interface Cell {
  window: number;
  payloadBytes: number;
  pairs: number;
}

const KINDS = ["fan-out", "publish", "latency", "idle"];

const usage = `npm run bench -- [--quick] [--only dunlin,echo,rabbitmq,nats] [--windows 1,32,256]
  [--payloads 100,1024] [--pairs 1,4] [--rounds 3] [--seconds 4] [--warm-up-seconds 1.5]
MQTT: [--only mqtt,mqtt-dunlin,mqtt-nats] [--publishers 1,4] [--subscribers 100,1000] [--idle 5000]
  [--kinds ${KINDS.join(",")}]`;

/**
 * Reads the command line.
 *
 * @throws Error with the usage, for an unknown option or a value that is no positive number
 */
export function readOptions(args: readonly string[]): Options {
  try {
    return parse(args);
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}\n\n${usage}`);
  }
}

function parse(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string", default: "" },
      windows: { type: "string" },
      payloads: { type: "string" },
      pairs: { type: "string" },
      publishers: { type: "string" },
      subscribers: { type: "string" },
      idle: { type: "string" },
      kinds: { type: "string", default: "" },
      rounds: { type: "string" },
      seconds: { type: "string" },
      "warm-up-seconds": { type: "string" },
    },
  });
  const quick = values.quick;
  const kinds = names(values.kinds);
  const unknown = kinds.filter((kind) => !KINDS.includes(kind));
  if (unknown.length > 0) throw new Error(`no kind of cell is called ${unknown.join(", ")}`);
  return {
    only: names(values.only),
    kinds,
    windows: numbers(values.windows ?? (quick ? "1,256" : "1,32,256")),
    payloadsBytes: numbers(values.payloads ?? (quick ? "100" : "100,1024")),
    pairs: numbers(values.pairs ?? (quick ? "1" : "1,4")),
    publishers: numbers(values.publishers ?? (quick ? "1" : "1,4")),
    subscribers: numbers(values.subscribers ?? (quick ? "100" : "100,1000")),
    idle: numbers(values.idle ?? (quick ? "1000" : "5000"))[0]!,
    rounds: numbers(values.rounds ?? (quick ? "1" : "3"))[0]!,
    measureMs: numbers(values.seconds ?? (quick ? "2" : "4"))[0]! * 1000,
    warmUpMs: numbers(values["warm-up-seconds"] ?? (quick ? "1" : "1.5"))[0]! * 1000,
  };
}

/** Every combination, smallest window first. */
export function cellsOf(options: Options): Cell[] {
  return options.pairs.flatMap((pairs) =>
    options.payloadsBytes.flatMap((payloadBytes) =>
      options.windows.map((window) => ({ window, payloadBytes, pairs })),
    ),
  );
}

function names(list: string): string[] {
  return list.split(",").filter((name) => name !== "");
}

function numbers(list: string): number[] {
  return list.split(",").map((text) => {
    const value = Number(text);
    if (!(value > 0)) throw new Error(`"${text}" is not a positive number`);
    return value;
  });
}
