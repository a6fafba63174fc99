// POST /v1/commit, and prepared messages over HTTP: what takes effect as a whole or not at all.
import { parseAddress } from "../address.ts";
import { permits } from "../auth/permission.ts";
import { type CommitPort, coordinate } from "../commit/coordinate.ts";
import { makePlan, type PublishWish, type SettleWish } from "../commit/plan.ts";
import { maxMessageBytes, queueObject } from "../env.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { COMMIT_WAIT_MS, DEFAULT_PAGE, MAX_BATCH, MAX_NAME_BYTES, MAX_PAGE } from "../limits.ts";
import { CommandWriter } from "../link/commands.ts";
import { readResults } from "../link/results.ts";
import { SETTLE_FIELDS } from "../link/settle-fields.ts";
import { PUBLISH_FIELDS } from "../message/fields.ts";
import { check, object } from "../schema.ts";
import { json, reach } from "./answer.ts";
import type { Call, QueueCall } from "./call.ts";
import { pathPart, queryInteger, readJson } from "./input.ts";

const queue = { type: "string", minLength: 1, maxLength: MAX_NAME_BYTES } as const;
const to = { type: "string", minLength: 1, maxLength: MAX_NAME_BYTES + 6 } as const;
const COMMIT = object(
  {
    settle: {
      type: "array",
      items: object({ ...SETTLE_FIELDS.fields, queue }, ["queue"]),
      maxItems: MAX_BATCH,
    },
    publish: {
      type: "array",
      items: object({ ...PUBLISH_FIELDS.fields, to }, ["to"]),
      maxItems: Number.MAX_SAFE_INTEGER,
    },
  },
  [],
);
const DECISION = object({ outcome: { type: "enum", values: ["commit", "rollback"] } }, ["outcome"]);
const ID_PART = "/v1/queues/NAME/prepared/ID".split("/").indexOf("ID");

/** POST /v1/commit: settles and publishes as one act. */
export async function commit(call: Call): Promise<Response | Refusal> {
  const { request, env, principal, namespace } = call;
  const read = await readJson(request, COMMIT);
  if (isRefusal(read)) return read;
  const settles: SettleWish[] = [];
  for (const { queue: name, ...lists } of read.value.settle ?? []) {
    const address = parseAddress(`queue:${name}`);
    const refusal = isRefusal(address) ? address : permits(principal, "consume", `queue:${name}`);
    if (refusal !== undefined) return refusal;
    settles.push({ queue: name, lists });
  }
  const publishes: PublishWish[] = [];
  for (const { to: text, ...fields } of read.value.publish ?? []) {
    const address = parseAddress(text);
    if (isRefusal(address)) return address;
    const { receiptTo = text } = fields;
    const refusal = permits(principal, "publish", text) ?? permits(principal, "publish", receiptTo);
    if (refusal !== undefined) return refusal;
    publishes.push({ address, fields });
  }
  const origin = { client: "", now: Date.now(), maxMessageBytes: maxMessageBytes(env) };
  const plan = makePlan(settles, publishes, origin);
  if (isRefusal(plan)) return plan;
  const done = await coordinate(plan, portOf(call, namespace));
  return isRefusal(done) ? done : json({ published: done });
}

/** GET …/prepared: messages that wait for their decision, oldest first. */
export async function listPrepared({ url, queue: object }: QueueCall): Promise<Response | Refusal> {
  const limit = queryInteger(url, "limit", { minimum: 1, maximum: MAX_PAGE, default: DEFAULT_PAGE });
  if (isRefusal(limit)) return limit;
  const after = queryInteger(url, "after", { minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0 });
  if (isRefusal(after)) return after;
  const page = await reach(object.listPrepared(after, limit));
  return isRefusal(page) ? page : json(page);
}

/** POST …/prepared/{messageId}: decides over one. */
export async function decidePrepared(call: QueueCall): Promise<Response | Refusal> {
  const messageId = pathPart(call.url, ID_PART);
  if (isRefusal(messageId)) return messageId;
  const wrong = check(PUBLISH_FIELDS.fields.messageId, messageId, "messageId");
  if (wrong !== undefined) return refuse("bad-field", wrong);
  const read = await readJson(call.request, DECISION);
  if (isRefusal(read)) return read;
  const { outcome } = read.value;
  const packet = new CommandWriter();
  packet.command({ type: "decide", messageId, commit: outcome === "commit" });
  const answer = await reach(call.queue.apply(packet.take()));
  if (isRefusal(answer)) return answer;
  const [result] = readResults(answer.results).results;
  if (result?.type === "refused") return result.refusal;
  const [published] = result?.type === "published" ? result.messages : [];
  if (published === undefined || isRefusal(published)) return json({ messageId, outcome });
  const { seq, epoch, duplicate } = published;
  return json({ messageId, seq, epoch, duplicate });
}

function portOf({ env }: Call, namespace: string): CommitPort {
  return {
    apply: async (name, command) => {
      const packet = new CommandWriter();
      packet.command(command);
      const answer = await reach(queueObject(env, namespace, name).apply(packet.take()));
      if (isRefusal(answer)) return { type: "refused", refusal: answer };
      const [result] = readResults(answer.results).results;
      return result ?? { type: "refused", refusal: refuse("internal", "a queue did not answer") };
    },
    arrivals: async (name, rows) => {
      const arrived = await reach(queueObject(env, namespace, name).arrivals(rows, COMMIT_WAIT_MS));
      return isRefusal(arrived) ? rows.map(() => null) : arrived;
    },
  };
}
