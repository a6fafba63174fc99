// Messages to a handler in another Worker, by a service binding and one RPC call for a batch.
import { BYTES_BODY, JSON_BODY, type Message } from "../message/record.ts";
import type { Pushed, PushOutcome } from "./webhook.ts";

/** A message as a handler gets it. */
export interface HandledMessage {
  queue: string;
  /** Together with `epoch` the same for every attempt. */
  seq: number;
  epoch: number;
  messageId: string;
  /** When the broker accepted it, ms since the epoch. */
  time: number;
  /** 1 for the first. */
  attempt: number;
  /** The JSON value, text, or bytes. */
  body: unknown;
  contentType: string;
  headers: Record<string, string>;
  group: string;
  topic: string;
  replyTo: string;
  correlationId: string;
}

/** What a handler says of one message; nothing: done. */
export type HandlerAnswer = PushOutcome | PushOutcome["outcome"] | null | undefined;

/**
 * What a Worker offers to take messages.
 *
 * @example
 * export class Orders extends WorkerEntrypoint {
 *   async handle(messages) { for (const { body } of messages) await ship(body); }
 * }
 */
export interface MessageHandler {
  /** Takes messages; the answers stand in their order, and none at all means that all are done. A throw fails all of them. */
  handle(messages: HandledMessage[]): Promise<HandlerAnswer[] | undefined>;
}

const OUTCOMES: readonly unknown[] = ["ack", "release", "fail", "dead"];
const MAX_REASON_CHARS = 1_024;

/** Hands messages to a handler. Never throws. @returns one outcome for each */
export async function callService(
  handler: MessageHandler,
  pushed: Pushed[],
  timeoutMs: number,
): Promise<PushOutcome[]> {
  try {
    const answers = await within(handler.handle(pushed.map(handled)), timeoutMs);
    return pushed.map((_, index) => outcomeOf(Array.isArray(answers) ? answers[index] : undefined));
  } catch (error) {
    const reason = `the handler failed: ${String(error).slice(0, 200)}`;
    return pushed.map(() => ({ outcome: "fail", reason }));
  }
}

function outcomeOf(answer: HandlerAnswer): PushOutcome {
  if (answer === undefined || answer === null) return { outcome: "ack" };
  const { outcome, reason, delayMs } =
    typeof answer === "string" ? { outcome: answer } : (answer as PushOutcome);
  if (!OUTCOMES.includes(outcome)) {
    return { outcome: "fail", reason: `the handler answered ${JSON.stringify(answer).slice(0, 80)}` };
  }
  return {
    outcome,
    ...(typeof reason === "string" ? { reason: reason.slice(0, MAX_REASON_CHARS) } : {}),
    ...(typeof delayMs === "number" && delayMs >= 0 ? { delayMs } : {}),
  };
}

async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function handled({ queue, epoch, attempt, message }: Pushed): HandledMessage {
  const { seq, messageId, time, group, topic, replyTo, correlationId, headers } = message;
  return {
    ...{ queue, seq, epoch, messageId, time, attempt, group, topic, replyTo, correlationId },
    body: bodyValue(message),
    contentType: message.contentType,
    headers: headers === "" ? {} : (JSON.parse(headers) as Record<string, string>),
  };
}

function bodyValue({ bodyKind, body }: Message): unknown {
  if (bodyKind === JSON_BODY && typeof body === "string") return JSON.parse(body);
  return bodyKind === BYTES_BODY ? body : String(body);
}
