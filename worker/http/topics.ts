// Topics as things: list, declare, describe, delete, history and the retained message.
import { directoryObject } from "../env.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { DEFAULT_PAGE, MAX_PAGE } from "../limits.ts";
import { topicMessageFields } from "../message/json.ts";
import { RecordView } from "../message/record.ts";
import { TOPIC_SETTINGS } from "../topic/settings.ts";
import { json, jsonText, reach } from "./answer.ts";
import type { Call, TopicCall } from "./call.ts";
import { parseFrom } from "./from.ts";
import { queryInteger, readJson } from "./input.ts";

const PAGE = { minimum: 1, maximum: MAX_PAGE, default: DEFAULT_PAGE };

/** GET /v1/topics: a page of the namespace's topics. */
export async function listTopics({ url, env, namespace }: Call): Promise<Response | Refusal> {
  const limit = queryInteger(url, "limit", PAGE);
  if (isRefusal(limit)) return limit;
  const after = url.searchParams.get("after") ?? "";
  const page = await reach(directoryObject(env, namespace).listTopics(after, limit));
  return isRefusal(page) ? page : json(page);
}

/** GET /v1/topics/{name}: settings and stats. */
export async function describeTopic({ name, topic }: TopicCall): Promise<Response | Refusal> {
  const description = await reach(topic.describe(name));
  return isRefusal(description) ? description : json(description);
}

/** PUT /v1/topics/{name}: creates it or changes the settings it names. */
export async function declareTopic({ request, name, topic }: TopicCall): Promise<Response | Refusal> {
  const read = await readJson(request, TOPIC_SETTINGS);
  if (isRefusal(read)) return read;
  const declared = await reach(topic.declare(name, read.value));
  if (isRefusal(declared)) return declared;
  const { created, ...description } = declared;
  return json(description, created ? 201 : 200);
}

/** DELETE /v1/topics/{name}: with its retained message and its history. Who is interested in it stays so. */
export async function deleteTopic({ name, topic }: TopicCall): Promise<Response | Refusal> {
  return (await reach(topic.remove(name))) ?? new Response(null, { status: 204 });
}

/** GET …/messages: what retention kept. */
export async function topicHistory({ url, name, topic }: TopicCall): Promise<Response | Refusal> {
  const limit = queryInteger(url, "limit", PAGE);
  if (isRefusal(limit)) return limit;
  const from = parseFrom(url.searchParams.get("from") ?? "first");
  if (isRefusal(from)) return from;
  const history = await reach(topic.history(name, from, limit));
  if (isRefusal(history)) return history;
  const messages: string[] = [];
  for (const record = new RecordView(history.records); record.valid; record.next()) {
    messages.push(`{${topicMessageFields(record.decode(), name)}}`);
  }
  const { epoch, seq, recovered } = history;
  return jsonText(
    `{"messages":[${messages.join(",")}],"epoch":${epoch},"seq":${seq},"recovered":${recovered}}`,
  );
}

/** GET …/retained: the message that new subscribers get first. */
export async function retainedMessage({ name, topic }: TopicCall): Promise<Response | Refusal> {
  const record = await reach(topic.retained(name));
  if (isRefusal(record)) return record;
  if (record === undefined) {
    return refuse("not-found", `the topic ${JSON.stringify(name)} has no retained message`);
  }
  return jsonText(`{${topicMessageFields(new RecordView(record).decode(), name)},"retained":true}`);
}
