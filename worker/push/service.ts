// Messages to a handler in another Worker, by a service binding and one RPC call for a batch.
import { BYTES_BODY, JSON_BODY, type Message } from "../message/record.ts";
import type { HandledMessage, HandlerAnswer, MessageHandler, PushOutcome } from "./handler.ts";
import { contentTypeOf, type Pushed } from "./webhook.ts";

const OUTCOMES: readonly unknown[] = ["ack", "release", "fail", "dead"];
const MAX_REASON_CHARS = 1_024;

/** Hands messages to a handler. Never throws. @returns one outcome for each */
export async function callService(
  handler: MessageHandler,
  pushed: Pushed[],
  timeoutMs: number,
): Promise<PushOutcome[]> {
  try {
    const handling: Promise<unknown> = handler.handle(pushed.map(handled));
    const answers = await within(handling, timeoutMs);
    if (answers === undefined || answers === null) return pushed.map(() => ({ outcome: "ack" }));
    // What may mean anything must not end a message.
    if (!Array.isArray(answers) || answers.length !== pushed.length) return allFail(pushed, strange(answers));
    return answers.map(outcomeOf);
  } catch (error) {
    return allFail(pushed, `the handler failed: ${String(error).slice(0, 200)}`);
  }
}

function allFail(pushed: Pushed[], reason: string): PushOutcome[] {
  return pushed.map(() => ({ outcome: "fail", reason }));
}

function strange(answer: unknown): string {
  return `the handler answered ${String(JSON.stringify(answer)).slice(0, 80)}`;
}

function outcomeOf(answer: HandlerAnswer): PushOutcome {
  if (answer === undefined || answer === null) return { outcome: "ack" };
  const { outcome, reason, delayMs } =
    typeof answer === "string" ? { outcome: answer } : (answer as PushOutcome);
  if (!OUTCOMES.includes(outcome)) return { outcome: "fail", reason: strange(answer) };
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
    contentType: contentTypeOf(message),
    headers: headers === "" ? {} : (JSON.parse(headers) as Record<string, string>),
  };
}

function bodyValue({ bodyKind, body }: Message): unknown {
  if (bodyKind === JSON_BODY && typeof body === "string") return JSON.parse(body);
  return bodyKind === BYTES_BODY ? body : String(body);
}
