// Addresses and names: `queue:NAME`, `topic:NAME`, namespaces, and the names of the objects that own them.
import { type Refusal, refuse } from "./errors.ts";
import { MAX_NAME_BYTES } from "./limits.ts";

/** Where a message goes to or comes from. */
export interface Address {
  kind: "queue" | "topic";
  name: string;
}

const NAMESPACE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const encoder = new TextEncoder();

/**
 * Reads `queue:NAME` or `topic:NAME`. Topic filters (`+`, `#`) are the business of whoever subscribes.
 *
 * @example parseAddress("queue:orders") // { kind: "queue", name: "orders" }
 */
export function parseAddress(text: string): Address | Refusal {
  const colon = text.indexOf(":");
  const kind = text.slice(0, colon);
  if (kind !== "queue" && kind !== "topic") {
    return refuse("bad-address", `address must be queue:NAME or topic:NAME, got ${shown(text)}`);
  }
  const name = text.slice(colon + 1);
  return (kind === "queue" ? checkQueueName(name) : checkName(name)) ?? { kind, name };
}

/** The broker's own queue that decides commits in which no queue takes part. */
export const COMMIT_QUEUE = "$commit";

/** Prefixes of the queues behind shared and durable subscriptions; a group's name and a topic filter follow. */
const GROUP_QUEUES = /^\$(share|durable)\/[^/+#]+\/./;

/** As `checkName`; the queue of a shared or durable subscription holds the filter in its name. */
export function checkQueueName(name: string): Refusal | undefined {
  return checkName(GROUP_QUEUES.test(name) ? name.replaceAll(/[+#]/g, "_") : name);
}

/** The queue that keeps what a filter matches for a group of subscribers. */
export function groupQueue(kind: "share" | "durable", group: string, filter: string): string {
  return `$${kind}/${group}/${filter}`;
}

/** Group and filter of such a queue, undefined for any other. */
export function groupOf(queue: string): { kind: string; group: string; filter: string } | undefined {
  const [, kind, group, filter] = /^\$(share|durable)\/([^/]+)\/(.+)$/s.exec(queue) ?? [];
  return kind === undefined ? undefined : { kind, group: group!, filter: filter! };
}

/** Topics that lead to who asked, past all subscribers: `$reply/GATEWAY/TOKEN`. */
const REPLY_TOPICS = "$reply/";

/** The topic of the reply to one request; whoever knows the token may publish to it. */
export function replyTopic(gateway: string, token: string): string {
  return `${REPLY_TOPICS}${gateway}/${token}`;
}

/** Whether a topic is that of a reply. */
export function isReplyTopic(topic: string): boolean {
  return topic.startsWith(REPLY_TOPICS);
}

/** Refuses a name that is empty, over 512 bytes of UTF-8, holds NUL or a lone surrogate, or a wildcard. */
export function checkName(name: string): Refusal | undefined {
  // A UTF-16 unit is at most three bytes of UTF-8, so most names need no encoding to be measured.
  const bytes = name.length * 3 <= MAX_NAME_BYTES ? name.length : encoder.encode(name).length;
  if (bytes < 1 || bytes > MAX_NAME_BYTES) {
    return refuse("bad-address", `a name has 1 to ${MAX_NAME_BYTES} bytes, got ${bytes}`);
  }
  if (name.includes("\0") || !name.isWellFormed()) {
    return refuse("bad-address", `a name is well-formed UTF-8 without NUL, got ${shown(name)}`);
  }
  if (name.includes("+") || name.includes("#")) {
    return refuse("bad-address", `+ and # stand only in topic filters, got ${shown(name)}`);
  }
  return undefined;
}

/** Refuses what cannot be a namespace: 1 to 64 letters, digits, dots, dashes and underscores. */
export function checkNamespace(namespace: string): Refusal | undefined {
  if (NAMESPACE.test(namespace)) return undefined;
  return refuse("bad-address", `a namespace has 1 to 64 of A-Z a-z 0-9 . _ -, got ${shown(namespace)}`);
}

/** The name of the object that owns a queue: the namespace has no colon, so the first one parts the two. */
export function queueObjectName(namespace: string, queue: string): string {
  return `${namespace}:${queue}`;
}

/** The opposite of queueObjectName. */
export function splitObjectName(objectName: string): { namespace: string; name: string } {
  const colon = objectName.indexOf(":");
  return { namespace: objectName.slice(0, colon), name: objectName.slice(colon + 1) };
}

function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
