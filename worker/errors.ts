// The one table of refusals: JSON frames, HTTP problems and (through its numbers) packets between objects all use it.
// 1xx the request itself, 2xx who asks, 3xx limits, 4xx not found or in conflict, 5xx the broker.

interface ErrorEntry {
  code: number;
  /** HTTP status of the same refusal. */
  status: number;
  /** What the caller may do: nothing, repeat at once, or repeat after a while. */
  retry: "none" | "now" | "after";
}

const TABLE = {
  "bad-frame": { code: 100, status: 400, retry: "none" },
  "unknown-op": { code: 101, status: 400, retry: "none" },
  "bad-field": { code: 102, status: 400, retry: "none" },
  "bad-body": { code: 103, status: 400, retry: "none" },
  "bad-address": { code: 104, status: 400, retry: "none" },
  "bad-state": { code: 105, status: 400, retry: "none" },
  unauthenticated: { code: 200, status: 401, retry: "none" },
  "token-expired": { code: 201, status: 401, retry: "none" },
  forbidden: { code: 202, status: 403, retry: "none" },
  "wrong-namespace": { code: 203, status: 403, retry: "none" },
  "message-too-large": { code: 300, status: 413, retry: "none" },
  "frame-too-large": { code: 301, status: 413, retry: "none" },
  "batch-too-large": { code: 302, status: 413, retry: "none" },
  "queue-full": { code: 303, status: 429, retry: "after" },
  "too-many": { code: 304, status: 429, retry: "after" },
  "not-found": { code: 400, status: 404, retry: "none" },
  "not-declared": { code: 401, status: 404, retry: "none" },
  "no-subscription": { code: 402, status: 404, retry: "none" },
  conflict: { code: 403, status: 409, retry: "none" },
  deleted: { code: 404, status: 410, retry: "none" },
  fenced: { code: 405, status: 409, retry: "none" },
  "no-responders": { code: 406, status: 404, retry: "none" },
  "out-of-sequence": { code: 407, status: 409, retry: "none" },
  internal: { code: 500, status: 500, retry: "after" },
  unavailable: { code: 501, status: 503, retry: "now" },
  "not-supported": { code: 502, status: 501, retry: "none" },
  timeout: { code: 503, status: 504, retry: "none" },
} as const satisfies Record<string, ErrorEntry>;

/** The word that names a refusal in every protocol. */
export type ErrorKind = keyof typeof TABLE;

/**
 * A refusal is a value: what was wrong, with the offending value and the limit in the message.
 *
 * @example refuse("bad-field", "credit must be an integer from 0 to 10000, got -1")
 */
export interface Refusal {
  kind: ErrorKind;
  message: string;
  afterMs?: number;
}

/** Builds a refusal. */
export function refuse(kind: ErrorKind, message: string, afterMs?: number): Refusal {
  return afterMs === undefined ? { kind, message } : { kind, message, afterMs };
}

/** The table's row for a kind: number, HTTP status and what the caller may do. */
export function errorEntry(kind: ErrorKind): ErrorEntry {
  return TABLE[kind];
}

const KIND_BY_CODE = new Map<number, ErrorKind>(
  Object.entries(TABLE).map(([kind, entry]) => [entry.code, kind as ErrorKind]),
);

/** The kind behind a number; `internal` for a number this version does not know. */
export function errorKind(code: number): ErrorKind {
  return KIND_BY_CODE.get(code) ?? "internal";
}

/** The fields that every protocol shows of a refusal. */
export interface ErrorBody {
  code: number;
  kind: ErrorKind;
  message: string;
  retry: "none" | "now" | "after";
  afterMs?: number;
}

/** A refusal as its wire fields. */
export function errorBody(refusal: Refusal): ErrorBody {
  const entry = errorEntry(refusal.kind);
  const body: ErrorBody = {
    code: entry.code,
    kind: refusal.kind,
    message: refusal.message,
    retry: entry.retry,
  };
  if (entry.retry === "after") body.afterMs = refusal.afterMs ?? 1_000;
  return body;
}

/** Tells a refusal from a result. */
export function isRefusal(value: unknown): value is Refusal {
  return typeof value === "object" && value !== null && "kind" in value && "message" in value;
}
