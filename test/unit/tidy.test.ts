// Holds the sources to the rules of their rooms: sizes, who may import whom, and what only a shell may touch.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MAX_LINES = 400;
/** This file names what it forbids. */
const SELF = "test/unit/tidy.test.ts";

/** Files that git knows or would add, relative to the repository. */
const FILES = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  cwd: ROOT,
  encoding: "utf8",
})
  .split("\n")
  .filter((file) => file !== "" && existsSync(join(ROOT, file)));

const SOURCES = FILES.filter((file) => /^(worker|client)\/.*\.ts$/.test(file));
const WORKER = SOURCES.filter((file) => file.startsWith("worker/"));

const texts = new Map<string, string>();

function text(file: string): string {
  let known = texts.get(file);
  if (known === undefined) {
    known = readFileSync(join(ROOT, file), "utf8");
    texts.set(file, known);
  }
  return known;
}

/** The code of a file line by line: comments and the content of strings are blanked, so that words in them do not count. */
function code(file: string): string[] {
  const blank = (match: string) => match.replace(/[^\n]/g, " ");
  return text(file)
    .replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/g, (match) =>
      match.startsWith('"') || match.startsWith("'") ? `"${blank(match.slice(2))}"` : blank(match),
    )
    .split("\n");
}

/** Places where a pattern stands, as `file:line: text`. */
function places(files: string[], pattern: RegExp, lines: (file: string) => string[] = code): string[] {
  return files.flatMap((file) =>
    lines(file).flatMap((line, index) =>
      pattern.test(line) ? [`${file}:${index + 1}: ${plainLine(file, index)}`] : [],
    ),
  );
}

function plainLine(file: string, index: number): string {
  return text(file).split("\n")[index]!.trim().slice(0, 120);
}

function raw(file: string): string[] {
  return text(file).split("\n");
}

interface Import {
  file: string;
  line: number;
  /** Relative to the repository, or a package's name. */
  from: string;
  typeOnly: boolean;
}

const IMPORT = /^\s*(?:import|export)\s+(type\s+)?[^"';]*?from\s+"([^"]+)"|^\s*import\s+"([^"]+)"/gm;

function imports(file: string): Import[] {
  return [...text(file).matchAll(IMPORT)].map((match) => {
    const from = match[2] ?? match[3]!;
    const line = text(file).slice(0, match.index).split("\n").length;
    const target = from.startsWith(".") ? relative(ROOT, resolve(ROOT, dirname(file), from)) : from;
    return { file, line, from: target, typeOnly: match[1] !== undefined };
  });
}

/** Imports of some files that reach where they may not, as `file:line imports what`. */
function reaching(files: string[], forbidden: (target: string, file: string) => boolean): string[] {
  return files
    .flatMap(imports)
    .filter(({ from, file }) => forbidden(from, file))
    .map(({ file, line, from }) => `${file}:${line} imports ${from}`);
}

function under(...folders: string[]): (file: string) => boolean {
  return (file) => folders.some((folder) => file.startsWith(`worker/${folder}/`));
}

/** Files that decide and encode: no clock, no randomness, no waiting, nothing of the platform. */
const PURE = WORKER.filter(
  (file) =>
    under(
      ...["queue", "topic", "filter", "selector", "link", "message", "bytes", "log", "producers"],
      ...["gateway/backlog", "protocol/mqtt/codec"],
    )(file) || /^worker\/gateway\/(sessions?|session-store|fanout|queues)\.ts$/.test(file),
).filter(
  (file) =>
    !/^worker\/(queue|topic)\/(\w+-object|outbound|outbox-sender|introductions|register|management)\.ts$/.test(
      file,
    ),
);

/** The shells: one object each. */
const SHELL = /^worker\/\w+\/\w+-object\.ts$/;

/** Allowed exceptions, each with its reason. */
const RANDOM_IDS = "worker/message/fields.ts"; // An id must be random where the message comes into being, at the edge.

describe("sizes", () => {
  it("no file of worker/ or client/ has more than 400 lines", () => {
    const long = SOURCES.map((file) => ({ file, lines: raw(file).length })).filter(
      ({ lines }) => lines > MAX_LINES,
    );
    expect(long).toEqual([]);
  });

  it("every source file opens with a comment that says what it owns", () => {
    expect(SOURCES.filter((file) => !/^(\/\/|\/\*\*)/.test(text(file)))).toEqual([]);
  });
});

describe("rooms", () => {
  it("no import goes round in a circle", () => {
    const graph = new Map(
      SOURCES.map((file) => [
        file,
        imports(file)
          .filter(({ typeOnly }) => !typeOnly)
          .map(({ from }) => from)
          .filter((from) => SOURCES.includes(from)),
      ]),
    );
    const cycles: string[] = [];
    const done = new Set<string>();
    const visit = (file: string, path: string[]): void => {
      if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      if (done.has(file) || path.includes(file)) return;
      for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
      done.add(file);
    };
    for (const file of SOURCES) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it("worker/index.ts is the only file that hands others' exports on", () => {
    expect(
      places(WORKER, /^\s*export\s+(\*|\{[^}]*\})\s*(from|as)\b/).filter(
        (at) => !at.startsWith("worker/index.ts:"),
      ),
    ).toEqual([]);
    expect(WORKER.filter((file) => file.endsWith("/index.ts") && file !== "worker/index.ts")).toEqual([]);
  });

  it("codecs know nothing of queues, gateways and HTTP", () => {
    const codecs = WORKER.filter(under("bytes", "message", "link", "protocol/mqtt/codec"));
    expect(codecs.length).toBeGreaterThan(8);
    expect(
      reaching(codecs, (from, file) => {
        const own = under("protocol/mqtt/codec");
        return (
          under("queue", "topic", "gateway", "http", "protocol", "directory", "log")(from) &&
          !(own(file) && own(from))
        );
      }),
    ).toEqual([]);
  });

  it("bytes know nothing of messages, messages nothing of links", () => {
    expect(
      reaching(WORKER.filter(under("bytes")), (from) => from.startsWith("worker/")).filter(
        (at) => !at.includes("imports worker/bytes/"),
      ),
    ).toEqual([]);
    expect(reaching(WORKER.filter(under("message")), under("link"))).toEqual([]);
  });

  it("queues and topics know nothing of sockets, sessions and protocols", () => {
    const rpc = (from: string) => from === "worker/gateway/rpc.ts";
    expect(
      reaching(
        WORKER.filter(under("queue", "topic", "log", "directory", "filter", "selector")),
        (from) => under("gateway", "protocol", "http")(from) && !rpc(from),
      ),
    ).toEqual([]);
  });

  it("gateways know nothing of the storage and the machines of queues and topics", () => {
    const offered = (from: string) => /^worker\/(queue\/rpc|topic\/(rpc|placement|register))\.ts$/.test(from);
    expect(
      reaching(
        WORKER.filter(under("gateway", "protocol")),
        (from) => under("queue", "topic")(from) && !offered(from),
      ),
    ).toEqual([]);
  });

  it("protocols do not see each other", () => {
    const folder = (file: string) => file.split("/").slice(0, 3).join("/");
    expect(
      reaching(
        WORKER.filter(under("protocol")),
        (from, file) => under("protocol")(from) && folder(from) !== folder(file),
      ),
    ).toEqual([]);
  });

  it("the client needs nothing of the worker, and the worker nothing of tests", () => {
    expect(
      reaching(
        SOURCES.filter((file) => file.startsWith("client/")),
        (from) => from.startsWith("worker/"),
      ),
    ).toEqual([]);
    expect(reaching(SOURCES, (from) => /^(test|examples|local)\//.test(from))).toEqual([]);
  });
});

describe("what only a shell may touch", () => {
  it("the machine and the codecs have no clock, no randomness, no platform, and never wait", () => {
    expect(PURE.length).toBeGreaterThan(25);
    const impure =
      /\bDate\.now\b|\bnew Date\(\)|\bperformance\b|\bMath\.random\b|\bcrypto\b|\bconsole\b|\bset(Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\basync\b|\bawait\b|\bfetch\(|\bglobalThis\b|\bprocess\b/;
    // A declaration of what an object answers is no waiting.
    const waits = places(
      PURE.filter((file) => !file.endsWith("/rpc.ts")),
      /\bPromise\b/,
    );
    const found = places(PURE, impure).filter(
      (at) => !(at.startsWith(`${RANDOM_IDS}:`) && at.includes("crypto.randomUUID()")),
    );
    expect([...found, ...waits]).toEqual([]);
    expect(reaching(PURE, (from) => /^(cloudflare|node):/.test(from))).toEqual([]);
  });

  it("alarms, transactions and storage are the shells' own", () => {
    const own =
      /\bsetAlarm\b|\bdeleteAlarm\b|\bdeleteAll\b|\btransactionSync\b|\bthis\.ctx\b|\bacceptWebSocket\b/;
    expect(places(WORKER, own).filter((at) => !SHELL.test(at.split(":")[0]!))).toEqual([]);
    expect(
      reaching(WORKER, (from) => from === "cloudflare:workers").filter(
        (at) => !SHELL.test(at.split(":")[0]!),
      ),
    ).toEqual([]);
  });

  it("nothing waits between applying a turn and handing out its effects", () => {
    const shell = code("worker/queue/queue-object.ts");
    const from = shell.findIndex((line) => /^ {2}#turn\(\)/.test(line));
    const end = shell.findIndex((line, at) => at > from && line === "  }");
    expect(from, "the shell has a method #turn").toBeGreaterThan(0);
    expect(
      shell.slice(from, end).flatMap((line, i) => (/\bawait\b/.test(line) ? [`line ${from + i + 1}`] : [])),
    ).toEqual([]);
  });
});

describe("the text of the sources", () => {
  it("nothing is typed any, and nothing is silenced", () => {
    const silenced = /@ts-(ignore|expect-error|nocheck)|biome-ignore|eslint-disable/;
    expect([...places(SOURCES, /(:|\bas|<|,|\|)\s*any\b(?!")/), ...places(SOURCES, silenced, raw)]).toEqual(
      [],
    );
  });

  it("nothing is left to do, no test is skipped or alone", () => {
    const ours = FILES.filter(
      (file) => /\.(ts|tsx|js|mjs|toml|md|html|css|yml)$/.test(file) && file !== SELF,
    );
    const tests = FILES.filter((file) => /^(test|client|examples)\/.*\.ts$/.test(file) && file !== SELF);
    const alone = /\b(it|test|describe)(\.\w+)*\.(only|skip|todo|fails)\b|\b(xit|xdescribe|fit|fdescribe)\(/;
    const sources = FILES.filter((file) => file.endsWith(".ts"));
    expect([
      ...places(ours, /\b(TODO|FIXME|XXX|HACK)\b/, raw),
      ...places(tests, alone),
      ...places(sources, /^\s*debugger\b/),
    ]).toEqual([]);
  });

  it("no tracked file names a machine's folders or a registry's host", () => {
    const readable = FILES.filter(
      (file) => !/\.(png|jpg|gif|ico|woff2?|gz|zip)$/.test(file) && file !== SELF,
    );
    // Examples in the documents are at the home of Ann.
    const machine =
      /(^|[\s"'`(=])\/(work|tmp|root|home\/(?!ann\/)\w+|Users\/\w+)\/|\bregistry\.(?!npmjs\.org)[\w-]+\.\w+|https?:\/\/[\w.-]*(artifactory|nexus|verdaccio)/;
    expect(places(readable, machine, raw)).toEqual([]);
    const lock = FILES.filter((file) => file.endsWith("package-lock.json"));
    expect(places(lock, /"resolved": "(?!https:\/\/registry\.npmjs\.org\/)/, raw)).toEqual([]);
  });
});
