// Bindings: which topics' messages a queue gets. PUT and DELETE …/bindings/{filter}, GET …/bindings.
import { directoryObject } from "../env.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { object } from "../schema.ts";
import { checkFilterField } from "../selector/selector.ts";
import { registerFilter, unregisterFilter } from "../topic/register.ts";
import { json, reach } from "./answer.ts";
import type { BindingCall, QueueCall } from "./call.ts";
import { readJson } from "./input.ts";

const BINDING = object({ filter: { type: "any" } }, []);

/** GET /v1/queues/{name}/bindings. */
export async function listBindings({ env, namespace, name }: QueueCall): Promise<Response | Refusal> {
  const bindings = await reach(directoryObject(env, namespace).bindings(name));
  if (isRefusal(bindings)) return bindings;
  return json({ bindings: bindings.map(({ filter, selector }) => ({ filter, selector })) });
}

/**
 * PUT …/bindings/{filter}: effective once it is answered. A queue that does not exist comes into being. The body's `filter` says
 * which messages the binding carries; without it, it carries all.
 */
export async function bindQueue(call: BindingCall): Promise<Response | Refusal> {
  const { request, env, namespace, name, filter } = call;
  const body = await readJson(request, BINDING);
  if (isRefusal(body)) return body;
  const text = checkFilterField(body.value.filter);
  if (isRefusal(text)) return text;
  const refusal = await makeQueue(call);
  if (refusal) return refusal;
  const bindings = await reach(directoryObject(env, namespace).bindings(name));
  if (isRefusal(bindings)) return bindings;
  const more = text === "" ? {} : { selector: text };
  const registered = await registerFilter(env, namespace, `queue:${name}`, filter, true, more);
  if (isRefusal(registered)) return registered;
  const isKnown = bindings.some((binding) => binding.filter === filter);
  return json({ queue: name, filter, ...more }, isKnown ? 200 : 201);
}

/** DELETE …/bindings/{filter}: what the queue holds already stays. */
export async function unbind({ env, namespace, name, filter }: BindingCall): Promise<Response | Refusal> {
  const outcome = await unregisterFilter(env, namespace, `queue:${name}`, filter);
  if (isRefusal(outcome)) return outcome;
  if (outcome.removed) return new Response(null, { status: 204 });
  return refuse(
    "not-found",
    `the queue ${JSON.stringify(name)} is not bound to ${JSON.stringify(filter.slice(0, 80))}`,
  );
}

async function makeQueue({ env, namespace, name, queue }: BindingCall): Promise<Refusal | undefined> {
  const known = await reach(queue.describe());
  if (!isRefusal(known)) return undefined;
  if (known.kind !== "not-found") return known;
  const settings = await reach(directoryObject(env, namespace).settings());
  if (isRefusal(settings)) return settings;
  if (settings.declareFirst) {
    return refuse(
      "not-declared",
      `queues of this namespace must be declared: PUT /v1/queues/… for "${name}"`,
    );
  }
  const declared = await reach(queue.declare({}));
  return isRefusal(declared) ? declared : undefined;
}
