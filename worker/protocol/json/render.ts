// The frames that the broker sends, as text. The frequent ones are built by hand: this runs once for every delivery and confirm.
import { errorBody, type Refusal } from "../../errors.ts";
import type { DeliveryView } from "../../link/deliveries.ts";
import { formatHandle } from "../../link/handle.ts";
import type { Published } from "../../link/results.ts";
import { queueMessageFields, quote, replyFields } from "../../message/json.ts";
import type { Message } from "../../message/record.ts";

/** The answer to a request that failed; without an id, a push. */
export function errorFrame(id: number | undefined, refusal: Refusal): string {
  return JSON.stringify({ op: "error", ...(id === undefined ? {} : { id }), ...errorBody(refusal) });
}

/** The answer to a request that has no frequent form. */
export function okFrame(id: number, fields: Record<string, unknown>): string {
  return JSON.stringify({ op: "ok", id, ...fields });
}

/** The confirm of one publish. */
export function publishedFrame(id: number, messageId: string, published: Published): string {
  const { seq, epoch, duplicate } = published;
  // A message without a seq is prepared, and not in the log yet.
  const prepared = seq === 0 ? `,"prepared":true` : "";
  return `{"op":"ok","id":${id},"messageId":${quote(messageId)},"seq":${seq},"epoch":${epoch},"duplicate":${duplicate}${prepared}}`;
}

/** The reply to a request. */
export function replyFrame(id: number, reply: Message): string {
  return `{"op":"reply","id":${id},${replyFields(reply)}}`;
}

/** A message from a queue; `to` is its address as a JSON string. */
export function messageFrame(sub: number, to: string, delivery: DeliveryView): string {
  const { epoch, position, lease, attempt, redelivered, message } = delivery;
  const handle = formatHandle(position, lease);
  return `{"op":"message","sub":${sub},"epoch":${epoch},"to":${to},"delivery":"${handle}","attempt":${attempt},"redelivered":${redelivered},${queueMessageFields(message.decode())}}`;
}

/** Several frames as one: an array, which clients read in order. */
export function joinFrames(frames: string[]): string {
  return frames.length === 1 ? frames[0]! : `[${frames.join(",")}]`;
}
