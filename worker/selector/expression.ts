// A selector as a tree, and the kind of value that each part of it has.
import { type FieldName, isNumberField } from "./fields.ts";

/** How two values are compared. */
export type Comparison = "=" | "<>" | "<" | "<=" | ">" | ">=";

/** A part of a selector. Sums, products, AND and OR hold all their members, so that a long chain is no deep tree. */
export type Expression =
  | { type: "literal"; value: string | number | boolean }
  | { type: "field"; name: FieldName }
  | { type: "header"; name: string }
  | { type: "and" | "or"; parts: Expression[] }
  | { type: "not"; of: Expression }
  | { type: "compare"; comparison: Comparison; left: Expression; right: Expression }
  /** A single term has a sign of its own: `-price`. */
  | { type: "sum"; terms: { minus: boolean; of: Expression }[] }
  | { type: "product"; factors: { divide: boolean; of: Expression }[] }
  | { type: "between"; of: Expression; low: Expression; high: Expression }
  | { type: "in"; of: Expression; values: (string | number)[] }
  /** `escaper` is the escape character, "" when the pattern has none. */
  | { type: "like"; of: Expression; pattern: string; escaper: string }
  | { type: "null"; of: Expression };

/** What a value is; a header is whatever it is compared with. */
export type Kind = "text" | "number" | "boolean" | "header";

/** The kind of value that an expression has. */
export function kindOf(expression: Expression): Kind {
  switch (expression.type) {
    case "literal":
      return typeof expression.value === "string"
        ? "text"
        : (typeof expression.value as "number" | "boolean");
    case "field":
      return isNumberField(expression.name) ? "number" : "text";
    case "header":
      return "header";
    case "sum":
    case "product":
      return "number";
    default:
      return "boolean";
  }
}
