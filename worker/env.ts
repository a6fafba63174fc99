// The Worker's bindings and variables, and the objects behind them.

import { isReplyTopic, queueObjectName } from "./address.ts";
import type { DirectoryRpc } from "./directory/rpc.ts";
import { gatewayCount, replyGateway } from "./gateway/placement.ts";
import type { GatewayRpc } from "./gateway/rpc.ts";
import { MAX_MESSAGE_BYTES, MAX_PRESENCE_MEMBERS, MAX_ROW_BYTES } from "./limits.ts";
import { CommandWriter } from "./link/commands.ts";
import type { MessageHandler } from "./push/handler.ts";
import { SERVICE_PREFIX } from "./push/spec.ts";
import type { QueueRpc } from "./queue/rpc.ts";
import { topicObjectName } from "./topic/placement.ts";
import type { TopicRpc } from "./topic/rpc.ts";

/** A namespace of objects, as far as the broker uses it: every object is found by its name. */
export interface Objects<T> {
  getByName(name: string): T & { fetch(request: Request): Promise<Response> };
}

/** What wrangler.toml (or the local run) binds. */
export interface Env {
  GATEWAY: Objects<GatewayRpc>;
  QUEUE: Objects<QueueRpc>;
  TOPIC: Objects<TopicRpc>;
  DIRECTORY: Objects<DirectoryRpc>;
  /** The page and the client for browsers. */
  ASSETS?: { fetch(request: Request): Promise<Response> };
  GATEWAYS?: string;
  /** How many objects share the topics; 0 (the default): every topic has its own. */
  TOPIC_BUCKETS?: string;
  /** Filters, separated by commas, whose topics have an object of their own anyway. */
  TOPIC_OWN?: string;
  /** HS256 secret of the tokens. */
  DUNLIN_AUTH_SECRET?: string;
  /** Where the tokens' public keys are. */
  DUNLIN_JWKS_URL?: string;
  /** "loopback" when only this machine's programs can connect; never set in a deployment. */
  DUNLIN_OPEN?: string;
  DUNLIN_MAX_MESSAGE_BYTES?: string;
  /** Members of a room whom it names; of a larger one only the count is told. */
  DUNLIN_MAX_PRESENCE_MEMBERS?: string;
  /** The longest keep alive that MQTT clients may ask for, seconds; none unless set. */
  DUNLIN_MAX_KEEP_ALIVE_SECONDS?: string;
  /** Hosts that queues may push to, separated by commas, `.example.com` for all below it; any unless set. */
  DUNLIN_PUSH_HOSTS?: string;
  /** "true": MQTT clients that overrun the announced Receive Maximum are not disconnected. */
  DUNLIN_MQTT_LENIENT?: string;
}

/** A Worker bound to take messages, by the name of the binding. */
export function handlerOf(env: Env, name: string): MessageHandler | undefined {
  if (!name.startsWith(SERVICE_PREFIX)) return undefined;
  return (env as unknown as Record<string, MessageHandler | undefined>)[name];
}

/** The object that owns a queue. */
export function queueObject(env: Env, namespace: string, queue: string): QueueRpc {
  return env.QUEUE.getByName(queueObjectName(namespace, queue));
}

/** The object that owns a topic. */
export function topicObject(env: Env, namespace: string, topic: string): TopicRpc {
  return env.TOPIC.getByName(topicObjectName(env, namespace, topic));
}

/** What takes messages to a topic: its object, or for a reply the gateway of who asked. */
export function topicTarget(
  env: Env,
  namespace: string,
  topic: string,
): Pick<TopicRpc, "apply" | "transfer"> {
  if (!isReplyTopic(topic)) return topicObject(env, namespace, topic);
  const gateway = env.GATEWAY.getByName(replyGateway(topic, gatewayCount(env.GATEWAYS)));
  return {
    apply: (packet) => gateway.takeReplies(namespace, packet),
    async transfer(_source, _id, records) {
      const packet = new CommandWriter();
      packet.command({ type: "publish", records });
      // Nobody may wait for it any more, or it came before: then it is done with.
      await gateway.takeReplies(namespace, packet.take());
      return [];
    },
  };
}

/** The object that knows what exists in a namespace. */
export function directoryObject(env: Env, namespace: string): DirectoryRpc {
  return env.DIRECTORY.getByName(namespace);
}

/** The largest message this deployment takes, bytes. */
export function maxMessageBytes(env: Env): number {
  const set = Number(env.DUNLIN_MAX_MESSAGE_BYTES);
  return set >= 1 ? Math.min(set, MAX_ROW_BYTES - 200_000) : MAX_MESSAGE_BYTES;
}

/** Members of a room whom this deployment names. */
export function maxPresenceMembers(env: Env): number {
  const set = Number(env.DUNLIN_MAX_PRESENCE_MEMBERS);
  return set >= 1 ? Math.floor(set) : MAX_PRESENCE_MEMBERS;
}
