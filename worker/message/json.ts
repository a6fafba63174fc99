// A message as the JSON that consumers read: in `message` frames, in HTTP's receive and in a peek. Plain string building:
// this runs once per delivery, and body and headers are JSON text already.
import { toBase64 } from "./base64.ts";
import { JSON_BODY, type Message, TEXT_BODY } from "./record.ts";

/** What bytes are when nobody said. */
const UNKNOWN_TYPE = "application/octet-stream";

/**
 * The fields that a message has wherever it is shown, as JSON text without braces: messageId, seq, time, body or base64,
 * contentType, and headers, group, priority, replyTo, correlationId and deaths where it has them. Whoever delivers it adds
 * `to`, `epoch` and what belongs to the delivery.
 *
 * @example `{"op":"message","sub":1,${messageFields(message)},"attempt":1}`
 */
export function messageFields(message: Message): string {
  return `"seq":${message.seq},${replyFields(message)}`;
}

/** As `messageFields`, for the reply to a request: it is the one message of its topic, and has no seq. */
export function replyFields(message: Message): string {
  let text = `"messageId":${quote(message.messageId)},"time":${message.time},${bodyFields(message)}`;
  if (message.headers !== "") text += `,"headers":${message.headers}`;
  if (message.group !== "") text += `,"group":${quote(message.group)}`;
  if (message.priority !== 0) text += `,"priority":${message.priority}`;
  if (message.replyTo !== "") text += `,"replyTo":${quote(message.replyTo)}`;
  if (message.correlationId !== "") text += `,"correlationId":${quote(message.correlationId)}`;
  if (message.deaths !== "") text += `,"deaths":${message.deaths}`;
  return text;
}

/** As `messageFields`, for a message of a queue: `topic` tells where it was published when a binding brought it. */
export function queueMessageFields(message: Message): string {
  const fields = messageFields(message);
  return message.topic === "" ? fields : `${fields},"topic":${quote(message.topic)}`;
}

/**
 * The fields of a message of a topic: its address and epoch too.
 *
 * @param topic its topic
 * @example `{${topicMessageFields(message, message.topic)}}` // {"to":"topic:news","epoch":1,"messageId":…}
 */
export function topicMessageFields(message: Message, topic: string): string {
  return `"to":${quote(`topic:${topic}`)},"epoch":${message.epoch},${messageFields(message)}`;
}

/** Text as a JSON string. Looking first whether it needs escapes is no faster than the engine's own way. */
export function quote(text: string): string {
  return JSON.stringify(text);
}

function bodyFields(message: Message): string {
  const { body, bodyKind, contentType } = message;
  if (typeof body !== "string") {
    return `"base64":"${toBase64(body)}","contentType":${quote(contentType || UNKNOWN_TYPE)}`;
  }
  const text = `"body":${bodyKind === JSON_BODY ? body : quote(body)}`;
  if (contentType !== "") return `${text},"contentType":${quote(contentType)}`;
  return bodyKind === TEXT_BODY ? `${text},"contentType":"text/plain"` : text;
}
