// What a protocol adapter gets from its gateway.

import { isReplyTopic, queueObjectName } from "../address.ts";
import type { Env } from "../env.ts";
import { topicObjectName } from "../topic/placement.ts";
import type { Attendance } from "./attendance.ts";
import type { Backlog } from "./backlog/backlog.ts";
import type { Connection } from "./connection.ts";
import type { Groups } from "./groups.ts";
import type { Links } from "./links.ts";
import type { ObjectLink } from "./object-link.ts";
import type { Outbox } from "./outbox.ts";
import { gatewayCount, replyGateway } from "./placement.ts";
import type { Queues } from "./queues.ts";
import type { Requester } from "./requester.ts";
import type { Sessions } from "./sessions.ts";
import type { Traffic } from "./sys.ts";
import type { Topics } from "./topics.ts";

/** The gateway as its adapters see it. */
export interface Broker {
  readonly env: Env;
  /** The gateway's name. */
  readonly gateway: string;
  readonly links: Links;
  readonly sessions: Sessions;
  readonly queues: Queues;
  readonly topics: Topics;
  readonly groups: Groups;
  readonly backlog: Backlog;
  readonly outbox: Outbox;
  readonly requester: Requester;
  readonly attendance: Attendance;
  /** What passes through for a namespace. */
  traffic(namespace: string): Traffic;
  /** Sends everything that was written; needed only after an await, as every event ends with it. */
  flush(): void;
  /** A connection has said hello, or brought a fresh token: its token is watched, its hello timer ends. */
  welcomed(connection: Connection): void;
}

/** The way to the object that owns a topic: that of a reply is the asker's gateway. */
export function topicLink(
  { env, links }: Pick<Broker, "env" | "links">,
  namespace: string,
  topic: string,
): ObjectLink {
  if (isReplyTopic(topic)) return links.replies(namespace, replyGateway(topic, gatewayCount(env.GATEWAYS)));
  return links.topic(topicObjectName(env, namespace, topic));
}

/** The way to the object behind `queue:NAME` or `topic:NAME`. */
export function addressLink(
  broker: Pick<Broker, "env" | "links">,
  namespace: string,
  address: string,
): ObjectLink {
  const name = address.slice(address.indexOf(":") + 1);
  if (address.startsWith("topic:")) return topicLink(broker, namespace, name);
  return broker.links.queue(queueObjectName(namespace, name));
}
