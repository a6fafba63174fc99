// Cuts the text of a selector into tokens.
import { isRefusal, type Refusal, refuse } from "../errors.ts";

/** A piece of a selector's text. */
export interface Token {
  type: "word" | "name" | "quoted" | "text" | "number" | "sign" | "end";
  /** A keyword in capitals, an identifier, the content of a literal or of a quoted name, or a sign as it stands. */
  value: string;
  /** The value of a number. */
  number: number;
  /** Where it begins. */
  start: number;
  /** Where it ends. */
  end: number;
}

const KEYWORDS = new Set("AND OR NOT BETWEEN IN LIKE ESCAPE IS NULL TRUE FALSE".split(" "));

const SPACE = /\s*/y;
/** What tokens look like. Names follow Java's rule: letters, currency signs and connectors, then digits and marks too. */
const SHAPES: [Token["type"], RegExp][] = [
  ["name", /[\p{L}\p{Nl}\p{Sc}\p{Pc}][\p{L}\p{Nl}\p{Nd}\p{Sc}\p{Pc}\p{Mn}\p{Mc}]*/uy],
  ["number", /0x[\da-f]+l?|(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?[ldf]?/iy],
  ["text", /'(?:[^']|'')*'/y],
  ["quoted", /"(?:[^"]|"")*"/y],
  ["sign", /<>|<=|>=|[=<>+\-*/(),]/y],
];

/** Cuts a selector into tokens, the last of them of type `end`; `bad-field` for what is no token. */
export function tokens(text: string): Token[] | Refusal {
  const found: Token[] = [];
  let start = matchAt(SPACE, text, 0)!.length;
  while (start < text.length) {
    const token = tokenAt(text, start);
    if (isRefusal(token)) return token;
    found.push(token);
    start = token.end + matchAt(SPACE, text, token.end)!.length;
  }
  found.push({ type: "end", value: "", number: 0, start, end: start });
  return found;
}

function tokenAt(text: string, start: number): Token | Refusal {
  for (const [type, shape] of SHAPES) {
    const piece = matchAt(shape, text, start);
    if (piece === undefined) continue;
    const token: Token = { type, value: piece, number: 0, start, end: start + piece.length };
    if (type === "name" && KEYWORDS.has(piece.toUpperCase())) {
      return { ...token, type: "word", value: piece.toUpperCase() };
    }
    if (type === "text") return { ...token, value: piece.slice(1, -1).replaceAll("''", "'") };
    if (type === "quoted") return { ...token, value: piece.slice(1, -1).replaceAll('""', '"') };
    if (type !== "number") return token;
    const number = numberOf(piece);
    return number === undefined
      ? wrong(start, `${piece} is no number of SQL or Java, or out of range`)
      : { ...token, number };
  }
  return wrong(start, unknown(text, start));
}

function matchAt(shape: RegExp, text: string, start: number): string | undefined {
  shape.lastIndex = start;
  return shape.exec(text)?.[0];
}

/** A refusal that says where. */
export function wrong(index: number, what: string): Refusal {
  return refuse("bad-field", `filter: ${what}, at character ${index + 1}`);
}

/** The number that a literal means; undefined for `010` (eight to Java, ten to SQL), `1.5L` and what a double cannot hold. */
function numberOf(literal: string): number | undefined {
  if (/^0x/i.test(literal)) return finite(Number(literal.replace(/l$/i, "")));
  if (/^0\d/.test(literal) && /^\d+l?$/i.test(literal)) return undefined;
  if (/l$/i.test(literal) && !/^\d+l$/i.test(literal)) return undefined;
  return finite(Number(literal.replace(/[ldf]$/i, "")));
}

function finite(number: number): number | undefined {
  return Number.isFinite(number) ? number : undefined;
}

function unknown(text: string, at: number): string {
  const sign = String.fromCodePoint(text.codePointAt(at)!);
  if (sign === "'") return "a text has no closing '";
  if (sign === '"') return 'a quoted name has no closing "';
  return `${JSON.stringify(sign)} means nothing in a selector`;
}
