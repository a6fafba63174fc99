// The one class of everything that goes wrong, and how an error frame or a closing code becomes it.
import type { ErrorFrame } from "./wire.ts";

/**
 * What a caller may do after an error: nothing, repeat at once, or repeat after `afterMs`.
 *
 * @example
 * const mayRepeat = (retry: Retry) => retry !== "none";
 */
export type Retry = "none" | "now" | "after";

/** The fields of a {@link DunlinError} beside its message. */
export interface ErrorDetail {
  code?: number;
  kind: string;
  retry?: Retry;
  afterMs?: number | undefined;
}

/**
 * A refusal by the broker, or by the client itself.
 *
 * From the broker's own table come `queue-full`, `forbidden`, `message-too-large` and the others, with `code` 100 to 599.
 * Closing codes of a socket come with `code` 4400 to 4999. The client's own have `code` 0: `outbox-full` (too much is unconfirmed),
 * `outcome-unknown` (a confirm was lost, and it is too late to ask), `closed` (by `dunlin.close()`: what was not confirmed may be
 * stored or not), `bad-body` (not JSON), `frame-too-large`, `gone` (the queue or topic was deleted), `lease-lost` (a commit of a message
 * that is not held), `no-reply-to`, `once` (a once store failed), `storage` (IndexedDB failed), and in `error` events `token` (the
 * callback failed), `unreachable` (an attempt to connect failed) and `gap` (a subscription without `onGap` missed messages).
 *
 * @example
 * try {
 *   await dunlin.queue("jobs").send({ n: 1 });
 * } catch (error) {
 *   if (error instanceof DunlinError && error.retry === "after") await sleep(error.afterMs);
 * }
 */
export class DunlinError extends Error {
  override readonly name = "DunlinError";
  /** Number of the refusal; 0 when the client itself refused. */
  readonly code: number;
  /** Word for the refusal. */
  readonly kind: string;
  /** What a caller may do. */
  readonly retry: Retry;
  /** How long to wait first, in milliseconds, when `retry` is `after`. */
  readonly afterMs: number | undefined;

  constructor(message: string, detail: ErrorDetail) {
    super(message);
    this.code = detail.code ?? 0;
    this.kind = detail.kind;
    this.retry = detail.retry ?? "none";
    this.afterMs = detail.afterMs;
  }
}

/** The error that a frame stands for. */
export function errorOf(frame: ErrorFrame): DunlinError {
  return new DunlinError(frame.message, frame);
}

/** Whether the broker itself was in trouble, so that the same request may well succeed soon. */
export function isPassing(frame: ErrorFrame): boolean {
  return frame.code >= 500 && frame.retry !== "none";
}

const KIND_OF_CLOSE: Record<number, string> = {
  4400: "bad-frame",
  4401: "unauthenticated",
  4403: "forbidden",
  4408: "no-hello",
  4409: "taken-over",
  4413: "frame-too-large",
  4429: "too-many",
};

/** Whether a socket that closed with this code may be opened again. */
export function mayReconnect(code: number): boolean {
  return code < 4400 || code > 4999;
}

/** The error behind a closing code. */
export function closeError(code: number, reason: string): DunlinError {
  const why = reason ? `: ${reason}` : "";
  return new DunlinError(`The broker closed the connection with ${code}${why}`, {
    code,
    kind: KIND_OF_CLOSE[code] ?? "refused",
  });
}

/** What everything unanswered ends with when the application closes the client. */
export function closedError(): DunlinError {
  return new DunlinError("The client is closed", { kind: "closed" });
}
