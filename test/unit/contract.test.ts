// Holds docs/protocol.md to the code: every op, field, call, header, setting and error that there is stands in it.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type ErrorKind, errorEntry, errorKind } from "../../worker/errors.ts";
import { PUBLISH_FIELDS } from "../../worker/message/fields.ts";
import { FRAMES } from "../../worker/protocol/json/frames.ts";
import { PUSH_FIELDS } from "../../worker/push/spec.ts";
import { REDRIVE_FIELDS } from "../../worker/queue/redrive.ts";
import { QUEUE_SETTINGS } from "../../worker/queue/settings.ts";

const DOC = read("docs/protocol.md");

function read(file: string): string {
  return readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
}

/** What of a list the text does not have as a word inside code. */
function missing(words: Iterable<string>, text = DOC): string[] {
  return [...words].filter(
    (word) => !new RegExp(`\`[^\`\n]*(?<![\\w-])${word}(?![\\w-])[^\`\n]*\``).test(text),
  );
}

/** The rows of the tables below a heading. */
function section(heading: string): string {
  const from = DOC.indexOf(`\n${heading}\n`);
  expect(from, heading).toBeGreaterThan(0);
  const to = DOC.slice(from + heading.length + 2).search(/^#{2,3} /m);
  return DOC.slice(from, from + heading.length + 2 + (to < 0 ? DOC.length : to));
}

describe("docs/protocol.md", () => {
  it("has every op of a client, and every field of each", () => {
    const ops = section("### Client to broker");
    for (const [op, { fields }] of FRAMES) {
      const row = ops.split("\n").filter((line) => line.startsWith(`| \`${op}\``));
      expect(row, op).not.toEqual([]);
      const own = Object.keys(fields).filter(
        (name) => name !== "id" && !(name in PUBLISH_FIELDS.fields && op !== "decide"),
      );
      expect(missing(own, row.join("\n")), op).toEqual([]);
    }
  });

  it("has every field of a publish, and every header that carries one over HTTP", () => {
    expect(missing(Object.keys(PUBLISH_FIELDS.fields), section("### Fields of a publish"))).toEqual([]);
    const table = read("worker/http/publish-headers.ts").matchAll(/^ {2}\["([a-z-]+)", "/gm);
    const headers = [...table].map(([, name]) => name!);
    expect(headers.length).toBeGreaterThan(10);
    expect(missing(headers, section("### Publishing over HTTP").toLowerCase())).toEqual([]);
  });

  it("has every call over HTTP with its methods", () => {
    const calls = [
      ...read("worker/http/routes.ts").matchAll(/^ {2}"(\/v1\/[^"]*)": \{([\s\S]*?)\},?\n(?= {2}"|\};)/gm),
    ];
    expect(calls.length).toBeGreaterThan(20);
    const rows = section("## HTTP")
      .split("\n")
      .filter((line) => line.startsWith("| `"));
    const unnamed = calls.flatMap(([, path, methods]) => {
      const shown = path!.replace(/:(\w+)/g, "{$1}");
      const short = shown.replace("/v1/queues/{name}", "…");
      const first = rows.map((row) => row.split(" | ")[0]!);
      return [...methods!.matchAll(/\b(GET|POST|PUT|DELETE):/g)]
        .map(([, method]) => method!)
        .filter(
          (method) =>
            !first.some((cell) => cell.includes(method) && (names(cell, shown) || names(cell, short))),
        )
        .map((method) => `${method} ${shown}`);
    });
    expect(unnamed).toEqual([]);
  });

  it("has every setting, and every field of push and redrive", () => {
    expect(missing(Object.keys(QUEUE_SETTINGS.fields), section("### Settings"))).toEqual([]);
    expect(missing([...Object.keys(PUSH_FIELDS.fields), ...Object.keys(REDRIVE_FIELDS.fields)])).toEqual([]);
  });

  it("has every error with its number, its status and what a caller may do", () => {
    const rows = section("## Errors").split("\n");
    for (let code = 100; code < 600; code++) {
      const kind: ErrorKind = errorKind(code);
      const { status, retry, code: own } = errorEntry(kind);
      if (own !== code) continue;
      const row = `| ${code} | \`${kind}\` | ${status} | ${retry} |`;
      expect(
        rows.some((line) => line.startsWith(row)),
        row,
      ).toBe(true);
    }
  });
});

/** Whether a cell names a path as a whole: followed by the end of the code, or by a query. */
function names(cell: string, path: string): boolean {
  return cell.includes(`${path}\``) || cell.includes(`${path}?`);
}
