// POST …/request of a queue or a topic: publishes one message and answers with the reply to it, as a gateway brings it.
import { Writer } from "../bytes/writer.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { gatewayCount, gatewayName } from "../gateway/placement.ts";
import { DEFAULT_REQUEST_TIMEOUT_MS, MAX_REQUEST_TIMEOUT_MS } from "../limits.ts";
import { toTopic } from "../message/fields.ts";
import { type Message, RecordView, writeMessage } from "../message/record.ts";
import { check } from "../schema.ts";
import { reach } from "./answer.ts";
import type { Call, QueueCall, TopicCall } from "./call.ts";
import { integer } from "./input.ts";
import { readOne } from "./publish.ts";

const TIMEOUT = { type: "integer", minimum: 1, maximum: MAX_REQUEST_TIMEOUT_MS } as const;
/** What a body is when nobody said, by its kind (message/record.ts). */
const DEFAULT_TYPES = ["application/json", "text/plain; charset=utf-8", "application/octet-stream"];
/** What may be a header's name, and stand in its value. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const PRINTABLE = /^[\t -~\u0080-\uffff]*$/;

/** POST /v1/queues/{name}/request: some consumer's reply. */
export async function requestOfQueue(call: QueueCall): Promise<Response | Refusal> {
  return request(call, `queue:${call.name}`, (message) => message);
}

/** POST /v1/topics/{name}/request: the first subscriber's reply. */
export async function requestOfTopic(call: TopicCall): Promise<Response | Refusal> {
  return request(call, `topic:${call.name}`, (message) => toTopic(message, call.name, ""));
}

async function request(
  call: Call,
  address: string,
  adapt: (message: Message) => Message | Refusal,
): Promise<Response | Refusal> {
  const { env, namespace, principal } = call;
  const timeoutMs = timeoutOf(call);
  if (isRefusal(timeoutMs)) return timeoutMs;
  const given = await readOne(call);
  if (isRefusal(given)) return given;
  const { condition } = given;
  const message = adapt(given.message);
  if (isRefusal(message)) return message;
  const record = new Writer(256);
  writeMessage(record, message);
  // Any gateway serves; the same one whoever repeats a request, so that it may find its reply.
  const name = gatewayName(`${namespace} ${message.messageId}`, gatewayCount(env.GATEWAYS));
  const asked = { namespace, asker: principal.subject, address, record: record.take(), condition, timeoutMs };
  const reply = await reach(env.GATEWAY.getByName(name).request(asked));
  return isRefusal(reply) ? reply : replyResponse(new RecordView(reply).decode());
}

function timeoutOf({ url, request: { headers } }: Call): number | Refusal {
  const text = url.searchParams.get("timeoutMs") ?? headers.get("dunlin-timeout-ms");
  if (text === null) return DEFAULT_REQUEST_TIMEOUT_MS;
  const value = integer(text);
  const wrong = check(TIMEOUT, value, "timeoutMs");
  return wrong === undefined ? Number(value) : refuse("bad-field", wrong);
}

/**
 * A reply as a response: its body, and the rest in headers as a publish takes it. Headers of the message that HTTP cannot carry are left
 * out.
 */
export function replyResponse(reply: Message): Response {
  const headers = new Headers({
    "dunlin-time": String(reply.time),
    // A browser that is led here must not take what a responder wrote for a page of the broker's.
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox",
  });
  setIfFit(headers, "content-type", reply.contentType || DEFAULT_TYPES[reply.bodyKind]!);
  setIfFit(headers, "dunlin-message-id", reply.messageId);
  setIfFit(headers, "dunlin-correlation-id", reply.correlationId);
  const own = reply.headers === "" ? {} : (JSON.parse(reply.headers) as Record<string, string>);
  for (const [name, value] of Object.entries(own)) setIfFit(headers, `dunlin-header-${name}`, value);
  return new Response(reply.body, { headers });
}

function setIfFit(headers: Headers, name: string, value: string): void {
  if (value !== "" && TOKEN.test(name) && PRINTABLE.test(value)) headers.set(name, value);
}
