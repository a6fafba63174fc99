// Makes a filter effective, and takes it back: tells the Topic objects whose topics it can match, through the Directory where it
// takes that to find them. Called by whoever wants a topic's messages; holds no state.
import { directoryObject, type Env } from "../env.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { isExact } from "../filter/filter.ts";
import { topicObjectName } from "./placement.ts";
import type { TopicRpc, TopicSubscribe, TopicSubscribed } from "./rpc.ts";

/** A Topic object that a filter was registered at. */
export interface Registered {
  objectName: string;
  object: TopicRpc;
  answer: TopicSubscribed;
}

/** Calls on Topic objects that run at the same time for one filter. */
const MAX_CALLS = 32;
/** Every binding's target begins with this. */
const QUEUE = "queue:";

/**
 * Registers a filter. It is effective when this resolves: what is published from then on reaches the target. The same target and
 * filter again changes `durable` and `selector`, and reads again.
 *
 * @param target `gateway-0`, or `queue:NAME` for a binding
 * @param durable what the target must get is stored until it has it
 * @param more what a gateway hands out with the answer; which messages a queue gets, all if nothing is said
 * @returns the objects with their answers, in no order; for an exact filter one. Otherwise why it is not, or not everywhere,
 *   effective: `too-many`, or `unavailable`, after which the call is repeated or `unregisterFilter` called
 * @example await registerFilter(env, "default", "queue:jobs", "orders/+", true)
 */
export async function registerFilter(
  env: Env,
  namespace: string,
  target: string,
  filter: string,
  durable: boolean,
  more: Pick<TopicSubscribe, "read" | "selector"> = {},
): Promise<Registered[] | Refusal> {
  const request: TopicSubscribe = { target, filter, durable, ...more };
  const objects = await objectsToTell(env, namespace, request);
  if (isRefusal(objects)) return objects;
  const registered: Registered[] = [];
  let refused: Refusal | undefined;
  await eachOf(objects, async (objectName) => {
    const object = env.TOPIC.getByName(objectName);
    const answer = await reached(() => object.subscribe(request));
    if (isRefusal(answer)) refused ??= answer;
    else registered.push({ objectName, object, answer });
  });
  return refused ?? registered;
}

/**
 * Takes a filter back. Messages that were published before this resolves may still arrive.
 *
 * @returns whether the filter was known (always true for an exact filter of a gateway); `unavailable` when it must be repeated
 */
export async function unregisterFilter(
  env: Env,
  namespace: string,
  target: string,
  filter: string,
): Promise<{ removed: boolean } | Refusal> {
  if (isExact(filter) && !target.startsWith(QUEUE)) {
    const refusal = await tellEnd(env, target, filter, [topicObjectName(env, namespace, filter)]);
    return refusal ?? { removed: true };
  }
  const directory = directoryObject(env, namespace);
  if (target.startsWith(QUEUE)) {
    // A binding that lingers would bring a deleted queue back: it stays in the books until every object has let go of it, so that a
    // call that failed half-way finds it again. An object that wakes in between learns it anew, and is told below.
    const objects = await reached(() => directory.objectsFor(filter));
    if (isRefusal(objects)) return objects;
    const refusal = await tellEnd(env, target, filter, owners(env, namespace, filter, objects));
    if (refusal !== undefined) return refusal;
  }
  const struck = await reached(() => directory.removeFilter(filter, target));
  if (isRefusal(struck)) return struck;
  const refusal = await tellEnd(env, target, filter, owners(env, namespace, filter, struck.objects));
  return refusal ?? { removed: struck.removed };
}

/** Takes all bindings of a queue back, before it is deleted. */
export async function unbindQueue(env: Env, namespace: string, queue: string): Promise<Refusal | undefined> {
  const filters = await reached(() => directoryObject(env, namespace).bindings(queue));
  if (isRefusal(filters)) return filters;
  for (const { filter } of filters) {
    const outcome = await unregisterFilter(env, namespace, QUEUE + queue, filter);
    if (isRefusal(outcome)) return outcome;
  }
  return undefined;
}

/** Stores the filter where it must outlive the objects' memory, and finds the objects. */
async function objectsToTell(
  env: Env,
  namespace: string,
  { target, filter, durable, selector }: TopicSubscribe,
): Promise<string[] | Refusal> {
  // The one object of an exact filter keeps it; a binding stands in the books too, where the queue's bindings are found.
  if (isExact(filter) && !target.startsWith(QUEUE)) return [topicObjectName(env, namespace, filter)];
  const added = await reached(() =>
    directoryObject(env, namespace).addFilter(filter, target, durable, selector),
  );
  return isRefusal(added) ? added : owners(env, namespace, filter, added.objects);
}

function owners(env: Env, namespace: string, filter: string, objects: string[]): string[] {
  return isExact(filter) ? [topicObjectName(env, namespace, filter)] : objects;
}

async function tellEnd(
  env: Env,
  target: string,
  filter: string,
  objects: string[],
): Promise<Refusal | undefined> {
  let refused: Refusal | undefined;
  await eachOf(objects, async (objectName) => {
    const answer = await reached(() => env.TOPIC.getByName(objectName).unsubscribe(target, [filter]));
    if (isRefusal(answer)) refused ??= answer;
  });
  return refused;
}

/** Runs the same work on all of some names, a few at a time. */
async function eachOf(names: string[], work: (name: string) => Promise<void>): Promise<void> {
  const left = names.values();
  const workers = Array.from({ length: Math.min(MAX_CALLS, names.length) }, async () => {
    for (const name of left) await work(name);
  });
  await Promise.all(workers);
}

/** Waits for a call on an object; a rejection means that it could not be reached, or ended on the way. */
async function reached<T>(call: () => Promise<T>): Promise<T | Refusal> {
  try {
    return await call();
  } catch (error) {
    console.error("a call about a topic filter failed:", error);
    return refuse("unavailable", "not every topic could be reached: try again");
  }
}
