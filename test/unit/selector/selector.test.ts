// Selectors: what Jakarta Messaging 3.8.1 shows of them, values that are unknown, names, and texts that are no selector.
import { describe, expect, it } from "vitest";
import { Writer } from "../../../worker/bytes/writer.ts";
import { isRefusal } from "../../../worker/errors.ts";
import { MAX_SELECTOR_CHARS, MAX_SELECTOR_DEPTH } from "../../../worker/limits.ts";
import { JSON_BODY, RecordView, writeMessage } from "../../../worker/message/record.ts";
import { RecordFields } from "../../../worker/selector/record-fields.ts";
import { checkFilterField, parseSelector, type Selector } from "../../../worker/selector/selector.ts";
import { message } from "../../support/message.ts";
import { fieldsOf } from "../../support/selectors.ts";

function selector(text: string): Selector {
  const found = parseSelector(text);
  if (isRefusal(found)) throw new Error(`${text}: ${found.message}`);
  return found;
}

function refusal(text: string): string {
  const found = parseSelector(text);
  expect(found, text).toMatchObject({ kind: "bad-field" });
  return isRefusal(found) ? found.message : "";
}

const ALL = {
  color: "blue",
  size: "12",
  weight: "2600",
  age: "17",
  urgent: "true",
  Country: "UK",
  phone: "12993",
  word: "lose",
  underscored: "_foo",
  "x-type": "van",
  name: "O'Neil",
};

describe("the examples of Jakarta Messaging", () => {
  it.each<[string, boolean]>([
    ["color = 'blue' AND weight > 2500", true],
    ["JMSType = 'car' AND color = 'blue' AND weight > 2500", false],
    ["age BETWEEN 15 AND 19", true],
    ["age >= 15 AND age <= 19", true],
    ["age NOT BETWEEN 15 AND 19", false],
    ["age < 15 OR age > 19", false],
    ["Country IN ('UK', 'US', 'France')", true],
    ["Country NOT IN ('UK', 'US', 'France')", false],
    ["(Country = 'UK') OR (Country = 'US') OR (Country = 'France')", true],
    ["phone LIKE '12%3'", true],
    ["phone LIKE '12%4'", false],
    ["word LIKE 'l_se'", true],
    ["word LIKE 'l_s'", false],
    ["underscored LIKE '\\_%' ESCAPE '\\'", true],
    ["word LIKE '\\_%' ESCAPE '\\'", false],
    ["phone NOT LIKE '12%3'", false],
    ["prop_name IS NULL", true],
    ["age IS NOT NULL", true],
    ["name = 'O''Neil'", true],
  ])("[SEL1] %s is %s", (text, expected) => {
    expect(selector(text).matches(fieldsOf(ALL))).toBe(expected);
  });
});

describe("the grammar", () => {
  it.each<[string, boolean]>([
    ["color = 'red' AND color = 'red' OR color = 'blue'", true],
    ["color = 'blue' OR color = 'red' AND color = 'red'", true],
    ["(color = 'blue' OR color = 'red') AND color = 'red'", false],
    ["NOT color = 'red' AND size = 12", true],
    ["NOT (color = 'blue' AND size = 12)", false],
    ["not color='red' and Country in('UK')or age is null", true],
    ["size + 2 * 3 = 18", true],
    ["(size + 2) * 3 = 42", true],
    ["size - 2 - 3 = 7", true],
    ["size / 2 / 3 = 2", true],
    ["7 / 2 = 3.5", true],
    ["-size = -12", true],
    ["- - size = +12", true],
    ["size = 1.2E1 AND size = 12. AND size = 0xC AND size = 12L AND size = 12f AND .5d = 5e-1", true],
    ["size <> 12", false],
    ["size IN (11, +12)", true],
    ["size IN (-12)", false],
    ["TRUE", true],
    ["FALSE", false],
    ["urgent", true],
    ["NOT urgent OR size = 1", false],
    ["urgent = TRUE AND (size = 12) = TRUE", true],
    ["urgent <> FALSE", true],
    ["\tcolor\r\n=\n'blue' ", true],
    ["color = 'BLUE'", false],
    ["COLOR = 'blue'", false],
  ])("[SEL1] %s is %s", (text, expected) => {
    expect(selector(text).matches(fieldsOf(ALL))).toBe(expected);
  });

  it.each(["größe = 1", "$a_1 = 1", "_ = 1", "名前 = 'x'", "a€ IS NULL", "nothing IS NULL", "JMSType = 'a'"])(
    "[SEL1] %s has a name as Java has them",
    (text) => {
      selector(text);
    },
  );
});

describe("what is unknown", () => {
  const unknown = [
    ...[
      "none = 1",
      "none <> 1",
      "none > 1",
      "none = 'a'",
      "none <> 'a'",
      "none = TRUE",
      "none",
      "none LIKE '%'",
    ],
    ...[
      "none IN ('a')",
      "none IN (1)",
      "none BETWEEN 1 AND 2",
      "1 BETWEEN none AND 2",
      "none + 1 = 2",
      "none = none",
    ],
    ...[
      "color = 1",
      "color > 1",
      "color <> 1",
      "color = TRUE",
      "color",
      "size / 0 = 1",
      "-color = 1",
      "size = none",
    ],
    ...["group = 'a'", "correlationId LIKE '%'", "attempt > 0"],
  ];

  it.each(unknown)("[SEL2] [SEL3] %s is neither true nor false", (text) => {
    const message = fieldsOf(ALL);
    expect(selector(text).matches(message)).toBe(false);
    expect(selector(`NOT (${text})`).matches(message)).toBe(false);
    expect(selector(`(${text}) OR TRUE`).matches(message)).toBe(true);
    expect(selector(`NOT ((${text}) AND FALSE)`).matches(message)).toBe(true);
    expect(selector(`(${text}) OR FALSE`).matches(message)).toBe(false);
    expect(selector(`NOT ((${text}) AND TRUE)`).matches(message)).toBe(false);
  });

  it("[SEL2] a range is left on either side, whatever the other is", () => {
    expect(selector("NOT 5 BETWEEN 6 AND none").matches(fieldsOf())).toBe(true);
    expect(selector("NOT 5 BETWEEN none AND 4").matches(fieldsOf())).toBe(true);
  });
});

describe("headers are text", () => {
  it.each<[string, string, boolean]>([
    ["12", "x = 12", true],
    ["12.0", "x = 12", true],
    ["+12", "x = 12", true],
    ["1.2e1", "x = 12", true],
    ["12.0", "x = '12'", false],
    [" 12", "x = 12", false],
    ["0x0c", "x = 12", false],
    ["12L", "x = 12", false],
    ["", "x = 0", false],
    ["", "x = ''", true],
    ["1e999", "x > 0", false],
    ["Infinity", "x > 0", false],
    ["TRUE", "x = TRUE", false],
    ["false", "x = FALSE", true],
    ["false", "NOT x", true],
    ["true", "x = 'true'", true],
  ])("[SEL3] with x: %j, %s is %s", (x, text, expected) => {
    expect(selector(text).matches(fieldsOf({ x }))).toBe(expected);
  });

  it.each<[string, string, boolean]>([
    ["5", "5.0", true],
    ["5", "6", false],
    ["a", "a", true],
    ["a", "b", false],
    ["a", "5", false],
  ])("[SEL3] two headers are equal as numbers when both are, else as text: %s and %s", (x, y, expected) => {
    expect(selector("x = y").matches(fieldsOf({ x, y }))).toBe(expected);
    expect(selector("x <> y").matches(fieldsOf({ x, y }))).toBe(!expected);
  });
});

describe("LIKE", () => {
  it.each<[string, string, boolean]>([
    ["", "", true],
    ["%", "", true],
    ["%%", "a", true],
    ["_", "", false],
    ["_", "🐦", true],
    ["a%", "a", true],
    ["%a", "ba", true],
    ["%a%", "bab", true],
    ["%a%b%", "xaxbx", true],
    ["%a%b%", "xbxax", false],
    ["a%a", "a", false],
    ["a_%c", "abc", true],
    ["a_%c", "ac", false],
    ["%ab_", "aababc", true],
    ["A%", "a", false],
  ])("[SEL5] %j and %j: %s", (pattern, x, expected) => {
    expect(selector(`x LIKE '${pattern}'`).matches(fieldsOf({ x }))).toBe(expected);
  });

  it("[SEL5] an escaped wildcard and an escaped escape stand for themselves", () => {
    const test = selector("x LIKE 'a!%!!!_' ESCAPE '!'");
    expect(test.matches(fieldsOf({ x: "a%!_" }))).toBe(true);
    expect(test.matches(fieldsOf({ x: "abb!_" }))).toBe(false);
  });

  it("[SEL5] long patterns match as short ones do", () => {
    const like = (pattern: string, x: string) => selector(`x LIKE '${pattern}'`).matches(fieldsOf({ x }));
    const ends = `${"a".repeat(40)}%${"b".repeat(40)}`;
    expect(like(ends, `${"a".repeat(50)}${"b".repeat(41)}`)).toBe(true);
    expect(like(ends, `${"a".repeat(50)}${"b".repeat(39)}`)).toBe(false);
    for (const length of [31, 32, 33, 63, 64]) {
      expect(like(`${"_".repeat(length)}%x`, `${"y".repeat(length)}x`)).toBe(true);
      expect(like(`${"_".repeat(length)}%x`, `${"y".repeat(length - 1)}x`)).toBe(false);
    }
  });

  it("[SEL5] the worst pattern on the longest header takes no time to speak of", () => {
    const x = "a".repeat(60_000);
    const test = selector(`x LIKE '${"%a_".repeat(1_000)}%b'`);
    const begin = performance.now();
    expect(test.matches(fieldsOf({ x }))).toBe(false);
    expect(performance.now() - begin).toBeLessThan(2_000);
  });
});

describe("names", () => {
  const record = new Writer(256);
  writeMessage(
    record,
    message({
      ...{
        body: "{}",
        bodyKind: JSON_BODY,
        messageId: "m-1",
        time: 5_000,
        correlationId: "c-1",
        priority: 7,
      },
      ...{ expiresAt: 9_000, replyTo: "queue:answers", group: "g", topic: "news/sport" },
      headers: JSON.stringify({ group: "header", "x-type": "van", 'a"b': "1", null: "2", __proto__: "3" }),
    }),
  );
  const fields = new RecordFields(new RecordView(record.take()), 3);

  it.each([
    ...["messageId = 'm-1'", "JMSMessageID = 'm-1'", "time = 5000", "JMSTimestamp BETWEEN 1 AND 5000"],
    ...["correlationId = 'c-1'", "JMSCorrelationID LIKE 'c%'", "priority > 6", "JMSPriority = 7"],
    ...["expiresAt = 9000", "JMSExpiration - JMSTimestamp = 4000", "replyTo LIKE 'queue:%'"],
    ...["JMSReplyTo = 'queue:answers'", "group = 'g'", "JMSXGroupID IN ('f', 'g')", "topic LIKE 'news/%'"],
    ...["contentType = 'application/json'", "attempt = 3", "JMSXDeliveryCount >= 2"],
    ...["\"group\" = 'header'", "\"x-type\" = 'van'", '"a""b" = 1', '"null" = 2', '"__proto__" IS NULL'],
    ...['"messageId" IS NULL', '"toString" IS NULL', "JMSType IS NULL"],
  ])("[SEL6] %s", (text) => {
    expect(selector(text).matches(fields)).toBe(true);
  });

  it("[SEL6] a message without headers, group, content type and attempt has the usual ones or none", () => {
    const plain = new Writer(256);
    writeMessage(plain, message({ body: new Uint8Array(1), bodyKind: 2 }));
    const view = new RecordFields(new RecordView(plain.take()));
    const text =
      "x IS NULL AND group IS NULL AND topic IS NULL AND attempt IS NULL AND replyTo IS NULL" +
      " AND correlationId IS NULL AND expiresAt = 0 AND contentType = 'application/octet-stream'";
    expect(selector(text).matches(view)).toBe(true);
  });
});

describe("texts that are no selector", () => {
  it.each<[string, string]>([
    ["color", ""],
    ["color =", "expected a value, got the end, at character 8"],
    ["= 'a'", 'expected a value, got "=", at character 1'],
    ["color = 'blue", "a text has no closing ', at character 9"],
    ['"color = 1', 'a quoted name has no closing ", at character 1'],
    ["color == 'a'", 'expected a value, got "=", at character 8'],
    ["color != 'a'", '"!" means nothing in a selector, at character 7'],
    ["a; b", '";" means nothing in a selector, at character 2'],
    ["a = 1 b", 'expected AND, OR or the end, got "b", at character 7'],
    ["a = b = c", 'expected AND, OR or the end, got "=", at character 7'],
    ["(a = 1", "expected AND, OR or ), got the end, at character 7"],
    ["a = 1)", 'expected AND, OR or the end, got ")", at character 6'],
    ["a = 1 AND", "expected a value, got the end, at character 10"],
    ["a IS 1", 'expected NULL, got "1", at character 6'],
    ["a NOT = 1", 'expected BETWEEN, IN or LIKE, got "=", at character 7'],
    ["a BETWEEN 1 OR 2", 'expected AND, got "OR", at character 13'],
    ["a BETWEEN 'a' AND 'b'", "expected a number, got a text, at character 11"],
    ["a IN ()", 'expected a text or a number, got ")", at character 7'],
    ["a IN ('a' 'b')", 'expected , or ), got "b", at character 11'],
    ["a IN ('a', 1)", "IN has texts or numbers, not both, at character 12"],
    ["a IN 'a'", 'expected (, got "a", at character 6'],
    ["priority IN ('a')", "expected a text, got a number, at character 1"],
    ["a LIKE 1", 'expected a pattern as text, got "1", at character 8'],
    ["a LIKE 'a' ESCAPE 'ab'", 'expected one character as text, got "ab", at character 19'],
    ["a LIKE 'a!b' ESCAPE '!'", "ESCAPE '!' stands only before %, _ and itself, at character 8"],
    ["a LIKE 'a!' ESCAPE '!'", "ESCAPE '!' stands only before %, _ and itself, at character 8"],
    ["a < 'b'", "< compares numbers, got text, at character 3"],
    ["TRUE > FALSE", "> compares numbers, got boolean, at character 6"],
    ["priority = 'high'", "= compares values of one kind, got number and text, at character 10"],
    ["1 = TRUE", "= compares values of one kind, got number and boolean, at character 3"],
    [
      "x-type = 'van'",
      'got number and text (a name with a "-" in it stands in double quotes), at character 8',
    ],
    ["'a' + 1 = 2", "expected a number, got a text, at character 1"],
    ["a + 1", "expected a condition, got a number, at character 1"],
    ["'a'", "expected a condition, got a text, at character 1"],
    ["a = 1 AND 5", "expected a condition, got a number, at character 11"],
    ["NOT 5", "expected a condition, got a number, at character 5"],
    ["'a' IS NULL", "IN, LIKE and IS NULL stand after the name of a header or field, at character 1"],
    ["a + b LIKE 'x'", "IN, LIKE and IS NULL stand after the name of a header or field, at character 1"],
    ["NULL = 1", 'expected a value, got "NULL", at character 1'],
    ["and = 1", 'expected a value, got "AND", at character 1'],
    ["a = 010", "010 is no number of SQL or Java, or out of range, at character 5"],
    ["a = 1e999", "1e999 is no number of SQL or Java, or out of range, at character 5"],
    ["a = 1.5L", "1.5L is no number of SQL or Java, or out of range, at character 5"],
    ["JMSDestination = 'a'", "JMSDestination is no field of a message"],
    ["a = 🐦", '"🐦" means nothing in a selector, at character 5'],
    ["a = \0", '"\\u0000" means nothing in a selector, at character 5'],
    ["", "expected a value, got the end, at character 1"],
  ])("[SEL7] %j: %s", (text, expected) => {
    if (expected === "") expect(isRefusal(parseSelector(text))).toBe(false);
    else expect(refusal(text)).toContain(expected);
  });

  it("[SEL8] a selector has at most MAX_SELECTOR_CHARS characters", () => {
    const fits = `a = '${"x".repeat(MAX_SELECTOR_CHARS - 6)}'`;
    expect(fits.length).toBe(MAX_SELECTOR_CHARS);
    selector(fits);
    expect(checkFilterField({ a: "x".repeat(MAX_SELECTOR_CHARS) })).toMatchObject({ kind: "bad-field" });
    expect(refusal(`${fits} `)).toBe(
      `filter has at most ${MAX_SELECTOR_CHARS} characters, got ${MAX_SELECTOR_CHARS + 1}`,
    );
  });

  it.each(["(", "NOT ", "-", "+", "a = - (", "NOT (", "(a = "])("[SEL8] nesting of %j ends", (piece) => {
    const many = piece.repeat(Math.floor(MAX_SELECTOR_CHARS / piece.length) - 1);
    refusal(many);
    expect(refusal(`${"(".repeat(MAX_SELECTOR_DEPTH)}a${")".repeat(MAX_SELECTOR_DEPTH)}`)).toContain(
      `at most ${MAX_SELECTOR_DEPTH} parentheses, NOTs and signs stand inside each other`,
    );
    selector(`${"(".repeat(MAX_SELECTOR_DEPTH - 1)}a${")".repeat(MAX_SELECTOR_DEPTH - 1)}`);
  });

  it("[SEL8] long chains are no nesting", () => {
    const fields = fieldsOf({ a: "1" });
    expect(selector(`${"a=2 OR ".repeat(580)}a=1`).matches(fields)).toBe(true);
    expect(selector(`${"a=1 AND ".repeat(500)}a=2`).matches(fields)).toBe(false);
    expect(selector(`${"a+".repeat(2_000)}a = 2001`).matches(fields)).toBe(true);
    expect(selector(`${"a*".repeat(2_000)}a = 1`).matches(fields)).toBe(true);
  });
});

describe("the field of a request", () => {
  it.each<[unknown, string]>([
    [undefined, ""],
    ["", ""],
    ["  ", ""],
    [{}, ""],
    [" a = 1 ", "a = 1"],
    [{ color: "blue", size: 12, urgent: true }, `"color" = 'blue' AND "size" = 12 AND "urgent" = TRUE`],
    [{ name: "O'Neil", 'a"b': -1.5e-9, "": "x" }, `"name" = 'O''Neil' AND "a""b" = -1.5e-9 AND "" = 'x'`],
  ])("[SEL9] %j becomes %j", (value, text) => {
    expect(checkFilterField(value)).toBe(text);
  });

  it("[SEL9] an object of headers matches what has them all", () => {
    const text = checkFilterField({ color: "blue", size: 12, urgent: true, "x-type": "van", name: "O'Neil" });
    expect(selector(text as string).matches(fieldsOf(ALL))).toBe(true);
    expect(selector(text as string).matches(fieldsOf({ ...ALL, size: "13" }))).toBe(false);
    expect(selector(checkFilterField({ group: "a" }) as string).matches(fieldsOf({ group: "a" }))).toBe(true);
  });

  it.each<[unknown]>([
    ...[5, true, null, [], ["a"]].map((value): [unknown] => [value]),
    ...[null, {}, [], Number.NaN, Number.POSITIVE_INFINITY].map((value): [unknown] => [{ a: value }]),
    ["a ="],
  ])("[SEL7] [SEL9] %j is refused", (value) => {
    expect(checkFilterField(value)).toMatchObject({ kind: "bad-field" });
  });

  it("[SEL8] parsed selectors are kept up to a limit, and the first one still works after thousands of others", () => {
    const first = selector("a = 0");
    expect(selector("a = 0")).toBe(first);
    for (let n = 0; n < 40_000; n++) selector(`other = ${n}`);
    expect(selector("a = 0")).not.toBe(first);
    expect(selector("a = 0").matches(fieldsOf({ a: "0" }))).toBe(true);
  });
});
