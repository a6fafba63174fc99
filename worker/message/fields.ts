// A publish as clients describe it (in a frame, in a batch, in HTTP headers), and the message it becomes.
import { parseAddress } from "../address.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import {
  MAX_CHECKS,
  MAX_CONTENT_TYPE_CHARS,
  MAX_CORRELATION_ID_CHARS,
  MAX_DELAY_MS,
  MAX_GROUP_CHARS,
  MAX_MESSAGE_ID_CHARS,
  MAX_NAME_BYTES,
  MAX_PRODUCER_ID_CHARS,
  MIN_CHECK_AFTER_MS,
} from "../limits.ts";
import { type Infer, object } from "../schema.ts";
import { fromBase64 } from "./base64.ts";
import { isPresence, presenceAction, toPresence } from "./presence.ts";
import { type BodyKind, BYTES_BODY, JSON_BODY, type Message, TEXT_BODY } from "./record.ts";
import { RESERVED_ID } from "./reserved.ts";

const MAX_TIME = Number.MAX_SAFE_INTEGER;
const encoder = new TextEncoder();

/** The fields of a publish beside its address. */
export const PUBLISH_FIELDS = object(
  {
    body: { type: "any" },
    base64: { type: "string", maxLength: MAX_TIME },
    contentType: { type: "string", minLength: 1, maxLength: MAX_CONTENT_TYPE_CHARS },
    messageId: { type: "string", minLength: 1, maxLength: MAX_MESSAGE_ID_CHARS },
    headers: { type: "texts" },
    group: { type: "string", minLength: 1, maxLength: MAX_GROUP_CHARS },
    priority: { type: "integer", minimum: 0, maximum: 9 },
    delayMs: { type: "integer", minimum: 0, maximum: MAX_DELAY_MS },
    deliverAt: { type: "integer", minimum: 0, maximum: MAX_TIME },
    ttlMs: { type: "integer", minimum: 1, maximum: MAX_DELAY_MS },
    replyTo: { type: "string", minLength: 1, maxLength: "queue:".length + MAX_NAME_BYTES },
    correlationId: { type: "string", minLength: 1, maxLength: MAX_CORRELATION_ID_CHARS },
    receiptTo: { type: "string", minLength: 1, maxLength: "queue:".length + MAX_NAME_BYTES },
    retain: { type: "boolean" },
    expectSeq: { type: "integer", minimum: 0, maximum: MAX_TIME },
    producer: object(
      {
        id: { type: "string", minLength: 1, maxLength: MAX_PRODUCER_ID_CHARS },
        epoch: { type: "integer", minimum: 0, maximum: MAX_TIME },
        seq: { type: "integer", minimum: 1, maximum: MAX_TIME },
      },
      ["id", "epoch", "seq"],
    ),
    prepare: object(
      {
        checkTo: { type: "string", minLength: 1, maxLength: "queue:".length + MAX_NAME_BYTES },
        checkAfterMs: { type: "integer", minimum: MIN_CHECK_AFTER_MS, maximum: MAX_DELAY_MS },
        checks: { type: "integer", minimum: 1, maximum: MAX_CHECKS },
      },
      ["checkTo"],
    ),
  },
  [],
);

/** A publish that passed the check of its fields. */
export type PublishFields = Infer<typeof PUBLISH_FIELDS>;

/** What a message carries. */
export interface Payload {
  bodyKind: BodyKind;
  body: string | Uint8Array;
  /** "" when nothing was said. */
  contentType: string;
}

/**
 * Makes the message of a publish that arrived now.
 *
 * @param fields what `check(PUBLISH_FIELDS, …)` let pass
 * @param now ms since the epoch
 * @param maxBytes most bytes of payload and headers
 * @returns the message, or why there can be none: `bad-field`, `bad-body`, `message-too-large`
 * @example toMessage({ body: { order: 7 }, delayMs: 500 }, Date.now(), MAX_MESSAGE_BYTES)
 */
export function toMessage(fields: PublishFields, now: number, maxBytes: number): Message | Refusal {
  const payload = payloadOf(fields, maxBytes);
  return "kind" in payload ? payload : withPayload(payload, fields, now, maxBytes);
}

/** As `toMessage`, for a payload that is not inside the fields: `body`, `base64` and `contentType` of them do not count. */
export function withPayload(
  payload: Payload,
  fields: PublishFields,
  now: number,
  maxBytes: number,
): Message | Refusal {
  const { delayMs = 0, deliverAt, messageId, ttlMs } = fields;
  if (messageId?.startsWith(RESERVED_ID) === true) {
    return refuse("bad-field", "messageId must not begin with NUL");
  }
  const headers = headersText(fields.headers);
  // A UTF-16 unit is at most three bytes of UTF-8, so most messages need not be measured.
  if ((payload.body.length + headers.length) * 3 > maxBytes) {
    const size = byteLength(payload.body) + byteLength(headers);
    if (size > maxBytes) return tooLarge(size, maxBytes);
  }
  const receiptTo = fields.receiptTo === undefined ? undefined : checkLater("receiptTo", fields.receiptTo);
  if (receiptTo !== undefined) return receiptTo;
  if (deliverAt !== undefined) {
    if (fields.delayMs !== undefined) return refuse("bad-field", "delayMs and deliverAt exclude each other");
    if (deliverAt > now + MAX_DELAY_MS) {
      return refuse("bad-field", `deliverAt must be within ${MAX_DELAY_MS} ms from now, got ${deliverAt}`);
    }
  }
  const dueAt = deliverAt ?? now + delayMs;
  return {
    topic: "",
    publisher: "",
    messageId: messageId ?? freshId(),
    publisherId: messageId !== undefined,
    group: fields.group ?? "",
    contentType: payload.contentType,
    replyTo: fields.replyTo ?? "",
    correlationId: fields.correlationId ?? "",
    headers,
    deaths: "",
    receiptTo: fields.receiptTo ?? "",
    bodyKind: payload.bodyKind,
    body: payload.body,
    priority: fields.priority ?? 0,
    // What reaches a subscriber how surely is the subscriber's wish.
    qos: 2,
    retain: fields.retain ?? false,
    utf8: payload.bodyKind !== BYTES_BODY,
    epoch: 0,
    seq: 0,
    time: now,
    expiresAt: ttlMs === undefined ? 0 : now + ttlMs,
    dueAt: dueAt > now ? dueAt : 0,
    attempts: 0,
    failures: 0,
  };
}

/**
 * Checks an address to which the broker will publish in a client's name, when nobody is there to hear a refusal.
 *
 * @param field what names it
 * @returns `bad-field` when it is none; `forbidden` for topics that take no messages from others
 */
export function checkLater(field: string, text: string): Refusal | undefined {
  const address = parseAddress(text);
  if (isRefusal(address)) return refuse("bad-field", `${field}: ${address.message}`);
  if (address.kind === "queue" || !(isSys(address.name) || isPresence(address.name))) return undefined;
  return refuse("forbidden", `${field}: ${JSON.stringify(text)} is told by the broker itself`);
}

/** Topics that are the broker's own. */
function isSys(topic: string): boolean {
  return topic.startsWith("$SYS/");
}

/**
 * A message as a topic takes it, or why it does not: topics deliver at once, and those under `$SYS/` are the broker's own. To a room
 * (`$presence/…`) the publisher speaks without a session; one that has a session goes through its gateway's attendance.
 *
 * @param publisher client id of the publisher, "" when not known
 */
export function toTopic(message: Message, topic: string, publisher: string): Message | Refusal {
  if (isSys(topic)) return refuse("forbidden", "topics under $SYS/ are the broker's own");
  if (isPresence(topic)) {
    const said = presenceAction(message);
    return isRefusal(said) ? said : toPresence(message, topic, { client: publisher, session: "" }, said);
  }
  if (message.dueAt === 0) return { ...message, topic, publisher };
  return refuse("bad-field", "a topic delivers at once: delayMs and deliverAt are for queues");
}

// Ids of this isolate: a random beginning of 80 bits and a count. A random number for each message costs more than all its fields.
let idPrefix = "";
let idCount = 0;

/** An id that no other message has. The platform gives random numbers only once a request is there. */
export function freshId(): string {
  if (idPrefix === "") idPrefix = `${crypto.randomUUID().replaceAll("-", "").slice(-20)}-`;
  return idPrefix + (idCount++).toString(36);
}

/** The refusal of a message beyond the limit; the size is the least it can have when it was not measured to the end. */
export function tooLarge(bytes: number, maxBytes: number): Refusal {
  return refuse("message-too-large", `a message has at most ${maxBytes} bytes, got ${bytes}`);
}

/** What is kept of a JSON body's content type: JSON is what a body is unless something else is said, so plain JSON is "". */
export function jsonLabel(contentType: string): string {
  return /^application\/json\s*(;|$)/i.test(contentType) ? "" : contentType;
}

/** Whether a content type means JSON: `application/json` or any `…+json`. */
export function isJsonType(contentType: string): boolean {
  return /^(application\/json|[^;]+\+json)\s*(;|$)/i.test(contentType);
}

function payloadOf(fields: PublishFields, maxBytes: number): Payload | Refusal {
  const { body, base64, contentType = "" } = fields;
  if (base64 === undefined) {
    if (body === undefined) return refuse("bad-field", "body or base64 is required");
    // Text of another type travels as itself, so that it leaves over every protocol as it came.
    if (typeof body === "string" && contentType !== "" && !isJsonType(contentType)) {
      return { bodyKind: TEXT_BODY, body, contentType };
    }
    return { bodyKind: JSON_BODY, body: JSON.stringify(body), contentType: jsonLabel(contentType) };
  }
  if (body !== undefined) return refuse("bad-field", "body and base64 exclude each other");
  const size = Math.floor(base64.length / 4) * 3 - 2;
  if (size > maxBytes) return tooLarge(size, maxBytes);
  const bytes = fromBase64(base64);
  if (bytes === undefined) return refuse("bad-body", "base64 must be standard base64 with padding");
  return { bodyKind: BYTES_BODY, body: bytes, contentType };
}

function headersText(headers: Record<string, string> | undefined): string {
  if (headers === undefined) return "";
  const text = JSON.stringify(headers);
  return text === "{}" ? "" : text;
}

function byteLength(content: string | Uint8Array): number {
  return typeof content === "string" ? encoder.encode(content).length : content.length;
}
