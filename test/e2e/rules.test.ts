// Holds docs/SPEC.md and the tests together: every id that a test cites is a rule.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const RULE = /^- ([A-Z]{2,5}\d+)\. \S/gm;
const CITED = /\[([A-Z]{2,5}\d+)\]/g;
/** Files whose titles cite rules; golden sequences carry theirs as JSON. */
const TEST_FILE = /(\.test\.tsx?|golden[\\/].*\.json)$/;

async function rules(): Promise<string[]> {
  const text = await readFile(join(ROOT, "docs/SPEC.md"), "utf8");
  return [...text.matchAll(RULE)].map((match) => match[1]!);
}

async function citations(): Promise<Map<string, string[]>> {
  const cited = new Map<string, string[]>();
  for (const file of await readdir(join(ROOT, "test"), { recursive: true })) {
    if (!TEST_FILE.test(file)) continue;
    const text = await readFile(join(ROOT, "test", file), "utf8");
    for (const [, id] of text.matchAll(CITED)) cited.set(id!, [...(cited.get(id!) ?? []), file]);
  }
  return cited;
}

describe("docs/SPEC.md", () => {
  it("gives each id once", async () => {
    const ids = await rules();
    expect(ids.length).toBeGreaterThan(100);
    expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
  });

  it("has every rule that a test cites", async () => {
    const known = new Set(await rules());
    const unknown = [...(await citations())].filter(([id]) => !known.has(id));
    expect(unknown).toEqual([]);
  });

  it("has no rule that no test cites", async () => {
    const cited = await citations();
    expect((await rules()).filter((id) => !cited.has(id))).toEqual([]);
  });
});
