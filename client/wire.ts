// The frames of the JSON framing as the client reads and writes them. Types and the broker's limits on frames; no behaviour.

/** Subprotocol of the JSON framing. */
export const SUBPROTOCOL = "dunlin.v1.json";
/** The broker takes at most this many objects in an array frame, and handles in a settle. */
export const MAX_BATCH = 1_000;
/** The broker closes a socket for good at a frame beyond this. */
export const MAX_FRAME_BYTES = 4_194_304;

/** The handle a delivery is settled with. Opaque: it is only ever sent back. */
export type Delivery = string;

/** Answer to `hello`. */
export interface WelcomeFrame {
  op: "welcome";
  id: number;
  client: string;
  session: string;
  resumed: boolean;
  namespace: string;
  serverTime: number;
  expiresAt?: number;
  limits: Record<string, number>;
}

/** Answer to any other request; its further fields depend on what was asked. */
export interface OkFrame {
  op: "ok";
  id: number;
  messageId?: string;
  seq?: number;
  epoch?: number;
  duplicate?: boolean;
  recovered?: boolean;
  lost?: Delivery[];
  published?: unknown[];
}

/** The reply to a `request`: a message, with the request's id. */
export interface ReplyFrame extends Omit<OkFrame, "op"> {
  op: "reply";
}

/** A refusal; without `id` it answers nothing in particular. */
export interface ErrorFrame {
  op: "error";
  id?: number;
  code: number;
  kind: string;
  message: string;
  retry: "none" | "now" | "after";
  afterMs?: number;
}

/** A place in a topic. */
export interface Place {
  epoch: number;
  seq: number;
}

/** Where hello asks a subscription to go on: after that message. */
export interface ResumePoint extends Place {
  sub: number;
  to: string;
  credit: number;
  filter: string | object | undefined;
}

/** A message of a topic. */
export interface TopicFrame {
  op: "message";
  sub: number;
  seq: number;
  epoch: number;
  messageId: string;
  time: number;
  to: string;
  body?: unknown;
  base64?: string;
  contentType?: string;
  headers?: Record<string, string>;
  group?: string;
  replyTo?: string;
  correlationId?: string;
  /** It was kept by the topic and is older than the subscription. */
  retained?: boolean;
}

/** A message of a queue. */
export interface MessageFrame extends TopicFrame {
  delivery: Delivery;
  attempt: number;
  redelivered: boolean;
}

/** Something happened that was not asked for. */
export interface EventFrame {
  op: "event";
  kind: string;
  sub?: number;
  reason?: string;
  skipped?: number;
  recovered?: boolean;
  active?: boolean;
  deliveries?: Delivery[];
}

/** The broker is about to close the socket. */
export interface ByeFrame {
  op: "bye";
  reconnect?: boolean;
  afterMs?: number;
}

/** The one answer to a request. */
export type Reply = OkFrame | ReplyFrame | ErrorFrame;

/** Whatever the broker sends. */
export type ServerFrame = WelcomeFrame | Reply | MessageFrame | EventFrame | ByeFrame;
