// Presence as messages: what a client says to a room (the topic `$presence/ROOM`), and what the room says to those who watch it.
import { decodeText } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import { type Refusal, refuse } from "../errors.ts";
import { MAX_PRESENCE_DATA_BYTES } from "../limits.ts";
import { EMPTY_MESSAGE, JSON_BODY, type Message, writeMessage } from "./record.ts";

/** Where the topics of rooms begin. */
export const PRESENCE_PREFIX = "$presence/";

const encoder = new TextEncoder();

/** What a member does. */
export interface PresenceAction {
  action: "enter" | "update" | "leave";
  /** Its data as JSON text; `null` when it gave none. */
  data: string;
}

/** Who does it. */
export interface Member {
  /** The id it is known by. */
  client: string;
  /** The session that ends its presence, "" when only its time to live does. */
  session: string;
}

/** Whether a topic (or what a filter begins with) is a room's. */
export function isPresence(topic: string): boolean {
  return topic.startsWith(PRESENCE_PREFIX);
}

/** What is said to a room changes it in any case: a condition has nothing to hold on to. */
export function noConditions(): Refusal {
  return refuse("not-supported", "a room takes what is said without a condition");
}

/** A session leaves its rooms when it ends, and has no will for them. */
export function checkWill(topic: string): Refusal | undefined {
  return isPresence(topic)
    ? refuse("forbidden", "a session leaves its rooms by itself: no will is for them")
    : undefined;
}

/**
 * Reads what a message says to a room.
 *
 * @returns the action; `bad-body` when it is not JSON, `bad-field` when it is no action, `message-too-large` beyond the limit of data
 * @example presenceAction({ body: '{"action":"enter","data":{"name":"Ann"}}' }) // { action: "enter", data: '{"name":"Ann"}' }
 */
export function presenceAction({ body }: Pick<Message, "body">): PresenceAction | Refusal {
  let said: unknown;
  try {
    said = JSON.parse(typeof body === "string" ? body : decodeText(body, 0, body.length));
  } catch {
    return refuse("bad-body", 'a room takes JSON: {"action": "enter" | "update" | "leave", "data"?: …}');
  }
  const { action, data = null } = (said ?? {}) as { action?: unknown; data?: unknown };
  if (action !== "enter" && action !== "update" && action !== "leave") {
    const shown = JSON.stringify(action)?.slice(0, 80) ?? "none";
    return refuse("bad-field", `action must be enter, update or leave, got ${shown}`);
  }
  const text = JSON.stringify(data);
  const bytes = text.length * 3 > MAX_PRESENCE_DATA_BYTES ? encoder.encode(text).length : 0;
  if (bytes <= MAX_PRESENCE_DATA_BYTES) return { action, data: text };
  return refuse(
    "message-too-large",
    `data of a member has at most ${MAX_PRESENCE_DATA_BYTES} bytes, got ${bytes}`,
  );
}

/**
 * A publish to a room as its topic takes it: the body in one form, and in the fields of the record who speaks, which no client can set.
 *
 * @returns the message; `bad-field` when its member would never leave, or it has a delay
 */
export function toPresence(
  message: Message,
  topic: string,
  { client, session }: Member,
  { action, data }: PresenceAction,
): Message | Refusal {
  if (topic === PRESENCE_PREFIX) return refuse("bad-address", `a room has a name: ${PRESENCE_PREFIX}ROOM`);
  if (message.dueAt > 0)
    return refuse("bad-field", "a room takes what is said at once: delayMs and deliverAt are for queues");
  if (client === "") return refuse("forbidden", "a member has an id: of its session, or its token's sub");
  if (session === "" && action !== "leave" && message.expiresAt === 0) {
    return refuse("bad-field", "without a session a member needs ttlMs, after which it leaves");
  }
  const body = `{"action":"${action}","data":${data}}`;
  return {
    ...message,
    ...{ topic, publisher: client, group: session, retain: false },
    ...{ bodyKind: JSON_BODY, body, contentType: "" },
  };
}

/**
 * What a room tells, as a record of its topic; the id is its place. How surely it reaches a watcher is the watcher's wish.
 *
 * @param place the topic, and the seq that this gets
 */
export function roomRecord(
  { name, epoch, seq }: { name: string; epoch: number; seq: number },
  told: Partial<Message>,
): Uint8Array {
  const messageId = `${epoch}-${seq}${told.retain ? "-all" : ""}`;
  const to = new Writer(1024);
  const place = { topic: name, epoch, seq, messageId };
  writeMessage(to, { ...EMPTY_MESSAGE, bodyKind: JSON_BODY, qos: 2, ...place, ...told });
  return to.take();
}
