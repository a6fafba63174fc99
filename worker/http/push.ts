// Push: where a queue delivers by itself. PUT, GET and DELETE …/push.
import { handlerOf } from "../env.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { PUSH_FIELDS, pushSpec } from "../push/spec.ts";
import { json, reach } from "./answer.ts";
import type { QueueCall } from "./call.ts";
import { readJson } from "./input.ts";

/** PUT …/push `{url, secret?, headers?}` or `{service}`, with `concurrency?` and `timeoutMs?`. */
export async function putPush({ request, env, queue }: QueueCall): Promise<Response | Refusal> {
  const read = await readJson(request, PUSH_FIELDS);
  if (isRefusal(read)) return read;
  const spec = pushSpec(read.value, {
    hosts: env.DUNLIN_PUSH_HOSTS,
    hasService: (name) => handlerOf(env, name) !== undefined,
  });
  if (isRefusal(spec)) return spec;
  const described = await reach(queue.setPush(spec));
  if (isRefusal(described)) return described;
  const { created, ...shown } = described!;
  return json(shown, created ? 201 : 200);
}

/** GET …/push: where to, and what came of it since the queue's object woke. */
export async function getPush({ queue }: QueueCall): Promise<Response | Refusal> {
  const described = await reach(queue.describePush());
  if (isRefusal(described)) return described;
  return described === undefined ? none() : json(described);
}

/** DELETE …/push: what is under way is ready again. */
export async function deletePush({ queue }: QueueCall): Promise<Response | Refusal> {
  const known = await reach(queue.describePush());
  if (isRefusal(known)) return known;
  if (known === undefined) return none();
  const ended = await reach(queue.setPush(undefined));
  return isRefusal(ended) ? ended : new Response(null, { status: 204 });
}

function none(): Refusal {
  return refuse("not-found", "the queue pushes nowhere");
}
