// Reads a selector: Jakarta Messaging's grammar (3.8.1.1) by recursive descent, with the kinds of values checked on the way.
import { isRefusal, type Refusal } from "../errors.ts";
import { MAX_SELECTOR_DEPTH } from "../limits.ts";
import { type Comparison, type Expression, type Kind, kindOf } from "./expression.ts";
import { fieldOf } from "./fields.ts";
import { likeTest } from "./like.ts";
import { type Token, tokens, wrong } from "./tokens.ts";

const COMPARISONS = new Set(["=", "<>", "<", "<=", ">", ">="]);
const ORDERS = new Set(["<", "<=", ">", ">="]);
/** Stands for what could not be read: the refusal is kept beside it. */
const NOTHING: Expression = { type: "literal", value: false };

/**
 * Reads a selector's text.
 *
 * @returns the condition; `bad-field` with what is wrong and where
 * @example parseExpression("color = 'blue' AND weight > 2500")
 */
export function parseExpression(text: string): Expression | Refusal {
  const found = tokens(text);
  return isRefusal(found) ? found : new Parser(found).condition();
}

class Parser {
  readonly #tokens: Token[];
  #next = 0;
  #depth = 0;
  #refusal: Refusal | undefined;

  constructor(found: Token[]) {
    this.#tokens = found;
  }

  condition(): Expression | Refusal {
    const expression = this.#boolean(() => this.#or());
    if (this.#token.type !== "end") this.#unexpected("AND, OR or the end");
    return this.#refusal ?? expression;
  }

  #or(): Expression {
    return this.#deeper(() => this.#chain("OR", "or", () => this.#and()));
  }

  #and(): Expression {
    return this.#chain("AND", "and", () => this.#not());
  }

  #chain(word: string, type: "and" | "or", part: () => Expression): Expression {
    const start = this.#token;
    const first = part();
    if (!this.#is("word", word)) return first;
    const parts = [this.#wanted(first, "boolean", start)];
    while (this.#take("word", word)) parts.push(this.#boolean(part));
    return { type, parts };
  }

  #not(): Expression {
    if (!this.#take("word", "NOT")) return this.#predicate();
    return this.#deeper(() => ({ type: "not", of: this.#boolean(() => this.#not()) }));
  }

  #predicate(): Expression {
    const start = this.#token;
    const of = this.#sum();
    const operator = this.#token;
    if (operator.type === "sign" && COMPARISONS.has(operator.value)) {
      this.#next++;
      return this.#compare(operator, of, this.#sum());
    }
    if (this.#take("word", "IS")) {
      const not = this.#take("word", "NOT");
      if (!this.#take("word", "NULL")) return this.#unexpected("NULL");
      return negatedIf(not, { type: "null", of: this.#identifier(of, start) });
    }
    const not = this.#take("word", "NOT");
    if (this.#take("word", "BETWEEN")) return negatedIf(not, this.#between(of, start));
    if (this.#take("word", "IN")) return negatedIf(not, this.#in(this.#identifier(of, start), start));
    if (this.#take("word", "LIKE")) return negatedIf(not, this.#like(this.#identifier(of, start), start));
    return not ? this.#unexpected("BETWEEN, IN or LIKE") : of;
  }

  #compare(operator: Token, left: Expression, right: Expression): Expression {
    const [a, b] = [kindOf(left), kindOf(right)];
    const comparison = operator.value as Comparison;
    if (ORDERS.has(comparison) && (!fits(a, "number") || !fits(b, "number"))) {
      return this.#fail(operator, `${comparison} compares numbers, got ${fits(a, "number") ? b : a}`);
    }
    if (a !== "header" && !fits(b, a)) {
      const hint = left.type === "sum" ? ' (a name with a "-" in it stands in double quotes)' : "";
      return this.#fail(operator, `${comparison} compares values of one kind, got ${a} and ${b}${hint}`);
    }
    return { type: "compare", comparison, left, right };
  }

  #between(of: Expression, start: Token): Expression {
    this.#wanted(of, "number", start);
    const low = this.#number(() => this.#sum());
    if (!this.#take("word", "AND")) return this.#unexpected("AND");
    return { type: "between", of, low, high: this.#number(() => this.#sum()) };
  }

  #in(of: Expression, start: Token): Expression {
    if (!this.#take("sign", "(")) return this.#unexpected("(");
    const values: (string | number)[] = [];
    do {
      const token = this.#token;
      const value = this.#literal();
      if (value === undefined) return this.#unexpected("a text or a number");
      if (values.length > 0 && typeof value !== typeof values[0]) {
        return this.#fail(token, "IN has texts or numbers, not both");
      }
      values.push(value);
    } while (this.#take("sign", ","));
    if (!this.#take("sign", ")")) return this.#unexpected(", or )");
    this.#wanted(of, typeof values[0] === "number" ? "number" : "text", start);
    return { type: "in", of, values };
  }

  /** A text or a number with its sign. */
  #literal(): string | number | undefined {
    const minus = this.#take("sign", "-");
    const signed = minus || this.#take("sign", "+");
    const { type, value, number } = this.#token;
    if (type !== "number" && (type !== "text" || signed)) return undefined;
    this.#next++;
    return type === "text" ? value : minus ? -number : number;
  }

  #like(of: Expression, start: Token): Expression {
    this.#wanted(of, "text", start);
    const { type, value: pattern } = this.#token;
    if (type !== "text") return this.#unexpected("a pattern as text");
    const at = this.#token;
    this.#next++;
    let escaper = "";
    if (this.#take("word", "ESCAPE")) {
      escaper = this.#token.value;
      if (this.#token.type !== "text" || [...escaper].length !== 1)
        return this.#unexpected("one character as text");
      this.#next++;
    }
    if (likeTest(pattern, escaper) !== undefined) return { type: "like", of, pattern, escaper };
    return this.#fail(at, `ESCAPE '${escaper}' stands only before %, _ and itself`);
  }

  #sum(): Expression {
    const start = this.#token;
    const first = this.#product();
    const terms = [{ minus: false, of: first }];
    for (;;) {
      const minus = this.#is("sign", "-");
      if (!minus && !this.#is("sign", "+")) break;
      if (terms.length === 1) this.#wanted(first, "number", start);
      this.#next++;
      terms.push({ minus, of: this.#number(() => this.#product()) });
    }
    return terms.length === 1 ? first : { type: "sum", terms };
  }

  #product(): Expression {
    const start = this.#token;
    const first = this.#signed();
    const factors = [{ divide: false, of: first }];
    for (;;) {
      const divide = this.#is("sign", "/");
      if (!divide && !this.#is("sign", "*")) break;
      if (factors.length === 1) this.#wanted(first, "number", start);
      this.#next++;
      factors.push({ divide, of: this.#number(() => this.#signed()) });
    }
    return factors.length === 1 ? first : { type: "product", factors };
  }

  #signed(): Expression {
    const minus = this.#take("sign", "-");
    if (!minus && !this.#take("sign", "+")) return this.#primary();
    return this.#deeper(() => {
      const of = this.#number(() => this.#signed());
      if (of.type !== "literal") return { type: "sum", terms: [{ minus, of }] };
      return minus ? { type: "literal", value: -(of.value as number) } : of;
    });
  }

  #primary(): Expression {
    const token = this.#token;
    const { type, value, number } = token;
    if (this.#take("sign", "(")) {
      const inner = this.#or();
      return this.#take("sign", ")") ? inner : this.#unexpected("AND, OR or )");
    }
    if (type === "word" && value !== "TRUE" && value !== "FALSE") return this.#unexpected("a value");
    if (type === "sign" || type === "end") return this.#unexpected("a value");
    this.#next++;
    if (type === "name") return this.#named(token);
    if (type === "quoted") return { type: "header", name: value };
    return {
      type: "literal",
      value: type === "text" ? value : type === "number" ? number : value === "TRUE",
    };
  }

  /** JMS keeps names that begin with JMS for itself; JMSType is what its publisher makes of it, so it is a header. */
  #named(token: Token): Expression {
    const field = fieldOf(token.value);
    if (field !== undefined) return { type: "field", name: field };
    if (!token.value.startsWith("JMS") || token.value === "JMSType")
      return { type: "header", name: token.value };
    return this.#fail(
      token,
      `${token.value} is no field of a message (a header of that name stands in double quotes)`,
    );
  }

  /** IN, LIKE and IS NULL ask for a name before them. */
  #identifier(of: Expression, start: Token): Expression {
    if (of.type === "header" || of.type === "field") return of;
    return this.#fail(start, "IN, LIKE and IS NULL stand after the name of a header or field");
  }

  #boolean(read: () => Expression): Expression {
    const start = this.#token;
    return this.#wanted(read(), "boolean", start);
  }

  #number(read: () => Expression): Expression {
    const start = this.#token;
    return this.#wanted(read(), "number", start);
  }

  #wanted(expression: Expression, kind: Kind, start: Token): Expression {
    const found = kindOf(expression);
    if (fits(found, kind) || this.#refusal !== undefined) return expression;
    return this.#fail(start, `expected a ${kind === "boolean" ? "condition" : kind}, got a ${found}`);
  }

  /** Parentheses, NOT and signs nest; nothing else does. */
  #deeper(read: () => Expression): Expression {
    if (this.#depth >= MAX_SELECTOR_DEPTH) {
      return this.#fail(
        this.#token,
        `at most ${MAX_SELECTOR_DEPTH} parentheses, NOTs and signs stand inside each other`,
      );
    }
    this.#depth++;
    const expression = read();
    this.#depth--;
    return expression;
  }

  /** The end once all is read: a rule may go on after a refusal. */
  get #token(): Token {
    return this.#tokens[this.#next] ?? this.#tokens.at(-1)!;
  }

  #is(type: Token["type"], value: string): boolean {
    const token = this.#token;
    return token.type === type && token.value === value;
  }

  #take(type: Token["type"], value: string): boolean {
    const taken = this.#is(type, value);
    if (taken) this.#next++;
    return taken;
  }

  #unexpected(expected: string): Expression {
    const token = this.#token;
    const got = token.type === "end" ? "the end" : JSON.stringify(token.value.slice(0, 40));
    return this.#fail(token, `expected ${expected}, got ${got}`);
  }

  /** Keeps the first refusal, and goes to the end, where every rule stops. */
  #fail(token: Token, what: string): Expression {
    this.#refusal ??= wrong(token.start, what);
    this.#next = this.#tokens.length - 1;
    return NOTHING;
  }
}

function fits(found: Kind, wanted: Kind): boolean {
  return found === wanted || found === "header";
}

function negatedIf(not: boolean, of: Expression): Expression {
  return not ? { type: "not", of } : of;
}
