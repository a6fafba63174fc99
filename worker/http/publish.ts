// POST …/messages of a queue or a topic: one message, a batch, or CloudEvents. Answered once what must be stored is.

import { permits } from "../auth/permission.ts";
import { ANYONE } from "../auth/principal.ts";
import { Writer } from "../bytes/writer.ts";
import { maxMessageBytes, topicTarget } from "../env.ts";
import { type ErrorBody, errorBody, errorEntry, isRefusal, type Refusal, refuse } from "../errors.ts";
import { MAX_BATCH, MAX_CLIENT_ID_CHARS, MAX_FRAME_BYTES } from "../limits.ts";
import { CommandWriter } from "../link/commands.ts";
import { type Condition, conditionOf } from "../link/condition.ts";
import { type Preparation, preparationOf } from "../link/preparation.ts";
import { type Published, type QueueResults, readResults } from "../link/results.ts";
import { PUBLISH_FIELDS, type PublishFields, toMessage, toTopic, withPayload } from "../message/fields.ts";
import { isPresence } from "../message/presence.ts";
import { type Message, writeMessage } from "../message/record.ts";
import type { Applied } from "../queue/rpc.ts";
import { check } from "../schema.ts";
import { json, reach } from "./answer.ts";
import type { Call, QueueCall, TopicCall } from "./call.ts";
import {
  binaryEvent,
  CLOUD_EVENT,
  CLOUD_EVENT_BATCH,
  isBinaryEvent,
  structuredEvent,
} from "./cloud-events.ts";
import { jsonValue, readBody } from "./input.ts";
import { mediaType, payloadOf } from "./payload.ts";
import { publishHeaders } from "./publish-headers.ts";

const BATCH = "application/vnd.dunlin.batch+json";

/** What became of one message. */
interface Receipt {
  messageId: string;
  seq: number;
  epoch: number;
  duplicate: boolean;
  /** It waits for its decision, and has no seq yet. */
  prepared?: true;
}

/** A message, and what must hold for it to be stored, or how it is prepared. */
export interface Outgoing {
  message: Message;
  condition: Condition | undefined;
  preparation: Preparation | undefined;
}

/** A call that publishes, and what its messages are for. */
interface PublishCall extends Call {
  destination: { apply(packet: Uint8Array): Promise<Applied> };
  /** Makes a message one of the destination's, or says why it cannot be. */
  adapt(message: Message): Message | Refusal;
  /** Whether messages can be prepared there. */
  prepares: boolean;
}

/** POST /v1/queues/{name}/messages: stores what the request carries. */
export async function publishToQueue(call: QueueCall): Promise<Response | Refusal> {
  return publish({ ...call, destination: call.queue, adapt: (message) => message, prepares: true });
}

/** POST /v1/topics/{name}/messages: hands what the request carries to whoever is interested. */
export async function publishToTopic(call: TopicCall): Promise<Response | Refusal> {
  const publisher = isPresence(call.name) ? memberOf(call) : "";
  if (isRefusal(publisher)) return publisher;
  const { env, namespace, name } = call;
  const destination = topicTarget(env, namespace, name);
  const adapt = (message: Message) => toTopic(message, name, publisher);
  return publish({ ...call, destination, adapt, prepares: false });
}

/**
 * The id by which a caller without a session is in a room: its token's `sub`, or what `Dunlin-Client` adds to that. Without
 * authentication anyone may use any.
 */
function memberOf({ request, principal }: Call): string | Refusal {
  const { subject } = principal;
  const named = request.headers.get("dunlin-client") ?? subject;
  if (named.length > MAX_CLIENT_ID_CHARS) {
    return refuse(
      "bad-field",
      `Dunlin-Client has at most ${MAX_CLIENT_ID_CHARS} characters, got ${named.length}`,
    );
  }
  if (principal === ANYONE || (subject !== "" && (named === subject || named.startsWith(`${subject}/`))))
    return named;
  const own = JSON.stringify(subject);
  return refuse("forbidden", `Dunlin-Client is the token's sub ${own} or begins with it and "/"`);
}

async function publish(call: PublishCall): Promise<Response | Refusal> {
  const { headers } = call.request;
  const common = publishHeaders(headers);
  if (isRefusal(common)) return common;
  switch (mediaType(headers.get("content-type") ?? "")) {
    case BATCH:
      return publishMany(call, common, batchEntries);
    case CLOUD_EVENT_BATCH:
      return publishMany(call, common, eventEntries);
    default: {
      const given = await readMessage(call, common);
      return isRefusal(given) ? given : storeOne(call, given);
    }
  }
}

/** Reads a request that carries one message. */
export async function readOne(call: Call): Promise<Outgoing | Refusal> {
  const { headers } = call.request;
  const type = mediaType(headers.get("content-type") ?? "");
  if (type === BATCH || type === CLOUD_EVENT_BATCH)
    return refuse("bad-field", `this takes one message, not ${type}`);
  const common = publishHeaders(headers);
  if (isRefusal(common)) return common;
  if (common.prepare !== undefined) return refuse("not-supported", "a request cannot be prepared");
  return readMessage(call, common);
}

async function readMessage(call: Call, common: PublishFields): Promise<Outgoing | Refusal> {
  const { headers } = call.request;
  if (mediaType(headers.get("content-type") ?? "") === CLOUD_EVENT) return readEvent(call, common);
  const maxBytes = maxMessageBytes(call.env);
  const event = isBinaryEvent(headers) ? binaryEvent(headers) : {};
  if (isRefusal(event)) return event;
  const bytes = await readBody(call.request, maxBytes, "message-too-large");
  if (isRefusal(bytes)) return bytes;
  const payload = payloadOf(bytes, headers.get("content-type") ?? "");
  if (isRefusal(payload)) return payload;
  const fields = merged(event, common);
  return outgoing(call, fields, withPayload(payload, fields, Date.now(), maxBytes));
}

async function readEvent(call: Call, common: PublishFields): Promise<Outgoing | Refusal> {
  const parsed = await readValue(call.request);
  if (isRefusal(parsed)) return parsed;
  const event = structuredEvent(parsed.value, "");
  if (isRefusal(event)) return event;
  const fields = merged(event, common);
  return outgoing(call, fields, toMessage(fields, Date.now(), maxMessageBytes(call.env)));
}

async function publishMany(
  call: PublishCall,
  common: PublishFields,
  entriesOf: (value: unknown) => PublishFields[] | Refusal,
): Promise<Response | Refusal> {
  const parsed = await readValue(call.request);
  if (isRefusal(parsed)) return parsed;
  const entries = entriesOf(parsed.value);
  if (isRefusal(entries)) return entries;
  const now = Date.now();
  const maxBytes = maxMessageBytes(call.env);
  const { messageId: key, ...defaults } = common;
  const messages: (Outgoing | Refusal)[] = [];
  for (const [index, entry] of entries.entries()) {
    // One key for many messages: each gets its own from it, so that the batch can be repeated as a whole.
    const keyed = key === undefined || entry.messageId !== undefined ? {} : { messageId: `${key}/${index}` };
    const fields = { ...merged(defaults, entry), ...keyed };
    const message = adapted(call, outgoing(call, fields, toMessage(fields, now, maxBytes)));
    // Too large is the fate of one message; anything else means that the batch is not what its sender meant.
    if (isRefusal(message) && message.kind !== "message-too-large") {
      return refuse(message.kind, `messages[${index}]: ${message.message}`);
    }
    messages.push(message);
  }
  return storeMany(call, messages);
}

function batchEntries(value: unknown): PublishFields[] | Refusal {
  const shape = check({ type: "object", fields: {}, required: ["messages"] }, value, "");
  if (shape !== undefined) return refuse("bad-field", shape);
  const { messages } = value as { messages: unknown };
  const refusal = checkLength(messages, "messages");
  if (refusal) return refusal;
  const wrong = check({ type: "array", items: PUBLISH_FIELDS, maxItems: MAX_BATCH }, messages, "messages");
  return wrong === undefined ? (messages as PublishFields[]) : refuse("bad-field", wrong);
}

function eventEntries(value: unknown): PublishFields[] | Refusal {
  if (!Array.isArray(value)) return refuse("bad-field", "a batch of CloudEvents is an array");
  const refusal = checkLength(value, "the batch");
  if (refusal) return refusal;
  const entries: PublishFields[] = [];
  for (const [index, item] of value.entries()) {
    const entry = structuredEvent(item, `[${index}]`);
    if (isRefusal(entry)) return entry;
    entries.push(entry);
  }
  return entries;
}

function checkLength(list: unknown, name: string): Refusal | undefined {
  if (!Array.isArray(list) || list.length <= MAX_BATCH) return undefined;
  return refuse("batch-too-large", `${name} has at most ${MAX_BATCH} entries, got ${list.length}`);
}

async function readValue(request: Request): Promise<{ value: unknown } | Refusal> {
  const bytes = await readBody(request, MAX_FRAME_BYTES, "frame-too-large");
  return isRefusal(bytes) ? bytes : jsonValue(bytes);
}

/** Fields of both; `over` wins, and headers of both stay. */
function merged(under: PublishFields, over: PublishFields): PublishFields {
  if (under.headers === undefined || over.headers === undefined) return { ...under, ...over };
  return { ...under, ...over, headers: { ...under.headers, ...over.headers } };
}

/** A message with all that its fields say of it. Whoever names addresses must be allowed to publish there. */
function outgoing(
  { principal }: Call,
  fields: PublishFields,
  message: Message | Refusal,
): Outgoing | Refusal {
  const preparation = preparationOf(fields);
  if (isRefusal(message)) return message;
  if (isRefusal(preparation)) return preparation;
  const named = [fields.receiptTo, preparation && `queue:${preparation.checkTo}`];
  for (const address of named) {
    const refusal = address === undefined ? undefined : permits(principal, "publish", address);
    if (refusal !== undefined) return refusal;
  }
  return { message, condition: conditionOf(fields), preparation };
}

/** A message as the destination takes it. */
function adapted({ adapt, prepares }: PublishCall, given: Outgoing | Refusal): Outgoing | Refusal {
  if (isRefusal(given)) return given;
  if (given.preparation !== undefined && !prepares) {
    return refuse("not-supported", "only a queue takes prepared messages");
  }
  const message = adapt(given.message);
  return isRefusal(message) ? message : { ...given, message };
}

async function storeOne(call: PublishCall, given: Outgoing): Promise<Response | Refusal> {
  const message = adapted(call, given);
  if (isRefusal(message)) return message;
  const stored = await store(call, [message]);
  if (isRefusal(stored)) return stored;
  const [receipt] = stored;
  return isRefusal(receipt) ? receipt : json(receipt, 201);
}

async function storeMany(call: PublishCall, messages: (Outgoing | Refusal)[]): Promise<Response | Refusal> {
  const stored = await store(
    call,
    messages.filter((message): message is Outgoing => !isRefusal(message)),
  );
  if (isRefusal(stored)) return stored;
  let next = 0;
  const outcomes = messages.map((message) => (isRefusal(message) ? message : stored[next++]!));
  const answers: (Receipt | ErrorBody)[] = outcomes.map((outcome) =>
    isRefusal(outcome) ? errorBody(outcome) : outcome,
  );
  const stands = outcomes.some((outcome) => !isRefusal(outcome));
  const [first] = outcomes;
  return json(answers, stands || !isRefusal(first) ? 201 : errorEntry(first.kind).status);
}

/** Has the destination take messages; the answers come in their order. */
async function store(call: PublishCall, messages: Outgoing[]): Promise<(Receipt | Refusal)[] | Refusal> {
  if (messages.length === 0) return [];
  const packet = new CommandWriter();
  const isPlain = messages.every(({ condition, preparation }) => !condition && !preparation);
  // A command holds many messages without conditions, or one with them.
  for (const together of isPlain ? [messages] : messages.map((message) => [message])) {
    const records = new Writer(1024);
    for (const { message, preparation } of together) {
      // Every prepared message counts for the dedup window: it is decided by its id.
      writeMessage(records, preparation === undefined ? message : { ...message, publisherId: true });
    }
    const { condition, preparation } = together[0]!;
    if (preparation === undefined) {
      packet.command({ type: "publish", records: records.take(), ...(condition && { condition }) });
    } else {
      packet.command({ type: "prepare", record: records.take(), preparation });
    }
  }
  const answer = await reach(call.destination.apply(packet.take()));
  if (isRefusal(answer)) return answer;
  return receipts(messages, readResults(answer.results));
}

function receipts(messages: Outgoing[], { results }: QueueResults): (Receipt | Refusal)[] | Refusal {
  const outcomes: (Published | Refusal)[] = [];
  for (const result of results) {
    if (result.type === "refused") return result.refusal;
    if (result.type !== "published") throw new TypeError(`a publish was answered with ${result.type}`);
    outcomes.push(...result.messages);
  }
  return messages.map(({ message: { messageId } }, index) => {
    const outcome = outcomes[index]!;
    if (isRefusal(outcome)) return outcome;
    const { seq, epoch, duplicate } = outcome;
    return { messageId, seq, epoch, duplicate, ...(seq === 0 && { prepared: true as const }) };
  });
}
