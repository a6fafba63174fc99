// CloudEvents 1.0 as publishes: structured, batched, and in the headers of a request (binary).
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { MAX_HEADERS_BYTES } from "../limits.ts";
import { PUBLISH_FIELDS, type PublishFields } from "../message/fields.ts";
import { check, type ObjectSpec, type Spec } from "../schema.ts";

/** Media type of one structured event. */
export const CLOUD_EVENT = "application/cloudevents+json";
/** Media type of an array of structured events. */
export const CLOUD_EVENT_BATCH = "application/cloudevents-batch+json";

const PREFIX = "ce-";
const REQUIRED = ["id", "source", "type", "specversion"];
const ATTRIBUTE: Spec = { type: "string", minLength: 1, maxLength: MAX_HEADERS_BYTES };
const SHAPE: ObjectSpec = {
  type: "object",
  fields: Object.fromEntries(REQUIRED.map((name) => [name, ATTRIBUTE])),
  required: REQUIRED,
};
const NOT_HEADERS = new Set(["data", "data_base64", "datacontenttype"]);

/**
 * The publish of a structured event: attributes as headers `ce-NAME`, data as body, `SOURCE ID` as messageId.
 *
 * @param path how to name the event in a refusal, "" when it is the whole body
 */
export function structuredEvent(event: unknown, path: string): PublishFields | Refusal {
  const wrong = check(SHAPE, event, path);
  if (wrong !== undefined) return refuse("bad-field", wrong);
  const attributes: [string, string][] = [];
  const { data, data_base64: base64, datacontenttype: type } = event as Record<string, unknown>;
  for (const [name, value] of Object.entries(event as object)) {
    if (NOT_HEADERS.has(name) || value === null) continue;
    if (!["string", "number", "boolean"].includes(typeof value)) {
      return refuse("bad-field", `${inside(path, name)} must be a string, a number or a boolean`);
    }
    attributes.push([name, String(value)]);
  }
  const fields = attributesAsFields(attributes, path);
  if (isRefusal(fields)) return fields;
  if (data !== undefined && base64 !== undefined) {
    return refuse("bad-field", `${inside(path, "data")} and data_base64 exclude each other`);
  }
  const content = {
    ...(base64 === undefined ? { body: data ?? null } : { base64 }),
    ...(type == null ? {} : { contentType: type }),
  };
  const unfit = check(PUBLISH_FIELDS, content, path);
  if (unfit !== undefined) return refuse("bad-field", unfit);
  return { ...fields, ...(content as PublishFields) };
}

/** Whether a request's headers carry an event. */
export function isBinaryEvent(headers: Headers): boolean {
  return REQUIRED.some((name) => headers.has(PREFIX + name));
}

/** The publish of an event in headers; its data is the request's body. */
export function binaryEvent(headers: Headers): PublishFields | Refusal {
  const attributes: [string, string][] = [];
  for (const [header, value] of headers) {
    if (header.startsWith(PREFIX)) attributes.push([header.slice(PREFIX.length), percentDecoded(value)]);
  }
  return attributesAsFields(attributes, "");
}

function attributesAsFields(attributes: [string, string][], path: string): PublishFields | Refusal {
  const byName = new Map(attributes);
  for (const name of REQUIRED) {
    if (!byName.get(name)) return refuse("bad-field", `${inside(path, name)} of the CloudEvent is required`);
  }
  if (byName.get("specversion") !== "1.0") {
    const got = JSON.stringify(byName.get("specversion")!.slice(0, 20));
    return refuse("bad-field", `${inside(path, "specversion")} must be "1.0", got ${got}`);
  }
  const fields = {
    messageId: `${byName.get("source")} ${byName.get("id")}`,
    headers: Object.fromEntries(attributes.map(([name, value]) => [PREFIX + name, value])),
  };
  const wrong = check(PUBLISH_FIELDS, fields, path);
  return wrong === undefined ? fields : refuse("bad-field", `${wrong} (messageId is source, a space and id)`);
}

/** CloudEvents encodes what headers cannot carry; text that is not so encoded is meant as it stands. */
function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function inside(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}
