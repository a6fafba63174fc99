// GET and PUT /v1/namespace: how queues come into being in the caller's namespace.
import { directoryObject } from "../env.ts";
import { isRefusal, type Refusal } from "../errors.ts";
import { object } from "../schema.ts";
import { json, reach } from "./answer.ts";
import type { Call } from "./call.ts";
import { readJson } from "./input.ts";

const NAMESPACE_SETTINGS = object({ declareFirst: { type: "boolean" } }, ["declareFirst"]);

/** GET /v1/namespace. */
export async function describeNamespace({ env, namespace }: Call): Promise<Response | Refusal> {
  const settings = await reach(directoryObject(env, namespace).settings());
  return isRefusal(settings) ? settings : json(settings);
}

/** PUT /v1/namespace: `{declareFirst}`. */
export async function configureNamespace({ request, env, namespace }: Call): Promise<Response | Refusal> {
  const read = await readJson(request, NAMESPACE_SETTINGS);
  if (isRefusal(read)) return read;
  const { declareFirst } = read.value;
  const settings = await reach(directoryObject(env, namespace).configure({ declareFirst }));
  return isRefusal(settings) ? settings : json(settings);
}
