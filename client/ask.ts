// A question and its answer: a message that names where its reply goes, and the reply that comes back as the request's own answer.
import { Received } from "./message.ts";
import { type Outgoing, publishFields } from "./publish.ts";
import { Publish, type Sender } from "./publisher.ts";
import type { Reply, TopicFrame } from "./wire.ts";

const TIMEOUT_MS = 30_000;
/** The broker's own word that the time is up is more exact, and has this long to arrive. */
const GRACE_MS = 1_000;

/** What a request needs of the client around it. */
export interface Asker extends Sender {
  /** Answers a request in the broker's place. */
  answer(frame: Reply): void;
}

/**
 * Publishes a message and waits for one reply.
 *
 * @throws DunlinError `no-responders`, `timeout`, or why the message was refused
 */
export async function request<Answer>(
  asker: Asker,
  to: string,
  message: Outgoing,
  timeoutMs = TIMEOUT_MS,
): Promise<Received<Answer>> {
  const id = asker.nextId();
  const fields = publishFields(to, message, asker.newMessageId());
  const entry = new Publish(id, { ...fields, op: "request", timeoutMs });
  asker.claim(1, entry.text.length);
  asker.post(entry);
  const timer = setTimeout(() => {
    const message = `No reply within ${timeoutMs} ms`;
    asker.answer({ op: "error", id, code: 0, kind: "timeout", message, retry: "none" });
  }, timeoutMs + GRACE_MS);
  try {
    return new Received<Answer>((await entry.answer) as unknown as TopicFrame, asker);
  } finally {
    clearTimeout(timer);
  }
}
