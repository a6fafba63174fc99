// Header filters: SQL-92 selectors as JMS has them, parsed once for all that use the same text.
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { MAX_SELECTOR_CACHE_CHARS, MAX_SELECTOR_CHARS } from "../limits.ts";
import { toBoolean } from "./compile.ts";
import type { SelectorFields } from "./fields.ts";
import { parseExpression } from "./parse.ts";

/** A condition on a message's fields and headers. */
export interface Selector {
  readonly text: string;
  /** Whether the condition is true of a message: neither false nor unknown. */
  matches(message: SelectorFields): boolean;
}

/** By text, the one asked for longest ago first. */
const known = new Map<string, Selector>();
let knownChars = 0;

/**
 * Reads a selector.
 *
 * @param text at most MAX_SELECTOR_CHARS characters
 * @returns the selector; `bad-field` with what is wrong and at which character, counted from 1
 * @example parseSelector("color = 'blue' AND weight > 2500")
 * @example parseSelector("weight >") // bad-field: filter: expected a value, got the end, at character 9
 */
export function parseSelector(text: string): Selector | Refusal {
  let selector = known.get(text);
  if (selector === undefined) {
    if (text.length > MAX_SELECTOR_CHARS) {
      return refuse("bad-field", `filter has at most ${MAX_SELECTOR_CHARS} characters, got ${text.length}`);
    }
    const expression = parseExpression(text);
    if (isRefusal(expression)) return expression;
    const holds = toBoolean(expression);
    selector = { text, matches: (message) => holds(message) === true };
  } else {
    known.delete(text);
    knownChars -= text.length;
  }
  known.set(text, selector);
  knownChars += text.length;
  for (const oldest of known.keys()) {
    if (knownChars <= MAX_SELECTOR_CACHE_CHARS) break;
    known.delete(oldest);
    knownChars -= oldest.length;
  }
  return selector;
}

/**
 * The selector of a text that `checkFilterField` let pass: in a subscription, in a binding, in what was stored of them.
 *
 * @param text "" for none
 */
export function selectorOf(text: string): Selector | undefined {
  if (text === "") return undefined;
  const selector = parseSelector(text);
  if (isRefusal(selector)) throw new Error(`a selector that was stored does not parse: ${selector.message}`);
  return selector;
}

/**
 * Checks the `filter` of a request: a selector, or an object of headers that must all be equal.
 *
 * @param value what the field holds; undefined when it is not there
 * @returns the selector's text, "" when nothing is filtered; `bad-field` for anything else
 * @example checkFilterField("color = 'blue'") // color = 'blue'
 * @example checkFilterField({ color: "blue", size: 5 }) // "color" = 'blue' AND "size" = 5
 */
export function checkFilterField(value: unknown): string | Refusal {
  if (value === undefined) return "";
  const text = typeof value === "string" ? value.trim() : equalities(value);
  if (isRefusal(text) || text === "") return text;
  const selector = parseSelector(text);
  return isRefusal(selector) ? selector : text;
}

function equalities(value: unknown): string | Refusal {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return refuse("bad-field", "filter must be a selector (text), or an object of headers");
  }
  const parts: string[] = [];
  for (const [name, wanted] of Object.entries(value)) {
    const literal = literalOf(wanted);
    if (literal === undefined) {
      return refuse("bad-field", `filter.${name.slice(0, 80)} must be a text, a number, true or false`);
    }
    parts.push(`"${name.replaceAll('"', '""')}" = ${literal}`);
  }
  return parts.join(" AND ");
}

function literalOf(value: unknown): string | undefined {
  if (typeof value === "string") return `'${value.replaceAll("'", "''")}'`;
  if (typeof value === "number" && Number.isFinite(value)) return String(value);
  return typeof value === "boolean" ? String(value).toUpperCase() : undefined;
}
