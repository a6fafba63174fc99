// PUBLISH packets and messages, one into the other: what the fields of the one are in the other.
import { checkName, isReplyTopic } from "../../address.ts";
import { permits } from "../../auth/permission.ts";
import type { Principal } from "../../auth/principal.ts";
import { type Refusal, refuse } from "../../errors.ts";
import {
  MAX_CONTENT_TYPE_CHARS,
  MAX_CORRELATION_ID_CHARS,
  MAX_DELAY_MS,
  MAX_HEADERS_BYTES,
  MAX_NAME_BYTES,
} from "../../limits.ts";
import { fromBase64, toBase64 } from "../../message/base64.ts";
import { freshId, isJsonType } from "../../message/fields.ts";
import { isPresence } from "../../message/presence.ts";
import { type BodyKind, BYTES_BODY, JSON_BODY, type Message, TEXT_BODY } from "../../message/record.ts";
import type { Properties, Publish, Will } from "./codec/packets.ts";

/** `$queue/NAME` is a queue to MQTT. */
export const QUEUE_PREFIX = "$queue/";
const BASE64 = "base64:";
const JSON_TYPE = "application/json";
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/**
 * The message of a PUBLISH or a will.
 *
 * @param topic its topic, after aliases
 * @param publisher the client id
 * @returns the message; `bad-field` when a field is longer than Dunlin keeps, `bad-body` when the payload is not what it is said to be
 */
export function messageOf(
  packet: Pick<Publish | Will, "payload" | "qos" | "retain" | "properties">,
  topic: string,
  publisher: string,
  now: number,
): Message | Refusal {
  const { payload, qos, retain, properties = {} } = packet;
  const { contentType = "", responseTopic = "", messageExpiryInterval, payloadFormatIndicator } = properties;
  const headers = headersOf(properties.userProperties);
  const correlationId = correlationOf(properties.correlationData);
  const wrong =
    tooLong("content type", contentType, MAX_CONTENT_TYPE_CHARS) ??
    tooLong("response topic", responseTopic, MAX_NAME_BYTES) ??
    tooLong("correlation data", correlationId, MAX_CORRELATION_ID_CHARS * 2) ??
    tooLong("user properties", headers, MAX_HEADERS_BYTES);
  if (wrong !== undefined) return wrong;
  const body = bodyOf(payload, contentType, payloadFormatIndicator === 1);
  if ("kind" in body) return body;
  const isQueue = topic.startsWith(QUEUE_PREFIX);
  return {
    topic: isQueue ? "" : topic,
    publisher,
    messageId: freshId(),
    publisherId: false,
    group: "",
    // Plain JSON is what a body is unless something else is said.
    contentType: body.bodyKind === JSON_BODY && contentType === JSON_TYPE ? "" : contentType,
    replyTo: responseTopic === "" ? "" : addressOf(responseTopic),
    correlationId,
    headers,
    deaths: "",
    receiptTo: "",
    ...body,
    priority: 0,
    qos,
    retain,
    utf8: payloadFormatIndicator === 1,
    epoch: 0,
    seq: 0,
    time: now,
    expiresAt:
      messageExpiryInterval === undefined ? 0 : now + Math.min(messageExpiryInterval * 1_000, MAX_DELAY_MS),
    dueAt: 0,
    attempts: 0,
    failures: 0,
  };
}

/**
 * The properties that a message is delivered with [MQTT-3.3.2-4, -15, -16, -17, -18, -20]; what is left of its time to live
 * [MQTT-3.3.2-6].
 */
export function propertiesOf(message: Message, now: number): Properties {
  const { bodyKind, contentType, replyTo, correlationId, headers, expiresAt } = message;
  const properties: Properties = {};
  if (message.utf8) properties.payloadFormatIndicator = 1;
  if (contentType !== "") properties.contentType = withoutNul(contentType);
  else if (bodyKind === JSON_BODY) properties.contentType = JSON_TYPE;
  const responseTopic = topicOf(replyTo);
  // Other protocols may name what is no topic to MQTT [MQTT-3.3.2-14].
  if (responseTopic !== "" && !/[+#]/.test(responseTopic))
    properties.responseTopic = withoutNul(responseTopic);
  if (correlationId !== "") properties.correlationData = correlationBytes(correlationId);
  if (headers !== "") properties.userProperties = userProperties(headers);
  if (expiresAt > 0) properties.messageExpiryInterval = Math.max(1, Math.ceil((expiresAt - now) / 1_000));
  return properties;
}

/** A topic name of MQTT as an address: `queue:NAME` for `$queue/NAME`, `topic:NAME` for others. */
export function addressOf(topic: string): string {
  return topic.startsWith(QUEUE_PREFIX) ? `queue:${topic.slice(QUEUE_PREFIX.length)}` : `topic:${topic}`;
}

function topicOf(address: string): string {
  if (address.startsWith("topic:")) return address.slice("topic:".length);
  return address.startsWith("queue:") ? QUEUE_PREFIX + address.slice("queue:".length) : address;
}

/** How a payload reads to others: as JSON or text where the publisher says so and it is, else as bytes. */
function bodyOf(
  payload: Uint8Array,
  contentType: string,
  utf8: boolean,
): { bodyKind: BodyKind; body: string | Uint8Array } | Refusal {
  const json = isJsonType(contentType);
  if (!json && !utf8 && !contentType.startsWith("text/")) return { bodyKind: BYTES_BODY, body: payload };
  let text: string;
  try {
    text = strict.decode(payload);
  } catch {
    if (utf8) return refuse("bad-body", "the payload is not UTF-8, as its format indicator says");
    return { bodyKind: BYTES_BODY, body: payload };
  }
  if (!json) return { bodyKind: TEXT_BODY, body: text };
  return isJson(text)
    ? { bodyKind: JSON_BODY, body: text }
    : { bodyKind: utf8 ? TEXT_BODY : BYTES_BODY, body: utf8 ? text : payload };
}

function isJson(text: string): boolean {
  // A byte order mark is kept, and is no JSON.
  if (text.startsWith("\ufeff")) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** User properties as the text of a JSON object: in their order, a name as often as it stands there. */
function headersOf(properties: [string, string][] = []): string {
  if (properties.length === 0) return "";
  return `{${properties.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(",")}}`;
}

const PAIR = /"((?:[^"\\]|\\.)*)"\s*:\s*"((?:[^"\\]|\\.)*)"/gs;

/** The opposite of `headersOf`; JSON.parse would keep one of each name and sort those that are numbers. */
function userProperties(headers: string): [string, string][] {
  return [...headers.matchAll(PAIR)].map(([, name, value]) => [unquoted(name!), unquoted(value!)]);
}

function unquoted(text: string): string {
  return withoutNul(text.includes("\\") ? (JSON.parse(`"${text}"`) as string) : text);
}

/** Other protocols may publish U+0000; a client must end its connection at a string that holds it [MQTT-1.5.4-2]. */
function withoutNul(text: string): string {
  return text.includes("\0") ? text.replaceAll("\0", "\ufffd") : text;
}

/** Correlation data as text: itself where it is UTF-8 that comes back the same, else base64 behind a prefix. */
function correlationOf(data: Uint8Array | undefined): string {
  if (data === undefined || data.length === 0) return "";
  try {
    const text = strict.decode(data);
    if (!text.startsWith(BASE64)) return text;
  } catch {
    // Bytes of any kind are allowed.
  }
  return BASE64 + toBase64(data);
}

function correlationBytes(text: string): Uint8Array {
  const bytes = text.startsWith(BASE64) ? fromBase64(text.slice(BASE64.length)) : undefined;
  return bytes ?? encoder.encode(text);
}

function tooLong(what: string, text: string, limit: number): Refusal | undefined {
  return text.length > limit
    ? refuse("bad-field", `${what} has at most ${limit} characters, got ${text.length}`)
    : undefined;
}

/** Why a client may not publish to a topic. */
export function publishRefusal(principal: Principal, topic: string): Refusal | undefined {
  const name = topic.startsWith(QUEUE_PREFIX) ? topic.slice(QUEUE_PREFIX.length) : topic;
  const wrong = checkName(name);
  if (wrong !== undefined) return wrong;
  const isOpen = topic.startsWith(QUEUE_PREFIX) || isReplyTopic(topic) || isPresence(topic);
  if (topic.startsWith("$") && !isOpen) {
    return refuse("forbidden", "topics that begin with $ are the broker's own");
  }
  return permits(principal, "publish", addressOf(topic));
}
