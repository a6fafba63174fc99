// Topics as things: list, declare, describe, delete, history and the retained message.
import { directoryObject } from "../env.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { DEFAULT_PAGE, MAX_FILTERED_MESSAGES, MAX_PAGE } from "../limits.ts";
import { topicMessageFields } from "../message/json.ts";
import { RecordView } from "../message/record.ts";
import { RecordFields } from "../selector/record-fields.ts";
import { checkFilterField, type Selector, selectorOf } from "../selector/selector.ts";
import type { From } from "../topic/rpc.ts";
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

/** GET …/messages: what retention kept; with a filter, what of it a selector lets through. */
export async function topicHistory(call: TopicCall): Promise<Response | Refusal> {
  const { url, name, topic } = call;
  const limit = queryInteger(url, "limit", PAGE);
  if (isRefusal(limit)) return limit;
  const from = parseFrom(url.searchParams.get("from") ?? "first");
  if (isRefusal(from)) return from;
  const filter = checkFilterField(url.searchParams.get("filter") ?? undefined);
  if (isRefusal(filter)) return filter;
  const selector = selectorOf(filter);
  if (selector !== undefined) return filteredHistory(call, from, limit, selector);
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

/** Looks through page after page, up to a limit: `next` is where the next call goes on. */
async function filteredHistory(
  { name, topic }: TopicCall,
  from: From,
  limit: number,
  selector: Selector,
): Promise<Response | Refusal> {
  const messages: string[] = [];
  let place = from;
  let recovered = true;
  let next = 0;
  for (let looked = 0; ; ) {
    const page = await reach(topic.history(name, place, MAX_PAGE));
    if (isRefusal(page)) return page;
    const { records, epoch, seq } = page;
    recovered &&= page.recovered;
    if (records.length === 0) next = seq;
    const record = new RecordView(records);
    for (; record.valid && messages.length < limit; record.next()) {
      next = record.seq;
      looked++;
      if (!selector.matches(new RecordFields(record))) continue;
      messages.push(`{${topicMessageFields(record.decode(), name)}}`);
    }
    if (next >= seq || messages.length >= limit || looked >= MAX_FILTERED_MESSAGES) {
      const end = `"epoch":${epoch},"seq":${seq},"recovered":${recovered},"next":${next}`;
      return jsonText(`{"messages":[${messages.join(",")}],${end}}`);
    }
    place = { seq: next, epoch };
  }
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
