// A selector's tree as functions that read a message. Three-valued: an unknown text or truth is undefined, an unknown number NaN.
import { type Comparison, type Expression, kindOf } from "./expression.ts";
import { type FieldName, isNumberField, type SelectorFields } from "./fields.ts";
import { likeTest } from "./like.ts";

/** A part of a selector that has a value of one kind for each message. */
type Reads<T> = (message: SelectorFields) => T;

/** Texts that are numbers; linear, since no two parts of it can take the same digits. */
const NUMBER = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i;

/**
 * Makes the function that tells whether a condition holds: undefined when that is unknown.
 *
 * @param expression a condition whose kinds fit, as the parser makes it
 */
export function toBoolean(expression: Expression): Reads<boolean | undefined> {
  switch (expression.type) {
    case "literal": {
      const value = expression.value === true;
      return () => value;
    }
    case "header": {
      const { name } = expression;
      return (message) => {
        const text = message.header(name);
        return text === "true" ? true : text === "false" ? false : undefined;
      };
    }
    case "and":
      return all(expression.parts.map(toBoolean), false);
    case "or":
      return all(expression.parts.map(toBoolean), true);
    case "not": {
      const of = toBoolean(expression.of);
      return (message) => negated(of(message));
    }
    case "compare":
      return comparing(expression.comparison, expression.left, expression.right);
    case "between": {
      const [of, low, high] = [expression.of, expression.low, expression.high].map(toNumber) as [
        Reads<number>,
        Reads<number>,
        Reads<number>,
      ];
      return (message) => {
        const value = of(message);
        return both(compareNumbers(value, low(message), ">="), compareNumbers(value, high(message), "<="));
      };
    }
    case "in":
      return within(expression.of, expression.values);
    case "like": {
      const of = toText(expression.of);
      const test = likeTest(expression.pattern, expression.escaper)!;
      return (message) => {
        const text = of(message);
        return text === undefined ? undefined : test(text);
      };
    }
    default:
      return absent((expression as Extract<Expression, { type: "null" }>).of);
  }
}

/** AND ends at the first part that is false, OR at the first that is true. */
function all(parts: Reads<boolean | undefined>[], ending: boolean): Reads<boolean | undefined> {
  return (message) => {
    let outcome: boolean | undefined = !ending;
    for (const part of parts) {
      const value = part(message);
      if (value === ending) return ending;
      if (value === undefined) outcome = undefined;
    }
    return outcome;
  };
}

function negated(value: boolean | undefined): boolean | undefined {
  return value === undefined ? undefined : !value;
}

function both(left: boolean | undefined, right: boolean | undefined): boolean | undefined {
  if (left === false || right === false) return false;
  return left === undefined || right === undefined ? undefined : true;
}

function comparing(comparison: Comparison, left: Expression, right: Expression): Reads<boolean | undefined> {
  const kinds = [kindOf(left), kindOf(right)];
  const negative = comparison === "<>";
  if (kinds.includes("number") || (comparison !== "=" && !negative)) {
    const [a, b] = [toNumber(left), toNumber(right)];
    return (message) => compareNumbers(a(message), b(message), comparison);
  }
  const equal = kinds.includes("boolean")
    ? same(toBoolean(left), toBoolean(right))
    : kinds.includes("text")
      ? same(toText(left), toText(right))
      : sameHeaders(toText(left), toText(right));
  return negative ? (message) => negated(equal(message)) : equal;
}

function same<T>(left: Reads<T | undefined>, right: Reads<T | undefined>): Reads<boolean | undefined> {
  return (message) => {
    const a = left(message);
    if (a === undefined) return undefined;
    const b = right(message);
    return b === undefined ? undefined : a === b;
  };
}

/** Two headers are compared as numbers when both are. */
function sameHeaders(
  left: Reads<string | undefined>,
  right: Reads<string | undefined>,
): Reads<boolean | undefined> {
  const equal = same(left, right);
  return (message) => {
    const known = equal(message);
    return known === false ? numberOf(left(message)!) === numberOf(right(message)!) : known;
  };
}

function compareNumbers(left: number, right: number, comparison: Comparison): boolean | undefined {
  if (Number.isNaN(left) || Number.isNaN(right)) return undefined;
  switch (comparison) {
    case "=":
      return left === right;
    case "<>":
      return left !== right;
    case "<":
      return left < right;
    case "<=":
      return left <= right;
    case ">":
      return left > right;
    case ">=":
      return left >= right;
  }
}

function within(of: Expression, values: (string | number)[]): Reads<boolean | undefined> {
  const set = new Set<string | number>(values);
  if (typeof values[0] === "number") {
    const number = toNumber(of);
    return (message) => {
      const value = number(message);
      return Number.isNaN(value) ? undefined : set.has(value);
    };
  }
  const text = toText(of);
  return (message) => {
    const value = text(message);
    return value === undefined ? undefined : set.has(value);
  };
}

function absent(of: Expression): Reads<boolean> {
  if (of.type === "field" && isNumberField(of.name)) {
    const number = toNumber(of);
    return (message) => Number.isNaN(number(message));
  }
  const text = toText(of);
  return (message) => text(message) === undefined;
}

function toText(expression: Expression): Reads<string | undefined> {
  const { type } = expression;
  if (type === "literal") {
    const value = expression.value as string;
    return () => value;
  }
  const { name } = expression as { name: string };
  if (type === "header") return (message) => message.header(name);
  return (message) => message[name as FieldName] as string | undefined;
}

function toNumber(expression: Expression): Reads<number> {
  switch (expression.type) {
    case "literal": {
      const value = expression.value as number;
      return () => value;
    }
    case "header": {
      const { name } = expression;
      return (message) => {
        const text = message.header(name);
        return text === undefined ? Number.NaN : numberOf(text);
      };
    }
    case "sum": {
      const terms = expression.terms.map(({ minus, of }) => ({ sign: minus ? -1 : 1, of: toNumber(of) }));
      return (message) => {
        let sum = 0;
        for (const { sign, of } of terms) sum += sign * of(message);
        return finite(sum);
      };
    }
    case "product": {
      const factors = expression.factors.map(({ divide, of }) => ({ divide, of: toNumber(of) }));
      return (message) => {
        let product = 1;
        for (const { divide, of } of factors) {
          const value = of(message);
          product = divide ? product / value : product * value;
        }
        return finite(product);
      };
    }
    default: {
      const { name } = expression as { name: FieldName };
      return (message) => (message[name] as number | undefined) ?? Number.NaN;
    }
  }
}

/** What a header is as a number, NaN when it is none. */
function numberOf(text: string): number {
  return NUMBER.test(text) ? finite(Number(text)) : Number.NaN;
}

/** What is divided by zero, or too large, is unknown. */
function finite(value: number): number {
  return Number.isFinite(value) ? value : Number.NaN;
}
