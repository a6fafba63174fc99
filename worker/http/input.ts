// Reads what comes in over HTTP, within limits: bodies, JSON against its description, numbers of a query, names of a path.
import { type ErrorKind, isRefusal, type Refusal, refuse } from "../errors.ts";
import { MAX_FRAME_BYTES } from "../limits.ts";
import { check, type Infer, type ObjectSpec } from "../schema.ts";

/** How much of a body that is refused is still read, so that the caller gets the answer instead of a broken pipe. */
const DRAIN_BYTES = 4 * MAX_FRAME_BYTES;

/**
 * Reads a body of at most `maxBytes`.
 *
 * @param tooLarge the kind of the refusal beyond that
 */
export async function readBody(
  request: Request,
  maxBytes: number,
  tooLarge: ErrorKind,
): Promise<Uint8Array | Refusal> {
  const declared = Number(request.headers.get("content-length"));
  if (declared > DRAIN_BYTES) return tooMany(tooLarge, declared, maxBytes);
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of request.body ?? []) {
    total += chunk.length;
    if (total <= maxBytes) chunks.push(chunk);
    else if (total > DRAIN_BYTES) break;
  }
  if (total > maxBytes) return tooMany(tooLarge, total, maxBytes);
  return chunks.length === 1 ? chunks[0]! : joined(chunks, total);
}

/** The text of UTF-8 bytes; a byte order mark stays when `keepMark` says so. */
export function utf8Text(bytes: Uint8Array, keepMark: boolean): string | Refusal {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: keepMark }).decode(bytes);
  } catch {
    return refuse("bad-body", "the body is not valid UTF-8");
  }
}

/** The value of JSON text in UTF-8. */
export function jsonValue(bytes: Uint8Array): { value: unknown } | Refusal {
  const text = utf8Text(bytes, false);
  if (isRefusal(text)) return text;
  try {
    return { value: JSON.parse(text) as unknown };
  } catch (error) {
    return refuse("bad-body", `the body is not JSON: ${(error as Error).message}`);
  }
}

/** Reads a JSON object that fits its description; an empty body is an object without fields. */
export async function readJson<S extends ObjectSpec>(
  request: Request,
  spec: S,
): Promise<{ value: Infer<S> } | Refusal> {
  const bytes = await readBody(request, MAX_FRAME_BYTES, "frame-too-large");
  if (isRefusal(bytes)) return bytes;
  const parsed = bytes.length === 0 ? { value: {} } : jsonValue(bytes);
  if (isRefusal(parsed)) return parsed;
  const wrong = check(spec, parsed.value, "");
  return wrong === undefined ? { value: parsed.value as Infer<S> } : refuse("bad-field", wrong);
}

/** A whole number of the query within limits, or the default when it is not there. */
export function queryInteger(
  url: URL,
  name: string,
  limits: { minimum: number; maximum: number; default: number },
): number | Refusal {
  const text = url.searchParams.get(name);
  if (text === null) return limits.default;
  const { minimum, maximum } = limits;
  const wrong = check({ type: "integer", minimum, maximum }, integer(text), name);
  return wrong === undefined ? Number(text) : refuse("bad-field", wrong);
}

/** Text that is a whole number as that number; any other text as it is, for `check` to show. */
export function integer(text: string): number | string {
  return /^-?\d{1,16}$/.test(text) ? Number(text) : text;
}

/** A part of a URL's path, percent-decoded exactly once. */
export function pathPart(url: URL, index: number): string | Refusal {
  const part = url.pathname.split("/")[index]!;
  try {
    return decodeURIComponent(part);
  } catch {
    return refuse("bad-address", `the path has broken percent-encoding: ${part.slice(0, 80)}`);
  }
}

function tooMany(kind: ErrorKind, bytes: number, maxBytes: number): Refusal {
  return refuse(kind, `the body has at most ${maxBytes} bytes, got ${bytes} or more`);
}

function joined(chunks: Uint8Array[], total: number): Uint8Array {
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
