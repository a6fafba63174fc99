// A request's body as the payload of one message: JSON, text or bytes, by its Content-Type.
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { MAX_CONTENT_TYPE_CHARS } from "../limits.ts";
import { isJsonType, jsonLabel, type Payload } from "../message/fields.ts";
import { BYTES_BODY, JSON_BODY, TEXT_BODY } from "../message/record.ts";
import { jsonValue, utf8Text } from "./input.ts";

/**
 * Makes a payload.
 *
 * @param contentType the request's header, "" when it has none
 * @returns the payload; `bad-body` when the bytes are not what the type says
 */
export function payloadOf(bytes: Uint8Array, contentType: string): Payload | Refusal {
  if (contentType.length > MAX_CONTENT_TYPE_CHARS) {
    return refuse("bad-field", `Content-Type has at most ${MAX_CONTENT_TYPE_CHARS} characters`);
  }
  if (isJsonType(contentType)) {
    const parsed = jsonValue(bytes);
    if (isRefusal(parsed)) return parsed;
    return { bodyKind: JSON_BODY, body: JSON.stringify(parsed.value), contentType: jsonLabel(contentType) };
  }
  if (isUtf8Text(contentType)) {
    const text = utf8Text(bytes, true);
    return isRefusal(text) ? text : { bodyKind: TEXT_BODY, body: text, contentType };
  }
  return { bodyKind: BYTES_BODY, body: bytes, contentType };
}

/** A content type without parameters, in lower case. */
export function mediaType(contentType: string): string {
  return contentType.split(";", 1)[0]!.trim().toLowerCase();
}

/** Text in another encoding stays bytes, so that its label remains true. */
function isUtf8Text(contentType: string): boolean {
  if (!mediaType(contentType).startsWith("text/")) return false;
  const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(contentType)?.[1]?.toLowerCase();
  return charset === undefined || charset === "utf-8" || charset === "utf8" || charset === "us-ascii";
}
