// Messages as selectors see them, and a selector's tree as text.
import type { Expression } from "../../worker/selector/expression.ts";
import type { SelectorFields } from "../../worker/selector/fields.ts";

/** A message of which a test says only some fields and headers. */
export function fieldsOf(
  headers: Record<string, string> = {},
  fields: Partial<Omit<SelectorFields, "header">> = {},
): SelectorFields {
  return {
    messageId: "id-1",
    time: 1_000,
    correlationId: undefined,
    priority: 0,
    expiresAt: 0,
    replyTo: undefined,
    group: undefined,
    contentType: "application/json",
    topic: undefined,
    attempt: undefined,
    ...fields,
    header: (name) => (Object.hasOwn(headers, name) ? headers[name] : undefined),
  };
}

/** A tree as the text that means it; every part that is no plain value stands in parentheses. */
export function print(expression: Expression): string {
  switch (expression.type) {
    case "literal":
      return literal(expression.value);
    case "field":
      return expression.name;
    case "header":
      return `"${expression.name.replaceAll('"', '""')}"`;
    case "and":
    case "or":
      return expression.parts.map(inner).join(` ${expression.type.toUpperCase()} `);
    case "not":
      return `NOT ${inner(expression.of)}`;
    case "compare":
      return `${inner(expression.left)} ${expression.comparison} ${inner(expression.right)}`;
    case "sum": {
      const [first, ...rest] = expression.terms;
      if (rest.length === 0) return `${first!.minus ? "-" : "+"} ${inner(first!.of)}`;
      return inner(first!.of) + rest.map(({ minus, of }) => ` ${minus ? "-" : "+"} ${inner(of)}`).join("");
    }
    case "product": {
      const [first, ...rest] = expression.factors;
      return inner(first!.of) + rest.map(({ divide, of }) => ` ${divide ? "/" : "*"} ${inner(of)}`).join("");
    }
    case "between":
      return `${inner(expression.of)} BETWEEN ${inner(expression.low)} AND ${inner(expression.high)}`;
    case "in":
      return `${inner(expression.of)} IN (${expression.values.map(literal).join(", ")})`;
    case "like": {
      const { of, pattern, escaper } = expression;
      return `${inner(of)} LIKE ${literal(pattern)}${escaper === "" ? "" : ` ESCAPE ${literal(escaper)}`}`;
    }
    case "null":
      return `${inner(expression.of)} IS NULL`;
  }
}

function inner(expression: Expression): string {
  const plain = ["literal", "field", "header"].includes(expression.type);
  return plain ? print(expression) : `(${print(expression)})`;
}

function literal(value: string | number | boolean): string {
  return typeof value === "string" ? `'${value.replaceAll("'", "''")}'` : String(value).toUpperCase();
}
