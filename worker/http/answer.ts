// What goes back over HTTP: JSON, and refusals as problems (RFC 9457) with the numbers and words of every protocol.
import { errorBody, errorEntry, type Refusal, refuse } from "../errors.ts";

const TITLES: Record<number, string> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  410: "Gone",
  413: "Content Too Large",
  426: "Upgrade Required",
  429: "Too Many Requests",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** What a problem says beyond its refusal. */
export interface ProblemOptions {
  /** Another HTTP status than the refusal's kind has. */
  status?: number;
  headers?: Record<string, string>;
  /** Further members of the problem. */
  members?: Record<string, unknown>;
}

/** A value as a JSON response. */
export function json(value: unknown, status = 200): Response {
  return jsonText(JSON.stringify(value), status);
}

/** JSON text as a response. */
export function jsonText(text: string, status = 200): Response {
  return new Response(text, { status, headers: { "content-type": "application/json" } });
}

/**
 * A refusal as a response.
 *
 * @example problem(refuse("not-found", "no queue orders")) // 404 {"type":"about:blank","title":"Not Found","status":404,…}
 */
export function problem(refusal: Refusal, options: ProblemOptions = {}): Response {
  const status = options.status ?? errorEntry(refusal.kind).status;
  const body = errorBody(refusal);
  const headers: Record<string, string> = { "content-type": "application/problem+json", ...options.headers };
  if (status === 401) headers["www-authenticate"] = "Bearer";
  if (body.afterMs !== undefined) headers["retry-after"] = String(Math.ceil(body.afterMs / 1_000));
  const { message: detail, ...rest } = body;
  const about = { type: "about:blank", title: TITLES[status] ?? "Error", status, detail };
  return new Response(JSON.stringify({ ...about, ...rest, message: detail, ...options.members }), {
    status,
    headers,
  });
}

/**
 * Waits for a call on an object. A rejection means that the object could not be reached, or ended on the way: what was asked
 * may have been done or not, which is what `unavailable` says.
 */
export async function reach<T>(calling: Promise<T>): Promise<T | Refusal> {
  try {
    return await calling;
  } catch (error) {
    console.error("a call on an object failed:", error);
    return refuse("unavailable", "the object that serves this could not be reached: try again");
  }
}
