// The fields of a publish that HTTP carries in headers: Idempotency-Key and Dunlin-*.
import { type Refusal, refuse } from "../errors.ts";
import { PUBLISH_FIELDS, type PublishFields } from "../message/fields.ts";
import { check } from "../schema.ts";
import { integer } from "./input.ts";

// Maps, as a header may be called `constructor`.
const FIELD_BY_HEADER = new Map<string, keyof typeof PUBLISH_FIELDS.fields>([
  ["idempotency-key", "messageId"],
  ["dunlin-group", "group"],
  ["dunlin-priority", "priority"],
  ["dunlin-delay-ms", "delayMs"],
  ["dunlin-deliver-at", "deliverAt"],
  ["dunlin-ttl-ms", "ttlMs"],
  ["dunlin-retain", "retain"],
  ["dunlin-reply-to", "replyTo"],
  ["dunlin-correlation-id", "correlationId"],
  ["dunlin-expect-seq", "expectSeq"],
  ["dunlin-receipt-to", "receiptTo"],
]);
/** Together they make `prepare`. */
const PREPARE_BY_HEADER = new Map<string, keyof typeof PUBLISH_FIELDS.fields.prepare.fields>([
  ["dunlin-check-to", "checkTo"],
  ["dunlin-check-after-ms", "checkAfterMs"],
  ["dunlin-checks", "checks"],
]);
const OWN_HEADER = "dunlin-header-";

/**
 * Reads a request's headers.
 *
 * @returns the fields they set, `headers` among them if there is any `Dunlin-Header-NAME`; `bad-field` names the wrong one
 * @example publishHeaders(new Headers({ "dunlin-group": "ann", "dunlin-header-shop": "north" }))
 * // { group: "ann", headers: { shop: "north" } }
 */
export function publishHeaders(headers: Headers): PublishFields | Refusal {
  const fields: Record<string, unknown> = {};
  const own: [string, string][] = [];
  const prepare: Record<string, unknown> = {};
  for (const [header, text] of headers) {
    if (header.startsWith(OWN_HEADER) && header !== OWN_HEADER)
      own.push([header.slice(OWN_HEADER.length), text]);
    const prepareName = PREPARE_BY_HEADER.get(header);
    if (prepareName !== undefined) prepare[prepareName] = prepareName === "checkTo" ? text : integer(text);
    const name = FIELD_BY_HEADER.get(header);
    if (name === undefined) continue;
    const spec = PUBLISH_FIELDS.fields[name];
    const value = spec.type === "integer" ? integer(text) : spec.type === "boolean" ? flag(text) : text;
    const wrong = check(spec, value, header) ?? broken(text, header);
    if (wrong !== undefined) return refuse("bad-field", wrong);
    fields[name] = value;
  }
  if (Object.keys(prepare).length > 0) {
    const wrong = check(PUBLISH_FIELDS.fields.prepare, prepare, "prepare");
    if (wrong !== undefined) return refuse("bad-field", wrong);
    fields.prepare = prepare;
  }
  if (own.length > 0) {
    fields.headers = Object.fromEntries(own);
    const wrong =
      check(PUBLISH_FIELDS.fields.headers, fields.headers, `${OWN_HEADER}*`) ??
      broken(JSON.stringify(own), `${OWN_HEADER}*`);
    if (wrong !== undefined) return refuse("bad-field", wrong);
  }
  return fields;
}

/** The runtime reads header bytes as UTF-8, and puts this character where they are not. */
function broken(text: string, header: string): string | undefined {
  return text.includes("\ufffd") ? `${header} must be UTF-8` : undefined;
}

function flag(text: string): boolean | string {
  return text === "true" ? true : text === "false" ? false : text;
}
