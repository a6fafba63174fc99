// One message to a URL: the request as Standard Webhooks describes it, and what its answer means.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
import { fromBase64, toBase64 } from "../message/base64.ts";
import { BYTES_BODY, JSON_BODY, type Message } from "../message/record.ts";
import type { PushOutcome } from "./handler.ts";
import type { PushSpec } from "./spec.ts";

/** A message with what its delivery says. */
export interface Pushed {
  queue: string;
  /** Differs from those of other queues that are as old. */
  mark: string;
  epoch: number;
  attempt: number;
  message: Message;
}

/** Characters of an answer that are kept as the reason of a failure. */
const MAX_REASON_CHARS = 200;
/** No Retry-After beyond this is believed. */
const MAX_RETRY_AFTER_MS = 3_600_000;
const SECRET_PREFIX = "whsec_";
const encoder = new TextEncoder();

/**
 * Posts a message. Never throws.
 *
 * @param now ms since the epoch
 * @returns `ack` for a 2xx answer, else `fail` with the reason
 */
export async function postWebhook(spec: PushSpec, pushed: Pushed, now: number): Promise<PushOutcome> {
  try {
    const body = bodyOf(pushed.message);
    const response = await fetch(spec.url, {
      method: "POST",
      headers: await requestHeaders(spec, pushed, body, now),
      body,
      // Where a redirect leads was not agreed to.
      redirect: "manual",
      signal: AbortSignal.timeout(spec.timeoutMs),
    });
    if (response.ok) {
      await response.body?.cancel();
      return { outcome: "ack" };
    }
    return await failureOf(response);
  } catch (error) {
    return { outcome: "fail", reason: `no answer: ${String(error).slice(0, MAX_REASON_CHARS)}` };
  }
}

/** The signature of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`. */
export async function signature(
  secret: string,
  id: string,
  timestamp: number,
  body: Uint8Array,
): Promise<string> {
  const raw = secret.startsWith(SECRET_PREFIX) ? fromBase64(secret.slice(SECRET_PREFIX.length)) : undefined;
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey(
    "raw",
    new Uint8Array(raw ?? encoder.encode(secret)),
    algorithm,
    false,
    ["sign"],
  );
  const head = encoder.encode(`${id}.${timestamp}.`);
  const signed = new Uint8Array(head.length + body.length);
  signed.set(head);
  signed.set(body, head.length);
  return `v1,${toBase64(new Uint8Array(await crypto.subtle.sign("HMAC", key, signed)))}`;
}

async function requestHeaders(
  spec: PushSpec,
  { queue, mark, epoch, attempt, message }: Pushed,
  body: Uint8Array,
  now: number,
): Promise<Headers> {
  // The same for every attempt, so that its receiver can tell a repetition.
  const id = `msg_${mark}_${epoch}_${message.seq}`;
  const timestamp = Math.floor(now / 1_000);
  const headers = new Headers(spec.headers);
  const set = (name: string, value: string) => value !== "" && headers.set(name, headerText(value));
  if (message.headers !== "") {
    for (const [name, value] of Object.entries(JSON.parse(message.headers) as Record<string, string>)) {
      // A header whose name HTTP cannot carry stays behind.
      if (/^[\w.-]{1,128}$/.test(name)) set(`dunlin-header-${name}`, value);
      if (name.toLowerCase() === "traceparent") set("traceparent", value);
    }
  }
  headers.set("content-type", headerText(contentTypeOf(message)));
  headers.set("webhook-id", id);
  headers.set("webhook-timestamp", String(timestamp));
  if (spec.secret !== "") headers.set("webhook-signature", await signature(spec.secret, id, timestamp, body));
  set("dunlin-queue", queue);
  set("dunlin-seq", String(message.seq));
  set("dunlin-attempt", String(attempt));
  set("dunlin-message-id", message.messageId);
  set("dunlin-group", message.group);
  set("dunlin-topic", message.topic);
  set("dunlin-reply-to", message.replyTo);
  set("dunlin-correlation-id", message.correlationId);
  return headers;
}

async function failureOf(response: Response): Promise<PushOutcome> {
  const text = await beginning(response);
  const reason = `HTTP ${response.status}${text === "" ? "" : `: ${text}`}`;
  const after = Number(response.headers.get("retry-after"));
  if (!(after > 0)) return { outcome: "fail", reason };
  return { outcome: "fail", reason, delayMs: Math.min(Math.round(after * 1_000), MAX_RETRY_AFTER_MS) };
}

/** The first characters of an answer; the rest is not waited for. */
async function beginning({ body }: Response): Promise<string> {
  const reader = body?.getReader();
  const first = await reader?.read();
  await reader?.cancel();
  return new TextDecoder().decode(first?.value).slice(0, MAX_REASON_CHARS).trim();
}

function bodyOf({ body }: Message): Uint8Array<ArrayBuffer> {
  // The platform's own codec returns a plain buffer, whatever its type says.
  return new Uint8Array(typeof body === "string" ? encoder.encode(body) : body);
}

/** What the publisher called the body, or what it is by its kind. */
export function contentTypeOf({ contentType, bodyKind }: Message): string {
  if (contentType !== "") return contentType;
  if (bodyKind === JSON_BODY) return "application/json";
  return bodyKind === BYTES_BODY ? "application/octet-stream" : "text/plain";
}

/** Characters that a header cannot hold are percent-encoded, and the percent sign, so that it can be undone. */
function headerText(text: string): string {
  return text.toWellFormed().replace(/[^\x20-\x24\x26-\x7e]+/g, encodeURIComponent);
}
