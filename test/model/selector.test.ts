// Random selectors: printed and read again they are the same, and they hold for the messages that a slow reading of the rules says.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isRefusal } from "../../worker/errors.ts";
import type { Expression } from "../../worker/selector/expression.ts";
import type { FieldName, SelectorFields } from "../../worker/selector/fields.ts";
import { parseExpression } from "../../worker/selector/parse.ts";
import { parseSelector } from "../../worker/selector/selector.ts";
import { fieldsOf, print } from "../support/selectors.ts";

const RUNS = Number(process.env.MODEL_RUNS ?? 400) * 5;
const NAMES = ["a", "b", "x-y", 'q"', "NULL"];

const text = fc.oneof(
  fc.constantFrom("", "a", "ab", "aXb", "a%b", "_", "'", "1", "2.0", "true", "false", "🐦"),
  fc.string({ maxLength: 4 }),
);
const number = fc.constantFrom(0, 1, 2, 2.5, -1, -7.25, 1e3, 1e-7);
const header = fc.constantFrom(...NAMES).map((name): Expression => ({ type: "header", name }));
const textField = fc
  .constantFrom<FieldName>("messageId", "group", "topic", "contentType")
  .map((name): Expression => ({ type: "field", name }));
const numberField = fc
  .constantFrom<FieldName>("time", "priority", "attempt")
  .map((name): Expression => ({ type: "field", name }));
const literal = <T extends string | number | boolean>(value: T): Expression => ({ type: "literal", value });
const textNamed = fc.oneof(header, textField);
const textual = fc.oneof(text.map(literal), textNamed);

const { condition } = fc.letrec<{ numeric: Expression; truth: Expression; condition: Expression }>((tie) => ({
  numeric: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.oneof(number.map(literal), header, numberField),
    fc
      .array(fc.record({ minus: fc.boolean(), of: tie("numeric") }), { minLength: 2, maxLength: 3 })
      .map(
        ([first, ...rest]): Expression => ({ type: "sum", terms: [{ ...first!, minus: false }, ...rest] }),
      ),
    tie("numeric")
      .filter(({ type }) => type !== "literal")
      .chain((of) => fc.boolean().map((minus): Expression => ({ type: "sum", terms: [{ minus, of }] }))),
    fc.array(fc.record({ divide: fc.boolean(), of: tie("numeric") }), { minLength: 2, maxLength: 3 }).map(
      ([first, ...rest]): Expression => ({
        type: "product",
        factors: [{ ...first!, divide: false }, ...rest],
      }),
    ),
  ),
  truth: fc.oneof(fc.boolean().map(literal), header, tie("condition")),
  condition: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.oneof(
      fc
        .tuple(fc.constantFrom("=", "<>", "<", "<=", ">", ">="), tie("numeric"), tie("numeric"))
        .map(([comparison, left, right]): Expression => ({ type: "compare", comparison, left, right })),
      fc
        .tuple(fc.constantFrom("=", "<>"), textual, textual)
        .map(([comparison, left, right]): Expression => ({ type: "compare", comparison, left, right })),
      fc
        .tuple(tie("numeric"), tie("numeric"), tie("numeric"))
        .map(([of, low, high]): Expression => ({ type: "between", of, low, high })),
      fc
        .tuple(textNamed, fc.array(text, { minLength: 1, maxLength: 3 }))
        .map(([of, values]): Expression => ({ type: "in", of, values })),
      fc
        .tuple(fc.oneof(header, numberField), fc.array(number, { minLength: 1, maxLength: 3 }))
        .map(([of, values]): Expression => ({ type: "in", of, values })),
      fc
        .tuple(textNamed, fc.string({ unit: fc.constantFrom("a", "b", "%", "_", "'"), maxLength: 6 }))
        .map(([of, pattern]): Expression => ({ type: "like", of, pattern, escaper: "" })),
      fc
        .tuple(textNamed, fc.string({ unit: fc.constantFrom("a", "%", "_", "!%", "!_", "!!"), maxLength: 6 }))
        .map(([of, pattern]): Expression => ({ type: "like", of, pattern, escaper: "!" })),
      fc.oneof(textNamed, numberField).map((of): Expression => ({ type: "null", of })),
    ),
    tie("truth").map((of): Expression => ({ type: "not", of })),
    fc
      .tuple(
        fc.constantFrom("and" as const, "or" as const),
        fc.array(tie("truth"), { minLength: 2, maxLength: 3 }),
      )
      .map(([type, parts]): Expression => ({ type, parts })),
    fc.tuple(fc.constantFrom("=" as const, "<>" as const), fc.boolean(), tie("truth")).map(
      ([comparison, value, right]): Expression => ({
        type: "compare",
        comparison,
        left: literal(value),
        right,
      }),
    ),
  ),
}));

const message = fc
  .record({
    headers: fc.dictionary(fc.constantFrom(...NAMES), text),
    priority: fc.integer({ min: 0, max: 9 }),
    group: fc.option(text, { nil: undefined }),
    attempt: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
  })
  .map(({ headers, ...fields }) => fieldsOf(headers, fields));

describe("random selectors", () => {
  it("[SEL1] what is printed and read again is the same", () => {
    fc.assert(
      fc.property(condition, (expression) => {
        expect(parseExpression(print(expression))).toEqual(expression);
      }),
      { numRuns: RUNS },
    );
  });

  it("[SEL2] [SEL3] [SEL5] a selector holds as the rules read slowly say", () => {
    fc.assert(
      fc.property(condition, message, (expression, fields) => {
        const selector = parseSelector(print(expression));
        if (isRefusal(selector)) return fc.pre(false);
        expect(selector.matches(fields)).toBe(slow(expression, "boolean", fields) === true);
      }),
      { numRuns: RUNS },
    );
  });

  it("[SEL7] any text is a selector or refused", () => {
    const words =
      "AND OR NOT BETWEEN IN LIKE ESCAPE IS NULL TRUE a priority 1 'x' \"y\" ( ) , = <> < - + * /".split(" ");
    const sentence = fc.array(fc.constantFrom(...words), { maxLength: 12 }).map((found) => found.join(" "));
    fc.assert(
      fc.property(fc.oneof(sentence, fc.string()), message, (any, fields) => {
        const selector = parseSelector(any);
        if (isRefusal(selector)) expect(selector.kind).toBe("bad-field");
        else selector.matches(fields);
      }),
      { numRuns: RUNS * 2 },
    );
  });
});

type Wanted = "text" | "number" | "boolean";
type Value = string | number | boolean | undefined;

/** The value of an expression read as a kind; undefined when it is unknown. */
function slow(expression: Expression, wanted: Wanted, fields: SelectorFields): Value {
  switch (expression.type) {
    case "literal":
      return expression.value;
    case "field":
      return fields[expression.name];
    case "header":
      return read(fields.header(expression.name), wanted);
    case "and":
    case "or":
      return junction(
        expression.type,
        expression.parts.map((part) => slow(part, "boolean", fields)),
      );
    case "not": {
      const value = slow(expression.of, "boolean", fields);
      return value === undefined ? undefined : !value;
    }
    case "sum":
      return certain(
        expression.terms.map(({ of }) => slow(of, "number", fields)),
        (values) =>
          values.reduce((sum, value, at) => (expression.terms[at]!.minus ? sum - value : sum + value), 0),
      );
    case "product":
      return certain(
        expression.factors.map(({ of }) => slow(of, "number", fields)),
        (values) =>
          values.reduce((all, value, at) => (expression.factors[at]!.divide ? all / value : all * value), 1),
      );
    case "compare":
      return slowCompare(expression, fields);
    case "between": {
      const { of, low, high } = expression;
      return junction("and", [
        slowCompare({ comparison: ">=", left: of, right: low }, fields),
        slowCompare({ comparison: "<=", left: of, right: high }, fields),
      ]);
    }
    case "in": {
      const { of, values } = expression;
      const equal = values.map((value) =>
        slowCompare({ comparison: "=", left: of, right: literal(value) }, fields),
      );
      return junction("or", equal);
    }
    case "like": {
      const value = slow(expression.of, "text", fields) as string | undefined;
      if (value === undefined) return undefined;
      return new RegExp(`^${pattern(expression.pattern, expression.escaper)}$`, "su").test(value);
    }
    case "null": {
      const { of } = expression;
      return of.type === "header"
        ? fields.header(of.name) === undefined
        : slow(of, "text", fields) === undefined;
    }
  }
}

function slowCompare(
  {
    comparison,
    left,
    right,
  }: Pick<Extract<Expression, { type: "compare" }>, "comparison" | "left" | "right">,
  fields: SelectorFields,
): Value {
  const kind = kindFor(comparison, left, right, fields);
  const a = slow(left, kind, fields);
  const b = slow(right, kind, fields);
  if (a === undefined || b === undefined) return undefined;
  if (comparison === "=") return a === b;
  if (comparison === "<>") return a !== b;
  const [x, y] = [a as number, b as number];
  return comparison === "<" ? x < y : comparison === "<=" ? x <= y : comparison === ">" ? x > y : x >= y;
}

function kindFor(comparison: string, left: Expression, right: Expression, fields: SelectorFields): Wanted {
  if (left.type === "header" && right.type === "header") {
    if (comparison !== "=" && comparison !== "<>") return "number";
    const numbers = [left, right].map((of) => read(fields.header(of.name), "number"));
    return numbers.includes(undefined) ? "text" : "number";
  }
  const known = left.type === "header" ? right : left;
  if (known.type === "literal") {
    return typeof known.value === "string" ? "text" : (typeof known.value as "number" | "boolean");
  }
  if (known.type === "field") return ["time", "priority", "attempt"].includes(known.name) ? "number" : "text";
  return known.type === "sum" || known.type === "product" ? "number" : "boolean";
}

function read(value: string | undefined, wanted: Wanted): Value {
  if (value === undefined || wanted === "text") return value;
  if (wanted === "boolean") return value === "true" ? true : value === "false" ? false : undefined;
  return value.trim() !== value || value === "" || /[xob]/i.test(value) || !Number.isFinite(Number(value))
    ? undefined
    : Number(value);
}

function junction(type: "and" | "or", values: Value[]): Value {
  const ending = type === "or";
  if (values.includes(ending)) return ending;
  return values.includes(undefined) ? undefined : !ending;
}

function certain(values: Value[], combine: (values: number[]) => number): Value {
  if (values.includes(undefined)) return undefined;
  const result = combine(values as number[]);
  return Number.isFinite(result) ? result : undefined;
}

function pattern(like: string, escaper: string): string {
  let text = "";
  const points = [...like];
  for (let at = 0; at < points.length; at++) {
    let point = points[at]!;
    if (escaper !== "" && point === escaper) point = `\\u{${points[++at]!.codePointAt(0)!.toString(16)}}`;
    else if (point === "%") point = ".*";
    else if (point === "_") point = ".";
    else point = `\\u{${point.codePointAt(0)!.toString(16)}}`;
    text += point;
  }
  return text;
}
