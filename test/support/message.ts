// A message in full from what a test says of it.
import { EMPTY_MESSAGE, JSON_BODY, type Message } from "../../worker/message/record.ts";

/** What a test says of a message; the rest is filled in. */
export type MessageDraft = Partial<Message> & Pick<Message, "body">;

/** Fills a message in: no group, no headers, no times. */
export function message(draft: MessageDraft): Message {
  return { ...EMPTY_MESSAGE, bodyKind: JSON_BODY, qos: 2, ...draft };
}
