// The frames that clients send, as descriptions of their fields. What they mean is protocol.ts and requests.ts.
import {
  MAX_BATCH,
  MAX_CLIENT_ID_CHARS,
  MAX_CREDIT,
  MAX_LEASE_MS,
  MAX_MESSAGE_ID_CHARS,
  MAX_NAME_BYTES,
  MAX_REQUEST_TIMEOUT_MS,
  MAX_SESSION_EXPIRY_SECONDS,
  MIN_LEASE_MS,
} from "../../limits.ts";
import { HANDLE, SETTLE_FIELDS } from "../../link/settle-fields.ts";
import { PUBLISH_FIELDS } from "../../message/fields.ts";
import { checkObject, type Infer, type ObjectSpec, object } from "../../schema.ts";

const MAX_INTEGER = Number.MAX_SAFE_INTEGER;
const id = { type: "integer", minimum: 1, maximum: MAX_INTEGER } as const;
const sub = { type: "integer", minimum: 0, maximum: MAX_INTEGER } as const;
const to = { type: "string", minLength: 1, maxLength: MAX_NAME_BYTES + 6 } as const;
const token = { type: "string", minLength: 1, maxLength: 16_384 } as const;
const handles = { type: "array", items: HANDLE, maxItems: MAX_BATCH } as const;
const leaseMs = { type: "integer", minimum: MIN_LEASE_MS, maximum: MAX_LEASE_MS } as const;

const place = { type: "integer", minimum: 0, maximum: MAX_INTEGER } as const;
const delaySeconds = { type: "integer", minimum: 0, maximum: MAX_SESSION_EXPIRY_SECONDS } as const;
const credit = { type: "integer", minimum: 0, maximum: MAX_CREDIT } as const;
const filter = { type: "any" } as const;
const RESUME = object({ sub, to, epoch: place, seq: place, credit, filter }, ["sub", "to"]);

export const HELLO = object(
  {
    id,
    token,
    client: { type: "string", minLength: 1, maxLength: MAX_CLIENT_ID_CHARS },
    session: object(
      { expirySeconds: { type: "integer", minimum: 0, maximum: MAX_SESSION_EXPIRY_SECONDS } },
      [],
    ),
    resume: { type: "array", items: RESUME, maxItems: MAX_BATCH },
    will: object({ ...PUBLISH_FIELDS.fields, to, delaySeconds }, ["to"]),
  },
  ["id"],
);
export const AUTH = object({ id, token }, ["id", "token"]);
export const PUBLISH = object({ ...PUBLISH_FIELDS.fields, id, to }, ["to"]);
const timeoutMs = { type: "integer", minimum: 1, maximum: MAX_REQUEST_TIMEOUT_MS } as const;
export const REQUEST = object({ ...PUBLISH_FIELDS.fields, id, to, timeoutMs }, ["id", "to"]);
export const PRESENCE = object({ id, to, action: { type: "string", maxLength: 16 }, data: { type: "any" } }, [
  "to",
  "action",
]);
export const SUBSCRIBE = object(
  {
    id,
    sub,
    to,
    credit,
    leaseMs,
    durable: { type: "string", minLength: 1, maxLength: MAX_CLIENT_ID_CHARS },
    filter,
    from: { type: "any" },
  },
  ["id", "sub", "to"],
);
export const CREDIT = object({ id, sub, add: { type: "integer", minimum: 1, maximum: MAX_CREDIT } }, [
  "sub",
  "add",
]);
export const UNSUBSCRIBE = object({ id, sub }, ["id", "sub"]);
export const SETTLE = object({ ...SETTLE_FIELDS.fields, id, sub }, ["sub"]);
export const EXTEND = object({ id, sub, deliveries: handles, leaseMs }, ["sub", "deliveries", "leaseMs"]);
export const COMMIT = object(
  {
    id,
    settle: { type: "array", items: SETTLE, maxItems: MAX_BATCH },
    publish: {
      type: "array",
      items: object({ ...PUBLISH_FIELDS.fields, to }, ["to"]),
      maxItems: MAX_INTEGER,
    },
  },
  ["id"],
);
export const DECIDE = object(
  {
    id,
    to,
    messageId: { type: "string", minLength: 1, maxLength: MAX_MESSAGE_ID_CHARS },
    outcome: { type: "enum", values: ["commit", "rollback"] },
  },
  ["id", "to", "messageId", "outcome"],
);
export const BYE = object({ id }, []);

/** Frames by their `op`. */
export const FRAMES: ReadonlyMap<string, ObjectSpec> = new Map<string, ObjectSpec>([
  ["hello", HELLO],
  ["auth", AUTH],
  ["publish", PUBLISH],
  ["request", REQUEST],
  ["presence", PRESENCE],
  ["subscribe", SUBSCRIBE],
  ["credit", CREDIT],
  ["unsubscribe", UNSUBSCRIBE],
  ["settle", SETTLE],
  ["extend", EXTEND],
  ["commit", COMMIT],
  ["decide", DECIDE],
  ["bye", BYE],
]);

export type ResumeEntry = Infer<typeof RESUME>;
export type HelloFrame = Infer<typeof HELLO>;
export type AuthFrame = Infer<typeof AUTH>;
export type PublishFrame = Infer<typeof PUBLISH>;
export type RequestFrame = Infer<typeof REQUEST>;
export type PresenceFrame = Infer<typeof PRESENCE>;
export type SubscribeFrame = Infer<typeof SUBSCRIBE>;
/** A subscribe whose `filter` is a selector's text, "" for none. */
export type CheckedSubscribe = Omit<SubscribeFrame, "filter"> & { filter: string };
export type CreditFrame = Infer<typeof CREDIT>;
export type UnsubscribeFrame = Infer<typeof UNSUBSCRIBE>;
export type SettleFrame = Infer<typeof SETTLE>;
export type ExtendFrame = Infer<typeof EXTEND>;
export type CommitFrame = Infer<typeof COMMIT>;
export type DecideFrame = Infer<typeof DECIDE>;
export type ByeFrame = Infer<typeof BYE>;

const FROM_WORDS = ["new", "first", "last"];
const FROM = object(
  {
    seq: place,
    epoch: place,
    time: { type: "integer", minimum: 0, maximum: MAX_INTEGER },
    last: { type: "integer", minimum: 1, maximum: MAX_INTEGER },
  },
  [],
);

/** What is wrong with a subscribe's `from`: a word, or one of `{seq}` (with its `epoch` or without), `{time}`, `{last}`. A queue has one place and ignores it. */
export function checkFrom(from: unknown): string | undefined {
  if (from === undefined || FROM_WORDS.includes(from as string)) return undefined;
  const wrong = checkObject(FROM, from, "from");
  if (wrong !== undefined) return wrong;
  const named = Object.keys(FROM.fields).filter(
    (name) => (from as Record<string, unknown>)[name] !== undefined,
  );
  if (named.length === 2 && named[0] === "seq" && named[1] === "epoch") return undefined;
  return named.length === 1 && named[0] !== "epoch"
    ? undefined
    : `from must be ${FROM_WORDS.join(", ")}, {seq}, {time} or {last}`;
}
