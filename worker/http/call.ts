// One HTTP call after its caller is known: what a handler gets, and the steps that all calls on a queue or a topic share.
import { checkName, checkQueueName } from "../address.ts";
import { permits } from "../auth/permission.ts";
import type { Action, Principal } from "../auth/principal.ts";
import { type Env, queueObject, topicObject } from "../env.ts";
import { isRefusal, type Refusal } from "../errors.ts";
import { checkFilter } from "../filter/filter.ts";
import type { QueueRpc } from "../queue/rpc.ts";
import type { TopicRpc } from "../topic/rpc.ts";
import { pathPart } from "./input.ts";

/** An authenticated call. */
export interface Call {
  request: Request;
  url: URL;
  env: Env;
  principal: Principal;
  namespace: string;
}

/** A call on one queue that the caller may make. */
export interface QueueCall extends Call {
  name: string;
  queue: QueueRpc;
}

/** A call on one topic that the caller may make. */
export interface TopicCall extends Call {
  name: string;
  topic: TopicRpc;
}

/** A call on the binding of a queue to a topic filter. */
export interface BindingCall extends QueueCall {
  filter: string;
}

/** Answers a call. */
export type Handler = (call: Call) => Promise<Response | Refusal>;

const NAME_PART = "/v1/queues/NAME".split("/").indexOf("NAME");
const FILTER_PART = "/v1/queues/NAME/bindings/FILTER".split("/").indexOf("FILTER");

/** A handler for `/v1/queues/{name}…`: checks the name, and that one of the actions is allowed on the queue. */
export function onQueue(
  actions: Action[],
  handle: (call: QueueCall) => Promise<Response | Refusal>,
): Handler {
  return async (call) => {
    const name = pathPart(call.url, NAME_PART);
    if (isRefusal(name)) return name;
    const refusal = checkQueueName(name) ?? permitsOne(call.principal, actions, `queue:${name}`);
    if (refusal) return refusal;
    return handle({ ...call, name, queue: queueObject(call.env, call.namespace, name) });
  };
}

/** A handler for `/v1/topics/{name}…`: checks the name, and that one of the actions is allowed on the topic. */
export function onTopic(
  actions: Action[],
  handle: (call: TopicCall) => Promise<Response | Refusal>,
): Handler {
  return async (call) => {
    const name = pathPart(call.url, NAME_PART);
    if (isRefusal(name)) return name;
    const refusal = checkName(name) ?? permitsOne(call.principal, actions, `topic:${name}`);
    if (refusal) return refusal;
    return handle({ ...call, name, topic: topicObject(call.env, call.namespace, name) });
  };
}

/** A handler for `/v1/queues/{name}/bindings/{filter}`: who binds manages the queue, and may read what it will hold. */
export function onBinding(handle: (call: BindingCall) => Promise<Response | Refusal>): Handler {
  return onQueue(["manage"], async (call) => {
    const filter = pathPart(call.url, FILTER_PART);
    if (isRefusal(filter)) return filter;
    const refusal = checkFilter(filter) ?? permits(call.principal, "subscribe", `topic:${filter}`);
    return refusal ?? handle({ ...call, filter });
  });
}

/** A handler for what concerns the whole namespace. */
export function onNamespace(handle: Handler): Handler {
  return async (call) => permits(call.principal, "manage", "*") ?? handle(call);
}

/** Refuses unless the principal may do one of the actions. */
export function permitsOne(principal: Principal, actions: Action[], address: string): Refusal | undefined {
  let refusal: Refusal | undefined;
  for (const action of actions) {
    const refused = permits(principal, action, address);
    if (refused === undefined) return undefined;
    refusal ??= refused;
  }
  return refusal;
}
