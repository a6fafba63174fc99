// Queues as things: list, declare, describe, delete, peek, purge, pause and resume.
import { directoryObject } from "../env.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { DEFAULT_PAGE, MAX_CONSUMERS, MAX_PAGE } from "../limits.ts";
import { queueMessageFields, quote } from "../message/json.ts";
import { RecordView } from "../message/record.ts";
import type { PeekState } from "../queue/rpc.ts";
import { DEFAULT_SETTINGS, deadLetterQueue, QUEUE_SETTINGS } from "../queue/settings.ts";
import { unbindQueue } from "../topic/register.ts";
import { json, jsonText, reach } from "./answer.ts";
import { type Call, permitsOne, type QueueCall } from "./call.ts";
import { queryInteger, readJson } from "./input.ts";

const PEEK_STATES: readonly string[] = ["ready", "delayed", "leased"] satisfies PeekState[];
const DEFAULT_PEEK = 10;

/** GET /v1/queues: a page of the namespace's queues. */
export async function listQueues({ url, env, namespace }: Call): Promise<Response | Refusal> {
  const limit = queryInteger(url, "limit", { minimum: 1, maximum: MAX_PAGE, default: DEFAULT_PAGE });
  if (isRefusal(limit)) return limit;
  const after = url.searchParams.get("after") ?? "";
  const page = await reach(directoryObject(env, namespace).listQueues(after, limit));
  return isRefusal(page) ? page : json(page);
}

/** GET /v1/queues/{name}: settings and stats. */
export async function describeQueue({ queue }: QueueCall): Promise<Response | Refusal> {
  return asJson(await reach(queue.describe()));
}

/** PUT /v1/queues/{name}: creates it or changes the settings it names. */
export async function declareQueue(call: QueueCall): Promise<Response | Refusal> {
  const { request, queue } = call;
  const read = await readJson(request, QUEUE_SETTINGS);
  if (isRefusal(read)) return read;
  const { deadLetterTo } = read.value;
  const forbidden = deadLetterTo ? checkDeadLetters(call, deadLetterTo) : undefined;
  if (forbidden !== undefined) return forbidden;
  const declared = await reach(queue.declare(read.value));
  if (isRefusal(declared)) return declared;
  const { created, ...description } = declared;
  return json(description, created ? 201 : 200);
}

/** Whoever has messages sent to another queue must be allowed to do so, but for the one that a queue has anyway. */
function checkDeadLetters({ principal, name }: QueueCall, to: string): Refusal | undefined {
  if (to === deadLetterQueue(name, DEFAULT_SETTINGS)) return undefined;
  return permitsOne(principal, ["publish", "manage"], `queue:${to}`);
}

/** DELETE /v1/queues/{name}: with all it holds, and its bindings. */
export async function deleteQueue({ env, namespace, name, queue }: QueueCall): Promise<Response | Refusal> {
  // First of all nothing may come in any more, since whatever does would make the queue anew.
  const bound = await unbindQueue(env, namespace, name);
  return bound ?? (await reach(queue.remove())) ?? new Response(null, { status: 204 });
}

/** GET …/consumers: who consumes. */
export async function listConsumers({ url, queue }: QueueCall): Promise<Response | Refusal> {
  const limit = queryInteger(url, "limit", { minimum: 1, maximum: MAX_PAGE, default: DEFAULT_PAGE });
  if (isRefusal(limit)) return limit;
  const after = queryInteger(url, "after", { minimum: 0, maximum: MAX_CONSUMERS, default: 0 });
  return isRefusal(after) ? after : asJson(await reach(queue.consumers(after, limit)));
}

/** POST …/purge: drops the ready messages. */
export async function purgeQueue({ queue }: QueueCall): Promise<Response | Refusal> {
  return asJson(await reach(queue.purge()));
}

/** PUT …/pause: nothing is delivered until the queue is resumed. */
export async function pauseQueue({ queue }: QueueCall): Promise<Response | Refusal> {
  return asJson(await reach(queue.setPaused(true)));
}

/** PUT …/resume. */
export async function resumeQueue({ queue }: QueueCall): Promise<Response | Refusal> {
  return asJson(await reach(queue.setPaused(false)));
}

/** GET …/messages: shows messages of a state and changes nothing. */
export async function peekQueue({ url, name, queue }: QueueCall): Promise<Response | Refusal> {
  const limit = queryInteger(url, "limit", { minimum: 1, maximum: MAX_PAGE, default: DEFAULT_PEEK });
  if (isRefusal(limit)) return limit;
  const state = url.searchParams.get("state") ?? "ready";
  if (!PEEK_STATES.includes(state)) {
    return refuse(
      "bad-field",
      `state must be one of ${PEEK_STATES.join(", ")}, got ${quote(state.slice(0, 60))}`,
    );
  }
  const [records, description] = await Promise.all([
    reach(queue.peek(state as PeekState, limit)),
    reach(queue.describe()),
  ]);
  if (isRefusal(records)) return records;
  if (isRefusal(description)) return description;
  const shared = `"to":${quote(`queue:${name}`)},"epoch":${description.epoch}`;
  const messages: string[] = [];
  for (const record = new RecordView(records); record.valid; record.next()) {
    messages.push(`{${shared},${queueMessageFields(record.decode())}}`);
  }
  return jsonText(`{"messages":[${messages.join(",")}]}`);
}

function asJson(answer: object | Refusal): Response | Refusal {
  return isRefusal(answer) ? answer : json(answer);
}
