// A message in full from what a test says of it.
import { JSON_BODY, type Message } from "../../worker/message/record.ts";

/** What a test says of a message; the rest is filled in. */
export type MessageDraft = Partial<Message> & Pick<Message, "body">;

/** Fills a message in: no group, no headers, no times. */
export function message(draft: MessageDraft): Message {
  return {
    topic: "",
    publisher: "",
    messageId: "",
    publisherId: false,
    group: "",
    contentType: "",
    replyTo: "",
    correlationId: "",
    headers: "",
    deaths: "",
    bodyKind: JSON_BODY,
    priority: 0,
    qos: 2,
    retain: false,
    utf8: true,
    epoch: 0,
    seq: 0,
    time: 0,
    expiresAt: 0,
    dueAt: 0,
    attempts: 0,
    failures: 0,
    ...draft,
  };
}
